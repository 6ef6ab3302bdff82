"""Vertical scroll bar of a list that paints its own lines."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollBar, QWidget

SCROLL_WIDTH: Final = 12
"""Room in pixels that the bar and its margin take at the right of a list."""


class LineScrollBar(QScrollBar):
    """Scroll bar whose values are numbers of lines; hidden while all lines fit."""

    def __init__(self, name: str, parent: QWidget) -> None:
        """`name`: its accessible name."""
        super().__init__(Qt.Orientation.Vertical, parent)
        self.setAccessibleName(name)
        self.hide()

    def show_lines(self, top: int, count: int, visible: int) -> int:
        """Show that `top` is the first of `visible` lines out of `count`; return the line that can be the first."""
        most = max(count - visible, 0)
        top = min(max(top, 0), most)
        self.setVisible(most > 0)
        self.blockSignals(True)
        self.setRange(0, most)
        self.setPageStep(visible)
        self.setValue(top)
        self.blockSignals(False)
        return top

    def place(self, right: int, top: int, bottom: int) -> None:
        """Place it left of `right`, the right edge of its list, from `top` to `bottom`."""
        self.setGeometry(right - SCROLL_WIDTH + 1, top, SCROLL_WIDTH - 1, max(bottom - top, 1))
