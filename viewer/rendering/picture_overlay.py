"""Paint heat-map images, letterbox bars and region outlines over camera pictures, in the window and in figures."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QImage, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from viewer.model import geometry
from viewer.rendering import drawing, theme


def find_model_box(grid: geometry.PatchGrid) -> QRectF:
    """Return the rectangle of the model's picture in its own pixels."""
    return QRectF(0, 0, grid.width, grid.height)


def from_model(to_model: geometry.Affine) -> QTransform:
    """Return the transform from pixels of the model's picture to pixels of the shown picture, inverse to `to_model`."""
    matrix = geometry.invert(to_model)
    return QTransform(matrix[0, 0], matrix[1, 0], matrix[0, 1], matrix[1, 1], matrix[0, 2], matrix[1, 2])


def paint_map(painter: QPainter, place: QTransform, image: QImage, grid: geometry.PatchGrid) -> None:
    """Paint a map's image over the picture; `place` is the transform from the model's picture to the painter."""
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    if place.m12() == 0 and place.m21() == 0:
        # Flip the small image instead of the painter: a plain scaled copy is several times faster.
        axes = Qt.Orientation(0)
        if place.m11() < 0:
            axes |= Qt.Orientation.Horizontal
        if place.m22() < 0:
            axes |= Qt.Orientation.Vertical
        painter.drawImage(place.mapRect(find_model_box(grid)), image.flipped(axes) if axes else image)
    else:
        painter.save()
        painter.setTransform(place, combine=True)
        painter.drawImage(find_model_box(grid), image)
        painter.restore()


def whole(place: float, ratio: float = 1.0) -> float:
    """Return a coordinate rounded to whole device pixels; halves are rounded down, so that offsets do not matter.

    `ratio`: device pixels per unit.
    """
    return math.floor(place * ratio + 0.5 - 1e-6) / ratio


def paint_hatch(
    painter: QPainter, place: QTransform, to_model: geometry.Affine, height: int, width: int, grid: geometry.PatchGrid
) -> None:
    """Paint hatching over the letterbox bars of the model's picture; `height` and `width`: the camera picture's."""
    corners = geometry.apply(to_model, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    path = QPainterPath()
    path.addRect(find_model_box(grid))
    path.addPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))
    path.closeSubpath()
    path.setFillRule(Qt.FillRule.OddEvenFill)
    painter.setBrushOrigin(
        place.mapRect(find_model_box(grid)).topLeft().toPoint()
    )  # the hatching moves with the picture
    painter.fillPath(place.map(path), QBrush(theme.color("#FFFFFF", 0.16), Qt.BrushStyle.BDiagPattern))


def paint_region(painter: QPainter, place: QTransform, path: QPainterPath, ratio: float) -> None:
    """Paint the outline of the region.

    Args:
        painter: Painter of the picture.
        place: Transform from the model's picture to the painter.
        path: The outline in pixels of the model's picture.
        ratio: Screen pixels per unit, to put the outline on whole ones, as edges of patches are.
    """
    _stroke(painter, _on_pixels(path, place, ratio), theme.ACCENT, 2, Qt.PenStyle.DashLine)


def paint_outline(
    painter: QPainter, place: QTransform, path: QPainterPath, ratio: float, color: str, *, is_chosen: bool = False
) -> None:
    """Paint the outline of a named region in its colour, as `paint_region` does; wider for the chosen one."""
    _stroke(painter, _on_pixels(path, place, ratio), color, 2.5 if is_chosen else 1.5, Qt.PenStyle.SolidLine)


def _on_pixels(path: QPainterPath, place: QTransform, ratio: float) -> QPainterPath:
    outline = place.map(path)
    if place.m12() == 0 and place.m21() == 0:
        for number in range(outline.elementCount()):
            corner = outline.elementAt(number)
            outline.setElementPositionAt(number, whole(corner.x, ratio), whole(corner.y, ratio))
    return outline


def _stroke(painter: QPainter, outline: QPainterPath, color: str, width: float, style: Qt.PenStyle) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(theme.color("#101216", 0.8), width + 2))
    painter.drawPath(outline)
    painter.setPen(QPen(theme.color(color), width, style))
    painter.drawPath(outline)


def paint_zoom(painter: QPainter, area: QRectF, factor: float) -> None:
    """Write how far a picture is zoomed in into its top right corner."""
    text = f"{factor:.1f} ×"
    box = QRectF(0, 0, drawing.width_of(text, 12, bold=True) + 16, 22)
    box.moveTopRight(area.topRight() + QPointF(-8, 8))
    drawing.fill(painter, box, theme.color("#15171C", 0.93), 5)
    drawing.write(painter, box, text, "#FFFFFF", 12, bold=True, align="centre")
