"""Tiles keep the pictures' aspect, fit into their area, and stay in whole screen pixels when enlarged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QRectF

from viewer.rendering.mosaic import MIN_BLOCK, lay_out_blocks, visible_range, visible_tiles

WHOLE = QRectF(0, 0, 1, 1)


@given(
    st.floats(300, 3000), st.floats(60, 900), st.integers(1, 18), st.integers(1, 24), st.sampled_from([1.0, 1.5, 2.0]),
    st.booleans(),
)  # fmt: skip
def test_tiles_have_the_aspect_and_fit(
    width: float, height: float, rows: int, columns: int, ratio: float, side_by_side: bool
) -> None:
    area = QRectF(64, 4, width, height)
    rows = rows if side_by_side else 1
    blocks = lay_out_blocks(area, rows, columns, [(9, 16)] * 2, ratio, side_by_side=side_by_side, visible=WHOLE)
    assert len(blocks) == 2
    for _, tile_width, tile_height in blocks:
        assert tile_width * ratio == pytest.approx(round(tile_width * ratio))
        assert tile_height * ratio == pytest.approx(round(tile_height * ratio))
        if tile_height * ratio > 4:
            assert abs(tile_height * ratio - tile_width * ratio * 9 / 16) <= 1
    if side_by_side:
        assert blocks[1][0].left() - blocks[0][0].left() >= min(MIN_BLOCK, (width - 12) / 2)


@pytest.mark.parametrize("visible", [WHOLE, QRectF(0.25, 0.25, 0.5, 0.5)])
@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_tiles_of_each_camera_have_its_aspect_and_are_aligned(
    side_by_side: bool, ratio: float, visible: QRectF
) -> None:
    shapes = [(360, 640), (480, 480), (640, 480)]
    area, rows = QRectF(64, 4, 1800, 600), 4 if side_by_side else 1
    blocks = lay_out_blocks(area, rows, 6, shapes, ratio, side_by_side=side_by_side, visible=visible)
    for (_, across, tall), (lines, dots) in zip(blocks, shapes, strict=True):
        assert tall / across == pytest.approx(lines / dots, rel=0.03)
    assert len({block[2 if side_by_side else 1] for block in blocks}) == 1
    if visible == WHOLE:
        boxes = [box for box, _, _ in blocks]
        ends = [box.right() if side_by_side else box.bottom() for box in boxes]
        starts = [box.left() if side_by_side else box.top() for box in boxes]
        assert all(end <= start + 1 for end, start in zip(ends, starts[1:], strict=False))
        for box, across, tall in blocks:
            assert across * 6 <= box.width() + 1
            assert tall * rows <= box.height() + 1


def test_tiles_grow_with_the_room() -> None:
    small, large = (
        lay_out_blocks(QRectF(0, 0, 800, h), 10, 18, [(9, 16)] * 2, 1.0, side_by_side=True, visible=WHOLE)[0]
        for h in (90, 180)
    )
    assert (small[2], large[2]) == (9, 12)
    assert (small[1], large[1]) == (16, 21)


def test_enlarged_blocks_show_the_visible_part_in_the_room() -> None:
    area, visible = QRectF(64, 4, 800, 200), QRectF(0.5, 0.25, 0.25, 0.25)
    full = lay_out_blocks(area, 4, 10, [(9, 16)] * 2, 1.0, side_by_side=True, visible=WHOLE)
    large = lay_out_blocks(area, 4, 10, [(9, 16)] * 2, 1.0, side_by_side=True, visible=visible)
    for (box, width, _), (enlarged, wide, tall) in zip(full, large, strict=True):
        assert enlarged.left() == pytest.approx(64 + (box.left() - 64 - 400) * 4, abs=0.5)
        assert enlarged.top() == pytest.approx(4 - 200, abs=0.5)
        assert wide == 4 * width
        assert tall == round(wide * 9 / 16)


@pytest.mark.parametrize(
    ("start", "low", "high", "visible_tiles", "whole_tiles"),
    [
        (0, 0, 50, (0, 5), (0, 5)),
        (-15, 0, 30, (1, 5), (2, 4)),
        (5, 0, 100, (0, 8), (0, 8)),
        (200, 0, 100, (0, 0), (0, 0)),
    ],
)
def test_visible_range_of_tiles_of_ten_pixels(
    start: float, low: float, high: float, visible_tiles: tuple[int, int], whole_tiles: tuple[int, int]
) -> None:
    assert list(visible_range(start, 10, 8, low, high)) == list(range(*visible_tiles))
    assert list(visible_range(start, 10, 8, low, high, whole=True)) == list(range(*whole_tiles))


def test_visible_tiles_are_those_that_meet_the_room() -> None:
    rows, columns = visible_tiles(QRectF(-25, 4, 300, 60), 10, 20, (3, 30), QRectF(0, 4, 100, 30))
    assert (rows, columns) == (range(2), range(2, 13))
