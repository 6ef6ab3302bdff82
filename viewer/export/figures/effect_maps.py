"""Which exports show effect maps, and whether the file has them. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from viewer.analysis.comparison import has_other_unit
from viewer.analysis.effects.effect_rows import find_measured_dims
from viewer.analysis.effects.measured import (
    find_dims,
    find_map_unavailable_reason,
    find_measured_frames,
    name_dims,
    name_frames,
)
from viewer.errors import NoEffectsError, UserError
from viewer.model.view_state import FROM_EFFECTS, ViewState

if TYPE_CHECKING:
    from viewer.export.arguments import ExportArguments
    from viewer.export.scenes import ExportSource
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

    All frames where no effects are shown. Of a table of effects those on which anything was measured.

    Raises:
        UserError: The kind has no effects, or a frame has no map; along the frames, all of them have none.
    """
    if arguments.is_table_of_effects:
        return _choose_measured_frames(results, arguments, frames)
    if not is_of_effects(arguments, over):
        return frames, ()
    if _lacks_maps(arguments, over):
        frames_too = "--over frames, or " if arguments.kind in {"film", "video"} else ""
        raise UserError(f"No head, layer or step has an effect map of its own; take {frames_too}--measure weight.")
    for name in ("layers", "steps", "heads", "reduce"):
        if getattr(arguments, name):
            raise UserError(
                f"Effects and gradients are of no layer, step or head; leave out --{name}, or take --measure weight."
            )
    if "prefix" in arguments.phases:
        raise UserError("Effects and gradients are on the actions; leave out --phase prefix, or take --measure weight.")
    view = arguments.view or ViewState(measure="effect")
    measure = arguments.measure or view.measure
    dim = view.dim if arguments.dim is None else arguments.dim
    number = dim if isinstance(dim, int) else None
    reasons = {frame: find_map_unavailable_reason(results, frame, measure, number) for frame in frames}
    chosen = tuple(frame for frame in frames if not reasons[frame])
    if not chosen or (over != "frames" and len(chosen) < len(frames)):
        reason = next(reason for reason in reasons.values() if reason)
        raise UserError(f"{reason[:1].upper()}{reason[1:]}; or take --measure weight.")
    if len(chosen) == len(frames):
        return frames, ()
    noun = "gradients" if measure == "gradient" else "effect map"
    return chosen, (_describe_left_out(len(frames) - len(chosen), len(frames), noun),)


def unlock_other_unit(view: ViewState, arguments: ExportArguments, over: str) -> ViewState:
    """Return the view without its locked range, where that is in the unit of another measure than what is shown."""
    shown = arguments.measure or (
        view.measure if is_of_effects(arguments, over) or view.measure not in FROM_EFFECTS else "weight"
    )
    if view.range != "locked" or arguments.view is None or not has_other_unit(view.measure, shown):
        return view
    return replace(view, range="uniform")


def check_subtracted(source: ExportSource, view: ViewState) -> None:
    """Raise UserError where effects are subtracted that were not measured: a difference would show the others alone."""
    pair = source.subtracted(view) if view.compare == "difference" and view.measure in FROM_EFFECTS else None
    if pair is None:
        return
    results, other = pair
    reason = find_map_unavailable_reason(results, other.frame, other.measure, other.dim)
    if reason:
        raise UserError(f"There is nothing to subtract from {results.path.name}: {reason}; or take --measure weight.")


def _describe_left_out(count: int, total: int, noun: str) -> str:
    are, have = ("is", "has") if count == 1 else ("are", "have")
    return f"{count} of {total} frames {are} left out, which {have} no {noun}."


def _choose_measured_frames(
    results: Results, arguments: ExportArguments, frames: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    measured = find_measured_frames(results)
    if measured and arguments.view is None and not arguments.frames:
        return measured, ()
    chosen = tuple(frame for frame in frames if frame in measured)
    if not chosen:
        whose = f"frame {frames[0]}" if len(frames) == 1 else f"any of the {len(frames)} frames"
        available = f", but of {name_frames(measured)}" if measured else ""
        left_out = "".join(f" ({sentence.partition('. ')[0]})" for sentence in results.effects_left_out[:1])
        raise NoEffectsError(
            f"There are no effects of {whose}{available}{left_out}; “pi0-capture effects {results.path.name} --frames "
            f"{frames[0]} --map 2” measures them{', or name other --frames' if measured else ''}."
        )
    missing = len(frames) - len(chosen)
    return chosen, ((_describe_left_out(missing, len(frames), "effects"),) if missing else ())


def choose_dim_of_table(results: Results, arguments: ExportArguments, frames: tuple[int, ...]) -> int | None:
    """Return the action dimension of the effects and gradients in a table: the named one, else that of the view.

    None for all of them.

    Raises:
        UserError: No frame has effects or gradients of the named one.
    """
    view = arguments.view
    if arguments.dim is None and view is not None and view.measure in FROM_EFFECTS and arguments.table_of == "maps":
        return view.dim
    if not isinstance(arguments.dim, int) or arguments.kind != "table":
        return None
    measured_dims = {dim for frame in frames for dim in find_measured_dims(results, frame)}
    measured_dims |= {dim for frame in frames for dim in find_dims(results, frame, "gradient")}
    if arguments.dim not in measured_dims:
        available = (
            f"those of {name_dims(tuple(sorted(measured_dims)))}" if measured_dims else "none of any single dimension"
        )
        raise UserError(f"There are no effects or gradients of action dimension {arguments.dim}, but {available}; name "
                        "another --dim, or all.")  # fmt: skip
    return arguments.dim
