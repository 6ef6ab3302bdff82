"""Resolve the arguments of an export against the open file, once, into an `ExportRequest`. No Qt."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.results import schema
from viewer.analysis.effects.measured import view_of_attention
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.query_series import describe_frames_left_out, find_same_query, name_words
from viewer.analysis.regions.regions_reading import read_checked_regions
from viewer.analysis.scores import find_score
from viewer.errors import MissingWordError, UserError
from viewer.export import selection
from viewer.export.figures import effect_maps
from viewer.export.request import (
    SCALES,
    SIZES,
    Comparison,
    ExportRequest,
    NamedQuery,
    PhaseQueries,
    axes_within_figure,
)
from viewer.export.scenes import explain_read_errors
from viewer.export.selection import parse_positions
from viewer.export.subtracted_view import parse_comparison, suggest_comparison
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import Query, ViewState
from viewer.regions.boxes import parse_region
from viewer.regions.file_versions import default_path
from viewer.regions.in_frames import find_named_region, follow_region_of_view, is_box
from viewer.runs.named_object import PLACEHOLDER, NamedObjects, read_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.export.arguments import ExportArguments
    from viewer.export.request import Phase
    from viewer.export.scenes import ExportSource
    from viewer.model.view_state import Kind, Wall

    FindQuery = Callable[[int], NamedQuery]
    """Finds a query in a frame; raises MissingWordError where the frame's prompt lacks a word of it."""

QUERY_KINDS: dict[Phase, Kind] = {"prefix": "text", "suffix": "action"}
PHASES: dict[Kind, Phase] = {"text": "prefix", "action": "suffix"}


def resolve_request(source: ExportSource, arguments: ExportArguments) -> ExportRequest:
    """Return the export that arguments ask for, looked up in the open file.

    Raises:
        UserError: The file has no finished frame or cannot be read, or does not have what is asked for.
    """
    for results in (source.other, source.results):
        if results is not None and results.done == 0:
            raise UserError(f"{results.path.name} has no finished frame yet; wait until the capture has written one.")
    with explain_read_errors(source.results):
        return _Resolver(source, arguments).request()


class _Resolver:
    """The arguments, the file and the view to start from, which all steps need."""

    def __init__(self, source: ExportSource, arguments: ExportArguments) -> None:
        self.results, self.other, self.arguments = source.results, source.other, arguments
        self.start = arguments.view
        if self.start is not None:
            frame = min(max(self.start.frame, 0), self.results.done - 1)
            fitted = self.start.clamped(self.results.dims(frame))
            self.start = replace(fitted, sought=())  # of what is shown
            if fitted.region_name and not arguments.region and arguments.scores_region(fitted):
                self.arguments = arguments = replace(arguments, region=(fitted.region_name,))
        self.over = arguments.resolve_over()
        self.objects = self._read_objects()
        self.figure_axes = axes_within_figure(arguments.kind, self.over)
        self.is_of_effects = effect_maps.is_of_effects(arguments, self.over)

    def request(self) -> ExportRequest:
        results, arguments = self.results, self.arguments
        frames, unmeasured = effect_maps.choose_frames(results, arguments, self.over, self.frames())
        layers, steps, heads = self.layers(), self.steps(), self.heads()
        place = arguments.regions, arguments.file, results, frames
        region = find_named_region(arguments.region, *place, self._fill_object, read_checked_regions)
        left_out, frames = ((), frames) if region is None else (region.describe_left_out(frames), tuple(region.cells))
        view = self.view(frames, layers, steps)
        region = region or follow_region_of_view(view, *place, read_checked_regions)
        if region is not None:
            view = region.put_into(view)
        queries, notes = self.queries(view, frames)
        view = replace(view, heads=() if len(heads) == results.heads and arguments.kind != "heads" else heads)
        return ExportRequest(
            kind=arguments.kind,
            file=results.path,
            other=None if self.other is None else self.other.path,
            effects=tuple(effect.path for effect in results.effects),
            other_effects=() if self.other is None else tuple(effect.path for effect in self.other.effects),
            folder=arguments.folder / selection.name_folder(results),
            format=arguments.format,
            overwrite=arguments.overwrite,
            processes=arguments.processes,
            view=view,
            over=self.over,
            frames=frames,
            layers=layers,
            steps=steps,
            heads=heads or tuple(range(results.heads)),
            queries=queries,
            reductions=tuple(dict.fromkeys(arguments.reduce)) or (view.reduce,),
            comparison=self.comparison(layers, frames),
            shares_range=arguments.range == "set",
            has_named_frames=bool(arguments.frames),
            notes=(*unmeasured, *left_out, *notes, *selection.describe_undefined(results, frames, queries)),
            region=region,
            outcome=None,
            has_effect_columns=False,
            table_of=arguments.table_of,
            dim=effect_maps.choose_dim_of_table(results, arguments, frames),
            width=arguments.size or SIZES.get(arguments.kind, 480),
            scale=arguments.scale or SCALES.get(arguments.kind, 2.0),
            theme=arguments.theme,
            caption=arguments.caption,
            rate=arguments.rate,
        )

    def _read_objects(self) -> NamedObjects:
        """Return what `{object}` stands for in each prompt."""
        arguments = self.arguments
        if not any(PLACEHOLDER in text for text in (*arguments.words, *arguments.region)):
            if arguments.objects is not None:
                raise UserError('--objects says what {object} stands for; add --words "{object}".')
            return NamedObjects()
        path = arguments.regions or (default_path(arguments.file) if isinstance(arguments.file, Path) else None)
        has_file = path is not None and path.exists()
        regions = tuple(read_checked_regions(path, self.results).regions) if path and has_file else self.results.regions
        return read_objects(arguments.objects, regions)

    def _fill_object(self, text: str, frame: int) -> str:
        """Return a text with the object that the prompt of a frame names in place of `{object}`."""
        return self.objects.fill(text, self.results.string(schema.FRAMES_PROMPT, frame))

    # Axes

    def frames(self) -> tuple[int, ...]:
        """Return the named frames, else the view's; over frames, all of its prompt in the order of playing."""
        results = self.results
        if self.arguments.frames:
            return parse_positions(self.arguments.frames, range(results.done), "frame")
        frame = 0 if self.start is None else self.start.frame
        if "frame" not in self.figure_axes:
            return (frame,)
        return build_frame_timeline(results).along(frame)

    def layers(self) -> tuple[int, ...]:
        results, arguments = self.results, self.arguments
        if arguments.layers and self._find_heads() == "best":
            raise UserError("The best heads are those of all layers; leave --layers out, or take --heads-of layer.")
        if arguments.layers:
            return parse_positions(arguments.layers, results.layers, "layer")
        if arguments.is_numbers or "layer" in self.figure_axes:
            return tuple(range(len(results.layers)))
        if self.start is not None:
            return (self.start.layer,)
        if self.is_of_effects:
            return (0,)  # all have the same
        if arguments.kind in {"summary", "heads"}:
            return tuple(range(len(results.layers)))
        return (len(results.layers) * 2 // 3,)

    def steps(self) -> tuple[int, ...]:
        results, arguments = self.results, self.arguments
        if arguments.steps and results.steps:
            return parse_positions(arguments.steps, results.steps, "denoise step")
        if "step" in self.figure_axes or (arguments.is_numbers and results.steps):
            return tuple(range(len(results.steps)))
        return (max(len(results.steps) - 1, 0) if self.start is None else self.start.step,)

    def heads(self) -> tuple[int, ...]:
        """Return the named heads, else the view's; empty where neither names any."""
        if self.arguments.heads:
            return parse_positions(self.arguments.heads, range(self.results.heads), "head")
        return () if self.start is None else self.start.heads

    def _find_heads(self) -> Wall:
        """Return which heads a wall has: as named, else the view's, else those of a layer; `off` for other kinds."""
        if self.arguments.kind != "wall":
            return "off"
        start = self.start.wall if self.start is not None else "off"
        return self.arguments.wall or ("layer" if start == "off" else start)

    # The view

    def view(self, frames: tuple[int, ...], layers: tuple[int, ...], steps: tuple[int, ...]) -> ViewState:
        """Return the view that all figures vary; it keeps its own place on an axis if that is among the chosen ones."""
        arguments = self.arguments
        view = self.start or ViewState(colours="viridis" if arguments.kind == "heads" else "inferno")
        view = effect_maps.unlock_other_unit(view, arguments, self.over)
        view = replace(
            view, **self._view_options(), **selection.parse_color_range(arguments.range), wall=self._find_heads()
        )
        if view.wall != "off":
            view = replace(view, thumbnails=False, compare="off", pinned=None)
        view = view if self.is_of_effects else view_of_attention(view)
        if arguments.left_out:
            view = replace(view, left_out=selection.parse_groups(self.results, arguments.left_out))
        if arguments.region:
            if all(map(is_box, arguments.region)):
                view = replace(view, region=parse_region(self.results, arguments.region), region_name="")
            if arguments.kind in {"wall", "atlas"}:  # its scores are about the region
                view = replace(
                    view, thumbnails=False, score=view.score if find_score(view.score).needs_region else "lift"
                )
        is_whole_film = self.start is not None and "frame" in self.figure_axes and not arguments.frames
        return replace(
            view,
            # A film leaves out some frames, and may leave out the view's.
            frame=view.frame if (is_whole_film and not self.is_of_effects) or view.frame in frames else frames[0],
            layer=view.layer if view.layer in layers else layers[0],
            step=view.step if self.start is not None and view.step in steps else steps[-1] if steps else 0,
        )

    def _view_options(self) -> dict[str, Any]:
        names = ("colours", "opacity", "picture", "smooth", "grid", "score", "thumbnails", "unit", "measure")
        look = {name: value for name in names if (value := getattr(self.arguments, name)) is not None}
        if self.arguments.dim is not None:
            look["dim"] = None if self.arguments.dim == "all" else self.arguments.dim
        if self.arguments.colour_scale is not None:
            look["scale"] = self.arguments.colour_scale
        field = {"film": "film", "curves": "curve"}.get(self.arguments.kind)
        return look | {field: self.over} if field else look

    def comparison(self, layers: tuple[int, ...], frames: tuple[int, ...]) -> Comparison | None:
        """Return what differs in the subtracted view."""
        if not self.arguments.against:
            has_pin = self.start is not None and self.start.pinned is not None
            if self.arguments.kind == "difference" and self.other is None and not has_pin:
                raise UserError(
                    "A difference needs two views; name the other with --against "
                    f"{self._suggest_comparison(layers, frames)[0]}, or give --other FILE."
                )
            return None
        suggestions = self._suggest_comparison(layers, frames)
        return parse_comparison(
            self.results, self.arguments.against, self.phases(), suggestions, is_of_effects=self.is_of_effects
        )

    def _suggest_comparison(self, layers: tuple[int, ...], frames: tuple[int, ...]) -> list[str]:
        places = layers, self.heads(), frames
        return suggest_comparison(self.results, *places, is_of_effects=self.is_of_effects)

    # Queries

    def queries(self, view: ViewState, frames: tuple[int, ...]) -> tuple[tuple[PhaseQueries, ...], tuple[str, ...]]:
        """Return the queries of each phase in each frame, and sentences about frames that lack a word.

        A figure over the frames has each query once, in the first frame that has it.
        """
        phases, notes = [], []
        for phase in self.phases():
            if view.measure == "contribution" and self.arguments.kind in effect_maps.WEIGHTS:
                self._require_norms(phase)
            by_frame: list[tuple[NamedQuery, ...]] = [()] * (1 if "frame" in self.figure_axes else len(frames))
            wanted = self._list_queries(phase)
            for query in wanted:
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
            for place in range(0 if wanted else len(by_frame)):
                frame = view.frame if "frame" in self.figure_axes else frames[place]
                with explain_read_errors(self.results, frame):
                    by_frame[place] = self.default_queries(frame)
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
        return selection.find_words(self.results, frame, self._fill_object(text, frame))

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

    def default_queries(self, frame: int) -> tuple[NamedQuery, ...]:
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
