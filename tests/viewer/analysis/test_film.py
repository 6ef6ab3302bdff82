from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from viewer.analysis import scene
from viewer.analysis.film import MAX_FRAMES, read_film, read_film_over_frames, select_frames, tile_thumbnails
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results


def never() -> bool:
    return False


def test_film_of_layers_holds_the_stored_maps(small: Path, results: Results) -> None:
    film = read_film(results, ViewState(query=Query("action", (1,)), step=2, heads=(0, 2)))
    with h5py.File(small, locking=False) as file:
        expected = file["action/to_image"][0, :, 1, 2].astype("f4")[:, [0, 2]].mean(1)
    assert film.maps[0] == pytest.approx(expected, rel=1e-5)
    assert film.columns == (0, 1, 2, 3)
    deep = read_film(results, ViewState(query=Query("action", (1,)), film="steps", heads=(1,)))
    with h5py.File(small, locking=False) as file:
        assert deep.maps == pytest.approx(file["action/to_image"][0, :, 1, :, 1].astype("f4").swapaxes(0, 1), rel=1e-5)


def test_film_over_frames_equals_the_scene_of_each_frame(results: Results) -> None:
    state = ViewState(query=Query("text", (4,)), layer=2, heads=(1,))
    film = read_film_over_frames(results, state, (0, 1, 2), never)
    assert film is not None
    for frame in range(3):
        composed = scene.compose(results, ViewState(frame=frame, query=Query("text", (4,)), layer=2, heads=(1,)))
        assert film.maps[0, frame] == pytest.approx(composed.maps, rel=1e-5)
    assert read_film_over_frames(results, state, (0, 1), lambda: True) is None


def test_film_of_layers_and_frames_holds_every_layer_of_each_frame(results: Results) -> None:
    state = ViewState(query=Query("action", (1,)), step=2, film="layers-frames")
    film = read_film_over_frames(results, state, (0, 2), never)
    assert film is not None
    assert (film.maps.shape, film.rows, film.columns) == ((4, 2, 2, 16, 16), (0, 1, 2, 3), (0, 2))
    composed = scene.compose(results, ViewState(frame=2, query=Query("action", (1,)), step=2, layer=3))
    assert film.maps[3, 1] == pytest.approx(composed.maps, rel=1e-5)


def test_selected_frames_of_a_long_film_are_equally_spaced() -> None:
    frames = select_frames(range(1, 1001, 2))
    assert len(frames) == MAX_FRAMES
    assert (frames[0], frames[-1]) == (1, 999)
    gaps = {after - before for before, after in pairwise(frames)}
    assert gaps <= {42, 44}
    assert select_frames(range(5)) == (0, 1, 2, 3, 4)


def test_tiled_thumbnails_show_each_patch_at_its_index() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 24, (2, 3, 16, 16)).astype(np.uint32)
    straight = np.add.outer(np.repeat(np.arange(3, 12), 2) * 16, np.repeat(np.arange(16), 2))
    rotated = straight[::-1, ::-1]
    leaning = (straight + np.arange(straight.shape[1]) // 8 * 16) % 256
    for index in (straight, rotated, leaning):
        tiled = tile_thumbnails(words, index, 2, 7)
        height, width = index.shape
        assert tiled.shape == (2 * (height + 2), 3 * (width + 2))
        cell = tiled[height + 2 : 2 * height + 2, 2 * (width + 2) : 3 * (width + 2) - 2]
        assert (cell == words[1, 2].ravel()[index]).all()
        assert (tiled[height : height + 2] == 7).all()
        assert (tiled[:, width : width + 2] == 7).all()
