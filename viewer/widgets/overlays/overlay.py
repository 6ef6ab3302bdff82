"""Base class of sheets that float over the window."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from viewer.rendering import theme


class Overlay(QWidget):
    """Modal sheet over a dimmed window; a click beside it or Escape closes it."""

    closed = Signal()

    def __init__(self, window: QWidget, width: int, height: int) -> None:
        super().__init__(window)
        self._size = width, height
        self.sheet = QWidget(self)
        self.column = QVBoxLayout(self.sheet)
        self.column.setContentsMargins(12, 12, 12, 12)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # keys that no child handles must not reach the window
        self.place()

    def place(self) -> None:
        """Cover the window and centre the sheet horizontally, in its upper part."""
        window = self.window()  # not an attribute, which would keep a closed window alive
        self.setGeometry(window.rect())
        width, height = min(self._size[0], window.width() - 48), min(self._size[1], window.height() - 96)
        self.sheet.setGeometry((window.width() - width) // 2, max((window.height() - height) // 3, 24), width, height)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.fillRect(self.rect(), theme.color("#000000", 0.45 if colors.dark else 0.25))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme.color(colors.faint))
        painter.setBrush(theme.color(colors.panel))
        painter.drawRoundedRect(QRectF(self.sheet.geometry()).adjusted(0.5, 0.5, -0.5, -0.5), 12, 12)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self.sheet.geometry().contains(event.position().toPoint()):
            self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closed.emit()
        super().closeEvent(event)

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Move the focus with Tab among the widgets of the sheet only."""
        focused = QApplication.focusWidget()
        start = focused if focused is not None and self.isAncestorOf(focused) else self
        others, widget = [], start.nextInFocusChain()
        while widget is not None and widget is not start:
            others.append(widget)
            widget = widget.nextInFocusChain()
        # previousInFocusChain keeps the Python objects of all widgets that it returns alive for ever.
        for other in others if forward else reversed(others):
            takes = other.focusPolicy().value & Qt.FocusPolicy.TabFocus.value
            if takes and self.isAncestorOf(other) and other.isEnabled() and other.isVisible():
                other.setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
                break
        return True

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        event.accept()  # no key reaches what is under the sheet
