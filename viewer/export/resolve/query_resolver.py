"""Resolve the queries of an export: named words, tokens and actions, in each frame. No Qt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from viewer.analysis.query_series import describe_frames_left_out, find_same_query, name_words
from viewer.errors import MissingWordError, UserError
from viewer.export import selection
from viewer.export.figures import effect_maps
from viewer.export.request import NamedQuery, PhaseQueries
from viewer.export.scenes import explain_read_errors
from viewer.export.selection import parse_positions
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from viewer.export.arguments import ExportArguments
    from viewer.export.request import Phase
    from viewer.io.results import Results
    from viewer.model.view_state import Kind, ViewState

    FindQuery = Callable[[int], NamedQuery]
    """Finds a query in a frame; raises MissingWordError where the frame's prompt lacks a word of it."""

QUERY_KINDS: dict[Phase, Kind] = {"prefix": "text", "suffix": "action"}
PHASES: dict[Kind, Phase] = {"text": "prefix", "action": "suffix"}


class QueryResolver:
    """Finds the queries that the arguments name, else those of the view to start from, else all of a prompt.

    Args:
        results: The open file.
        arguments: The arguments of the export.
        start: The view to start from; None for none.
        figure_axes: Axes that run within one figure.
        fill_object: Puts the object that the prompt of a frame names in place of `{object}` in a text.
        is_of_effects: Whether the export is of effects or gradients.
    """

    def __init__(
        self,
        results: Results,
        arguments: ExportArguments,
        start: ViewState | None,
        figure_axes: Collection[str],
        fill_object: Callable[[str, int], str],
        *,
        is_of_effects: bool,
    ) -> None:
        self.results, self.arguments, self.start = results, arguments, start
        self.figure_axes, self.fill_object, self.is_of_effects = figure_axes, fill_object, is_of_effects

    def resolve(self, view: ViewState, frames: tuple[int, ...]) -> tuple[tuple[PhaseQueries, ...], tuple[str, ...]]:
        """Return the queries of each phase in each frame, and sentences about frames that lack a word.

        A figure over the frames has each query once, in the first frame that has it.
        """
        phases, notes = [], []
        for phase in self.phases():
            if view.measure == "contribution" and self.arguments.kind in effect_maps.WEIGHTS:
                self._require_norms(phase)
            by_frame: list[tuple[NamedQuery, ...]] = [()] * (1 if "frame" in self.figure_axes else len(frames))
            queries = self._list_queries(phase)
            for query in queries:
                named, error = self._find_in_frames(query, frames)
                if error is not None and not any(query is not None for query in named):
                    raise (
                        error
                        if len(frames) == 1
                        else MissingWordError(f"None of the {len(frames)} frames has it. {error}")
                    )
                if "frame" in self.figure_axes:
                    by_frame[0] += tuple(query for query in named if query is not None)[:1]
                    continue
                for place, of_frame in enumerate(named):
                    by_frame[place] += () if of_frame is None else (of_frame,)
                left_out = [frame for frame, query in zip(frames, named, strict=True) if query is None]
                if left_out:
                    name = next(self._name_words(query) for query in named if query is not None)
                    notes.append(describe_frames_left_out(name, left_out, len(frames)))
            for place in range(0 if queries else len(by_frame)):
                frame = view.frame if "frame" in self.figure_axes else frames[place]
                with explain_read_errors(self.results, frame):
                    by_frame[place] = self._default_queries(frame)
            phases.append(PhaseQueries(phase, tuple(by_frame)))
        return tuple(phases), tuple(notes)

    def _name_words(self, named: NamedQuery) -> str:
        return name_words(self.results, named.frame, named.query)

    def _find_in_frames(
        self, find: FindQuery, frames: tuple[int, ...]
    ) -> tuple[list[NamedQuery | None], UserError | None]:
        """Look a query up in every frame; return None where a frame lacks it, and the first such frame's error."""
        named: list[NamedQuery | None] = []
        first: UserError | None = None
        for frame in frames:
            with explain_read_errors(self.results, frame):
                try:
                    named.append(find(frame))
                except MissingWordError as error:
                    first = first or error
                    named.append(None)
                    continue
            if "frame" in self.figure_axes:
                break
        return named, first

    def phases(self) -> tuple[Phase, ...]:
        """Return the phases: as named, as the named queries need, as in the view, or all that the file holds."""
        chosen = self._named_phases()
        if "step" not in self.figure_axes:
            return chosen
        if chosen == ("prefix",):
            raise UserError("Words have one pass and no denoise steps; take --over layers, or --phase suffix.")
        return tuple(phase for phase in chosen if phase == "suffix")

    def _named_phases(self) -> tuple[Phase, ...]:
        results, arguments = self.results, self.arguments
        words: tuple[Phase, ...] = ("prefix",)
        actions: tuple[Phase, ...] = ("suffix",)
        available = (words if results.chips(0) else ()) + (actions if results.horizon else ())
        needed = (words if arguments.asks_for_words else ()) + (actions if arguments.actions else ())
        is_default = self.is_of_effects and not (arguments.phases or needed or self.start)
        if is_default or arguments.is_table_of_effects:
            return actions
        if not arguments.phases:
            return needed or ((PHASES[self.start.query.kind],) if self.start is not None else available)
        named = tuple(dict.fromkeys(arguments.phases))
        for phase in named:
            if phase not in available:
                raise UserError(f"{results.path.name} holds no {phase}; leave out --phase {phase}.")
        for phase in needed:
            if phase not in named:
                option = "--words" if phase == "prefix" else "--actions"
                raise UserError(f"{option} belongs to the {phase}, which --phase leaves out; drop one of them.")
        return named

    def _require_norms(self, phase: Phase) -> None:
        """Raise UserError where a file has no value norms to weigh with: figures would show plain weights."""
        if self.results.value_norms(0, QUERY_KINDS[phase]) is None:
            raise UserError(
                f"{self.results.path.name} holds no value norms; take --measure weight, or capture it again with norms."
            )

    def _list_queries(self, phase: Phase) -> list[FindQuery]:
        """Return a function for each named query that finds it in a frame; empty where none is named."""
        results, arguments, start = self.results, self.arguments, self.start
        if phase == "suffix":
            return [partial(self._name_actions, query) for query in self._list_actions()]
        if arguments.asks_for_words:
            words: list[FindQuery] = [partial(self._find_words, text) for text in arguments.words]
            return [*words, *(partial(self._find_tokens, text) for text in arguments.tokens)]
        if start is not None and start.query.kind == "text" and results.chips(start.frame):
            return [self._find_query_of_view]
        return []

    def _find_words(self, text: str, frame: int) -> NamedQuery:
        return selection.find_words(self.results, frame, self.fill_object(text, frame))

    def _find_tokens(self, text: str, frame: int) -> NamedQuery:
        return NamedQuery(selection.find_words_of_tokens(self.results, frame, text), f"token{text}", frame)

    def _find_query_of_view(self, frame: int) -> NamedQuery:
        """Return the words of the starting view in another frame, found by their text."""
        results, start = self.results, self.start
        assert start is not None
        query = find_same_query(start.query, results, start.frame, frame)
        if query is None:
            words = name_words(results, start.frame, start.query)
            raise MissingWordError(
                f"The prompt of frame {frame} lacks {words} of the view; name other --frames or --words."
            )
        return NamedQuery(query, selection.name_query(results.chips(frame), query), frame)

    def _default_queries(self, frame: int) -> tuple[NamedQuery, ...]:
        """Return the words of a frame if none are named: all of the prompt together, or each by itself in numbers."""
        chips = self.results.chips(frame)
        if self.arguments.is_numbers and self.start is None:
            return tuple(NamedQuery(Query("text", (item,)), chip.label, frame) for item, chip in enumerate(chips))
        prompt = tuple(item for item, chip in enumerate(chips) if chip.role == "prompt")
        return (NamedQuery(Query("text", prompt or (0,)), "words", frame, is_default=True),)

    def _list_actions(self) -> list[Query]:
        horizon, arguments = self.results.horizon, self.arguments
        if arguments.actions:
            return [Query("action", parse_positions(text, range(horizon), "action")) for text in arguments.actions]
        if self.start is not None and self.start.query.kind == "action":
            return [self.start.query]
        if arguments.is_numbers and self.start is None and not arguments.is_table_of_effects:
            return [Query("action", (item,)) for item in range(horizon)]
        return [Query("action", tuple(range(horizon)))]

    def _name_actions(self, query: Query, frame: int) -> NamedQuery:
        """Return a query with its name: `action 0-2` in tables and arrays, `action0-2` in file names."""
        numbers = format_numbers(query.items, "-", "+")
        name = f"action {numbers}" if self.arguments.is_numbers else f"action{numbers}"
        return NamedQuery(query, name, frame, is_default=len(query.items) == self.results.horizon)
