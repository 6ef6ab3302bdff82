"""Short message at the bottom of the window that disappears after a while."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import theme

MILLISECONDS: Final = 6000
MILLISECONDS_PER_LETTER: Final = 60
"""A long message stays this long for each letter."""
MARGINS: Final = 24, 10, 12, 10
MAX_WIDTH: Final = 900
_WRAPPED: Final = Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextWrapAnywhere | Qt.AlignmentFlag.AlignVCenter


class Notice(QWidget):
    """Shows the newest message; a click hides it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.text = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        self.hide()

    def say(self, text: str) -> None:
        """Show a message."""
        self.text = text
        self.setAccessibleName(text)
        self.place()
        self.show()
        self.raise_()
        self.update()
        self._timer.start(max(MILLISECONDS, MILLISECONDS_PER_LETTER * len(text)))

    def place(self) -> None:
        """Centre the notice at the bottom of the window, as high as the message needs."""
        window = self.window()  # not an attribute, which would keep a closed window alive
        left, top, right, bottom = MARGINS
        most = QRectF(0, 0, min(window.width() - 40, MAX_WIDTH) - left - right, window.height())
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
