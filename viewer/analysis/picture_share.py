"""How much of a row's weight lies on one camera's picture, in words, and whether that is little. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.model.view_state import ViewState

LITTLE: Final = 0.25
"""Share of what a uniform row would put on the picture, below which a picture holds little weight."""


class PictureShare(NamedTuple):
    """The weight on a camera's picture, without its letterbox bars."""

    share: float
    """Share of the whole row, 0 to 1."""
    uniform: float
    """What it would be if the row were spread evenly over its keys."""
    is_little: bool
    notes: tuple[str, ...]
    """What to write behind the share, the most complete text first; the first that fits should be taken."""


def describe_share(scene: Scene, view: ViewState, camera: str) -> PictureShare:
    """Return the share of a row on a camera's picture, and the texts that explain it."""
    share, uniform = scene.share(camera), scene.uniform_mass.get(camera, 0.0)
    is_little = share < LITTLE * uniform
    # Where heads are reduced to their maximum, the share is that of their mean: maxima do not sum to 1.
    row = "the heads’ mean row" if view.reduce == "max" and len(view.heads) != 1 else "this row’s weight"
    notes = [f"of {row}"]
    if scene.difference:
        notes = [f"of {row} · difference shown", *notes]
    if is_little:
        notes = [f"of {row} · little, {100 * uniform:.0f} % if uniform", f"· little, {100 * uniform:.0f} % if uniform",
                 "· little"]  # fmt: skip
    return PictureShare(share, uniform, is_little, tuple(notes))
