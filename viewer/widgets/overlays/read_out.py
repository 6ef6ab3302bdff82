"""Small box with the values at a plot's crosshair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering.line_chart import draw_read_out, measure_read_out

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReadOut(QWidget):
    """Lies over the window, not over the plot that it explains, which may be lower than the box. Ignores the mouse."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title = ""
        self.rows: Sequence[tuple[str, str, str]] = ()

    def show_values(self, foot: QPoint, title: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """Show the box above a point of the window, moved so that it lies within the window.

        `rows` are colour, name and value.
        """
        self.title, self.rows = title, rows
        size, room = measure_read_out(title, rows).toSize(), self.window().rect()
        left = min(max(foot.x() - size.width() // 2, 4), room.width() - size.width() - 4)
        self.setGeometry(left, max(foot.y() - size.height(), 4), size.width(), size.height())
        self.update()
        self.raise_()
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            draw_read_out(painter, QRectF(self.rect()), self.title, self.rows)
