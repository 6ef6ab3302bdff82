"""The wall of heads: the maps of all heads of a layer, or of the best heads of all, on one colour range. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis.atlas import rank_heads, score_heads
from viewer.analysis.effects.measured import create_attention_view
from viewer.analysis.film import read_head_maps
from viewer.analysis.scores import find_score
from viewer.model import attention

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

MOST_HEADS: Final = 24


@dataclass(frozen=True, eq=False)
class HeadsWall:
    """Heads, the best first, with their maps and the colour range of all of them."""

    heads: tuple[tuple[int, int], ...]
    """Layer and head of each, as places on the axes of the file."""
    scores: tuple[float, ...]
    maps: Floats
    """(heads, cameras, rows, cols) in the shown unit."""
    low: float
    high: float

    @property
    def largest(self) -> float:
        """The largest weight of all maps."""
        return float(self.maps.max(initial=0))

    @property
    def above(self) -> int:
        """Patches of all maps above the range."""
        return int((self.maps > self.high * (1 + 1e-6)).sum())

    def levels(self, scale: str) -> Floats:
        """Return where the weights lie in the colour table, 0 to 1, like `maps`; ranks are those of each head."""
        if scale == "rank":
            return np.stack([attention.places(head_map, 0.0, 1.0, "rank") for head_map in self.maps])
        return attention.places(self.maps, self.low, self.high, scale)


def read_heads_wall(results: Results, view: ViewState) -> HeadsWall:
    """Return the heads of the view's layer, or the best MOST_HEADS of all where `view.wall` is `best`.

    They are sorted by the view's score; heads without one come last. One colour range holds for all: the locked one, or
    the middle one of the ranges that they have on their own.

    Raises:
        UserError: The query cannot have the score, or the measure needs value norms that the file lacks.
    """
    view = create_attention_view(view)
    scores = score_heads(results, view)
    ranked = rank_heads(scores, lowest=find_score(view.score).is_low_better)
    all_heads = [(layer, head) for layer in range(len(results.layers)) for head in range(results.heads)]
    ranked += [place for place in all_heads if place not in set(ranked)]
    chosen = ranked[:MOST_HEADS] if view.wall == "best" else [place for place in ranked if place[0] == view.layer]
    maps, uniform, keys = read_head_maps(results, view)
    layers, heads = np.array(chosen, int).reshape(-1, 2).T
    factor = keys[layers, heads] if view.unit == "uniform" else np.ones(len(chosen), np.float32)
    picked = maps[layers, heads] * factor[:, None, None, None]
    if view.range == "locked" and view.high > view.low:
        low, high = view.low, view.high
    else:
        # The median of the heads' own ranges: one head with all its weight on a patch must not darken the others.
        high = float(np.median(attention.find_upper_ends(picked.reshape(len(chosen), -1)))) if chosen else 1.0
        low = float((uniform[layers, heads] * factor).min(initial=np.inf)) if view.range == "uniform" else 0.0
        high = max(high, attention.UNIFORM_SPAN * low)
    return HeadsWall(tuple(chosen), tuple(float(scores[place]) for place in chosen), picked, low, high)
