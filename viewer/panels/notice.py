"""A sentence that appears over the window's foot for a while."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer import drawing, theme

MILLISECONDS = 6000


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
        self._timer.start(MILLISECONDS)

    def place(self) -> None:
        """At the middle of the window's foot."""
        window = self.window()  # no reference of our own: it would keep a closed window alive
        width = min(round(drawing.width_of(self.text, 13)) + 40, window.width() - 40)
        self.setGeometry((window.width() - width) // 2, window.height() - 26 - 56, width, 40)

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
        painter.fillRect(QRectF(12, 12, 3, 16), theme.colour(t.accent))
        drawing.write(painter, box.adjusted(24, 0, -12, 0), self.text, t.text, 13)
