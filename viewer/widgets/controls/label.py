"""Short texts beside controls."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme


class SecondaryText(QWidget):
    """A right-aligned text that takes the width that is left, elided where it has no room."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.text = ""
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(round(drawing.width_of(self.text, 12)) + 18, 24)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 24)

    def show_text(self, text: str) -> None:
        """Replace the text."""
        if text != self.text:
            self.text = text
            self.setAccessibleDescription(text)
            self.setToolTip(plain_tooltip(text))
            self.updateGeometry()
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        box = QRectF(8, 0, self.width() - 16, self.height())
        drawing.write(QPainter(self), box, self.text, theme.active().secondary, 12, align="right")


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
        colors = theme.active()
        align, ink = ("right", colors.text) if self.bright else ("left", colors.secondary)
        drawing.write(QPainter(self), QRectF(self.rect()), self.text, ink, 12, align=align)
