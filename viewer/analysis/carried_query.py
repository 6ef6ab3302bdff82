"""The words of a view in another prompt: found by their text, and remembered where the prompt lacks them. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from viewer.analysis.caption import elide
from viewer.errors import READ_ERRORS
from viewer.model.view_state import Query, ViewState, Word
from viewer.model.words import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viewer.io.results import Results
    from viewer.model.words import Chip


def find_sought_words(view: ViewState, chips: Sequence[Chip]) -> tuple[Word, ...]:
    """Return the words that the user chose: those that the prompt lacks included. Empty for actions.

    `chips` are those of the view's frame.
    """
    if view.query.kind == "action":
        return ()
    if view.sought:
        return view.sought
    picked = (chips[item] for item in view.query.items if item < len(chips))
    return tuple(Word(chip.role, chip.text, chip.ordinal, chip.state_index) for chip in picked)


def carry_query(view: ViewState, chips: Sequence[Chip], other_chips: Sequence[Chip]) -> ViewState:
    """Return the view with its words as another prompt has them.

    Where that prompt lacks some of them, those that it has are selected; where it lacks all, all words of its task, so
    that no other single word takes their place. The words are then kept in `sought`, and found again in the next prompt
    that has them.

    Args:
        view: The view; actions stay as they are.
        chips: Chips of the prompt that the view's query counts.
        other_chips: Chips of the other prompt.
    """
    sought = find_sought_words(view, chips)
    if not sought:
        return view
    positions = [align(word, other_chips) for word in sought]
    places = {place for place in positions if place is not None}
    if None not in positions:
        return replace(view, query=Query("text", tuple(sorted(places))), sought=())
    if not places:
        task = {place for place, chip in enumerate(other_chips) if chip.role == "prompt"}
        places = task or set(range(len(other_chips)))
    return replace(view, query=Query("text", tuple(sorted(places)) or (0,)), sought=sought)


def carry_to_frame(view: ViewState, results: Results, frame: int) -> ViewState:
    """Return the view with its words as its own frame has them, where `frame` is the one whose prompt its query counts.

    A view whose prompts cannot be read stays as it is; drawing it reports why.
    """
    if view.query.kind != "text" or not 0 <= view.frame < results.done:
        return view
    try:
        return carry_query(view, results.chips(frame), results.chips(view.frame))
    except READ_ERRORS:
        return view


def find_missing(view: ViewState, chips: Sequence[Chip]) -> tuple[Word, ...]:
    """Return the sought words that a frame's prompt lacks."""
    return tuple(word for word in view.sought if align(word, chips) is None)


def name_missing(words: Iterable[Word]) -> str:
    """Return words in quotation marks, state values by their number: `“duck” or s3`."""
    names = [f"s{word.state_index}" if word.state_index >= 0 else f"“{elide(word.text)}”" for word in words]
    return " or ".join(dict.fromkeys(names))


def describe_missing(results: Results, view: ViewState) -> str:
    """Return `This prompt has no “duck”; shown instead:`; empty if the prompt lacks nothing."""
    if not view.sought:
        return ""
    missing = find_missing(view, results.chips(view.frame))
    return f"This prompt has no {name_missing(missing)}; shown instead:" if missing else ""


def align_view(view: ViewState, results: Results, other: Results) -> ViewState | None:
    """Return the same view of another file: words are found by text, layers and steps by number.

    None if the prompt of the other file's frame lacks one of the words.
    """
    frame = min(view.frame, max(other.done - 1, 0))
    place = replace(view.bare(), frame=frame, sought=())
    layer, step = results.layers[view.layer], results.steps[view.step] if results.steps else 0
    if layer in other.layers:
        place = replace(place, layer=other.layers.index(layer))
    if step in other.steps:
        place = replace(place, step=other.steps.index(step))
    if view.query.kind == "text" and other.done:
        place = carry_query(place, results.chips(view.frame), other.chips(frame))
        if place.sought:
            return None
    return place.clamped(other.dims(frame))


def describe_not_aligned(view: ViewState, results: Results, other: Results) -> str:
    """Return why a view has no counterpart in another file, where `align_view` returns None."""
    frame = min(view.frame, max(other.done - 1, 0))
    words = find_sought_words(replace(view, sought=()), results.chips(view.frame))
    missing = [word for word in words if align(word, other.chips(frame)) is None]
    return f"Not compared: frame {frame} of {other.path.name} has no {name_missing(missing)} in its prompt"


class Counterpart:
    """The view of another file that `align_view` found last: finding it reads from the files."""

    def __init__(self) -> None:
        self._last: tuple[ViewState, Results, ViewState | None] | None = None

    def find(self, view: ViewState, results: Results, other: Results) -> ViewState | None:
        """Return the same view of another file; None if a prompt lacks its words."""
        if self._last is None or self._last[0] is not view or self._last[1] is not other:
            self._last = view, other, align_view(view, results, other)
        return self._last[2]
