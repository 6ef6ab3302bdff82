"""Every file that an export writes, and the view of each: known before any work is done. No Qt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis import film
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.query_series import (
    QuerySeries,
    describe_frames_left_out,
    find_query_series,
    find_same_query,
    name_words,
)
from viewer.errors import UserError
from viewer.export import scenes, selection
from viewer.export.figures import effect_maps, file_names
from viewer.export.resolve.request_resolver import resolve_request
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.export.arguments import ExportArguments
    from viewer.export.request import Comparison, ExportRequest, NamedQuery
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.view_state import Query, ViewState

    Report = Callable[[int, int], None]
    """Called with how many files, pictures of a video or rows of a table are done, and of how many."""

FILE_AXES: Final[dict[str, tuple[str, ...]]] = {
    "summary": ("layer", "reduce", "step"),
    "heads": ("layer", "step", "head"),
    "wall": ("layer", "step"),
    "atlas": ("step",),
    "film layers": ("step", "reduce"),
    "film steps": ("reduce",),
    "film frames": ("layer", "step", "reduce"),
    "film layers-frames": ("step", "reduce"),
    "curves layers": ("step",),
    "curves steps": ("layer",),
    "curves frames": ("layer", "step"),
    "difference": ("layer", "step", "reduce"),
    "video layers": ("step", "reduce"),
    "video steps": ("layer", "reduce"),
    "video frames": ("layer", "step", "reduce"),
}
"""Axes, besides frame and query, along which a kind has a file for each chosen position."""
MOST_FILES: Final = 200_000


@dataclass(frozen=True)
class PlannedFile:
    """One file to write."""

    path: Path
    view: ViewState
    sweep: tuple[ViewState, ...] = ()
    """The pictures of a video."""
    series: QuerySeries | None = None
    """The frames of a figure that runs along them."""


@dataclass(frozen=True)
class ExportPlan:
    """All files of one export."""

    request: ExportRequest
    files: tuple[PlannedFile, ...]
    unpaired: tuple[str, ...] = ()
    """Sentences about frames without a counterpart in the file that is subtracted."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about frames that are left out because a prompt lacks a word, or the subtracted file the frame."""
        series = dict.fromkeys(file.series for file in self.files if file.series is not None and file.series.left_out)
        total = len(self.request.frames)
        left_out_notes = (describe_frames_left_out(part.words, part.left_out, total) for part in series)
        paired = {file.series: file.series.describe_unpaired(total) for file in self.files if file.series is not None}
        paired_notes = (sentence for sentence in paired.values() if sentence)
        return (*self.request.notes, *left_out_notes, *self.unpaired, *paired_notes)

    @property
    def pictures(self) -> int:
        """How many pictures are painted: several for a video."""
        return sum(len(file.sweep) or 1 for file in self.files)


def prepare_export(source: ExportSource, arguments: ExportArguments) -> ExportPlan:
    """Return the plan that arguments ask for, ready to be written.

    Raises:
        UserError: The file does not have what is asked for, or a file that exists would be replaced.
    """
    request = resolve_request(source, arguments)
    with scenes.explain_read_errors(source.results):
        plan = build_plan(source, request)
    check_targets(plan.files, overwrite=request.overwrite)
    if request.shares_range:
        views = scenes.share_range(source, [file.view for file in plan.files])
        plan = replace(
            plan, files=tuple(replace(file, view=view) for file, view in zip(plan.files, views, strict=True))
        )
    return plan


def build_plan(source: ExportSource, request: ExportRequest) -> ExportPlan:
    """Return the files of an export and the view of each.

    Raises:
        UserError: There would be more than MOST_FILES files.
    """
    if request.is_numbers:
        return ExportPlan(request, (PlannedFile(request.folder / f"{request.kind}.{request.format}", request.view),))
    varied = FILE_AXES[_axes_key(request)]
    reductions = request.reductions if "reduce" in varied else request.reductions[:1]
    timeline = build_frame_timeline(source.results) if "frame" in request.figure_axes else None
    files: list[PlannedFile] = []
    unpaired: dict[str, list[int]] = {}
    for queries in request.queries:
        steps = request.phase_steps(queries.phase)
        values = {"layer": request.layers, "step": steps, "head": request.heads}
        axes = [axis for axis in varied if axis != "reduce"]
        for named in itertools.chain.from_iterable(queries.by_frame):
            start, series = _find_series(source.results, request, named, timeline)
            if series is not None:
                series = _leave_out_unpaired(source, start, series)
                start = _start_in_series(source.results, start, series)
            elif source.is_unpaired(start) and len(request.frames) > 1:
                unpaired.setdefault(name_words(source.results, start.frame, start.query), []).append(start.frame)
                continue
            if request.region is not None:
                start = request.region.put_into(start)
            for combination in itertools.product(*(values[axis] for axis in axes)):
                at = dict(zip(axes, combination, strict=True))
                for reduction in reductions:
                    view = replace(
                        start,
                        layer=at.get("layer", request.view.layer),
                        step=at.get("step", request.view.step if queries.phase == "suffix" else 0),
                        heads=(at["head"],) if "head" in at else request.view.heads,
                        reduce=reduction,
                    )
                    view = _set_comparison(source, request, view)
                    effect_maps.check_subtracted(source, view)
                    name = file_names.name_figure(source, request, view, queries.phase, named, series)
                    sweep = _sweep_views(source, request, view, series)
                    files.append(PlannedFile(request.folder / name, view, sweep, series))
            if len(files) > MOST_FILES:
                raise UserError(f"That would be more than {MOST_FILES:,} files; name fewer frames, layers or heads.")
    other = source.other.path.name if source.other is not None else ""
    if unpaired and not files:
        words = next(iter(unpaired))
        with_words = f" with {words}" if words else ""
        raise UserError(f"{other} has none of these frames{with_words}; name words or frames that both files have.")
    measured = _name_measured(request.view)
    unpaired_series = [QuerySeries((), (), words, tuple(frames), other, measured) for words, frames in unpaired.items()]
    return ExportPlan(
        request, tuple(files), tuple(part.describe_unpaired(len(request.frames)) for part in unpaired_series)
    )


def _leave_out_unpaired(source: ExportSource, view: ViewState, series: QuerySeries) -> QuerySeries:
    """Return a series without the frames that have no counterpart in the file that is subtracted.

    Raises:
        UserError: No frame has one.
    """
    if source.other is None:
        return series
    unpaired = []
    for frame in series.frames:
        query = find_same_query(view.query, source.results, view.frame, frame)
        if query is None or source.is_unpaired(replace(view, frame=frame, query=query)):
            unpaired.append(frame)
    paired = tuple(frame for frame in series.frames if frame not in set(unpaired))
    if not paired:
        words = f" with {series.words}" if series.words else ""
        raise UserError(f"{source.other.path.name} has none of these frames{words}; name words or frames of both.")
    return series._replace(
        frames=paired, unpaired=tuple(unpaired), other=source.other.path.name, measured=_name_measured(view)
    )


def _name_measured(view: ViewState) -> str:
    return f"{view.measure}s" if view.measure in FROM_EFFECTS else ""


def _start_in_series(results: Results, view: ViewState, series: QuerySeries) -> ViewState:
    """Return a view at a frame that has a counterpart. A film, which leaves out some frames, may lack the view's."""
    if view.frame not in series.unpaired:
        return view
    query = find_same_query(view.query, results, view.frame, series.frames[0]) or view.query
    return replace(view, frame=series.frames[0], query=query)


def _axes_key(request: ExportRequest) -> str:
    return f"{request.kind} {request.over}".strip()


def _find_series(
    results: Results, request: ExportRequest, named: NamedQuery, timeline: FrameTimeline | None
) -> tuple[ViewState, QuerySeries | None]:
    """Return the view of a query, and the frames of a figure that runs along them: those that have the query."""
    if timeline is None:
        return replace(request.view, frame=named.frame, query=named.query), None
    series = find_query_series(results, named.query, named.frame, request.frames, timeline.prompts)
    # A film leaves out some frames, and may leave out the view's.
    frame = request.view.frame if request.view.frame in series.frames else series.frames[0]
    query = find_same_query(named.query, results, named.frame, frame) or named.query
    if request.kind == "film" and not request.has_named_frames:  # as in the window
        most = film.MAX_FRAMES_OF_LAYERS if "layer" in request.figure_axes else film.MAX_FRAMES
        series = series._replace(frames=film.select_frames(series.frames, most))
    return replace(request.view, frame=frame, query=query), series


def _set_comparison(source: ExportSource, request: ExportRequest, view: ViewState) -> ViewState:
    """Return the view with what it is compared with."""
    if request.comparison is not None:
        subtracted = _subtracted_view(source.results, view, request.comparison)
        return replace(view, pinned=replace(subtracted, pinned=None, compare="off"), compare="difference")
    if source.other is not None:
        return replace(view, pinned=None, compare="difference")
    is_difference = view.pinned is not None and (request.kind == "difference" or view.compare == "difference")
    return replace(view, compare="difference" if is_difference else "off")


def _subtracted_view(results: Results, view: ViewState, comparison: Comparison) -> ViewState:
    frame = view.frame if comparison.frame is None else comparison.frame
    changes: dict[str, Any] = {"frame": frame, "query": _subtracted_query(results, view, comparison, frame)}
    for name in ("layer", "step", "reduce"):
        if (value := getattr(comparison, name)) is not None:
            changes[name] = value
    if comparison.dim is not None:
        changes["dim"] = None if comparison.dim == "all" else comparison.dim
    if comparison.heads:
        changes["heads"] = comparison.heads
    return replace(view, **changes)


def _subtracted_query(results: Results, view: ViewState, comparison: Comparison, frame: int) -> Query:
    """Return the query that is named, else the view's own as it is in the subtracted frame.

    Raises:
        UserError: The prompt of that frame lacks the words.
    """
    if comparison.word:
        return selection.find_words(results, frame, comparison.word).query
    if comparison.actions:
        return view.query._replace(kind="action", items=comparison.actions)
    if comparison.frame is None:
        return view.query
    query = find_same_query(view.query, results, view.frame, frame)
    if query is None:
        words = name_words(results, view.frame, view.query)
        raise UserError(f"The prompt of frame {frame} lacks {words}; add word= and one of its words to --against.")
    return query


def _sweep_views(
    source: ExportSource, request: ExportRequest, view: ViewState, series: QuerySeries | None
) -> tuple[ViewState, ...]:
    """Return the views of a video's pictures; empty for other kinds."""
    if request.kind != "video":
        return ()
    if series is not None:
        results = source.results
        queries = ((frame, find_same_query(view.query, results, view.frame, frame)) for frame in series.frames)
        return tuple(replace(view, frame=frame, query=query) for frame, query in queries if query is not None)
    if request.over == "layers":
        return tuple(replace(view, layer=layer) for layer in request.layers)
    return tuple(replace(view, step=step) for step in request.steps)


def check_targets(files: Sequence[PlannedFile], *, overwrite: bool) -> None:
    """Check before any work that every file can have its name.

    Raises:
        UserError: Two files have one name, a folder has it, or a file has it and may not be replaced.
    """
    paths = [file.path for file in files]
    if len({str(path).casefold() for path in paths}) != len(paths):  # some file systems ignore case
        raise UserError("Two of these files would have the same name; name fewer words at once.")
    try:
        existing = [path for path in paths if path.exists()]
    except OSError as error:
        raise UserError(f"{paths[0].parent.name[:60]} cannot be written to ({error.strerror}); choose another folder "
                        "with -o.") from None  # fmt: skip
    for path in existing:
        if path.is_dir():
            raise UserError(f"{path} is a folder; choose another folder with -o.")
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise UserError(f"{existing[0]}{more}; add --overwrite to replace, or choose another folder with -o.")
