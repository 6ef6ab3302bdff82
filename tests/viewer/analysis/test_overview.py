from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest

from viewer.analysis import overview, scene
from viewer.analysis.token_values import strips
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path


def never() -> bool:
    return False


def test_film_of_layers_is_the_files_maps(small: Path, results: Results) -> None:
    made = overview.film(results, ViewState(query=Query("action", (1,)), step=2, heads=(0, 2)))
    with h5py.File(small, locking=False) as file:
        expected = file["action/to_image"][0, :, 1, 2].astype("f4")[:, [0, 2]].mean(1)
    assert made.maps[0] == pytest.approx(expected, rel=1e-5)
    assert made.columns == (0, 1, 2, 3)
    deep = overview.film(results, ViewState(query=Query("action", (1,)), film="steps", heads=(1,)))
    with h5py.File(small, locking=False) as file:
        assert deep.maps == pytest.approx(file["action/to_image"][0, :, 1, :, 1].astype("f4").swapaxes(0, 1), rel=1e-5)


def test_film_over_frames_matches_each_frames_scene(results: Results) -> None:
    state = ViewState(query=Query("text", (4,)), layer=2, heads=(1,))
    made = overview.film_over_frames(results, state, (0, 1, 2), never)
    assert made is not None
    for frame in range(3):
        one = scene.compose(results, ViewState(frame=frame, query=Query("text", (4,)), layer=2, heads=(1,)))
        assert made.maps[0, frame] == pytest.approx(one.maps, rel=1e-5)
    assert overview.film_over_frames(results, state, (0, 1), lambda: True) is None


def test_a_film_of_layers_and_frames_holds_every_layer_of_each(results: Results) -> None:
    state = ViewState(query=Query("action", (1,)), step=2, film="layers-frames")
    made = overview.film_over_frames(results, state, (0, 2), never)
    assert made is not None
    assert (made.maps.shape, made.rows, made.columns) == ((4, 2, 2, 16, 16), (0, 1, 2, 3), (1, 3))
    one = scene.compose(results, ViewState(frame=2, query=Query("action", (1,)), step=2, layer=3))
    assert made.maps[3, 1] == pytest.approx(one.maps, rel=1e-5)


def test_long_films_show_frames_at_equal_distances() -> None:
    frames = overview.film_frames(range(1, 1001, 2))
    assert len(frames) == overview.MOST_FILM_FRAMES
    assert (frames[0], frames[-1]) == (1, 999)
    gaps = {after - before for before, after in pairwise(frames)}
    assert gaps <= {42, 44}
    assert overview.film_frames(range(5)) == (0, 1, 2, 3, 4)


def test_atlas_scores_are_the_summaries(small: Path, results: Results) -> None:
    state = ViewState(query=Query("action", (3,)), step=1)
    mass = overview.atlas(results, state)
    with h5py.File(small, locking=False) as file:
        stored = file["action/mass"][0, :, 3, 1]
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
        names = list(file["action/mass"].attrs["groups"])
    pictures = stored[..., names.index("exterior")] + stored[..., names.index("wrist")]
    assert mass[:, :-1] == pytest.approx(pictures, abs=4e-3)
    assert mass[:, -1] == pytest.approx(pictures.mean(1), abs=4e-3)
    found = overview.atlas(results, ViewState(query=Query("action", (3,)), step=1, score="entropy"))
    assert found.shape == (4, 4)
    share = block[..., ~results.bars(0)]
    share /= share.sum(-1, keepdims=True)
    assert found[:, :-1] == pytest.approx(-(share * np.log(share)).sum(-1), rel=1e-3), "bars are left out"
    region = ((0, 5, 5), (1, 8, 8))
    part = overview.atlas(results, ViewState(query=Query("action", (3,)), step=1, score="region", region=region))
    with h5py.File(small, locking=False) as file:
        block = file["action/to_image"][0, :, 3, 1].astype("f4")
    assert part[:, :-1] == pytest.approx(block[:, :, 0, 5, 5] + block[:, :, 1, 8, 8], rel=1e-4)


def test_ranking_puts_the_best_first() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.4, np.nan, 0.2]], np.float32)
    assert overview.ranking(scores, lowest=False)[:2] == [(0, 1), (1, 0)]
    assert overview.ranking(scores, lowest=True)[0] == (0, 0)
    assert len(overview.ranking(scores, lowest=True)) == 3, "a head without a score has no rank"
    assert [overview.standing(scores, 0, head, lowest=False) for head in (0, 1)] == [(3, 0), (1, 0)]
    tied = np.array([[1, 0, 0.5], [1, 0, 0.5], [1, 1, 0.5]], np.float32)
    assert overview.standing(tied, 0, 0, lowest=False) == (1, 3), "with three others"
    assert overview.standing(tied, 1, 1, lowest=False) == (5, 1)
    assert overview.standing(tied, 1, 1, lowest=True) == (1, 1)


def test_curves_divide_the_whole_row(results: Results) -> None:
    for state in (ViewState(query=Query("action", (1,))), ViewState(query=Query("text", (4,)), curve="layers")):
        made = overview.curves(results, state)
        assert made.values.sum(1) == pytest.approx(1, abs=4e-3)
        assert made.names[:3] == ("exterior", "wrist", "bars")
    over = overview.curves_over_frames(results, ViewState(query=Query("text", (4,)), layer=1, heads=(2,)), never)
    assert over is not None
    one = scene.compose(results, ViewState(frame=2, query=Query("text", (4,)), layer=1, heads=(2,)))
    assert over.values[2, 0] == pytest.approx(one.mass["exterior"], abs=4e-3)


def test_curves_over_frames_do_without_summaries(tmp_path: Path) -> None:
    results = Results(make_results.write(tmp_path / "a.h5", make_results.Recipe(summaries=False)))
    over = overview.curves_over_frames(results, ViewState(query=Query("action", (1,)), step=1), never)
    assert over is not None
    assert over.values.sum(1) == pytest.approx(1, abs=4e-3)
    results.close()


def test_lookers_find_the_one_who_looks(tmp_path: Path) -> None:
    def plant(kind: str, image: np.ndarray, words: np.ndarray, actions: np.ndarray) -> None:
        image[..., 0, 6, 6] = 0
        if kind == "action":
            image[2, 3, 1, 0, 0, 6, 6] = 5000
        else:
            image[1, 5, 2, 0, 6, 6] = 1000

    results = Results(make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, plant=plant)))
    state = ViewState(region=((0, 6, 6),))
    found = overview.lookers(results, state, never)
    assert found is not None
    first, second = found[:2]
    assert (first.query, first.layer, first.step, first.head) == (Query("action", (3,)), 2, 1, 0)
    assert second.query.kind == "text"
    assert (second.layer, second.head) == (1, 2)
    assert 5 in scene.tokens_of(results, 0, second.query)
    assert [one.mass for one in found] == sorted((one.mass for one in found), reverse=True)
    assert overview.lookers(results, state, lambda: True) is None
    results.close()


def test_chips_carry_the_weight_of_what_is_pointed_at(small: Path, results: Results) -> None:
    state = ViewState(layer=1, step=2, heads=(1,), query=Query("action", (0,)))
    made = strips(results, state, (1, 7, 9))
    with h5py.File(small, locking=False) as file:
        assert made.actions == pytest.approx(file["action/to_image"][0, 1, :, 2, 1, 1, 7, 9].astype("f4"))
        text = file["text/to_image"][0, 1, :, 1, 1, 7, 9].astype("f4")
    chips = results.chips(0)
    assert made.words == pytest.approx([text[list(chip.tokens)].mean() for chip in chips], rel=1e-5)
    pictures = strips(results, state, None)
    assert (pictures.subject, pictures.top) == ("pictures", 1.0)
    region = strips(results, ViewState(layer=1, heads=(1,), region=((1, 7, 9), (0, 3, 3))), None)
    with h5py.File(small, locking=False) as file:
        block = file["text/to_image"][0, 1, :, 1].astype("f4")
    both = block[:, 1, 7, 9] + block[:, 0, 3, 3]
    assert region.words == pytest.approx([both[list(chip.tokens)].mean() for chip in chips], rel=1e-5)


def test_chips_without_summaries_are_the_same(tmp_path: Path) -> None:
    with_, without = (
        Results(make_results.write(tmp_path / f"{s}.h5", make_results.Recipe(frames=1, summaries=s)))
        for s in (True, False)
    )
    state = ViewState(layer=2, query=Query("action", (0,)), step=1)
    one, two = strips(with_, state, None), strips(without, state, None)
    assert one.words == pytest.approx(two.words, abs=4e-3)
    assert one.actions == pytest.approx(two.actions, abs=4e-3)
    with_.close()
    without.close()


def test_a_mosaic_shows_each_patch_where_the_index_says() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 24, (2, 3, 16, 16)).astype(np.uint32)
    straight = np.add.outer(np.repeat(np.arange(3, 12), 2) * 16, np.repeat(np.arange(16), 2))
    turned = straight[::-1, ::-1]
    leaning = (straight + np.arange(straight.shape[1]) // 8 * 16) % 256
    for index in (straight, turned, leaning):
        made = overview.mosaic(words, index, 2, 7)
        height, width = index.shape
        assert made.shape == (2 * (height + 2), 3 * (width + 2))
        cell = made[height + 2 : 2 * height + 2, 2 * (width + 2) : 3 * (width + 2) - 2]
        assert (cell == words[1, 2].ravel()[index]).all()
        assert (made[height : height + 2] == 7).all()
        assert (made[:, width : width + 2] == 7).all()
