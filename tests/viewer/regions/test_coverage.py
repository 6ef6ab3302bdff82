"""Coverage of patches by masks in the camera's picture, with answers known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.results.regions_schema import choose_patches
from viewer.model.geometry import PatchGrid, letterbox
from viewer.regions.coverage import draw_patches, measure_coverage

GRID = PatchGrid(16, 16, 224, 224)
HEIGHT, WIDTH = 270, 480
TO_MODEL = letterbox(HEIGHT, WIDTH, GRID)
"""Scale 224 / 480; the picture lies in rows 49 to 175 of the model's 224: patch row 3.5 to 12.5."""
TURNED = np.array([[-224 / 480, 0, 224], [0, -224 / 480, 175]])


def test_whole_picture_covers_all_patches_but_the_bars():
    coverage = measure_coverage(np.ones((HEIGHT, WIDTH), bool), TO_MODEL, GRID)
    expected = np.zeros((16, 16))
    expected[4:12], expected[[3, 12]] = 1, 0.5  # the picture's edge cuts rows 3 and 12 in halves
    np.testing.assert_allclose(coverage, expected, atol=1 / 16)


def test_half_a_patch_is_covered_by_half():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, : round(30 * 2.5)] = True  # two patches and a half: a patch is 30 pixels of the camera's picture wide
    coverage = measure_coverage(mask, TO_MODEL, GRID)
    np.testing.assert_allclose(coverage[6, :4], [1, 1, 0.5, 0])


def test_turned_picture_covers_the_opposite_corner():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:60, :60] = True
    upright, rotated = measure_coverage(mask, TO_MODEL, GRID), measure_coverage(mask, TURNED, GRID)
    np.testing.assert_allclose(rotated, upright[::-1, ::-1], atol=1 / 16)


def test_small_region_belongs_to_the_patch_that_it_covers_most():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100:104, 200:204] = True
    chosen = choose_patches(measure_coverage(mask, TO_MODEL, GRID))
    assert np.argwhere(chosen).tolist() == [[6, 6]]  # (102 * 224/480 + 49) / 14 = 6.9, 202 * 224/480 / 14 = 6.7


def test_region_that_is_absent_has_no_patches():
    assert not choose_patches(measure_coverage(np.zeros((HEIGHT, WIDTH), bool), TO_MODEL, GRID)).any()


@given(st.integers(4, 11), st.integers(0, 15), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_drawn_patches_cover_themselves(top, left, rows, cols, is_turned):
    cells = np.zeros((16, 16), bool)
    cells[top : min(top + rows, 12), left : left + cols] = True
    to_model = TURNED if is_turned else TO_MODEL
    mask = draw_patches(cells, to_model, HEIGHT, WIDTH, GRID)
    assert (choose_patches(measure_coverage(mask, to_model, GRID)) == cells).all()


def test_patches_in_the_bars_draw_nothing():
    cells = np.zeros((16, 16), bool)
    cells[0] = True
    assert not draw_patches(cells, TO_MODEL, HEIGHT, WIDTH, GRID).any()


@pytest.mark.parametrize("size", [(90, 160), (720, 1280)])
def test_coverage_does_not_depend_on_the_pictures_size(size):
    height, width = size
    y, x = np.mgrid[:height, :width]
    mask = (x / width - 0.5) ** 2 + ((y / height - 0.4) * 9 / 16) ** 2 < 0.02
    grid = PatchGrid(16, 16, 224, 224)
    coverage = measure_coverage(mask, letterbox(height, width, grid), grid)
    area = coverage.sum() / 256  # of the model's square picture
    assert area == pytest.approx(np.pi * 0.02, rel=0.02)
