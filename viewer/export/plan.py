"""Every file that an export writes, and the view that each shows: made before any work is done. No Qt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis import scene
from viewer.analysis.initial_view import parse_view
from viewer.analysis.scores import find_score
from viewer.errors import UserError
from viewer.export import metadata, selection
from viewer.model.view_state import ViewState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from viewer.export.request import Options, Phase
    from viewer.io.results import Results

    Report = Callable[[int, int], None]
    """Told how many files, or pictures of a video, are done, of how many."""

AXES: Final[dict[str, tuple[str, ...]]] = {
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
"""Along which axes, besides frame and query, a kind makes a file for each chosen value."""
PICTURED: Final = frozenset({"summary", "heads", "atlas", "film", "difference", "video"})
MEASURED: Final = PICTURED - {"atlas"}
"""Kinds that show weights or, where it is asked for, weights x value norms."""
MOST_FILES: Final = 200_000


@dataclass(frozen=True)
class Job:
    """One file to write."""

    path: Path
    view: ViewState
    sweep: tuple[ViewState, ...] = ()
    """The pictures of a video."""


@dataclass(frozen=True)
class Plan:
    """All files of one export."""

    options: Options
    jobs: tuple[Job, ...]

    @property
    def pictures(self) -> int:
        """How many pictures are painted."""
        return sum(len(job.sweep) or 1 for job in self.jobs)


def base_view(results: Results, options: Options) -> ViewState | None:
    """The view that was given, fitted to the file; None if none was."""
    if not options.view:
        return None
    view = parse_view(metadata.json_of(options.view))
    if results.done == 0:
        return view
    return view.clamped(results.dims(min(max(view.frame, 0), results.done - 1)))


def _dressed(view: ViewState, options: Options) -> ViewState:
    """The view in the look that was asked for."""
    changes: dict[str, Any] = {}
    for name in ("colours", "opacity", "picture", "smooth", "grid", "score", "thumbnails", "unit", "measure"):
        value = getattr(options, name)
        if value is not None:
            changes[name] = value
    if options.colour_scale is not None:
        changes["scale"] = options.colour_scale
    if options.kind in {"film", "curves"}:
        changes["film" if options.kind == "film" else "curve"] = options.along
    if options.range in {"shared", "map"}:
        changes["range"] = options.range
    elif options.range and options.range != "set":
        low, _, high = options.range.partition(":")
        try:
            changes |= {"range": "locked", "low": float(low), "high": float(high)}
        except ValueError:
            raise UserError(f"--range {options.range} cannot be read; write shared, map, set or 0:0.03.") from None
        if not -float("inf") < changes["low"] < changes["high"] < float("inf"):
            raise UserError(f"--range {options.range} is empty; the lower end comes first, as in 0:0.03.")
    return replace(view, **changes)


def plan(results: Results, options: Options, other: Results | None = None) -> Plan:
    """Files and views; UserError for a selection that the file does not have."""
    given = base_view(results, options)
    axes = selection.along_axes(results, options, given)
    fresh = given or ViewState(colours="viridis" if options.kind == "heads" else "inferno")
    fresh = replace(_dressed(fresh, options), heads=axes["head"])
    if options.left_out:
        fresh = replace(fresh, left_out=selection.groups(results, options.left_out))
    if options.region:
        fresh = replace(fresh, region=selection.region(results, options.region))
        if options.kind == "atlas":  # what is asked for is about it
            score = fresh.score if find_score(fresh.score).needs_region else "lift"
            fresh = replace(fresh, thumbnails=False, score=score)
    if options.kind in {"table", "arrays"}:
        return Plan(options, (Job(_folder(results, options) / f"{options.kind}.{options.suffix}", fresh),))
    name = f"{options.kind} {options.along}".strip()
    varied = [axis for axis in AXES[name] if axis != "reduce"]
    frames = axes["frame"] if "frames" not in options.axes else (_kept(fresh.frame, axes["frame"]),)
    if given and "frames" in options.axes and not options.frames:
        frames = (given.frame,)  # a film leaves frames out, perhaps this one
    reduces = tuple(dict.fromkeys(options.reduce)) or (fresh.reduce,)
    heads = axes["head"] or tuple(range(results.heads))
    jobs: list[Job] = []
    for phase in selection.phases(results, options, given):
        if fresh.measure == "contribution" and options.kind in MEASURED:
            _need_norms(results, phase)
        for frame in frames:
            for asking in selection.queries(results, options, given, phase, frame):
                steps = axes["step"] if phase == "suffix" else (0,)
                values = {"layer": axes["layer"], "step": steps, "head": heads}
                for combination in itertools.product(*(values[axis] for axis in varied)):
                    at = dict(zip(varied, combination, strict=True))
                    for reduce in reduces if "reduce" in AXES[name] else reduces[:1]:
                        view = replace(
                            fresh,
                            frame=frame,
                            query=asking.query,
                            layer=at.get("layer", _kept(fresh.layer, axes["layer"])),
                            step=at.get("step", fresh.step if given and fresh.step in steps else steps[-1]),
                            heads=(at["head"],) if "head" in at else fresh.heads,
                            reduce=reduce,
                        )
                        view = _against(results, view, options, given, other)
                        path = _folder(results, options) / file_name(results, options, axes, view, phase, asking.name)
                        jobs.append(Job(path, view, _sweep(results, options, axes, view)))
        if len(jobs) > MOST_FILES:
            raise UserError(f"That would be more than {MOST_FILES:,} files; name fewer frames, layers or heads.")
    return Plan(options, tuple(jobs))


def _need_norms(results: Results, phase: Phase) -> None:
    """UserError where a file has no value norms to weigh with; the picture would show plain weights."""
    if results.value_norms(0, selection.KIND_OF[phase]) is None:
        raise UserError(
            f"{results.path.name} holds no value norms; take --measure weight, or capture it again with norms."
        )


def _kept(place: int, places: tuple[int, ...]) -> int:
    """The place that is looked at, where it is among those that a figure runs along; else the first of them."""
    return place if place in places else places[0]


def _folder(results: Results, options: Options) -> Path:
    stem = results.path.name.removesuffix(".partial")
    return options.folder / selection.slug(stem.rpartition(".")[0] or stem)


def file_name(
    results: Results, options: Options, axes: dict[str, tuple[int, ...]], view: ViewState, phase: str, query: str
) -> str:
    """The name of one file: the practice's own where one frame, query and step are chosen, else with what differs."""
    along, kind = options.along, options.kind
    layer = results.layers[view.layer]
    extra = ""
    if "frames" not in options.axes and len(axes["frame"]) > 1:
        extra += f"_frame{view.frame + 1:0{len(str(results.done))}}"
    several = len(options.words) + len(options.tokens) if phase == "prefix" else len(options.actions)
    if several > 1:
        extra += f"_{selection.slug(query)}"
    name = f"{kind} {along}".strip()
    if kind not in {"summary", "heads"} and "layer" in AXES[name] and len(axes["layer"]) > 1:
        extra += f"_L{layer}"
    if phase == "suffix" and "step" in AXES[name] and len(axes["step"]) > 1:
        extra += f"_step{results.steps[view.step]}"
    if kind == "summary":
        return f"{phase}_L{layer}_attn_vis_{view.reduce}{extra}.{options.suffix}"
    if kind == "heads":
        return f"L{layer}_{phase}_heads{extra}/head_{view.heads[0]:02}.{options.suffix}"
    if "reduce" in AXES[name] and len(options.reduce) > 1:
        extra += f"_{view.reduce}"
    about = ("maps" if view.thumbnails else view.score) if kind == "atlas" else along
    return f"{phase}_{kind}{f'_{about}' if about else ''}{extra}.{options.suffix}"


def _against(
    results: Results, view: ViewState, options: Options, given: ViewState | None, other: Results | None
) -> ViewState:
    """The view with what it is compared to."""
    if options.against:
        changes = _changes(results, view, options.against)
        return replace(view, pinned=replace(view, pinned=None, compare="off", **changes), compare="difference")
    if other is not None:
        return replace(view, pinned=None, compare="difference")
    if options.kind == "difference":
        if given is None or given.pinned is None:
            raise UserError(
                "A difference needs two views; name the other with --against layer=4, or give --other FILE."
            )
        return replace(view, compare="difference")
    return view if view.compare == "difference" and view.pinned is not None else replace(view, compare="off")


def _changes(results: Results, view: ViewState, against: tuple[str, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for part in against:
        field, _, value = part.partition("=")
        if field == "frame":
            changes["frame"] = selection.places(value, range(1, results.done + 1), "frame")[0]
        elif field == "layer":
            changes["layer"] = selection.places(value, results.layers, "layer")[0]
        elif field == "step" and view.query.kind == "text":
            raise UserError("Words have one pass and no denoise steps to compare; name --actions, or --phase suffix.")
        elif field == "step":
            changes["step"] = selection.places(value, results.steps, "denoise step")[0]
        elif field == "head":
            changes["heads"] = selection.places(value, range(results.heads), "head")
        elif field == "action":
            changes["query"] = replace(
                view.query, kind="action", items=selection.places(value, range(1, results.horizon + 1), "action")
            )
        elif field == "word":
            changes["query"] = selection.asking_words(results, changes.get("frame", view.frame), value).query
        elif field == "reduce" and value in {"mean", "max"}:
            changes["reduce"] = value
        else:
            raise UserError(f"--against {part} cannot be read; write frame=2, word=bowl, action=3, step=0, layer=4, "
                            "head=1 or reduce=max.")  # fmt: skip
    if "frame" in changes and "query" not in changes:
        changes["query"] = scene.matched(view.query, results, view.frame, results, changes["frame"])
    return changes


def _sweep(
    results: Results, options: Options, axes: dict[str, tuple[int, ...]], view: ViewState
) -> tuple[ViewState, ...]:
    if options.kind != "video":
        return ()
    axis = options.along.removesuffix("s")
    if axis == "frame":
        return tuple(
            replace(view, frame=frame, query=scene.matched(view.query, results, view.frame, results, frame))
            for frame in axes["frame"]
        )
    if axis == "layer":
        return tuple(replace(view, layer=place) for place in axes[axis])
    return tuple(replace(view, step=place) for place in axes[axis])


def refuse_existing(jobs: tuple[Job, ...], *, overwrite: bool) -> None:
    """UserError before any work where a file would be replaced that may not be, or two jobs have one name."""
    paths = [job.path for job in jobs]
    if len({str(path).casefold() for path in paths}) != len(paths):  # as disks do that do not tell a from A
        raise UserError("Two of these files would have the same name; name fewer words at once.")
    try:
        there = [path for path in paths if path.exists()]
    except OSError as error:
        raise UserError(f"{paths[0].parent.name[:60]} cannot be written to ({error.strerror}); choose another folder "
                        "with -o.") from None  # fmt: skip
    if any(path.is_dir() for path in there):
        raise UserError(f"{next(path for path in there if path.is_dir())} is a folder; choose another folder with -o.")
    if there and not overwrite:
        more = f" and {len(there) - 1} more exist" if len(there) > 1 else " exists"
        raise UserError(f"{there[0]}{more}; add --overwrite to replace, or choose another folder with -o.")
