"""Where pictures stand: as large as the room lets them be, in plain lines unless another order makes them larger."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewer.model.camera_layout import Box, arranged, bottom, plain

WIDE = 16 / 9
GAP, TITLE = 12, 24


def pictures(boxes: list[Box]) -> list[tuple[int, int]]:
    return [(box.width, box.height - TITLE) for box in boxes]


def test_cameras_stand_in_a_line_that_fills_the_width() -> None:
    boxes = plain(1292, inf, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 640, 384), Box(652, 0, 640, 384)]
    assert arranged(1292, 500, [WIDE, WIDE], GAP, TITLE, pairs=False) == boxes
    assert bottom(boxes) == 384


def test_where_the_height_is_short_pictures_stand_close_together_at_the_left() -> None:
    boxes = arranged(1292, 204, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 320, 204), Box(332, 0, 320, 204)]


def test_in_a_tall_room_cameras_stand_under_each_other() -> None:
    boxes = arranged(640, 2000, [WIDE, WIDE], GAP, TITLE, pairs=False)
    assert boxes == [Box(0, 0, 640, 384), Box(0, 396, 640, 384)]


def test_of_three_cameras_the_first_is_large_where_the_others_hardly_get_smaller_by_it() -> None:
    low = arranged(2116, 420, [WIDE] * 3, GAP, TITLE, pairs=False)
    assert [box.top for box in low] == [0, 0, 0]
    high = arranged(2116, 900, [WIDE] * 3, GAP, TITLE, pairs=False)
    assert high[0].width > 1.9 * low[0].width
    assert high[1].left == high[2].left == high[0].width + GAP
    assert high[2].left + high[2].width == 2116
    assert high[2].top + high[2].height == high[0].height
    assert high[1].width > 0.9 * low[1].width


def test_a_pinned_view_stands_under_the_shown_one_and_beside_it_where_that_is_larger() -> None:
    under = arranged(1292, 800, [WIDE] * 4, GAP, TITLE, pairs=True)
    assert [(box.left > 0, box.top > 0) for box in under] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert len(set(pictures(under))) == 1
    across = arranged(2600, 400, [WIDE] * 4, GAP, TITLE, pairs=True)
    assert [box.top for box in across] == [0] * 4
    assert sum(box.width for box in across) > sum(
        box.width for box in plain(2600, 400, [WIDE] * 4, GAP, TITLE, pairs=True)
    )


@given(
    width=st.integers(1, 3000),
    height=st.integers(0, 2000),
    shapes=st.lists(st.floats(0.3, 3.0), max_size=6),
    pairs=st.booleans(),
)
@example(width=36, height=0, shapes=[1.0, 1.0], pairs=True)  # the gaps alone fill it
def test_pictures_keep_inside_the_room_and_apart(width: int, height: int, shapes: list[float], pairs: bool) -> None:
    shapes = shapes * 2 if pairs else shapes
    boxes = arranged(width, height, shapes, GAP, TITLE, pairs=pairs)
    assert len(boxes) == len(shapes)
    if width < 400 or height < 400:
        return  # smaller than any window: only that it returns
    for number, box in enumerate(boxes):
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= width + 1
        assert box.top + box.height <= height + 1
        for other in boxes[:number]:
            assert (
                box.left >= other.left + other.width + GAP - 1
                or box.top >= other.top + other.height + GAP - 1
                or other.left >= box.left + box.width + GAP - 1
                or other.top >= box.top + box.height + GAP - 1
            )


@pytest.mark.parametrize("pairs", [False, True])
def test_no_camera_needs_no_room(pairs: bool) -> None:
    assert arranged(1000, 500, [], GAP, TITLE, pairs=pairs) == []
    assert bottom([]) == 0
