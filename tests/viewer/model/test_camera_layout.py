"""Layout of the camera pictures: as large as the area allows, in rows unless another order makes them larger."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewer.model.camera_layout import Box, arrange_pictures, bottom, plain

WIDE = 16 / 9
GAP, TITLE = 12, 24


def picture_boxes(boxes: list[Box]) -> list[tuple[int, int]]:
    return [(box.width, box.height - TITLE) for box in boxes]


def test_cameras_stand_in_a_row_that_fills_the_width() -> None:
    boxes = plain(1292, inf, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 640, 384), Box(652, 0, 640, 384)]
    assert arrange_pictures(1292, 500, [WIDE, WIDE], GAP, TITLE, pairs=False) == boxes
    assert bottom(boxes) == 384


def test_low_area_puts_pictures_side_by_side_at_the_left() -> None:
    boxes = arrange_pictures(1292, 204, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 320, 204), Box(332, 0, 320, 204)]


def test_tall_area_stacks_cameras() -> None:
    boxes = arrange_pictures(640, 2000, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 640, 384), Box(0, 396, 640, 384)]


def test_first_of_three_cameras_is_large_where_it_costs_the_others_little() -> None:
    low = arrange_pictures(2116, 420, [WIDE] * 3, GAP, TITLE, pairs=False)
    assert [box.top for box in low] == [0, 0, 0]
    high = arrange_pictures(2116, 900, [WIDE] * 3, GAP, TITLE, pairs=False)
    assert high[0].width > 1.9 * low[0].width
    assert high[1].left == high[2].left == high[0].width + GAP
    assert high[2].left + high[2].width == 2116
    assert high[2].top + high[2].height == high[0].height
    assert high[1].width > 0.9 * low[1].width


def test_pinned_view_stands_below_or_beside_whichever_is_larger() -> None:
    under = arrange_pictures(1292, 800, [WIDE] * 4, GAP, TITLE, pairs=True)
    assert [(box.left > 0, box.top > 0) for box in under] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert len(set(picture_boxes(under))) == 1
    side_by_side = arrange_pictures(2600, 400, [WIDE] * 4, GAP, TITLE, pairs=True)
    assert [box.top for box in side_by_side] == [0] * 4
    assert sum(box.width for box in side_by_side) > sum(
        box.width for box in plain(2600, 400, [WIDE] * 4, GAP, TITLE, pairs=True)
    )


@given(
    width=st.integers(1, 3000),
    height=st.integers(0, 2000),
    shapes=st.lists(st.floats(0.3, 3.0), max_size=6),
    pairs=st.booleans(),
)
@example(width=36, height=0, shapes=[1.0, 1.0], pairs=True)  # the gaps alone fill it
def test_pictures_stay_inside_the_area_and_do_not_overlap(
    width: int, height: int, shapes: list[float], pairs: bool
) -> None:
    shapes = shapes * 2 if pairs else shapes
    boxes = arrange_pictures(width, height, shapes, GAP, TITLE, pairs=pairs)
    assert len(boxes) == len(shapes)
    if width < 400 or height < 400:
        return  # smaller than any window: only that it returns
    for number, box in enumerate(boxes):
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= width + 1
        assert box.top + box.height <= height + 1
        for other_box in boxes[:number]:
            assert (
                box.left >= other_box.left + other_box.width + GAP - 1
                or box.top >= other_box.top + other_box.height + GAP - 1
                or other_box.left >= box.left + box.width + GAP - 1
                or other_box.top >= box.top + box.height + GAP - 1
            )


@pytest.mark.parametrize("pairs", [False, True])
def test_layout_without_cameras_is_empty(pairs: bool) -> None:
    assert arrange_pictures(1000, 500, [], GAP, TITLE, pairs=pairs) == []
    assert bottom([]) == 0
