"""A camera's picture with heat on it: what the window's panes and exported figures both paint with. No widgets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QImage, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from capture.schema import GRID, MODEL_PIXELS, PATCH_PIXELS
from viewer import attention, colourmaps, drawing, geometry, theme

if TYPE_CHECKING:
    from viewer.scene import Scene
    from viewer.state import ViewState

SMOOTH_PIXELS: Final = 224
MODEL: Final = QRectF(0, 0, MODEL_PIXELS, MODEL_PIXELS)


def from_model(to_model: geometry.Affine) -> QTransform:
    """From pixels of the model's picture to those of the picture that is shown."""
    m = geometry.inverted(to_model)
    return QTransform(m[0, 0], m[1, 0], m[0, 1], m[1, 1], m[0, 2], m[1, 2])


def heat_image(scene: Scene, camera: int, state: ViewState) -> QImage:
    """The heat of one camera, (16, 16), or (224, 224) where it is smoothed: see-through, in the model's picture."""
    name = colourmaps.DIFFERENCE if scene.difference else state.colours
    scale = "linear" if scene.difference else state.scale
    values = scene.maps[camera]
    low, high = scene.ranges[camera]
    if scale == "rank":  # among the patches of all cameras, as on a shared scale
        values = attention.places(scene.maps, low, high, "rank")[camera]
        low, high, scale = 0.0, 1.0, "linear"
    if state.smooth:
        weights = geometry.smoothing(SMOOTH_PIXELS)
        values = weights @ values @ weights.T
    at = np.rint(attention.places(values, low, high, scale) * 255).astype(np.intp)
    return drawing.word_image(colourmaps.heat(name, round(state.opacity * 100))[at], blended=True)


def paint_heat(painter: QPainter, place: QTransform, image: QImage) -> None:
    """Lay the heat over the picture; `place` leads from the model's picture to the painter."""
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    if place.m12() == 0 and place.m21() == 0:
        # Turned pictures are drawn by turning the small image: a plain scaled blit is several times faster.
        axes = Qt.Orientation(0)
        if place.m11() < 0:
            axes |= Qt.Orientation.Horizontal
        if place.m22() < 0:
            axes |= Qt.Orientation.Vertical
        painter.drawImage(place.mapRect(MODEL), image.flipped(axes) if axes else image)
    else:
        painter.save()
        painter.setTransform(place, combine=True)
        painter.drawImage(MODEL, image)
        painter.restore()


def paint_grid(painter: QPainter, place: QTransform) -> None:
    """The edges of patches, barely there."""
    if abs(place.m11()) * PATCH_PIXELS < 6 or place.m12() != 0 or place.m21() != 0:
        return
    ink = theme.colour("#FFFFFF", 0.075)
    box = place.mapRect(MODEL)
    for line in range(GRID + 1):
        x, y = _whole(box.left() + box.width() * line / GRID), _whole(box.top() + box.height() * line / GRID)
        # Filled, not drawn: Qt draws a see-through line many times slower than it fills a rectangle of its size.
        painter.fillRect(x, round(box.top()), 1, round(box.height()), ink)
        painter.fillRect(round(box.left()), y, round(box.width()), 1, ink)


def _whole(place: float) -> int:
    """The nearest pixel; just halfway it is the one before, wherever on the page the picture lies."""
    return math.floor(place + 0.5 - 1e-6)


def paint_hatch(painter: QPainter, place: QTransform, to_model: geometry.Affine, height: int, width: int) -> None:
    """The letterbox bars of the model's picture; `height` and `width` are the camera's picture's."""
    corners = geometry.apply(to_model, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    path = QPainterPath()
    path.addRect(MODEL)
    path.addPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))
    path.closeSubpath()
    path.setFillRule(Qt.FillRule.OddEvenFill)
    painter.setBrushOrigin(place.mapRect(MODEL).topLeft().toPoint())  # the lines move with the picture
    painter.fillPath(place.map(path), QBrush(theme.colour("#FFFFFF", 0.16), Qt.BrushStyle.BDiagPattern))


def paint_region(painter: QPainter, place: QTransform, path: QPainterPath) -> None:
    """The edge of the region, a path in the model's picture."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(theme.colour("#101216", 0.8), 4))
    painter.drawPath(place.map(path))
    painter.setPen(QPen(theme.colour(theme.ACCENT), 2, Qt.PenStyle.DashLine))
    painter.drawPath(place.map(path))
