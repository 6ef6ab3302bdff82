"""What a cell of the atlas tells of a head: what the scores are called, and how a map agrees with a region. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, ViewState


@dataclass(frozen=True)
class Named:
    """What a score is called."""

    short: str
    axis: str
    """Beside a colour bar, with its unit; empty where there is nothing to measure on one."""
    told: str
    """In a sentence."""
    about: str
    """What it is."""
    of_region: bool = False
    share: bool = True
    """Whether it is told in per cent."""
    lowest: bool = False
    """Whether a small one is what one looks for."""


SCORES: Final = {
    "picture": Named(
        "picture mass", "weight on the pictures, %", "picture mass",
        "Weight on the pictures; the letterbox’s bars do not count.",
    ),
    "entropy": Named(
        "entropy", "entropy over the patches, nats", "entropy of the picture weights",
        "How widely the weight is spread over the pictures’ patches; a low entropy is a sharp look.",
        share=False, lowest=True,
    ),
    "region": Named(
        "mass in region", "weight on the region, %", "mass in the region",
        "Weight on the region; the letterbox’s bars count.", of_region=True,
    ),
    "lift": Named(
        "lift of region", "weight on the region, times chance", "weight on the region over chance",
        "The region’s share of the weight on its cameras’ pictures over its share of their patches; 1 is chance.",
        of_region=True, share=False,
    ),
    "hit": Named(
        "hit in region", "", "whether the heaviest patch is in the region",
        "Whether the heaviest patch of its cameras’ pictures is in the region, and none as heavy is outside.",
        of_region=True, share=False,
    ),
    "iou": Named(
        "IoU90 of region", "IoU of the region and the heaviest tenth, %",
        "overlap (IoU) of the region and the heaviest tenth of patches",
        "Patches both in the region and among the heaviest tenth of its cameras’ pictures, over patches in either.",
        of_region=True,
    ),
    "change": Named(
        "change over steps", "change over the denoise steps, %", "change over the denoise steps",
        "Weight on pictures and bars that moves to other patches from one denoise step to the next, mean over the "
        "steps.",
    ),
}  # fmt: skip
"""By the names that views use, in the order in which they are offered."""
OF_REGION: Final = frozenset(name for name, named in SCORES.items() if named.of_region)
TENTH: Final = 10
"""IoU90 takes the patches above the 90th percentile: one in ten."""


def lacking(score: str, kind: str, region: tuple[Cell, ...], bars: npt.NDArray[np.bool_]) -> str:
    """Why words or actions (`kind`) cannot have a score now; empty if they can. `bars`: (cameras, 16, 16)."""
    if score == "change" and kind == "text":
        return "words have one pass"
    if score not in OF_REGION:
        return ""
    if not region:
        return "drag a box on a picture first"
    if score != "region" and all(bars[cell] for cell in region):
        return "the region lies in the letterbox’s bars"
    return ""


def reasons(results: Results, view: ViewState) -> dict[str, str]:
    """The scores that a view's query cannot have, and why."""
    bars = results.bars(view.frame)
    found = {name: lacking(name, view.query.kind, view.region, bars) for name in SCORES}
    return {name: reason for name, reason in found.items() if reason}


def short(value: float, score: str) -> str:
    """A score in the three or four letters that a cell has room for."""
    if not np.isfinite(value):
        return "–"
    if score == "hit":
        return "hit" if value else ""
    if SCORES[score].share:
        return f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def spoken(value: float, score: str) -> str:
    """A score with its unit."""
    if not np.isfinite(value):
        return "none, for want of weight on the picture"
    if score == "hit":
        return "yes" if value else "no"
    if SCORES[score].share:
        return f"{100 * value:.1f} %"
    return f"{value:.2f} nats" if score == "entropy" else f"{value:.1f} × chance"


def mass(maps: Floats, region: tuple[Cell, ...]) -> Floats:
    """Weight on the region; the axes (cameras, 16, 16) go."""
    if not region:
        return np.zeros(maps.shape[:-3], np.float32)
    camera, row, col = np.array(region).T
    total: Floats = maps[..., camera, row, col].sum(-1)
    return total


def of_region(maps: Floats, region: tuple[Cell, ...], bars: npt.NDArray[np.bool_], score: str) -> Floats:
    """How maps (..., cameras, 16, 16) agree with a region: (...), NaN where there is no weight to tell.

    `region` is `mass`. The others look at the patches that show a picture (`bars`, (cameras, 16, 16), do not), of the
    cameras that the region is in:

    * lift: the region's share of their weight over its share of their number; 1 is chance.
    * hit: 1 where the heaviest of them lies in the region, else 0: the pointing game (Zhang et al. 2018, arXiv
      1608.00507), without a margin. 0 too where one outside weighs as much.
    * iou: the patches that are both in the region and among the heaviest tenth, over those that are either. All that
      weigh as much as the lightest of the tenth belong to it: bfloat16 has many equal weights, and to choose among them
      would be chance.
    """
    if score == "region":
        return mass(maps, region)
    inside = np.zeros(bars.shape, np.bool_)
    if region:
        inside[tuple(np.array(region).T)] = True
    looked = ~bars & inside.any((1, 2), keepdims=True)  # (cameras, 16, 16)
    within = inside[looked]  # (patches,)
    values = maps[..., looked]  # (..., patches)
    total = values.sum(-1)
    if not within.any():
        return np.full(total.shape, np.nan, np.float32)
    if score == "lift":
        with np.errstate(divide="ignore", invalid="ignore"):
            found = values[..., within].sum(-1) / total / within.mean()
    elif score == "hit":
        outside = values[..., ~within].max(-1, initial=0)
        found = (values[..., within].max(-1) > outside).astype(np.float32)
    else:
        most = max(1, round(values.shape[-1] / TENTH))
        least = np.partition(values, -most, axis=-1)[..., -most, None]
        heaviest = (values >= least) & (values > 0)
        found = (heaviest & within).sum(-1) / (heaviest | within).sum(-1)
    result: Floats = np.where(total > 0, found, np.nan).astype(np.float32)
    return result
