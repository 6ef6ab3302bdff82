"""Buttons, choices, segments and sliders in the window's own look, with keyboard, focus ring and accessible names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QActionGroup,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractButton, QAbstractSlider, QHBoxLayout, QLineEdit, QMenu, QSizePolicy, QWidget

from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from collections.abc import Sequence


class Button(QAbstractButton):
    """A push button: `raised`, `primary` (what the sheet is for), `quiet` (bare until hovered), `segment`, `toggle`.

    A segment is one of a row with a ground, a toggle the same by itself.
    """

    def __init__(self, text: str, *, kind: str = "raised", hint: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self.hint = hint
        self.setText(text)
        self.setAccessibleName(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def relabel(self, text: str) -> None:
        """Another text."""
        if text != self.text():
            self.setText(text)
            self.setAccessibleName(text)
            self.updateGeometry()

    def sizeHint(self) -> QSize:
        pixels = self.pixels
        width = drawing.width_of(self.text(), pixels)
        if self.hint:
            width += drawing.width_of(self.hint, 12) + 6
        pad = {"raised": 22, "primary": 28, "quiet": 8, "segment": 14, "toggle": 14}[self.kind]
        return QSize(round(width) + pad, {"raised": 28, "primary": 28, "quiet": 22}.get(self.kind, 24))

    @property
    def pixels(self) -> int:
        """Size of its text."""
        return 13 if self.kind in {"raised", "primary"} else 12

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        t = theme.active()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        hot = self.underMouse() and self.isEnabled()
        pixels = self.pixels
        colour = t.text if self.kind == "raised" or self.isChecked() or hot else t.secondary
        primary = self.kind == "primary" and self.isEnabled()
        if primary:
            colour = "#15171C"
        if not self.isEnabled():
            colour = t.faint
        if primary:
            drawing.fill(painter, box, theme.colour(t.accent, 0.8 if self.isDown() or hot else 1.0))
        elif self.isChecked() or self.isDown():
            drawing.fill(
                painter, box, theme.colour(t.faint if t.dark else t.panel if self.kind == "segment" else t.hover)
            )
        elif hot:
            drawing.fill(painter, box, theme.colour(t.hover))
        elif self.kind in {"raised", "primary"}:
            drawing.fill(painter, box, theme.colour(t.raised))
        inner = box.adjusted(4, 0, -4, 0)
        if self.hint:
            both = drawing.width_of(self.text(), pixels) + 6 + drawing.width_of(self.hint, 12)
            left = box.center().x() - both / 2
            used = drawing.write(painter, QRectF(left, 0, both, box.height()), self.text(), colour, pixels)
            drawing.write(painter, QRectF(left + used + 6, 0, both, box.height()), self.hint, t.secondary, 12)
        else:
            drawing.write(painter, inner, self.text(), colour, pixels, align="centre")
        if self.hasFocus():
            drawing.ring(painter, box, theme.colour(t.text if self.kind == "primary" else t.accent))


class Choice(Button):
    """A quiet button that opens a menu of words and shows the chosen one."""

    chosen = Signal(str)

    def __init__(
        self, name: str, options: Sequence[tuple[str, str]], *, prefix: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__("", kind="quiet", parent=parent)
        self._name, self._prefix = name, prefix
        self._labels = dict(options)
        self._reasons: dict[str, str] = {}
        self._abouts: dict[str, str] = {}
        self._value = ""
        self.show_value(options[0][0])
        self.clicked.connect(self._open)

    def disable(self, reasons: dict[str, str]) -> None:
        """Options that cannot be chosen now, and why."""
        self._reasons = reasons

    def explain(self, abouts: dict[str, str]) -> None:
        """What options are, for the tooltips of the menu and, for the chosen one, of the button."""
        self._abouts = abouts
        self.setToolTip(abouts.get(self._value, ""))

    def offer(self, options: Sequence[tuple[str, str]]) -> None:
        """Take other options; one of them is to be shown then."""
        self._labels, self._value = dict(options), ""

    def show_value(self, value: str) -> None:
        """Show what is chosen."""
        if value != self._value:
            self._value = value
            self.relabel(f"{self._prefix}{self._labels.get(value, value)} ▾")
            self.setAccessibleName(f"{self._name}: {self._labels.get(value, value)}")
            if self._abouts:
                self.setToolTip(self._abouts.get(value, ""))

    def menu(self) -> QMenu:
        """A fresh menu of the options; it deletes itself when closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        menu.setToolTipsVisible(True)
        group = QActionGroup(menu)
        for value, label in self._labels.items():
            action = menu.addAction(label)
            action.setData(value)
            action.setToolTip(self._abouts.get(value, label))
            action.setCheckable(True)
            action.setChecked(value == self._value)
            if value in self._reasons:
                action.setEnabled(False)
                action.setText(f"{label} – {self._reasons[value]}")
            group.addAction(action)
        group.triggered.connect(self._pick)
        return menu

    def _open(self) -> None:
        menu = self.menu()
        menu.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _pick(self, action: object) -> None:
        self.chosen.emit(str(action.data()))  # type: ignore[attr-defined]


class Segments(QWidget):
    """A row of words of which one is chosen; arrow keys walk."""

    chosen = Signal(str)
    KIND = "segment"

    def __init__(self, name: str, options: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.buttons: dict[str, Button] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(0)
        for value, label in options:
            button = Button(label, kind=self.KIND)
            button.setAccessibleName(f"{name}: {label}")
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setProperty("value", value)
            button.clicked.connect(self._clicked)
            self.buttons[value] = button
            row.addWidget(button)

    def show_value(self, value: str) -> None:
        """Show what is chosen."""
        if value in self.buttons and not self.buttons[value].isChecked():
            self.buttons[value].setChecked(True)

    def _clicked(self) -> None:
        self.chosen.emit(str(self.sender().property("value")))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        drawing.fill(painter, QRectF(self.rect()), theme.colour(theme.active().raised))


class Tabs(Segments):
    """A row of words at the left, of which one panel is shown."""

    KIND = "toggle"

    def __init__(self, name: str, options: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(name, options, parent)
        row = self.layout()
        assert isinstance(row, QHBoxLayout)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addStretch(1)
        for button in self.buttons.values():
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def add_at_end(self, widget: QWidget) -> None:
        """Put something at the right end of the row."""
        row = self.layout()
        assert isinstance(row, QHBoxLayout)
        row.addWidget(widget)

    def show_value(self, value: str) -> None:
        """Show which panel is shown; none of them where there is no such word."""
        for name, button in self.buttons.items():
            button.setAutoExclusive(bool(value))  # else one of them would have to stay
            button.setChecked(name == value)

    def show_only(self, values: set[str]) -> None:
        """Take away the words of panels that stand elsewhere."""
        for value, button in self.buttons.items():
            button.setVisible(value in values)

    def paintEvent(self, event: QPaintEvent) -> None:
        return  # no ground: the words stand on the window


class Slider(QAbstractSlider):
    """A horizontal slider with a round handle; click goes there, wheel and keys step."""

    pressed_down = Signal()
    let_go = Signal()
    KNOB = 7.0

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
        # Not sooner: the style takes it back when it first meets a slider, and all that lies under it is painted too.
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        super().showEvent(event)

    def place(self, value: int) -> float:
        """The x of a value."""
        span = max(self.maximum() - self.minimum(), 1)
        return self.KNOB + (value - self.minimum()) / span * (self.width() - 2 * self.KNOB)

    def value_at(self, x: float) -> int:
        """The value at an x."""
        span = self.maximum() - self.minimum()
        part = (x - self.KNOB) / max(self.width() - 2 * self.KNOB, 1)
        return self.minimum() + round(min(max(part, 0.0), 1.0) * span)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.pressed_down.emit()
            self.setValue(self.value_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setValue(self.value_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setSliderDown(False)
            self.let_go.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turn = event.angleDelta().y() or event.angleDelta().x()
        if turn:
            self.setValue(self.value() + (1 if turn > 0 else -1))
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
        t = theme.active()
        painter = QPainter(self)
        painter.fillRect(event.rect(), drawing.ground(self))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, x = self.height() / 2, self.place(self.value())
        track = QRectF(self.KNOB, middle - 2, self.width() - 2 * self.KNOB, 4)
        drawing.fill(painter, track, theme.colour(t.hover), 2)
        enabled = self.isEnabled() and self.maximum() > self.minimum()
        if enabled:
            drawing.fill(painter, QRectF(track.left(), track.top(), x - track.left(), 4), theme.colour(t.accent), 2)
        knob = QRectF(x - self.KNOB, middle - self.KNOB, 2 * self.KNOB, 2 * self.KNOB)
        painter.setPen(Qt.PenStyle.NoPen if t.dark else theme.colour(t.faint))
        painter.setBrush(theme.colour("#FFFFFF" if enabled else t.faint))
        painter.drawEllipse(knob.center(), self.KNOB - (0 if t.dark else 0.5), self.KNOB - (0 if t.dark else 0.5))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(theme.colour(t.accent))
            painter.drawEllipse(QPointF(x, middle), self.KNOB + 2, self.KNOB + 2)
            painter.drawEllipse(QPointF(x, middle), self.KNOB + 1, self.KNOB + 1)


class Field(QLineEdit):
    """A number that can be typed over. Without the focus it paints itself, several times faster than the style does."""

    def __init__(self, name: str, *, boxed: bool = True, pixels: float = 12, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxed, self.pixels = boxed, pixels
        self.setAccessibleName(name)
        self.setFont(theme.font(pixels))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._styled: theme.Theme | None = None
        self._before = ""

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Take the theme's colours, which the style paints with while something is typed: not sooner, it takes long."""
        t = theme.active()
        if self._styled is not t:
            self._style(t)
        self._before = self.text()
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:  # whatever was typed is given up; whoever holds the field takes the focus
            self.setText(self._before)
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _style(self, t: theme.Theme) -> None:
        self._styled = t
        self.setStyleSheet(
            f"QLineEdit {{ background: {t.panel}; color: {t.text}; border: 2px solid {t.accent}; border-radius: 5px;"
            f" padding: 1px {5 if self.boxed else 0}px; selection-background-color: {t.accent};"
            " selection-color: #15171C; }"
        )

    def show_text(self, text: str) -> None:
        """Show a number, unless one is being typed."""
        if text != self.text() and not self.hasFocus():
            self.setText(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter, around = theme.active(), QPainter(self), self.parentWidget()
        # Not its own ground: the style sheet gives it that of a field.
        painter.fillRect(self.rect(), drawing.ground(around if around is not None else self))
        if self.hasFocus():
            painter.end()
            super().paintEvent(event)
            return
        box = QRectF(self.rect())
        if self.boxed:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(theme.colour(t.line))
            painter.setBrush(theme.colour(t.panel))
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
        align = "right" if self.alignment() & Qt.AlignmentFlag.AlignRight else "left"
        colour = t.text if self.isEnabled() else t.secondary
        side = 8 if self.boxed else 4
        drawing.write(painter, box.adjusted(side, 0, -side, 0), self.text(), colour, self.pixels, align=align)
