"""The atlas: one score of every layer and head, and the ranks of heads by it. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis import scores
from viewer.analysis.query_attention import QueryAttention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState


def score_heads(results: Results, view: ViewState) -> Floats:
    """Return the chosen score of every layer and head, the mean of heads in the last column: (layers, heads + 1).

    At the step of the view, or over all steps where the score is a number of them all. Every score is that of the map
    which is shown: the mean of the query's tokens, in the last column that of the heads too. UserError for a score that
    there is not.
    """
    score = scores.find_score(view.score)
    last_step = max(len(results.steps) - 1, 0) if view.query.kind == "action" else 0
    query = QueryAttention(results, view.frame, view.query, view.region, steps=(min(view.step, last_step),))
    values = score.compute(query)[:, 0]  # (layers, heads)
    mean = query.mean_of_heads().compute_or_nan(score.compute)[:, 0]
    return np.concatenate([values, mean], 1).astype(np.float32, copy=False)


def rank_heads(values: Floats, *, lowest: bool) -> list[tuple[int, int]]:
    """Return layers and heads from the best value to the worst; `lowest` where low values are better.

    `values` (layers, heads + 1): without the column of the mean, and without heads that have no value (NaN).
    """
    plain = values[:, :-1]
    order = np.argsort(plain if lowest else -plain, axis=None, kind="stable")  # NaN last
    order = order[: np.isfinite(plain).sum()]
    return [(int(index) // plain.shape[1], int(index) % plain.shape[1]) for index in order]


def find_rank(values: Floats, layer: int, head: int, *, lowest: bool) -> tuple[int, int]:
    """Return the rank of a head's value, counted from 1, and how many other heads have the same value."""
    heads, value = values[:, :-1], values[layer, head]
    better = heads < value if lowest else heads > value
    return int(better.sum()) + 1, int((heads == value).sum()) - 1


class RankWalk:
    """Goes along a ranking of heads, from the best one on."""

    def __init__(self) -> None:
        self._reached: tuple[object, tuple[int, int]] | None = None

    def step(
        self, ranking: object, order: Sequence[tuple[int, int]], current: tuple[int, int] | None, by: int
    ) -> tuple[int, int]:
        """Return the (layer, head) `by` ranks further, or the best one where the walk begins.

        Args:
            ranking: What the order is of; another ranking begins another walk.
            order: (layer, head) pairs, the best first; not empty.
            current: The one that is shown; None for none or several.
            by: Number of ranks; a negative one begins no walk, but goes back from `current`.
        """
        follows = current is not None and current in order and (by < 0 or current == order[0])
        follows = follows or (current is not None and self._reached == (ranking, current))
        place = order.index(current) + by if follows and current is not None else 0
        target = order[min(max(place, 0), len(order) - 1)]
        self._reached = ranking, target
        return target
