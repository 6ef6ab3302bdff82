from __future__ import annotations

import make_results
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.model import geometry

GRID = geometry.PatchGrid(16, 16, 224, 224)
sides = st.integers(20, 2000)


@given(sides, sides, st.booleans())
def test_bars_are_the_patches_without_a_picture_pixel(height: int, width: int, is_turned: bool) -> None:
    ratio = max(width, height) / 224
    if min(int(height / ratio), int(width / ratio)) < 1:
        return
    is_bar = geometry.find_bars(make_results.to_model(height, width, is_turned), height, width, GRID)
    assert (is_bar == make_results.bars(height, width)).all()


def test_wide_picture_has_three_rows_of_bars_above_and_below() -> None:
    bars = geometry.find_bars(make_results.to_model(720, 1280, False), 720, 1280, GRID)
    assert bars[:3].all()
    assert bars[13:].all()
    assert not bars[3:13].any()


@given(sides, sides, st.booleans(), st.floats(0, 1), st.floats(0, 1))
def test_found_patch_holds_the_point(height: int, width: int, is_turned: bool, x: float, y: float) -> None:
    to_model = make_results.to_model(height, width, is_turned)
    if not geometry.is_invertible(to_model):
        return
    patch = geometry.find_patch(to_model, x * (width - 1) + 0.5, y * (height - 1) + 0.5, GRID)
    assert patch is not None
    row, col = patch
    square = np.array([[col, row], [col + 1, row], [col + 1, row + 1], [col, row + 1]]) * 14.0
    corners = geometry.apply(geometry.invert(to_model), square)
    low, high = corners.min(0) - 1e-6, corners.max(0) + 1e-6
    assert (low <= [x * (width - 1) + 0.5, y * (height - 1) + 0.5]).all()
    assert (high >= [x * (width - 1) + 0.5, y * (height - 1) + 0.5]).all()


def test_turned_picture_begins_at_the_last_patch() -> None:
    assert geometry.find_patch(make_results.to_model(224, 224, True), 1, 1, GRID) == (15, 15)
    assert geometry.find_patch(make_results.to_model(224, 224, False), 1, 1, GRID) == (0, 0)


def test_pixels_of_a_turned_camera_show_patches_upright() -> None:
    index = geometry.map_pixels_to_patches(make_results.to_model(224, 224, True), 224, 224, 16, 16, GRID)
    assert (index == np.arange(255, -1, -1).reshape(16, 16)).all()


def test_bilinear_weights_keep_constants_and_centres() -> None:
    weights = geometry.compute_bilinear_weights(240, 16)
    assert weights.sum(1) == pytest.approx(1)
    ramp = weights @ np.arange(16, dtype=np.float32)
    assert ramp[7::15] == pytest.approx(np.arange(16), abs=0.04)


@pytest.mark.parametrize(
    "bad", [np.full((2, 3), np.nan), np.zeros((2, 3)), np.eye(3), np.array([[1.0, 1, 0], [1, 1, 0]])]
)
def test_unusable_maps_are_recognised(bad: np.ndarray) -> None:
    assert not geometry.is_invertible(bad)
