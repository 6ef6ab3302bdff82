"""Handle between two regions of a column, dragged up and down."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QEvent, QRectF, Qt, Signal
from PySide6.QtGui import QEnterEvent, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme

HEIGHT: Final = 9
"""Pixels that take the mouse."""
KEY_STEP: Final = 16
"""Pixels by which an arrow key moves the handle."""


class SplitHandle(QWidget):
    """Moves the border between what is above and what is below it; a double click restores the automatic height.

    It lies over the edges of both, and takes no part in their painting while there is nothing to see of it.
    """

    drag_started = Signal()
    dragged = Signal(int)
    """Distance in pixels from where the drag began, downwards."""
    drag_ended = Signal()
    reset = Signal()

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setToolTip(f"{name}: drag, or use the arrow keys; a double click lets the window decide again")
        self.setCursor(Qt.CursorShape.SplitVCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._start: float | None = None

    def enterEvent(self, event: QEnterEvent) -> None:
        self.setUpdatesEnabled(True)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.setUpdatesEnabled(True)
        super().focusInEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._start = event.globalPosition().y()
            self.drag_started.emit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._start is not None:
            self.dragged.emit(round(event.globalPosition().y() - self._start))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._start is not None:
            self._start = None
            self.drag_ended.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._start = None
        self.reset.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: -KEY_STEP, Qt.Key.Key_Down: KEY_STEP}
        if Qt.Key(event.key()) not in moves:
            super().keyPressEvent(event)
            return
        self.drag_started.emit()
        self.dragged.emit(moves[Qt.Key(event.key())])
        self.drag_ended.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = theme.active()
        if not (self.underMouse() or self.hasFocus() or self._start is not None):
            self.setUpdatesEnabled(False)  # until it is used; what is under it has just been painted
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        width = 48.0
        bar = QRectF((self.width() - width) / 2, self.height() / 2 - 1.5, width, 3)
        drawing.fill(
            painter,
            bar,
            theme.color(colors.accent if self._start is not None or self.hasFocus() else colors.faint),
            1.5,
        )
