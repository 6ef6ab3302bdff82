"""Short text beside a control."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme


class ControlLabel(QWidget):
    """A label of fixed width; `bright` labels are right-aligned values in the text colour."""

    def __init__(self, text: str, *, bright: bool = False) -> None:
        super().__init__()
        self.text, self.bright = text, bright
        self.setFixedSize(round(drawing.width_of(text or "100 %", 12)) + 2, 24)

    def show_text(self, text: str) -> None:
        """Replace the text by one of about the same width."""
        if text != self.text:
            self.text = text
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t = theme.active()
        align = "right" if self.bright else "left"
        drawing.write(
            QPainter(self), QRectF(self.rect()), self.text, t.text if self.bright else t.secondary, 12, align=align
        )
