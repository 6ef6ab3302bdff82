"""Which figures show effect maps, and whether the file has them. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.analysis.effects.measured import find_map_unavailable_reason
from viewer.errors import UserError
from viewer.model.view_state import FROM_EFFECTS, ViewState

if TYPE_CHECKING:
    from viewer.export.arguments import ExportArguments
    from viewer.io.results import Results

WEIGHTS = frozenset({"summary", "heads", "wall", "film", "difference", "video"})
"""Kinds that show weights or, where it is asked for, weights x value norms or effects."""


def is_of_effects(arguments: ExportArguments, over: str) -> bool:
    """Return whether figures show effect maps: where they are asked for, or in the view and of a kind that can.

    `over`: the axis that a film or a video runs along.
    """
    if arguments.measure is not None or arguments.view is None:
        return arguments.measure in FROM_EFFECTS
    return arguments.view.measure in FROM_EFFECTS and not _lacks_maps(arguments, over)


def _lacks_maps(arguments: ExportArguments, over: str) -> bool:
    """Return whether figures of the kind are of heads, layers or steps, which have no effect map of their own."""
    kind = arguments.kind
    return kind not in WEIGHTS or kind in {"heads", "wall"} or (kind in {"film", "video"} and over != "frames")


def choose_frames(
    results: Results, arguments: ExportArguments, over: str, frames: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the frames that have a map, and a sentence on how many a figure over frames leaves out, if it does.

    All frames where no effects are shown.

    Raises:
        UserError: The kind has no effects, or a frame has no map; along the frames, all of them have none.
    """
    if not is_of_effects(arguments, over):
        return frames, ()
    if _lacks_maps(arguments, over):
        frames_too = "; take --over frames" if arguments.kind in {"film", "video"} else ""
        raise UserError(f"No head, layer or step has an effect map of its own{frames_too}, or --measure weight.")
    view = arguments.view or ViewState(measure="effect")
    measure = arguments.measure or view.measure
    dim = view.dim if arguments.dim is None else arguments.dim
    number = dim if isinstance(dim, int) else None
    reasons = {frame: find_map_unavailable_reason(results, frame, measure, number) for frame in frames}
    kept = tuple(frame for frame in frames if not reasons[frame])
    if not kept or (over != "frames" and len(kept) < len(frames)):
        reason = next(reason for reason in reasons.values() if reason)
        raise UserError(f"{reason[:1].upper()}{reason[1:]}; or take --measure weight.")
    if len(kept) == len(frames):
        return frames, ()
    what = "gradients" if measure == "gradient" else "effect map"
    count = len(frames) - len(kept)
    return kept, (f"{count} of {len(frames)} frames {'is' if count == 1 else 'are'} left out, which "
                  f"{'has' if count == 1 else 'have'} no {what}.",)  # fmt: skip
