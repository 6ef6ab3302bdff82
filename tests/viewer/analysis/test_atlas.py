from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest

from viewer.analysis.atlas import RankWalk, find_rank, rank_heads, score_heads
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path


def test_scored_heads_equal_the_stored_summaries(small: Path, results: Results) -> None:
    state = ViewState(query=Query("action", (3,)), step=1)
    mass = score_heads(results, state)
    with h5py.File(small, locking=False) as file:
        stored = file["action/mass"][0, :, 3, 1]
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
        names = list(file["action/mass"].attrs["groups"])
    pictures = stored[..., names.index("exterior")] + stored[..., names.index("wrist")]
    assert mass[:, :-1] == pytest.approx(pictures, abs=4e-3)
    assert mass[:, -1] == pytest.approx(pictures.mean(1), abs=4e-3)
    scores = score_heads(results, ViewState(query=Query("action", (3,)), step=1, score="entropy"))
    assert scores.shape == (4, 4)
    share = block[..., ~results.bars(0)]
    share /= share.sum(-1, keepdims=True)
    assert scores[:, :-1] == pytest.approx(-(share * np.log(share)).sum(-1), rel=1e-3), "bars are left out"
    region = ((0, 5, 5), (1, 8, 8))
    part = score_heads(results, ViewState(query=Query("action", (3,)), step=1, score="region", region=region))
    with h5py.File(small, locking=False) as file:
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
    assert part[:, :-1] == pytest.approx(block[:, :, 0, 5, 5] + block[:, :, 1, 8, 8], rel=1e-4)


@pytest.mark.parametrize("items", [(3,), (0, 2, 4)])
def test_change_score_is_that_of_the_mean_map(small: Path, results: Results, items: tuple[int, ...]) -> None:
    scores = score_heads(results, ViewState(query=Query("action", items), step=1, score="change"))
    with h5py.File(small, locking=False) as file:
        block = file["action/to_image"][0].astype("f4")[:, list(items)].mean(1)  # layer, step, head, camera, row, col
    flat = np.concatenate([block, block.mean(2, keepdims=True)], 2).reshape(*block.shape[:2], block.shape[2] + 1, -1)
    assert scores == pytest.approx(np.abs(np.diff(flat, axis=1)).sum(-1).mean(1) / 2, rel=1e-3)


def test_ranked_heads_start_with_the_best() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.4, np.nan, 0.2]], np.float32)
    assert rank_heads(scores, lowest=False)[:2] == [(0, 1), (1, 0)]
    assert rank_heads(scores, lowest=True)[0] == (0, 0)
    assert len(rank_heads(scores, lowest=True)) == 3, "a head without a score has no rank"
    assert [find_rank(scores, 0, head, lowest=False) for head in (0, 1)] == [(3, 0), (1, 0)]
    tied = np.array([[1, 0, 0.5], [1, 0, 0.5], [1, 1, 0.5]], np.float32)
    assert find_rank(tied, 0, 0, lowest=False) == (1, 3), "with three others"
    assert find_rank(tied, 1, 1, lowest=False) == (5, 1)
    assert find_rank(tied, 1, 1, lowest=True) == (1, 1)


@pytest.mark.parametrize("stored", [np.nan, 0.0], ids=["as capture writes it", "as early files have it"])
def test_entropy_of_a_row_without_weight_on_pictures_is_undefined(tmp_path: Path, stored: float) -> None:
    def plant(kind: str, image: np.ndarray, words: np.ndarray, actions: np.ndarray) -> None:
        if kind == "action":
            image[1, 3, :, 0] = 0  # layer, action, steps, head

    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, plant=plant))
    with h5py.File(path, "r+") as file:
        assert np.isnan(file["action/entropy"][0, 1, 3, :, 0]).all()
        file["action/entropy"][0, 1, 3, :, 0] = stored
        expected = file["action/entropy"][0, :, 3, 2]
    expected[1, 0] = np.nan
    results = Results(path)
    values = score_heads(results, ViewState(query=Query("action", (3,)), step=2, score="entropy"))
    results.close()
    assert np.array_equal(values[:, :-1], expected, equal_nan=True)


def test_stored_and_computed_entropies_agree(tmp_path: Path) -> None:
    values = []
    for summaries in (True, False):
        path = make_results.write(tmp_path / f"{summaries}.h5", make_results.Recipe(frames=1, summaries=summaries))
        results = Results(path)
        assert (results.entropy(0, "text") is not None) == summaries
        for query in (Query("action", (3,)), Query("text", (4,))):
            values.append(score_heads(results, ViewState(query=query, score="entropy")))
        results.close()
    assert values[0] == pytest.approx(values[2], rel=1e-4)
    assert values[1] == pytest.approx(values[3], rel=1e-4)


def test_next_ranked_head_begins_with_the_best() -> None:
    order = [(1, 0), (0, 2), (2, 1), (0, 0)]
    walk = RankWalk()
    assert walk.step("word", order, (2, 1), 1) == (1, 0), "the shown head is third, but the best one comes first"
    assert walk.step("word", order, (1, 0), 1) == (0, 2)
    assert walk.step("word", order, (0, 2), 1) == (2, 1)
    assert walk.step("word", order, (2, 1), -1) == (0, 2)
    assert walk.step("other word", order, (0, 2), 1) == (1, 0), "another ranking begins anew"
    assert walk.step("other word", order, None, 1) == (1, 0)
    assert RankWalk().step("word", order, (1, 0), 1) == (0, 2), "the best one is shown already"
    assert RankWalk().step("word", order, (2, 1), -1) == (0, 2)
    assert RankWalk().step("word", order, (0, 0), -9) == (1, 0)
