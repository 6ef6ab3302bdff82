"""Tour of three hints at the first start, each beside the panel that it explains."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPoint, QRect, QRectF, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button

HINTS: Final = (
    (
        "strips",
        "Click a word or an action",
        "Both cameras light up where it looks. Hover to preview, Ctrl adds, Shift spans.",
    ),
    (
        "cameras",
        "Drag a box on a picture",
        "“Who looks here?” lists who looks there, and the atlas can rank heads by it.",
    ),
    (
        "axes",
        "Scrub layers, heads, steps, frames",
        "Arrow keys and [ ] do the same, digits choose a head, M the mean; Ctrl P finds every command.",
    ),
)


LEAST_TOP: Final = 50
"""Pixels that the box keeps free at the top of the window, for its bar."""


class Tour(QWidget):
    """Box over the window with one hint after another."""

    done = Signal()

    def __init__(self, window: QWidget, panels: dict[str, QWidget]) -> None:
        super().__init__(window)
        self.panels = panels
        self.index = 0
        self.skip, self.next = Button("Skip", kind="quiet", parent=self), Button("Next", parent=self)
        self.skip.clicked.connect(self.finish)
        self.next.clicked.connect(self._forward)
        widest = max(drawing.width_of(words, 12) for _, _, words in HINTS)  # no hint is cut off
        self.resize(min(max(400, round(widest) + 44), window.width() - 16), 112)
        self.place()
        self.show()
        self.raise_()

    def place(self) -> None:
        """Place the box above the panel of the current hint, or below it, so that it covers nothing of it."""
        window, panel = self.window(), self.panels[HINTS[self.index][0]]
        panel_box = QRect(panel.mapTo(window, QPoint(0, 0)), panel.size())
        x = min(max(panel_box.x() + min(60, panel_box.width() // 4), 8), max(window.width() - self.width() - 8, 8))
        above, below = panel_box.top() - self.height() - 8, panel_box.bottom() + 9
        if above < LEAST_TOP and below + self.height() <= window.height() - 8:
            above = below
        self.move(x, min(max(above, 8), max(window.height() - self.height() - 8, 8)))
        self.next.relabel("Done" if self.index == len(HINTS) - 1 else "Next")
        self.next.setGeometry(self.width() - 12 - 70, self.height() - 40, 70, 28)
        self.skip.setGeometry(self.width() - 12 - 70 - 60, self.height() - 37, 52, 22)
        self.setAccessibleName(HINTS[self.index][1])
        self.update()

    def _forward(self) -> None:
        self.index += 1
        if self.index >= len(HINTS):
            self.finish()
        else:
            self.place()

    def finish(self) -> None:
        """End the tour."""
        self.hide()
        self.done.emit()
        self.deleteLater()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme.color(colors.accent))
        painter.setBrush(theme.color(colors.raised))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 10, 10)
        index = min(self.index, len(HINTS) - 1)
        drawing.write(painter, QRectF(16, 12, self.width() - 32, 20), HINTS[index][1], colors.text, 14, bold=True)
        drawing.write(painter, QRectF(16, 36, self.width() - 32, 20), HINTS[index][2], colors.secondary, 12)
        drawing.write(
            painter, QRectF(16, self.height() - 36, 80, 20), f"{index + 1} of {len(HINTS)}", colors.secondary, 12
        )
