"""Scores of attention against measured effects: one point for each head. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.atlas import score_heads
from viewer.analysis.scores import SCORES, Score, find_score, find_unavailable_scores

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState


@dataclass(frozen=True, eq=False)
class HeadScatter:
    """Two scores of every head: one of its attention, one measured."""

    across: Score
    """The score of the attention."""
    up: Score
    """The measured one."""
    xs: Floats
    ys: Floats
    """(layers, heads) each; NaN where a head has no value."""

    def points(self) -> list[tuple[int, int, float, float]]:
        """Return layer and head, as places on the axes of the file, and both values of each head that has them."""
        is_finite = np.isfinite(self.xs) & np.isfinite(self.ys)
        return [
            (int(layer), int(head), float(self.xs[layer, head]), float(self.ys[layer, head]))
            for layer, head in np.argwhere(is_finite)
        ]


def effect_score_names() -> tuple[str, ...]:
    """Return the names of the scores that come from effects files."""
    return tuple(name for name, score in SCORES.items() if score.needs_effects)


def choose_attention_score(view: ViewState) -> str:
    """Return the score of attention that a view compares with effects: its own one, else the mass on its region."""
    if not find_score(view.score).needs_effects:
        return view.score
    return "region" if view.region else "picture"


def read_scatter(results: Results, view: ViewState, measured: str) -> tuple[HeadScatter | None, str]:
    """Return the scores of all heads, and why there are none, empty if there are.

    `measured` is the name of a score that comes from effects files. The attention is that of the view's step.
    """
    attention = choose_attention_score(view)
    lacks = find_unavailable_scores(results, view)
    for name in (measured, attention):
        if name in lacks:
            return None, lacks[name]
    xs, ys = (score_heads(results, replace(view, score=name))[:, :-1] for name in (attention, measured))
    return HeadScatter(find_score(attention), find_score(measured), xs, ys), ""
