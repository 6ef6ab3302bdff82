"""The view that a file is opened with: given as text, the first one, or carried over from another file. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from viewer.analysis.carried_query import carry_query
from viewer.analysis.regions.carried_region import place_region
from viewer.analysis.scores import find_score
from viewer.errors import READ_ERRORS
from viewer.model.view_state import Query, ViewState, from_json

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.words import Chip


def parse_view(text: str) -> ViewState:
    """Return the view that `ViewState.to_json` wrote; UserError for wrong values and for a score that there is not."""
    view = from_json(text)
    find_score(view.score)
    return view


def first_view(results: Results, frame: int = 0) -> ViewState:
    """Return the view that a file is first shown in: the longest word of the prompt, at two thirds of the layers."""
    try:
        chips = results.chips(frame) if results.done else ()
    except READ_ERRORS:
        chips = ()
    words = [place for place, chip in enumerate(chips) if chip.role == "prompt"]
    best = max(words, key=lambda place: len(chips[place].label), default=0)
    query = Query("text", (best,)) if chips or not results.horizon else Query("action", (0,))
    return ViewState(frame=frame, query=query, layer=(len(results.layers) * 2) // 3)


class CarriedView(NamedTuple):
    """A view with the words, layers and steps of its file, so that it can be applied to another file."""

    state: ViewState
    chips: tuple[Chip, ...]
    layers: tuple[int, ...]
    steps: tuple[int, ...]

    @classmethod
    def of(cls, results: Results, state: ViewState) -> CarriedView:
        """Return the view of an open file."""
        return cls(state, results.chips(state.frame) if results.done else (), results.layers, results.steps)

    def onto(self, results: Results) -> ViewState:
        """Return the same view of another file.

        Words are found by text, as `carry_query` does, layers and steps by number. Actions that the file lacks give
        the query of `first_view`.
        """
        frame = min(self.state.frame, max(results.done - 1, 0))
        bare = place_region(self.state.bare(), None, None)  # the other file has its own patches of a named region
        view = self._with_query(replace(bare, frame=frame), results)
        if view.layer < len(self.layers) and self.layers[view.layer] in results.layers:
            view = replace(view, layer=results.layers.index(self.layers[view.layer]))
        if view.step < len(self.steps) and self.steps[view.step] in results.steps:
            view = replace(view, step=results.steps.index(self.steps[view.step]))
        return view.clamped(results.dims(frame))

    def _with_query(self, view: ViewState, results: Results) -> ViewState:
        if view.query.kind == "action" and results.horizon:
            return view
        chips = results.chips(view.frame) if results.done else ()
        if view.query.kind == "action" or not chips:
            return replace(view, query=first_view(results, view.frame).query, sought=())
        return carry_query(view, self.chips, chips)
