"""The weight of a query on a region over all frames of a file. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis import scene, scores
from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.query_series import find_same_query
from viewer.errors import NoMapsError
from viewer.model import attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, Query, ViewState


@dataclass(frozen=True, eq=False)
class RegionCurve:
    """The weight on one region in each frame, for one query, layer, step and its heads."""

    name: str
    """Of the region; empty for patches that were marked, which are the same in all frames."""
    color: str
    """`#rrggbb`."""
    values: Floats
    """(frames,); NaN where the region is not known, the prompt lacks words, or there are no maps and scores."""


def read_region_curve(
    results: Results,
    view: ViewState,
    color: str,
    find_cells: Callable[[int], tuple[Cell, ...] | None],
    is_stale: Callable[[], bool],
) -> RegionCurve | None:
    """Return the weight of the view's query on its region in all finished frames, the mean of the view's heads.

    `find_cells(frame)` returns the region's patches in a frame, None where it is not known. Returns None if
    `is_stale()` becomes true.
    """
    values = np.full(results.done, np.nan, np.float32)
    for frame in range(len(values)):
        if is_stale():
            return None
        cells = find_cells(frame)
        query = find_same_query(view.query, results, view.frame, frame) if cells is not None else None
        tokens = scene.find_query_tokens(results, frame, query) if query is not None else ()
        if cells is not None and query is not None and tokens:
            step = view.step if query.kind == "action" else 0
            if not results.has_maps(frame):
                values[frame] = _read_captured(results, view, frame, query, cells, step)
                continue
            parts = [results.column(frame, query.kind, view.layer, token)[step] for token in tokens]
            mass = scores.region_mass(attention.to_float32(np.stack(parts)), cells)  # (tokens, heads)
            values[frame] = mass[:, list(view.heads)].mean() if view.heads else mass.mean()
    return RegionCurve(view.region_name, color, values)


def _read_captured(
    results: Results, view: ViewState, frame: int, query: Query, cells: tuple[Cell, ...], step: int
) -> float:
    """Return the weight as it was computed while capturing; NaN where the region was not scored in that frame."""
    heads = view.heads or None
    attention = QueryAttention(results, frame, query, cells, layers=(view.layer,), steps=(step,), heads=heads)
    try:
        return float(attention.stored_region_mass.mean())
    except NoMapsError:
        return float("nan")
