"""Short message in place of the status bar that disappears after a while."""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import theme

MILLISECONDS: Final = 6000
MILLISECONDS_PER_LETTER: Final = 60
"""A long message stays this long for each letter."""
MARGINS: Final = 28, 4, 16, 4
LEAST_HEIGHT: Final = 26
"""That of the status bar in pixels: a message of one line covers nothing else."""
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

    def show_message(self, text: str) -> None:
        """Show a message."""
        self.text = text
        self.setAccessibleName(text)
        self.place()
        self.show()
        self.raise_()
        self.update()
        self._timer.start(max(MILLISECONDS, MILLISECONDS_PER_LETTER * len(text)))

    def place(self) -> None:
        """Place the notice over the status bar, upwards as high as the message needs."""
        window = self.window()  # not an attribute, which would keep a closed window alive
        left, top, right, bottom = MARGINS
        most = QRectF(0, 0, window.width() - left - right, window.height())
        needed = theme.metrics(13).boundingRect(most, int(_WRAPPED), self.text)
        height = max(math.ceil(needed.height()) + top + bottom, LEAST_HEIGHT)
        self.setGeometry(QRect(0, window.height() - height, window.width(), height))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.hide()

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.fillRect(self.rect(), theme.color(colors.raised))
        painter.fillRect(QRectF(0, 0, self.width(), 1), theme.color(colors.faint))
        left, top, right, bottom = MARGINS
        painter.fillRect(QRectF(theme.MARGIN, 7, 3, self.height() - 14), theme.color(colors.accent))
        painter.setFont(theme.font(13))
        painter.setPen(theme.color(colors.text))
        painter.drawText(QRectF(self.rect()).adjusted(left, top, -right, -bottom), int(_WRAPPED), self.text)
