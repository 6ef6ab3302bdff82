"""The colour range of a scene, and the numbers of its colour bar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from planted_results import write_planted

from viewer.analysis import scene as scenes
from viewer.analysis.color_range import find_bar_range
from viewer.analysis.picture_share import describe_share
from viewer.analysis.scene import Scene
from viewer.io.results import Results
from viewer.model import attention
from viewer.model.geometry import PatchGrid
from viewer.model.view_state import Query, ViewState
from viewer.rendering.range_text import describe_below, describe_range

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = np.zeros(0, np.float32)
KEYS = 40


def scene(values: list[float], ends: tuple[float, float], **fields: object) -> Scene:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0].flat[: len(values)] = values
    grid = PatchGrid(4, 4, 56, 56)
    return Scene(maps, EMPTY, EMPTY, {}, 0.0, (ends, ends), KEYS, 1.0, grid, **fields)  # type: ignore[arg-type]


def test_color_bar_runs_to_the_maximum_and_counts_the_patches_above() -> None:
    thin_scene = scene([0.09, 0.03, 0.023, 0.01], (0.0, 0.023))
    bar = find_bar_range(thin_scene)
    assert (bar.left, bar.low, bar.high) == (0.0, 0.0, 0.023)
    assert bar.right == bar.largest == pytest.approx(0.09)
    assert (bar.above, bar.below) == (2, 0)
    assert describe_range(thin_scene, ViewState(range="shared")) == "2 patches above, up to 0.090"
    assert describe_below(thin_scene, ViewState(range="shared")) == ""


def test_color_bar_runs_to_the_end_of_a_locked_range_beyond_the_maximum() -> None:
    thin_scene = scene([0.09, 0.02], (0.05, 0.2))
    bar = find_bar_range(thin_scene)
    assert (bar.left, bar.right, bar.above, bar.below) == (0.0, 0.2, 0, 31)
    assert describe_range(thin_scene, ViewState(range="locked")) == "none above, largest 0.090"
    assert describe_below(thin_scene, ViewState(range="locked")) == "31 below"


def test_color_bar_of_a_difference_is_symmetric_and_counts_both_signs() -> None:
    thin_scene = scene([-0.3, 0.2, 0.1], (-0.15, 0.15), difference=True)
    bar = find_bar_range(thin_scene)
    assert (bar.left, bar.right, bar.above) == (pytest.approx(-0.3), pytest.approx(0.3), 2)
    assert describe_range(thin_scene, ViewState()) == "2 patches beyond, up to ±0.30"


def test_uniform_range_starts_at_uniform_weight_and_has_a_least_span() -> None:
    maps = np.zeros((2, 10, 10), np.float32)
    maps[0, 0, :6] = 0.5
    low, high = attention.color_range(maps, "uniform", 0, 0, 0.01)[0]
    assert (low, high) == (0.01, pytest.approx(attention.color_range(maps, "shared", 0, 0)[0][1]))
    assert attention.color_range(maps * np.float32(1e-3), "uniform", 0, 0, 0.01)[1] == (0.01, 0.08)


def test_picture_with_little_weight_is_drawn_faintly_with_a_note(tmp_path: Path) -> None:
    """By default 0.4 % on each picture must not have the colours that 40 % has."""
    by_share = {}
    for share in (0.004, 0.4):
        (folder := tmp_path / str(share)).mkdir()
        with_shares = write_planted(folder, share=(share, share))
        results = Results(with_shares)
        view = ViewState(query=Query("text", (1,))).clamped(results.dims(0))
        scene = scenes.compose(results, view)
        low, high = scene.ranges[0]
        by_share[share] = (
            float(attention.places(scene.maps, low, high, "linear").max()),
            describe_share(scene, view, results.cameras[0]),
        )
        assert low == pytest.approx(1 / scene.keys)
        results.close()
    assert by_share[0.4][0] == 1.0
    assert by_share[0.004][0] < 0.25
    assert by_share[0.4][1].notes == ("of this row’s weight",)
    assert not by_share[0.4][1].is_little
    assert by_share[0.004][1].is_little
    assert "little" in by_share[0.004][1].notes[0]
    assert by_share[0.004][1].share == pytest.approx(0.004, rel=0.02)


def test_share_of_a_maximum_of_heads_names_the_mean_row() -> None:
    thin_scene = replace(scene([0.5], (0.0, 1.0)), mass={"exterior": 0.5}, uniform_mass={"exterior": 0.4})
    assert describe_share(thin_scene, ViewState(reduce="max"), "exterior").notes == ("of the heads’ mean row",)
    assert describe_share(thin_scene, ViewState(reduce="max", heads=(2,)), "exterior").notes == (
        "of this row’s weight",
    )
