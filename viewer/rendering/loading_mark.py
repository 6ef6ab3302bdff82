"""The mark on a picture that is an earlier one, while the next is being read."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter

from viewer.rendering import drawing, theme

HEIGHT: Final = 22.0
PIXELS: Final = 12


def paint_loading_mark(painter: QPainter, area: QRectF, text: str) -> None:
    """Paint a text, such as `loading layer 12…`, on a quiet ground in the lower left corner of an area."""
    if not text:
        return
    colors = theme.active()
    width = min(drawing.width_of(text, PIXELS) + 18, area.width() - 12)
    box = QRectF(area.left() + 6, area.bottom() - HEIGHT - 6, width, HEIGHT)
    painter.save()
    painter.resetTransform()
    painter.setClipping(False)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color(colors.panel, 0.92))
    painter.drawRoundedRect(box, 5, 5)
    drawing.write(painter, box.adjusted(9, 0, -6, 0), text, colors.secondary, PIXELS)
    painter.restore()
