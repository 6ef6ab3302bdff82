from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from viewer.analysis.atlas import find_rank, rank_heads, score_heads
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results


def test_atlas_scores_are_the_summaries(small: Path, results: Results) -> None:
    state = ViewState(query=Query("action", (3,)), step=1)
    mass = score_heads(results, state)
    with h5py.File(small, locking=False) as file:
        stored = file["action/mass"][0, :, 3, 1]
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
        names = list(file["action/mass"].attrs["groups"])
    pictures = stored[..., names.index("exterior")] + stored[..., names.index("wrist")]
    assert mass[:, :-1] == pytest.approx(pictures, abs=4e-3)
    assert mass[:, -1] == pytest.approx(pictures.mean(1), abs=4e-3)
    found = score_heads(results, ViewState(query=Query("action", (3,)), step=1, score="entropy"))
    assert found.shape == (4, 4)
    share = block[..., ~results.bars(0)]
    share /= share.sum(-1, keepdims=True)
    assert found[:, :-1] == pytest.approx(-(share * np.log(share)).sum(-1), rel=1e-3), "bars are left out"
    region = ((0, 5, 5), (1, 8, 8))
    part = score_heads(results, ViewState(query=Query("action", (3,)), step=1, score="region", region=region))
    with h5py.File(small, locking=False) as file:
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
    assert part[:, :-1] == pytest.approx(block[:, :, 0, 5, 5] + block[:, :, 1, 8, 8], rel=1e-4)


def test_ranking_puts_the_best_first() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.4, np.nan, 0.2]], np.float32)
    assert rank_heads(scores, lowest=False)[:2] == [(0, 1), (1, 0)]
    assert rank_heads(scores, lowest=True)[0] == (0, 0)
    assert len(rank_heads(scores, lowest=True)) == 3, "a head without a score has no rank"
    assert [find_rank(scores, 0, head, lowest=False) for head in (0, 1)] == [(3, 0), (1, 0)]
    tied = np.array([[1, 0, 0.5], [1, 0, 0.5], [1, 1, 0.5]], np.float32)
    assert find_rank(tied, 0, 0, lowest=False) == (1, 3), "with three others"
    assert find_rank(tied, 1, 1, lowest=False) == (5, 1)
    assert find_rank(tied, 1, 1, lowest=True) == (1, 1)
