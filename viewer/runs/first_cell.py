"""The head of an answer over a run that is shown first. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.scores import find_score

if TYPE_CHECKING:
    from viewer.runs.answers import RunAtlas


def find_first_cell(atlas: RunAtlas) -> tuple[int, int] | None:
    """Return layer and head, by number, of the best mean, or of the largest effect size of a contrast.

    Where groups of one episode have no effect size, it is the largest difference. The first head where none has a
    value; None where there is no head.
    """
    values = atlas.all.mean
    if atlas.contrast is not None:
        has_effects = np.isfinite(atlas.contrast.effect).any()
        values = np.abs(atlas.contrast.effect if has_effects else atlas.contrast.difference)
    if atlas.contrast is None and find_score(atlas.query.score).is_low_better:
        values = -values
    if not np.isfinite(values).any():
        return (atlas.layers[0], 0) if atlas.layers and atlas.heads else None
    row, head = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return atlas.layers[int(row)], int(head)
