"""Every file that an export writes, and the view of each: known before any work is done. No Qt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis import scene
from viewer.errors import UserError
from viewer.export import scenes, selection
from viewer.export.resolve import resolve_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from viewer.export.arguments import ExportArguments
    from viewer.export.request import Comparison, ExportRequest, Phase
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.view_state import Query, ViewState

    Report = Callable[[int, int], None]
    """Called with how many files, pictures of a video or rows of a table are done, and of how many."""

FILE_AXES: Final[dict[str, tuple[str, ...]]] = {
    "summary": ("layer", "reduce", "step"),
    "heads": ("layer", "step", "head"),
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


@dataclass(frozen=True)
class ExportPlan:
    """All files of one export."""

    request: ExportRequest
    files: tuple[PlannedFile, ...]

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
        plan = replace(plan, files=tuple(replace(f, view=v) for f, v in zip(plan.files, views, strict=True)))
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
    files: list[PlannedFile] = []
    for queries in request.queries:
        steps = request.phase_steps(queries.phase)
        values = {"layer": request.layers, "step": steps, "head": request.heads}
        axes = [axis for axis in varied if axis != "reduce"]
        for frame, named_queries in zip(request.query_frames, queries.by_frame, strict=True):
            for named in named_queries:
                for combination in itertools.product(*(values[axis] for axis in axes)):
                    at = dict(zip(axes, combination, strict=True))
                    for reduction in reductions:
                        view = replace(
                            request.view,
                            frame=frame,
                            query=named.query,
                            layer=at.get("layer", request.view.layer),
                            step=at.get("step", request.view.step if queries.phase == "suffix" else 0),
                            heads=(at["head"],) if "head" in at else request.view.heads,
                            reduce=reduction,
                        )
                        view = _set_comparison(source, request, view)
                        name = file_name(
                            source.results, request, view, queries.phase, named.name if len(named_queries) > 1 else ""
                        )
                        files.append(PlannedFile(request.folder / name, view, _sweep_views(source, request, view)))
            if len(files) > MOST_FILES:
                raise UserError(f"That would be more than {MOST_FILES:,} files; name fewer frames, layers or heads.")
    return ExportPlan(request, tuple(files))


def _axes_key(request: ExportRequest) -> str:
    return f"{request.kind} {request.over}".strip()


def file_name(results: Results, request: ExportRequest, view: ViewState, phase: Phase, query: str) -> str:
    """Return the name of one file, with only those of its positions in which the files of an export differ.

    `query` is the name of the query where a frame has several.
    """
    kind, varied = request.kind, FILE_AXES[_axes_key(request)]
    layer = results.layers[view.layer]
    extra = ""
    if len(request.query_frames) > 1:
        extra += f"_frame{view.frame:0{len(str(results.done - 1))}}"
    if query:
        extra += f"_{selection.file_slug(query)}"
    if kind not in {"summary", "heads"} and "layer" in varied and len(request.layers) > 1:
        extra += f"_L{layer}"
    if phase == "suffix" and "step" in varied and len(request.steps) > 1:
        extra += f"_step{results.steps[view.step]}"
    if kind == "summary":
        return f"{phase}_L{layer}_attn_vis_{view.reduce}{extra}.{request.format}"
    if kind == "heads":
        return f"L{layer}_{phase}_heads{extra}/head_{view.heads[0]:02}.{request.format}"
    if "reduce" in varied and len(request.reductions) > 1:
        extra += f"_{view.reduce}"
    subject = ("maps" if view.thumbnails else view.score) if kind == "atlas" else request.over
    return f"{phase}_{kind}{f'_{subject}' if subject else ''}{extra}.{request.format}"


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
    if comparison.heads:
        changes["heads"] = comparison.heads
    return replace(view, **changes)


def _subtracted_query(results: Results, view: ViewState, comparison: Comparison, frame: int) -> Query:
    """Return the query that is named, else the view's own as it is in the subtracted frame."""
    if comparison.word:
        return selection.find_words(results, frame, comparison.word).query
    if comparison.actions:
        return replace(view.query, kind="action", items=comparison.actions)
    if comparison.frame is None:
        return view.query
    return scene.matched(view.query, results, view.frame, results, frame)


def _sweep_views(source: ExportSource, request: ExportRequest, view: ViewState) -> tuple[ViewState, ...]:
    """Return the views of a video's pictures; empty for other kinds."""
    if request.kind != "video":
        return ()
    if request.over == "frames":
        results = source.results
        return tuple(
            replace(view, frame=frame, query=scene.matched(view.query, results, view.frame, results, frame))
            for frame in request.frames
        )
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
