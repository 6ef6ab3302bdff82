"""Names of figures' files: different figures never have the same one, whatever export writes them. No Qt.

A name has phase, kind and layer, and everything else in which a figure differs from the plain one: first frame, whole
prompt or all actions, last denoise step, mean of all heads. How a figure looks (colours, size, theme) is not in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from viewer.analysis.region_boxes import find_boxes
from viewer.analysis.scores import find_score
from viewer.export import selection
from viewer.export.selection import create_unique_slug
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.query_series import QuerySeries
    from viewer.export.request import ExportRequest, NamedQuery, Phase
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

MOST_CHARACTERS_OF_FRAMES: Final = 30
"""Longer lists of frames are named by their ends and a checksum."""
MOST_CHARACTERS: Final = 180
"""Of a name without its ending; file systems take 255 bytes."""


def name_figure(
    source: ExportSource,
    request: ExportRequest,
    view: ViewState,
    phase: Phase,
    named: NamedQuery,
    series: QuerySeries | None = None,
) -> str:
    """Return the name of one figure or video, below the folder of the export.

    `view` is what the file shows, `named` its query, `series` the frames that it runs along.
    """
    results, kind = source.results, request.kind
    layer = results.layers[view.layer]
    over = f"_{request.over}" if request.over else ""
    if kind == "heads":
        lead = f"L{layer}_{phase}_heads"
    elif view.measure in FROM_EFFECTS:  # of no layer and no head
        parts = [f"{view.measure}_{kind}{over}", *([] if view.dim is None else [f"dim{view.dim}"])]
        parts += _name_frames(results, request, view) if series is None else _name_series(results, series)
        parts += [] if named.is_default else [create_unique_slug(named.name)]
        parts += _name_values(results, request, replace(view, measure="weight"))
        parts += [_name_subtracted(source, view)] if view.compare == "difference" else []
        return f"{_join_parts(parts)}.{request.format}"
    elif kind == "summary":
        lead = f"{phase}_L{layer}_attn_vis"
    elif kind == "wall":
        lead = f"{phase}_wall_{f'L{layer}' if view.wall == 'layer' else view.wall}_{view.score}"
    elif kind == "atlas":
        lead = f"{phase}_atlas_{'maps' if view.thumbnails else view.score}"
    else:
        lead = f"{phase}_{kind}{over}"
    parts = [lead]
    if kind not in {"summary", "heads", "wall", "atlas"} and "layer" not in request.figure_axes:
        parts.append(f"L{layer}")
    if kind not in {"heads", "wall", "atlas", "curves"}:
        parts += _name_heads(view, results.heads, always=kind == "summary")
    elif kind == "curves" and view.heads:
        parts.append(_name_numbers("head", view.heads))
    parts += _name_frames(results, request, view) if series is None else _name_series(results, series)
    if not named.is_default:
        parts.append(create_unique_slug(named.name))
    if phase == "suffix":
        parts += _name_steps(results, request, view)
    parts += _name_layers(results, request)
    parts += _name_values(results, request, view)
    if view.compare == "difference":
        parts.append(_name_subtracted(source, view))
    stem = _join_parts(parts)
    if kind == "heads":
        return f"{stem}/head_{view.heads[0]:02}.{request.format}"
    return f"{stem}.{request.format}"


def _join_parts(parts: Sequence[str]) -> str:
    """Return the parts of a name as one of at most MOST_CHARACTERS; the end of a longer one is a checksum."""
    stem = "_".join(parts)
    return stem if len(stem) <= MOST_CHARACTERS else f"{stem[: MOST_CHARACTERS - 9]}-{_checksum(stem)}"


def _name_numbers(noun: str, numbers: Sequence[int]) -> str:
    """Return `head5` or `heads1-2+5`."""
    return f"{noun}{'s' * (len(numbers) > 1)}{format_numbers(numbers, '-', '+')}"


def _checksum(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]


def _name_heads(view: ViewState, heads: int, *, always: bool) -> list[str]:
    """Return which heads are shown and how they are reduced; nothing for the mean of all unless `always`."""
    if len(view.heads) == 1 and heads > 1:
        return [_name_numbers("head", view.heads)]
    reduction = [view.reduce] if always or view.reduce != "mean" else []
    return [*reduction, *([_name_numbers("head", view.heads)] if view.heads else [])]


def _name_frames(results: Results, request: ExportRequest, view: ViewState) -> list[str]:
    digits = len(str(max(results.done - 1, 0)))
    return [f"frame{view.frame:0{digits}}"] if view.frame or len(request.frames) > 1 else []


def _name_series(results: Results, series: QuerySeries) -> list[str]:
    """Return the frames of a series; nothing for all frames of the file."""
    frames = series.frames
    if frames == tuple(range(results.done)):
        return []
    text = _name_numbers("frame", sorted(frames))
    if len(text) <= MOST_CHARACTERS_OF_FRAMES:
        return [text]
    return [f"frames{min(frames)}-{max(frames)}-{_checksum(text)}"]


def _name_steps(results: Results, request: ExportRequest, view: ViewState) -> list[str]:
    if not results.steps:
        return []
    all_steps = tuple(range(len(results.steps)))
    if "step" in request.figure_axes:
        return (
            [_name_numbers("step", [results.steps[step] for step in request.steps])]
            if request.steps != all_steps
            else []
        )
    if request.kind == "atlas" and "steps" in find_score(view.score).needs and not view.thumbnails:
        return []  # of all steps
    return [f"step{results.steps[view.step]}"] if len(request.steps) > 1 or view.step != all_steps[-1] else []


def _name_layers(results: Results, request: ExportRequest) -> list[str]:
    if "layer" not in request.figure_axes or len(request.layers) == len(results.layers):
        return []
    return [_name_numbers("layer", [results.layers[layer] for layer in request.layers])]


def _name_values(results: Results, request: ExportRequest, view: ViewState) -> list[str]:
    """Return what the numbers of a figure are, where they are not plain weights, and the region of a score."""
    kind, parts = request.kind, list[str]()
    if kind not in {"atlas", "curves"} and view.measure != "weight":
        parts.append(view.measure)
    if kind not in {"atlas", "curves"} and view.left_out:
        parts.append("without-" + "+".join(name.replace(" ", "-") for name in view.left_out))
    if kind in {"summary", "heads", "wall", "difference", "video"}:
        if view.unit != "weight":
            parts.append(view.unit)
        if view.scale != "linear":
            parts.append(view.scale)
    if kind in {"wall", "atlas"} and not view.thumbnails and find_score(view.score).needs_region:
        boxes = " ".join(map(str, find_boxes(results, view.region)))
        parts.append(create_unique_slug(boxes.replace(":", "-").replace(",", "_")))
    return parts


def _name_subtracted(source: ExportSource, view: ViewState) -> str:
    """Return what is subtracted: of another file its name, else the fields in which the other view differs."""
    if source.other is not None:
        return f"minus_{create_unique_slug(source.other.path.stem)}"
    results, other = source.results, view.pinned
    assert other is not None
    parts = []
    if view.measure in FROM_EFFECTS:  # of no layer, step and head
        other = replace(other, layer=view.layer, step=view.step, heads=view.heads, reduce=view.reduce)
        if other.dim != view.dim:
            parts.append("all-dims" if other.dim is None else f"dim{other.dim}")
    if other.frame != view.frame:
        parts.append(f"frame{other.frame}")
    if other.query != view.query:
        if other.query.kind == "action":
            parts.append(f"action{format_numbers(other.query.items, '-', '+')}")
        else:
            parts.append(create_unique_slug(selection.name_query(results.chips(other.frame), other.query)))
    if other.layer != view.layer:
        parts.append(f"L{results.layers[other.layer]}")
    if other.step != view.step and other.query.kind == "action":
        parts.append(f"step{results.steps[other.step]}")
    if (other.heads, other.reduce) != (view.heads, view.reduce):
        parts += _name_heads(other, results.heads, always=True)
    return "_".join(["minus", *parts]) if parts else "minus_itself"
