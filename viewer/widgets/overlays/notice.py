"""A sentence that appears over the window's foot for a while."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import theme

MILLISECONDS: Final = 6000
READING: Final = 60
"""Milliseconds that a letter of a long sentence is given."""
MARGINS: Final = 24, 10, 12, 10
MOST_WIDTH: Final = 900
_WRAPPED: Final = Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextWrapAnywhere | Qt.AlignmentFlag.AlignVCenter


class Notice(QWidget):
    """The newest sentence; a click takes it away."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.text = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        self.hide()

    def say(self, text: str) -> None:
        """Show a sentence."""
        self.text = text
        self.setAccessibleName(text)
        self.place()
        self.show()
        self.raise_()
        self.update()
        self._timer.start(max(MILLISECONDS, READING * len(text)))

    def place(self) -> None:
        """At the middle of the window's foot, on as many lines as the sentence needs."""
        window = self.window()  # no reference of our own: it would keep a closed window alive
        left, top, right, bottom = MARGINS
        most = QRectF(0, 0, min(window.width() - 40, MOST_WIDTH) - left - right, window.height())
        needed = theme.metrics(13).boundingRect(most, int(_WRAPPED), self.text)
        width, height = round(needed.width()) + left + right + 4, max(round(needed.height()) + top + bottom, 40)
        self.setGeometry(QRect((window.width() - width) // 2, window.height() - 42 - height, width, height))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.hide()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter = theme.active(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(theme.colour(t.faint))
        painter.setBrush(theme.colour(t.raised))
        painter.drawRoundedRect(box, 10, 10)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.fillRect(QRectF(12, 12, 3, self.height() - 24), theme.colour(t.accent))
        left, top, right, bottom = MARGINS
        painter.setFont(theme.font(13))
        painter.setPen(theme.colour(t.text))
        painter.drawText(QRectF(self.rect()).adjusted(left, top, -right, -bottom), int(_WRAPPED), self.text)
