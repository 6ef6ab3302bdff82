"""Handles of a region that is a box."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF, QRectF, Qt

from viewer.rendering.region_handles import LEAST, ROOM, choose_cursor, find_box, find_handle, handles, resized


def test_full_box_of_one_camera_is_found() -> None:
    cells = [(1, row, col) for row in (2, 3) for col in (5, 6, 7)]
    assert find_box(cells, 1) == ((2, 5), (3, 7))
    assert find_box([(0, 4, 4)], 0) == ((4, 4), (4, 4))
    assert find_box(cells, 0) is None
    assert find_box(cells[1:], 1) is None, "a corner is missing"
    assert find_box([*cells, (0, 2, 5)], 1) is None, "a patch of another camera"
    assert find_box([], 0) is None


def test_small_boxes_have_fewer_handles() -> None:
    assert len(handles(QRectF(0, 0, 100, 100))) == 8
    assert set(handles(QRectF(0, 0, 100, ROOM - 1))) == {(-1, -1), (-1, 1), (1, -1), (1, 1), (0, -1), (0, 1)}
    assert len(handles(QRectF(0, 0, ROOM - 1, ROOM - 1))) == 4
    assert handles(QRectF(0, 0, LEAST - 1, 100)) == {}


@pytest.mark.parametrize(
    ("handle", "box"),
    [
        ((1, 1), (10, 20, 60, 40)),
        ((-1, -1), (70, 60, 40, 60)),
        ((0, 1), (10, 20, 100, 40)),
        ((1, 0), (10, 20, 60, 100)),
    ],
)
def test_dragged_handle_moves_its_sides_only(handle: tuple[int, int], box: tuple[float, ...]) -> None:
    assert resized(QRectF(10, 20, 100, 100), handle, QPointF(70, 60)) == QRectF(*box)


def test_box_turns_over_when_dragged_past_its_other_side() -> None:
    assert resized(QRectF(10, 20, 100, 100), (1, 0), QPointF(-10, 0)) == QRectF(-10, 20, 20, 100)


def test_handle_is_found_near_its_middle() -> None:
    box = QRectF(0, 0, 100, 100)
    assert find_handle(box, QPointF(103, 98)) == (1, 1)
    assert find_handle(box, QPointF(50, 4)) == (0, -1)
    assert find_handle(box, QPointF(50, 50)) is None


def test_cursor_shows_the_direction() -> None:
    assert choose_cursor((0, 1)) == Qt.CursorShape.SizeVerCursor
    assert choose_cursor((-1, 0)) == Qt.CursorShape.SizeHorCursor
    assert choose_cursor((1, 1)) == choose_cursor((-1, -1)) == Qt.CursorShape.SizeFDiagCursor
    assert choose_cursor((1, -1)) == Qt.CursorShape.SizeBDiagCursor
