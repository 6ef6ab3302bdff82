"""Attention of several queries of one frame, each by itself: their scores in one pass over what is stored. No Qt."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis import scene
from viewer.analysis.query_attention import QueryAttention, take_axes
from viewer.analysis.regions.picture_patches import ComparedPatches, find_places
from viewer.analysis.regions.row_blocks import BlockedPatches
from viewer.errors import MeanNeedsMapsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.scores import Score
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, Query

TOGETHER: Final = frozenset({"picture", "entropy", "region", "lift", "hit", "iou"})
"""Names of scores that are computed for all queries at once; others query by query."""


class SeveralQueries(QueryAttention):
    """As `QueryAttention`, of several queries of one kind: all that it returns has an axis of queries in front.

    Numbers are the same to the last bit. Reading the summaries of a frame once, instead of query by query, makes a
    table with stored scores two to three times as fast.
    """

    def __init__(
        self,
        results: Results,
        frame: int,
        queries: Sequence[Query],
        region: tuple[Cell, ...] = (),
        *,
        layers: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> None:
        super().__init__(results, frame, queries[0], region, layers=layers, steps=steps, heads=heads)
        self._each = [
            QueryAttention(results, frame, query, region, layers=layers, steps=steps, heads=heads) for query in queries
        ]
        self._tokens = [scene.find_query_tokens(results, frame, query) for query in queries]

    def compute_score(self, score: Score) -> Floats:
        """Return a score of each query: (queries, layers, steps, heads)."""
        if score.name in TOGETHER and self.is_single:
            with contextlib.suppress(MeanNeedsMapsError):
                # Of maps, numpy's logarithm depends in its last bit on where in an array a number lies.
                if score.name != "entropy" or self.stored_entropy is not None:
                    return score.compute(self)
        return np.stack([each.compute_or_nan(score.compute) for each in self._each])

    @cached_property
    def mass(self) -> Floats:
        """Weight on each group of keys: (queries, layers, steps, heads, groups)."""
        stored = self.results.mass(self.frame, self.query.kind)
        if stored is None or self._single_tokens is None:
            return np.stack([each.mass for each in self._each])
        return self.choose(self._rows_of_tokens(stored, self._single_tokens))

    @cached_property
    def maps(self) -> Floats:
        """Weights on the patches: (queries, layers, steps, heads, cameras, rows, cols)."""
        return np.stack([each.maps for each in self._each])

    @cached_property
    def stored_entropy(self) -> Floats | None:
        """Entropy over the patches from the file, (queries, layers, steps, heads); None where one is not stored."""
        tokens = self._single_tokens
        stored = self.results.entropy(self.frame, self.query.kind) if tokens is not None else None
        if stored is None or tokens is None:
            known = [each.stored_entropy for each in self._each]
            stored_of_each = [values for values in known if values is not None]
            return np.stack(stored_of_each) if len(stored_of_each) == len(known) else None
        chosen = self.choose(self._rows_of_tokens(stored, tokens))
        return np.where(self.picture_mass > 0, chosen, np.float32(np.nan))

    @cached_property
    def picture_patches(self) -> BlockedPatches:
        """Sums and ranks of the weights on the picture patches of the region's cameras."""
        patches = BlockedPatches(ComparedPatches.of(self.region, self.bars), find_places(self.region, self.bars.shape))
        for each in self._each if self.region else ():
            image = each.mean_image()
            patches.add(image.reshape(-1, image.shape[-1]))
        patches.finish((len(self._each), *self.mass.shape[1:4]))
        return patches

    @property
    def region_mass(self) -> Floats:
        """Weight on the region, letterbox bars included: (queries, layers, steps, heads)."""
        return self.stored_region_mass if self.has_stored_score("mass") else self.picture_patches.region_mass

    @cached_property
    def stored_region_mass(self) -> Floats:
        """Weight on the region as it was computed while capturing: (queries, layers, steps, heads)."""
        if not self.region:
            return np.zeros(self.mass.shape[:-1], np.float32)
        return self.choose(self._only_item(self._read_stored_score("mass"), "mass"))

    @cached_property
    def is_single(self) -> bool:
        """Whether each query is one word or action."""
        return all(each.is_single for each in self._each)

    def choose(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the chosen layers, steps and heads of numbers of all: (queries, layers, steps, heads, ...)."""
        return take_axes(values, *self._places, first=1)

    def _only_item(self, values: Floats | None, what: str) -> Floats:
        """Return the numbers of each query's only word or action, of values (items, ...): (queries, ...)."""
        items = [each.query.first for each in self._each]
        if values is None or max(items) >= len(values):
            return super()._only_item(None, what)
        return _take_first_axis(values, items)

    @cached_property
    def _single_tokens(self) -> list[int] | None:
        """The token of each query; None where one has several, or none."""
        return [tokens[0] for tokens in self._tokens] if all(len(tokens) == 1 for tokens in self._tokens) else None

    def _rows_of_tokens(self, stored: Floats, tokens: list[int]) -> Floats:
        """Return stored numbers (layers, tokens, [steps,] heads, ...) as (queries, layers, steps, heads, ...)."""
        rows = _take_first_axis(stored.swapaxes(0, 1), tokens)
        return rows[:, :, None] if self.query.kind == "text" else rows


def _take_first_axis(values: npt.NDArray[Any], places: list[int]) -> npt.NDArray[Any]:
    """Return chosen items of the first axis; a view where that is all of them."""
    return values if places == list(range(len(values))) else values.take(places, 0)
