"""Measures, axes and dimensions that each product of the export sheet can draw of a view, and why not the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from viewer.analysis.effects.effect_rows import find_measured_dims
from viewer.analysis.effects.measured import (
    find_dims,
    find_map_unavailable_reason,
    find_measured_frames,
    list_mapped_frames,
)
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import Kind, ViewState

MOST_READ: Final = 16
"""Frames in which dimensions are looked up: a run measures the same in all."""
OF_HEADS: Final = frozenset({"heads", "wall"})
OF_SCORES: Final = {
    "atlas": "An atlas is of attention; effects are among its cells: agreement, deletion, insertion, the head’s.",
    "curves": "Curves are of attention mass, which effects have none of.",
    "heads": "Draws the attention: no head has an effect map of its own.",
    "wall": "Draws the attention: no head has an effect map of its own. It can be sorted by an effect.",
    "arrays": "Holds attention and everything that was measured.",
}
"""What products that show no effects have instead, where the window shows effects."""


def find_unavailable_measures(session: Session, kind: str, over: str, query_kinds: tuple[Kind, ...]) -> dict[str, str]:
    """Return the measures that a product cannot draw of the shown view, and why, as the middle of a sentence.

    `over`: the axis that it runs along; `query_kinds`: those of its queries.
    """
    results, view = session.results, session.state
    if results is None or not results.done:
        return {}
    lacks = {}
    if any(results.value_norms(0, kind) is None for kind in query_kinds):
        lacks["contribution"] = "the file holds no value norms"
    for measure in FROM_EFFECTS:
        reason = _find_unavailable_reason(session, results, view, measure, kind, over)
        if reason:
            lacks[measure] = reason
    return lacks


def _find_unavailable_reason(
    session: Session, results: Results, view: ViewState, measure: str, kind: str, over: str
) -> str:
    if kind in OF_HEADS:
        return "no head has an effect map of its own"
    if kind in {"film", "video"} and over != "frames":
        return "no layer or step has an effect map of its own, but each frame (Over: frames)"
    if over == "frames":
        frames = build_frame_timeline(results).along(view.frame)
        reasons = [find_map_unavailable_reason(results, frame, measure) for frame in frames]
        return "" if not all(reasons) else reasons[0]
    reason = find_map_unavailable_reason(results, view.frame, measure)
    pin = session.pin
    if not reason and pin is not None and (kind == "difference" or view.compare == "difference"):
        reason = find_map_unavailable_reason(pin[0], pin[1].frame, measure)
    return reason


def find_figure_dims(session: Session, measure: str, over: str) -> tuple[int, ...]:
    """Return the action dimensions of which a figure can show effects or gradients, ascending."""
    results, view = session.results, session.state
    if results is None or not results.done or measure not in FROM_EFFECTS:
        return ()
    along = build_frame_timeline(results).along(view.frame) if over == "frames" else (view.frame,)
    frames = [frame for frame in list_mapped_frames(results, measure) if frame in set(along)]
    dims = {dim for frame in frames[:MOST_READ] for dim in find_dims(results, frame, measure)}
    pin = session.pin
    if pin is not None and view.compare == "difference":
        dims &= set(find_dims(pin[0], pin[1].frame, measure))
    return tuple(sorted(dims))


def find_table_dims(session: Session) -> tuple[int, ...]:
    """Return the action dimensions of which a table can have effects or gradients, ascending."""
    results = session.results
    if results is None or not results.done:
        return ()
    frames = find_table_frames(session)[:MOST_READ]
    dims = {dim for frame in frames for dim in find_measured_dims(results, frame)}
    dims |= {dim for frame in frames for dim in find_dims(results, frame, "gradient")}
    return tuple(sorted(dims))


def find_unavailable_axes(kind: str, query_kinds: tuple[Kind, ...]) -> dict[str, str]:
    """Return the axes along which a product cannot run, and why."""
    if kind in {"film", "curves", "video"} and "action" not in query_kinds:
        return {"steps": "words have one pass"}
    return {}


def find_table_frames(session: Session) -> tuple[int, ...]:
    """Return the frames that a table of effects begins with: the shown one where it has effects, else all that have."""
    results = session.results
    measured = () if results is None else find_measured_frames(results)
    return (session.state.frame,) if session.state.frame in measured else measured


def describe_substitute(kind: str, wanted: str, reason: str, lines: str) -> str:
    """Return what a product draws instead of the measure that is wanted or shown; empty where it draws that.

    `reason`: why it cannot draw it, empty where it can.
    """
    is_of_effects = wanted in FROM_EFFECTS
    if is_of_effects and kind in OF_SCORES:
        return OF_SCORES[kind]
    if is_of_effects and kind == "table" and lines == "rows":
        return "Holds scores of heads; take Lines: effects for those of patches, words and dimensions."
    return f"Draws the attention: {reason}." if reason else ""
