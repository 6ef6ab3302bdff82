"""Thumbnails of films and of the atlas have the colours of the pictures that they lead to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from viewer.analysis import scene as scenes
from viewer.analysis.film import read_film, read_film_over_frames, read_head_maps
from viewer.model import attention
from viewer.model.view_state import Query, ViewState
from viewer.rendering.heatmap import HeatMap
from viewer.rendering.thumbnail_colors import describe_thumbnail_scale, find_thumbnail_levels

if TYPE_CHECKING:
    from viewer.io.results import Results

ACTION = ViewState(query=Query("action", (1,)), step=2, layer=1)
SETTINGS = {
    "uniform": {"range": "uniform"},
    "shared": {"range": "shared"},
    "log": {"range": "shared", "scale": "log"},
    "rank": {"scale": "rank"},
    "one a camera": {"range": "map", "scale": "log"},
    "locked": {"range": "locked", "low": 0.001, "high": 0.01},
    "locked in multiples of uniform": {"range": "locked", "low": 1.0, "high": 4.0, "unit": "uniform", "scale": "log"},
    "without sinks": {"range": "locked", "low": 0.0, "high": 0.02, "left_out": attention.SINKS},
    "contribution": {"range": "uniform", "measure": "contribution"},
}


def levels_of_picture(results: Results, view: ViewState) -> np.ndarray:
    """Levels that the camera panes show: (cameras, rows, cols)."""
    scene = scenes.compose(results, view)
    return np.stack([HeatMap(camera)._index_patches(scene, view) for camera in range(len(results.cameras))])


def assert_alike(levels: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(levels.astype(int) - expected).max() <= 1, "float32 sums may round a level differently"
    assert expected.max() > 0, "the case shows something"


@pytest.mark.parametrize("name", SETTINGS)
def test_thumbnail_of_a_layer_has_the_levels_of_its_picture(results: Results, name: str) -> None:
    view = replace(ACTION, heads=(0, 2), **SETTINGS[name])  # type: ignore[arg-type]
    film = read_film(results, view)
    levels = find_thumbnail_levels(film.maps, view, film.uniform, film.keys)
    for layer in range(len(results.layers)):
        assert_alike(levels[0, layer], levels_of_picture(results, replace(view, layer=layer)))


@pytest.mark.parametrize("name", ["uniform", "without sinks", "contribution"])
def test_thumbnail_of_a_frame_has_the_levels_of_its_picture(results: Results, name: str) -> None:
    view = replace(ACTION, **SETTINGS[name])  # type: ignore[arg-type]
    film = read_film_over_frames(results, replace(view, film="frames"), (0, 2), lambda: False)
    assert film is not None
    levels = find_thumbnail_levels(film.maps, view, film.uniform, film.keys)
    for column, frame in enumerate((0, 2)):
        assert_alike(levels[0, column], levels_of_picture(results, replace(view, frame=frame)))


@pytest.mark.parametrize("name", ["uniform", "locked in multiples of uniform", "without sinks"])
def test_thumbnail_of_a_head_has_the_levels_of_its_picture(results: Results, name: str) -> None:
    view = replace(ACTION, **SETTINGS[name])  # type: ignore[arg-type]
    maps, uniform, keys = read_head_maps(results, view)
    levels = find_thumbnail_levels(maps, view, uniform, keys)
    for head in range(results.heads):
        assert_alike(levels[1, head], levels_of_picture(results, replace(view, heads=(head,))))
    assert_alike(levels[1, results.heads], levels_of_picture(results, view))


def test_scale_of_thumbnails_is_named() -> None:
    named = {describe_thumbnail_scale(replace(ACTION, **SETTINGS[name])) for name in list(SETTINGS)[:6]}  # type: ignore[arg-type]
    assert len(named) == 6
    assert "each on its own scale, from 1 × uniform" in named
