"""Which words and actions look at a region, layer by layer and head by head. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from viewer.analysis import scene, scores
from viewer.analysis.query_attention import QueryAttention
from viewer.model import attention
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, ViewState

MAX_ROWS: Final = 200


class RankedHead(NamedTuple):
    """One row of the ranking: a head's weight on the region, for one query."""

    query: Query
    layer: int
    step: int
    head: int
    mass: float
    """Weight on the region."""


class HeadGroup(NamedTuple):
    """The rows of one head, heaviest first."""

    layer: int
    head: int
    rows: tuple[RankedHead, ...]


def group_by_head(rows: Sequence[RankedHead]) -> list[HeadGroup]:
    """Return rows, heaviest first, by their heads; the head with the heaviest row first."""
    rows_by_head: dict[tuple[int, int], list[RankedHead]] = {}
    for row in rows:
        rows_by_head.setdefault((row.layer, row.head), []).append(row)
    return [HeadGroup(layer, head, tuple(members)) for (layer, head), members in rows_by_head.items()]


def rank_by_region(
    results: Results, view: ViewState, is_stale: Callable[[], bool], most: int = MAX_ROWS
) -> list[RankedHead] | None:
    """Return the heads of all words and actions with the most weight on the view's region, heaviest first.

    At most `most`; None if `is_stale()` becomes true.
    """
    rows: list[RankedHead] = []
    chips = results.chips(view.frame)
    queries = [Query("text", (item,)) for item in range(len(chips))]
    queries += [Query("action", (item,)) for item in range(results.horizon)]
    least = 0.0
    for query in queries:
        if not results.has_maps(view.frame):
            mass = QueryAttention(results, view.frame, query, view.region).stored_region_mass
            least = _add_best(rows, query, mass, most, least)
            continue
        parts = []
        for token in scene.find_query_tokens(results, view.frame, query):
            if is_stale():
                return None
            parts.append(_read_region_mass(results, view.frame, query, token, view.region))
        mass = np.mean(parts, axis=0, dtype=np.float32)  # (layers, steps, heads)
        least = _add_best(rows, query, mass, most, least)
    rows.sort(key=lambda row: (-row.mass, row.layer, row.step, row.head))
    return rows[:most]


def _add_best(rows: list[RankedHead], query: Query, mass: Floats, most: int, least: float) -> float:
    """Add a query's heaviest heads, of masses (layers, steps, heads); return above which weight others are added."""
    flat = mass.ravel()
    best = np.argpartition(-flat, min(most, flat.size) - 1)[:most]
    for index in best[flat[best] > least].tolist():
        layer, step, head = np.unravel_index(index, mass.shape)
        rows.append(RankedHead(query, int(layer), int(step), int(head), float(flat[index])))
    if len(rows) > 4 * most:
        rows.sort(key=lambda row: -row.mass)
        del rows[most:]
        least = rows[-1].mass
    return least


def _read_region_mass(results: Results, frame: int, query: Query, token: int, region: tuple[Cell, ...]) -> Floats:
    """Return the weight of one token on the region: (layers, steps, heads)."""
    # One layer a read, so that the window's own reads never wait long for the file's lock.
    parts = [
        scores.region_mass(attention.to_float32(results.column(frame, query.kind, layer, token)), region)
        for layer in range(len(results.layers))
    ]
    return np.stack(parts)
