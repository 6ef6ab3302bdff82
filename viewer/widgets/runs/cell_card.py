"""Card beside the pointer that explains a head over the run: numbers, and its distribution over episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme
from viewer.rendering.runs.strip_plot import FOOT, draw_strips

if TYPE_CHECKING:
    from viewer.rendering.axes import Axis
    from viewer.rendering.runs.strip_plot import StripGroup

PADDING: Final = 10
LINE: Final = 17
LEAST_WIDTH: Final = 300
MOST_WIDTH: Final = 460
ROW: Final = 46
"""Height of a strip in pixels."""
LABELS: Final = 84
GAP: Final = 14
"""Pixels between the table and the card."""


class CellCard(QWidget):
    """Lies over the window; ignores the mouse."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Head under the pointer")
        self.title = ""
        self.lines: tuple[str, ...] = ()
        self.strips: tuple[StripGroup, ...] = ()
        self._axis: Axis | None = None
        self.hide()

    def show_head(
        self, side: QPoint, title: str, lines: tuple[str, ...], rows: int, strips: tuple[StripGroup, ...] = (),
        axis: Axis | None = None,
    ) -> None:  # fmt: skip
        """Show the card at the right of a point, where it covers no cell, moved so that it lies within the window.

        Args:
            side: The point of the window.
            title: In bold.
            lines: Below it.
            rows: How many strips there will be, for which room is kept until they are known.
            strips: Groups of episodes; none while they are being asked for.
            axis: Of the strips.
        """
        self.title, self.lines, self.strips, self._axis = title, lines, strips, axis
        self.setAccessibleDescription("; ".join([title, *lines]))
        size, room = self._measure_size(rows), self.window().rect()
        left = max(min(side.x() + GAP, room.width() - size.width() - 4), 4)
        top = max(min(side.y() - size.height() // 2, room.height() - size.height() - 4), 4)
        self.setGeometry(left, top, size.width(), size.height())
        self.update()
        self.raise_()
        self.show()

    def _measure_size(self, rows: int) -> QSize:
        widths = [drawing.width_of(self.title, 12, bold=True), *(drawing.width_of(line, 12) for line in self.lines)]
        width = min(max(max(widths) + 2 * PADDING + 2, LEAST_WIDTH), MOST_WIDTH)
        height = 2 * PADDING + LINE * (1 + len(self.lines)) + (6 + rows * ROW + FOOT if rows else 0)
        return QSize(round(width), round(height))

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = theme.active()
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            box = QRectF(self.rect())
            drawing.fill(painter, box, theme.color(colors.faint), 7)
            drawing.fill(painter, box.adjusted(1, 1, -1, -1), theme.color(colors.raised), 6)
            inner = box.adjusted(PADDING, PADDING, -PADDING, -PADDING)
            line = QRectF(inner.left(), inner.top(), inner.width(), LINE)
            drawing.write(painter, line, self.title, colors.text, 12, bold=True)
            for text in self.lines:
                line = line.translated(0, LINE)
                drawing.write(painter, line, text, colors.secondary, 12)
            if self.strips and self._axis is not None:
                strips = QRectF(inner.left(), line.bottom() + 6, inner.width(), inner.bottom() - line.bottom() - 6)
                draw_strips(painter, strips, self.strips, self._axis, LABELS)
