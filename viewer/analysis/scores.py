"""Scores: one number for each layer and head that describes a query's attention. No Qt.

`SCORES` is the one registry. The atlas, figures, tables, menus, help and the command line's choices read it, so that a
new score is one entry there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from viewer.analysis.effects import head_scores as effect_scores
from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.regions.carried_region import describe_region
from viewer.analysis.regions.picture_patches import PicturePatches, RegionSums, find_places
from viewer.errors import NoMapsError, UserError
from viewer.model import attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, ViewState

Mask = npt.NDArray[np.bool_]
Need = Literal["steps", "region", "picture region"]
"""What a score needs: a query with denoise steps, a region, a region with a patch outside the letterbox bars."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number for each layer, step and head of a query."""

    name: str
    """In views, options and file names."""
    title: str
    """In menus."""
    axis: str = ""
    """Beside a colour bar, without the unit; empty where there is nothing to measure on one."""
    phrase: str
    """Within a sentence."""
    description: str
    """What it measures, as a sentence."""
    unit: str
    """`%` for shares of 1, `yes or no` for 1 and 0, else written behind the number."""
    decimals: int = 1
    """Digits behind the point where the score is written out."""
    needs: frozenset[Need] = frozenset()
    better: Literal["high", "low"] = "high"
    """Which end of the scale one looks for."""
    column: str = ""
    """Column of a table; empty where it is no number of one row of attention."""
    undefined: str = "no weight on the picture"
    """Why a value is not a number."""
    cell_decimals: int = 1
    """Digits behind the point in a cell of the atlas; of two, a leading 0 is left out."""
    find_missing: Callable[[Results, int, str], str] | None = None
    """Returns why a query of a frame and kind (`text` or `action`) has no such score, empty if it has; None for a score
    that needs no effects file."""
    compute: Callable[[QueryAttention], Floats]
    """The score at the chosen layers, steps and heads, (layers, steps, heads); NaN where it is not defined."""

    @property
    def needs_region(self) -> bool:
        """Whether it is about a region of patches."""
        return not self.needs.isdisjoint({"region", "picture region"})

    @property
    def axis_label(self) -> str:
        """The text beside a colour bar, with the unit; empty where there is no bar."""
        return f"{self.axis}, {self.unit}".removesuffix(", ") if self.axis else ""

    @property
    def needs_effects(self) -> bool:
        """Whether it comes from an effects file."""
        return self.find_missing is not None

    @property
    def factor(self) -> float:
        """What a value is multiplied by to be in `unit`."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def is_low_better(self) -> bool:
        """Whether one looks for small values."""
        return self.better == "low"

    def format_cell(self, value: float) -> str:
        """Return a value in the three or four characters that a cell of the atlas has room for."""
        if not np.isfinite(value):
            return "–"
        if self.unit == "yes or no":
            return self.name if value else ""
        shown = self.factor * value
        if self.cell_decimals == 2 and abs(shown) < 0.995:
            return f"{shown:.2f}".replace("0.", ".", 1).replace("-", "−")
        return f"{shown:.0f}" if shown >= 9.95 else f"{shown:.1f}"

    def format_value(self, value: float) -> str:
        """Return a value with its unit."""
        if not np.isfinite(value):
            return f"none, {self.undefined}"
        if self.unit == "yes or no":
            return "yes" if value else "no"
        return f"{self.factor * value:.{self.decimals}f} {self.unit}".rstrip()


def picture_mass(query: QueryAttention) -> Floats:
    """Return the weight on the pictures without the letterbox bars: (layers, steps, heads)."""
    return query.picture_mass


def entropy(query: QueryAttention) -> Floats:
    """Return the entropy in nats over the picture patches, from the file where it is stored: (layers, steps, heads)."""
    stored = query.stored_entropy
    return attention.entropy(query.maps, ~query.bars) if stored is None else stored


def change(query: QueryAttention) -> Floats:
    """Return the weight that moves to other patches between denoise steps: (layers, 1, heads), mean over all steps."""
    if query.has_stored_change:
        return query.stored_change
    return attention.change(query.maps_of_all_steps)[:, None]


def region_mass(maps: Floats, region: tuple[Cell, ...]) -> Floats:
    """Return the weight on the region, letterbox bars included: maps (..., cameras, rows, cols) to (...)."""
    flat = maps.reshape(*maps.shape[:-3], -1)
    total: Floats = flat.take(find_places(region, maps.shape[-3:]), axis=-1).sum(-1)
    return total


def lift(maps: Floats, region: tuple[Cell, ...], bars: Mask) -> Floats:
    """Return the region's share of the weight divided by its share of the patches; 1 is chance.

    `lift`, `hit` and `iou90` take maps (..., cameras, rows, cols) and `bars` (cameras, rows, cols) and return (...).
    They compare the patches that show a picture, of the cameras that the region is in, and are NaN where these have no
    weight, or none of them is in the region.
    """
    return _lift(PicturePatches.of(maps, region, bars))


def hit(maps: Floats, region: tuple[Cell, ...], bars: Mask) -> Floats:
    """Return 1 where the heaviest patch lies in the region, else 0; 0 too where a patch outside weighs as much.

    The pointing game (Zhang et al. 2018, arXiv 1608.00507) without a margin. See `lift` for the shapes.
    """
    return _hit(PicturePatches.of(maps, region, bars))


def iou90(maps: Floats, region: tuple[Cell, ...], bars: Mask) -> Floats:
    """Return the intersection over union of the region and the heaviest tenth of the patches; shapes as in `lift`.

    All patches that weigh as much as the lightest of the tenth belong to it: bfloat16 has many equal weights, and a
    choice among them would be arbitrary.
    """
    return _iou90(PicturePatches.of(maps, region, bars))


def _lift(patches: RegionSums) -> Floats:
    chance = patches.region_size / max(patches.count, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        multiples = patches.region_total / patches.total / chance
    return _where_defined(multiples, patches)


def _hit(patches: RegionSums) -> Floats:
    return _where_defined(patches.region_is_heaviest if patches.region_size else np.zeros(()), patches)


def _iou90(patches: RegionSums) -> Floats:
    return _where_defined(patches.region_overlap if patches.region_size else np.zeros(()), patches)


def _where_defined(scores: npt.NDArray[Any], patches: RegionSums) -> Floats:
    is_defined = (patches.total > 0) & bool(patches.region_size)
    result: Floats = np.where(is_defined, scores, np.nan).astype(np.float32)
    return result


def _score_region(
    query: QueryAttention, measure: Literal["lift", "hit", "iou90"], compute: Callable[[RegionSums], Floats]
) -> Floats:
    """Return a score of the region: from the file where it was computed while capturing, else from maps."""
    return query.stored_region_score(measure) if query.has_stored_score(measure) else compute(query.picture_patches)


_REGION: Final[frozenset[Need]] = frozenset({"region"})
_PICTURE_REGION: Final[frozenset[Need]] = frozenset({"region", "picture region"})

SCORES: Final[dict[str, Score]] = {
    score.name: score
    for score in (
        Score(
            name="picture",
            title="picture mass",
            axis="weight on the pictures",
            phrase="picture mass",
            description="Weight on the pictures; the letterbox bars do not count.",
            unit="%",
            column="picture mass",
            compute=picture_mass,
        ),
        Score(
            name="entropy",
            title="entropy",
            axis="entropy over the patches",
            phrase="entropy of the picture weights",
            description="How widely the weight is spread over the patches of the pictures, in nats; low where it is on "
            "few patches.",
            unit="nats",
            decimals=2,
            better="low",
            column="entropy",
            compute=entropy,
        ),
        Score(
            name="region",
            title="mass in region",
            axis="weight on the region",
            phrase="mass in the region",
            description="Weight on the region; the letterbox bars count.",
            unit="%",
            needs=_REGION,
            column="mass region",
            compute=lambda query: query.region_mass,
        ),
        Score(
            name="lift",
            title="lift of region",
            axis="weight on the region",
            phrase="weight on the region over chance",
            description="The region’s share of the weight on its cameras’ pictures over its share of their patches; 1 "
            "is chance.",
            unit="× chance",
            needs=_PICTURE_REGION,
            column="lift region",
            compute=lambda query: _score_region(query, "lift", _lift),
        ),
        Score(
            name="hit",
            title="hit in region",
            phrase="whether the heaviest patch is in the region",
            description="Whether the heaviest patch of its cameras’ pictures is in the region, and none outside is as "
            "heavy.",
            unit="yes or no",
            needs=_PICTURE_REGION,
            column="hit region",
            compute=lambda query: _score_region(query, "hit", _hit),
        ),
        Score(
            name="iou",
            title="IoU90 of region",
            axis="IoU of the region and the heaviest tenth",
            phrase="overlap (IoU) of the region and the heaviest tenth of patches",
            description="Patches both in the region and among the heaviest tenth of its cameras’ pictures, over "
            "patches in either.",
            unit="%",
            needs=_PICTURE_REGION,
            column="IoU90 region",
            compute=lambda query: _score_region(query, "iou90", _iou90),
        ),
        Score(
            name="change",
            title="change over steps",
            axis="change over the denoise steps",
            phrase="change over the denoise steps",
            description="Weight on pictures and letterbox bars that moves to other patches from one denoise step to "
            "the next, mean over the steps.",
            unit="%",
            needs=frozenset({"steps"}),
            compute=change,
        ),
        Score(
            name="agreement",
            title="agreement with effects",
            axis="Spearman correlation with the effects",
            phrase="rank correlation of the weights with the measured effects",
            description="Spearman’s rank correlation of the weights on blocks of patches with how far the action moves "
            "without them; from an effects file. 1: the head looks most where it matters most.",
            unit="",
            decimals=2,
            column="agreement",
            undefined="not measured",
            cell_decimals=2,
            find_missing=effect_scores.find_missing_agreement,
            compute=effect_scores.agreement,
        ),
        Score(
            name="deletion",
            title="deletion area",
            axis="deletion area over random orders",
            phrase="deletion area over random orders",
            description="How much sooner the actions move when patches are taken away in the order of the head’s "
            "weights than in random orders, as a share of what all of them do; from an effects file.",
            unit="%",
            column="deletion area",
            undefined="not measured",
            find_missing=effect_scores.find_missing_deletion,
            compute=effect_scores.deletion,
        ),
        Score(
            name="insertion",
            title="insertion area",
            axis="insertion area over random orders",
            phrase="insertion area over random orders",
            description="How much sooner the actions come back when patches are shown again in the order of the head’s "
            "weights than in random orders; from an effects file.",
            unit="%",
            column="insertion area",
            undefined="not measured",
            find_missing=effect_scores.find_missing_insertion,
            compute=effect_scores.insertion,
        ),
        Score(
            name="knockout",
            title="effect of the head",
            axis="effect of silencing the head",
            phrase="how far the actions move when the head is silenced",
            description="How far the actions move when the head is silenced, in multiples of the noise; from an "
            "effects file.",
            unit="× noise",
            decimals=2,
            column="effect of head",
            undefined="not measured",
            cell_decimals=2,
            find_missing=effect_scores.find_missing_head_effect,
            compute=effect_scores.head_effect,
        ),
    )
}
"""Every score by its name, in the order in which they are offered."""


NEED_MAPS_OF_SEVERAL: Final = frozenset({"entropy", "hit", "iou", "change"})
"""Scores of several words, actions or heads together that their scores one by one do not tell."""


def find_score(name: str) -> Score:
    """Return the score of this name; UserError if there is none."""
    if name not in SCORES:
        raise UserError(f"There is no score “{name[:40]}”; take one of {', '.join(SCORES)}.")
    return SCORES[name]


def find_unavailable_reason(name: str, kind: str, region: tuple[Cell, ...], bars: Mask) -> str:
    """Return why words or actions (`kind`) cannot have a score now; empty if they can.

    `bars` (cameras, rows, cols): patches wholly in the letterbox bars.
    """
    needs = find_score(name).needs
    if "steps" in needs and kind == "text":
        return "words have one pass"
    if not needs.isdisjoint({"region", "picture region"}) and not region:
        return "drag a box on a picture first"
    if "picture region" in needs and all(bars[cell] for cell in region):
        return "the region lies in the letterbox bars"
    return ""


def find_unavailable_scores(results: Results, view: ViewState) -> dict[str, str]:
    """Return the scores that the query of a view cannot have, by name, and why."""
    bars, kind = results.bars(view.frame), view.query.kind
    reasons = {name: find_unavailable_reason(name, kind, view.region, bars) for name in SCORES}
    if view.region_name and not view.region:
        reasons |= {name: describe_region(view) for name, score in SCORES.items() if score.needs_region}
    reasons |= _find_not_captured(results, view, bars) if not results.has_maps(view.frame) else {}
    reasons |= {
        score.name: score.find_missing(results, view.frame, kind) for score in SCORES.values() if score.find_missing
    }
    return {name: reason for name, reason in reasons.items() if reason}


def describe_value(results: Results, frame: int, score: Score, value: float, *, is_mean: bool) -> str:
    """Return a score with its unit, or why there is none; `is_mean`: of the mean of the heads."""
    if is_mean and not np.isfinite(value) and score.name in NEED_MAPS_OF_SEVERAL and not results.has_maps(frame):
        return "none, of the mean of heads it needs maps, which were not kept"
    return score.format_value(value)


def _find_not_captured(results: Results, view: ViewState, bars: Mask) -> dict[str, str]:
    """Return the scores that need maps, in a frame whose maps were not kept, by name, and why; empty for the others."""
    query, reasons = QueryAttention(results, view.frame, view.query, view.region), dict[str, str]()
    for name in ("entropy", "region", "lift", "hit", "iou", "change"):
        reason = find_unavailable_reason(name, view.query.kind, view.region, bars)
        if not reason:
            try:
                SCORES[name].compute(query)
            except NoMapsError:
                is_known = not name.startswith(("region", "lift", "hit", "iou")) or (
                    results.find_region(view.frame, view.region) is not None
                )
                reason = "of several words it needs maps" if is_known else "this region was not scored"
        reasons[name] = reason
    return reasons
