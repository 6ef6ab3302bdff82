"""Button that starts and stops playback, with a drawn icon."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from viewer.rendering import drawing, theme

SIDE: Final = 26
"""Width and height of the button in pixels."""
ICON: Final = 12.0
"""Height of the icon in pixels."""


class PlayButton(QAbstractButton):
    """Shows a triangle, and two bars while it plays."""

    def __init__(self, axis: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axis = axis
        self.is_playing = False
        self.setFixedSize(SIDE, SIDE)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.show_playing(False)

    def show_playing(self, playing: bool) -> None:
        """Show the icon for playing, or for pausing while it plays."""
        self.is_playing = playing
        self.setAccessibleName(f"{'Pause' if playing else 'Play'} {self.axis}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(SIDE, SIDE)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter, box = theme.active(), QPainter(self), QRectF(self.rect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        hot = self.isEnabled() and self.underMouse()
        if self.isDown() or hot:
            drawing.fill(painter, box, theme.color(colors.hover))
        if not self.isEnabled():
            ink = colors.faint
        elif self.is_playing:
            ink = colors.accent
        else:
            ink = colors.text if hot else colors.secondary
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(ink))
        centre = box.center()
        if self.is_playing:
            for left in (-4.5, 1.5):
                painter.drawRoundedRect(QRectF(centre.x() + left, centre.y() - ICON / 2, 3, ICON), 1, 1)
        else:
            x, half = centre.x() - ICON / 3, ICON / 2
            corners = [
                QPointF(x, centre.y() - half),
                QPointF(x + ICON * 0.85, centre.y()),
                QPointF(x, centre.y() + half),
            ]
            painter.drawPolygon(QPolygonF(corners))
        if self.hasFocus():
            drawing.ring(painter, box, theme.color(colors.accent))
