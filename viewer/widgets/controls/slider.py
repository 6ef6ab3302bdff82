"""Horizontal slider in the window's own look."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QShowEvent, QWheelEvent
from PySide6.QtWidgets import QAbstractSlider, QSizePolicy, QWidget

from viewer.rendering import drawing, theme


class Slider(QAbstractSlider):
    """A horizontal slider with a round handle.

    A click moves the handle to the pointer; wheel and arrow keys move it by one, Page Up and Page Down by ten.
    """

    drag_started = Signal()
    drag_ended = Signal()
    KNOB = 7.0
    """Radius of the handle in pixels."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setOrientation(Qt.Orientation.Horizontal)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(60)
        self.setRange(0, 0)

    def sizeHint(self) -> QSize:
        return QSize(160, 24)

    def showEvent(self, event: QShowEvent) -> None:
        # Not in __init__: the style clears the attribute when it polishes a slider, and Qt would then paint the
        # widgets underneath as well.
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        super().showEvent(event)

    def x_of(self, value: int) -> float:
        """Return the x of the handle's centre at a value, in pixels."""
        span = max(self.maximum() - self.minimum(), 1)
        return self.KNOB + (value - self.minimum()) / span * (self.width() - 2 * self.KNOB)

    def value_at(self, x: float) -> int:
        """Return the value that is nearest to an x in pixels."""
        span = self.maximum() - self.minimum()
        part = (x - self.KNOB) / max(self.width() - 2 * self.KNOB, 1)
        return self.minimum() + round(min(max(part, 0.0), 1.0) * span)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.drag_started.emit()
            self.setValue(self.value_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setValue(self.value_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setSliderDown(False)
            self.drag_ended.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        delta = event.angleDelta().y() or event.angleDelta().x()
        if delta:
            self.setValue(self.value() + (1 if delta > 0 else -1))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_PageUp: 10, Qt.Key.Key_PageDown: -10}
        if event.key() in steps:
            self.setValue(self.value() + steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.EnabledChange:
            self.update()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = theme.active()
        painter = QPainter(self)
        painter.fillRect(event.rect(), drawing.ground(self))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, x = self.height() / 2, self.x_of(self.value())
        track = QRectF(self.KNOB, middle - 2, self.width() - 2 * self.KNOB, 4)
        drawing.fill(painter, track, theme.color(colors.hover), 2)
        enabled = self.isEnabled() and self.maximum() > self.minimum()
        if enabled:
            drawing.fill(painter, QRectF(track.left(), track.top(), x - track.left(), 4), theme.color(colors.accent), 2)
        knob = QRectF(x - self.KNOB, middle - self.KNOB, 2 * self.KNOB, 2 * self.KNOB)
        painter.setPen(Qt.PenStyle.NoPen if colors.dark else theme.color(colors.faint))
        painter.setBrush(theme.color("#FFFFFF" if enabled else colors.faint))
        painter.drawEllipse(
            knob.center(), self.KNOB - (0 if colors.dark else 0.5), self.KNOB - (0 if colors.dark else 0.5)
        )
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(theme.color(colors.accent))
            painter.drawEllipse(QPointF(x, middle), self.KNOB + 2, self.KNOB + 2)
            painter.drawEllipse(QPointF(x, middle), self.KNOB + 1, self.KNOB + 1)
