"""Handles of a region that is a box: where they are, how they are painted, and what dragging one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from viewer.rendering import picture_overlay, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.model.view_state import Cell

Handle = tuple[int, int]
"""Side of the box that a handle moves, across and down: -1 left or top, 0 neither, 1 right or bottom."""
SIDE: Final = 7.0
"""Side of a handle in device-independent pixels."""
REACH: Final = 7.0
"""Distance from the middle of a handle within which it is grasped."""
ROOM: Final = 36.0
"""Sides of the box that are shorter have no handle in their middle."""
LEAST: Final = 2 * SIDE
"""Boxes with a shorter side have no handles: they would hide it."""


def find_box(cells: Sequence[Cell], camera: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return first and last (row, col) of a region that is a full box of one camera's patches; None if it is not."""
    if not cells or any(cell[0] != camera for cell in cells):
        return None
    rows, cols = {cell[1] for cell in cells}, {cell[2] for cell in cells}
    first, last = (min(rows), min(cols)), (max(rows), max(cols))
    size = (last[0] - first[0] + 1) * (last[1] - first[1] + 1)
    return (first, last) if len(set(cells)) == size else None


def handles(box: QRectF) -> dict[Handle, QPointF]:
    """Return the middles of the handles of a box, given in device-independent pixels."""
    if min(box.width(), box.height()) < LEAST:
        return {}
    middle = box.center()
    xs, ys = {-1: box.left(), 0: middle.x(), 1: box.right()}, {-1: box.top(), 0: middle.y(), 1: box.bottom()}
    points = {(across, down): QPointF(xs[across], ys[down]) for across in (-1, 1) for down in (-1, 1)}
    if box.width() >= ROOM:
        points |= {(0, down): QPointF(middle.x(), ys[down]) for down in (-1, 1)}
    if box.height() >= ROOM:
        points |= {(across, 0): QPointF(xs[across], middle.y()) for across in (-1, 1)}
    return points


def find_handle(box: QRectF, point: QPointF) -> Handle | None:
    """Return the handle of a box under a point; None if there is none."""
    for handle, place in handles(box).items():
        if abs(place.x() - point.x()) <= REACH and abs(place.y() - point.y()) <= REACH:
            return handle
    return None


def resized(box: QRectF, handle: Handle, point: QPointF) -> QRectF:
    """Return the box after a handle was dragged to a point; it turns over when dragged past the opposite side."""
    across, down = handle
    corners = [QPointF(box.topLeft()), QPointF(box.bottomRight())]
    if across:
        corners[across > 0].setX(point.x())
    if down:
        corners[down > 0].setY(point.y())
    return QRectF(*corners).normalized()


def choose_cursor(handle: Handle) -> Qt.CursorShape:
    """Return the shape of the pointer over a handle."""
    across, down = handle
    if not across:
        return Qt.CursorShape.SizeVerCursor
    if not down:
        return Qt.CursorShape.SizeHorCursor
    return Qt.CursorShape.SizeFDiagCursor if across == down else Qt.CursorShape.SizeBDiagCursor


def paint_handles(painter: QPainter, box: QRectF, ratio: float) -> None:
    """Paint the handles of a box as small squares on whole screen pixels, of which there are `ratio` a unit."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(theme.color("#101216", 0.8), 1))
    painter.setBrush(theme.color(theme.ACCENT))
    for place in handles(box).values():
        x, y = picture_overlay.whole(place.x(), ratio), picture_overlay.whole(place.y(), ratio)
        painter.drawRect(QRectF(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE))
    painter.setBrush(Qt.BrushStyle.NoBrush)
