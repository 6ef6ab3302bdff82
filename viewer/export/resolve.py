"""Resolve the arguments of an export against the open file, once, into an `ExportRequest`. No Qt."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from viewer.analysis import film, scene
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.scores import find_score
from viewer.errors import UserError
from viewer.export import selection
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
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import SHARED_RANGES, Query, ViewState

if TYPE_CHECKING:
    from viewer.export.arguments import ExportArguments
    from viewer.export.request import Phase
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.view_state import Kind

QUERY_KINDS: dict[Phase, Kind] = {"prefix": "text", "suffix": "action"}
PHASES: dict[Kind, Phase] = {"text": "prefix", "action": "suffix"}
WEIGHTS = frozenset({"summary", "heads", "film", "difference", "video"})
"""Kinds that show weights or, where it is asked for, weights x value norms."""


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
            self.start = self.start.clamped(self.results.dims(frame))
        self.over = arguments.resolve_over()
        self.figure_axes = axes_within_figure(arguments.kind, self.over)

    def request(self) -> ExportRequest:
        results, arguments = self.results, self.arguments
        frames, layers, steps = self.frames(), self.layers(), self.steps()
        heads = self.heads()
        view = self.view(frames, layers, steps)
        view = replace(view, heads=() if len(heads) == results.heads and arguments.kind != "heads" else heads)
        return ExportRequest(
            kind=arguments.kind,
            file=results.path,
            other=None if self.other is None else self.other.path,
            folder=arguments.folder / _folder_name(results),
            format=arguments.format,
            overwrite=arguments.overwrite,
            processes=arguments.processes,
            view=view,
            over=self.over,
            frames=frames,
            layers=layers,
            steps=steps,
            heads=heads or tuple(range(results.heads)),
            queries=self.queries(view, (view.frame,) if "frame" in self.figure_axes else frames),
            reductions=tuple(dict.fromkeys(arguments.reduce)) or (view.reduce,),
            comparison=self.comparison(),
            shares_range=arguments.range == "set",
            table_of=arguments.table_of,
            width=arguments.size or SIZES.get(arguments.kind, 480),
            scale=arguments.scale or SCALES.get(arguments.kind, 2.0),
            theme=arguments.theme,
            caption=arguments.caption,
            rate=arguments.rate,
        )

    # Axes

    def frames(self) -> tuple[int, ...]:
        """The named frames, else the view's; a figure over frames has those of its prompt, as the window plays them."""
        results, kind = self.results, self.arguments.kind
        if self.arguments.frames:
            return parse_positions(self.arguments.frames, range(results.done), "frame")
        frame = 0 if self.start is None else self.start.frame
        if "frame" not in self.figure_axes:
            return (frame,)
        if kind == "curves":
            return tuple(range(results.done))
        frames = build_frame_timeline(results).along(frame)
        if kind != "film":
            return frames
        # As in the window, a film of thousands of frames shows some of them.
        return film.select_frames(frames, film.MAX_FRAMES_OF_LAYERS if "layer" in self.figure_axes else film.MAX_FRAMES)

    def layers(self) -> tuple[int, ...]:
        results, arguments = self.results, self.arguments
        if arguments.layers:
            return parse_positions(arguments.layers, results.layers, "layer")
        if arguments.is_numbers or "layer" in self.figure_axes:
            return tuple(range(len(results.layers)))
        if self.start is not None:
            return (self.start.layer,)
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
        """The named heads, else the view's; empty where neither names any."""
        if self.arguments.heads:
            return parse_positions(self.arguments.heads, range(self.results.heads), "head")
        return () if self.start is None else self.start.heads

    # The view

    def view(self, frames: tuple[int, ...], layers: tuple[int, ...], steps: tuple[int, ...]) -> ViewState:
        """The view that all figures vary; its own position on an axis stays where it is among the chosen ones."""
        arguments = self.arguments
        view = self.start or ViewState(colours="viridis" if arguments.kind == "heads" else "inferno")
        view = replace(view, **self._look(), **self._colour_range())
        if arguments.left_out:
            view = replace(view, left_out=selection.parse_groups(self.results, arguments.left_out))
        if arguments.region:
            view = replace(view, region=selection.parse_region(self.results, arguments.region))
            if arguments.kind == "atlas":  # its scores are about the region
                view = replace(
                    view, thumbnails=False, score=view.score if find_score(view.score).needs_region else "lift"
                )
        is_whole_film = self.start is not None and "frame" in self.figure_axes and not arguments.frames
        return replace(
            view,
            # A film leaves out some frames, and may leave out the view's.
            frame=view.frame if is_whole_film or view.frame in frames else frames[0],
            layer=view.layer if view.layer in layers else layers[0],
            step=view.step if self.start is not None and view.step in steps else steps[-1] if steps else 0,
        )

    def _look(self) -> dict[str, Any]:
        names = ("colours", "opacity", "picture", "smooth", "grid", "score", "thumbnails", "unit", "measure")
        look = {name: value for name in names if (value := getattr(self.arguments, name)) is not None}
        if self.arguments.colour_scale is not None:
            look["scale"] = self.arguments.colour_scale
        field = {"film": "film", "curves": "curve"}.get(self.arguments.kind)
        return look | {field: self.over} if field else look

    def _colour_range(self) -> dict[str, Any]:
        text = self.arguments.range
        if text in {"", "set"}:
            return {"range": "uniform"} if text else {}
        if text in {*SHARED_RANGES, "map"}:
            return {"range": text}
        low_text, _, high_text = text.partition(":")
        try:
            low, high = float(low_text), float(high_text)
        except ValueError:
            raise UserError(f"--range {text} cannot be read; write uniform, shared, map, set or 0:0.03.") from None
        if not -inf < low < high < inf:
            raise UserError(f"--range {text} is empty; the lower end comes first, as in 0:0.03.")
        return {"range": "locked", "low": low, "high": high}

    # Queries

    def queries(self, view: ViewState, frames: tuple[int, ...]) -> tuple[PhaseQueries, ...]:
        found = []
        for phase in self.phases():
            if view.measure == "contribution" and self.arguments.kind in WEIGHTS:
                self._require_norms(phase)
            by_frame = []
            for frame in frames:
                with explain_read_errors(self.results, frame):
                    by_frame.append(self.queries_of_frame(phase, frame))
            found.append(PhaseQueries(phase, tuple(by_frame)))
        return tuple(found)

    def phases(self) -> tuple[Phase, ...]:
        """Prefix, suffix or both: as named, as the named queries need, as in the view, or all that the file holds."""
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
        held = (words if results.chips(0) else ()) + (actions if results.horizon else ())
        needed = (words if arguments.asks_for_words else ()) + (actions if arguments.actions else ())
        if not arguments.phases:
            return needed or ((PHASES[self.start.query.kind],) if self.start is not None else held)
        named = tuple(dict.fromkeys(arguments.phases))
        for phase in named:
            if phase not in held:
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

    def queries_of_frame(self, phase: Phase, frame: int) -> tuple[NamedQuery, ...]:
        """The queries of one phase in one frame, words found by their text."""
        if phase == "suffix":
            return self._actions()
        results, arguments = self.results, self.arguments
        if arguments.asks_for_words:
            words = [selection.find_words(results, frame, text) for text in arguments.words]
            tokens = [
                NamedQuery(selection.find_words_of_tokens(results, frame, text), f"token{text}")
                for text in arguments.tokens
            ]
            return (*words, *tokens)
        chips = results.chips(frame)
        if self.start is not None and self.start.query.kind == "text":
            query = scene.matched(self.start.query, results, self.start.frame, results, frame)
            return (NamedQuery(query, " ".join(chips[item].label for item in query.items if item < len(chips))),)
        if arguments.is_numbers and self.start is None:
            return tuple(NamedQuery(Query("text", (item,)), chip.label) for item, chip in enumerate(chips))
        prompt = tuple(item for item, chip in enumerate(chips) if chip.role == "prompt")
        return (NamedQuery(Query("text", prompt or (0,)), "words"),)

    def _actions(self) -> tuple[NamedQuery, ...]:
        horizon, arguments = self.results.horizon, self.arguments
        if arguments.actions:
            queries = [Query("action", parse_positions(text, range(horizon), "action")) for text in arguments.actions]
        elif self.start is not None and self.start.query.kind == "action":
            queries = [self.start.query]
        elif arguments.is_numbers and self.start is None:
            queries = [Query("action", (item,)) for item in range(horizon)]
        else:
            queries = [Query("action", tuple(range(horizon)))]
        return tuple(NamedQuery(query, self._action_name(query)) for query in queries)

    def _action_name(self, query: Query) -> str:
        """`action 0-2` in tables and arrays, and `action0-2` in file names."""
        numbers = format_numbers(query.items, "-", "+")
        return f"action {numbers}" if self.arguments.is_numbers else f"action{numbers}"

    # Comparison

    def comparison(self) -> Comparison | None:
        """What differs in the subtracted view, read from texts such as `layer=4`."""
        if not self.arguments.against:
            if self.arguments.kind == "difference" and self.other is None and not (self.start and self.start.pinned):
                raise UserError(
                    "A difference needs two views; name the other with --against layer=4, or give --other FILE."
                )
            return None
        results, fields = self.results, dict[str, Any]()
        for part in self.arguments.against:
            field, _, value = part.partition("=")
            if field == "frame":
                fields["frame"] = parse_positions(value, range(results.done), "frame")[0]
            elif field == "layer":
                fields["layer"] = parse_positions(value, results.layers, "layer")[0]
            elif field == "step" and "prefix" in self.phases():
                raise UserError(
                    "Words have one pass and no denoise steps to compare; name --actions, or --phase suffix."
                )
            elif field == "step":
                fields["step"] = parse_positions(value, results.steps, "denoise step")[0]
            elif field == "head":
                fields["heads"] = parse_positions(value, range(results.heads), "head")
            elif field == "action":
                fields["actions"] = parse_positions(value, range(results.horizon), "action")
            elif field == "word":
                fields["word"] = value
            elif field == "reduce" and value in {"mean", "max"}:
                fields["reduce"] = value
            else:
                raise UserError(f"--against {part} cannot be read; write frame=2, word=bowl, action=3, step=0, layer=4,"
                                " head=1 or reduce=max.")  # fmt: skip
        return Comparison(**fields)


def _folder_name(results: Results) -> str:
    name = results.path.name.removesuffix(".partial")
    return selection.file_slug(name.rpartition(".")[0] or name)
