"""Sliders of the four axes frame, layer, step and head, each with a number field and a play button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QWidget

from viewer.model.number_ranges import format_numbers, format_place
from viewer.model.view_state import moved, position
from viewer.rendering import drawing, theme
from viewer.widgets.controls.number_field import NumberField
from viewer.widgets.controls.play_button import PlayButton
from viewer.widgets.controls.slider import Slider
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.session import Session
    from viewer.model.view_state import Dims, ViewState

AXES: Final = ("frame", "layer", "step", "head")
KEYS: Final = {"frame": "← →", "layer": "↑ ↓", "step": "[ ]", "head": "0–9"}
NUMBER_WIDTH: Final = 96
"""Pixels: room for `4999 of 0–4999`."""
NO_STEPS: Final = "Words have one pass: no denoise steps"


class AxisRow(QWidget):
    """Name, slider, number field, play button and key of one axis."""

    played = Signal(str)

    def __init__(self, session: Session, axis: str) -> None:
        super().__init__()
        self.session, self.axis = session, axis
        self._key_label = KEYS[axis]
        self._shown_state: tuple[bool, str] | None = None
        """Whether the axis can be changed, and why not, as the controls tell it."""
        self.slider = Slider(axis.capitalize())
        self.slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.number = NumberField(f"{axis.capitalize()} number", boxed=False, pixels=13)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.number.setFixedSize(NUMBER_WIDTH, 24)
        self.number.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.play = PlayButton(axis)
        row = QHBoxLayout(self)
        row.setContentsMargins(57, 0, 46, 0)  # aligned with chips and thumbnails
        row.setSpacing(6)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        row.addWidget(self.play)
        self.setFixedHeight(30)
        self._sync_timer = QTimer(self)
        self._sync_timer.setSingleShot(True)
        self._sync_timer.setInterval(0)
        self._sync_timer.timeout.connect(self._sync_slider)
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.slider.drag_started.connect(session.begin)
        self.slider.drag_ended.connect(session.end)
        self.number.returnPressed.connect(self._on_typed)
        self.number.installEventFilter(self)
        self.play.clicked.connect(self._play)

    def _play(self) -> None:
        self.played.emit(self.axis)

    def _on_slider_moved(self, value: int) -> None:
        dims, state = self.session.dims, self.session.state
        if position(state, self.axis, dims.heads) != value:
            self.session.update(**moved(self.axis, value, dims.heads))
            self._sync_timer.start()

    def _sync_slider(self) -> None:
        """Set the slider to the view: a change that was undone before the flush emits no signal."""
        self.slider.setValue(position(self.session.requested_view, self.axis, self.session.dims.heads))

    def _on_typed(self) -> None:
        """Go to the typed number, one of the file's own."""
        text = _without_span(self.number.text()).lower()
        results, dims = self.session.results, self.session.dims
        if results is None:
            return
        if self.axis == "head" and text in {"mean", "max", "maximum"}:
            self.session.update(**moved("head", dims.heads + (text != "mean"), dims.heads))
        elif text.isdecimal():
            value = int(text[:9])
            places = list(self._list_numbers(dims))
            if value in places:
                self.session.update(**moved(self.axis, places.index(value), dims.heads))
            elif places:
                self.session.noticed.emit(f"There is no {self.axis} {value}; there are {format_numbers(places)}.")
        self.number.clearFocus()
        self.show_state(self.session.requested_view)

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        if watched is self.number and event.type() == QEvent.Type.FocusIn:
            self.number.setText(_without_span(self.number.text()))
        elif watched is self.number and event.type() == QEvent.Type.FocusOut:
            self.show_state(self.session.requested_view, leaving=True)
        return False

    def show_state(self, state: ViewState, dims: Dims | None = None, *, leaving: bool = False) -> None:
        """Show the position of a view; `leaving` also replaces what was typed. `dims`: those of the session."""
        results, dims = self.session.results, dims or self.session.dims
        length = {"frame": dims.frames, "layer": dims.layers, "step": dims.steps, "head": dims.heads + 2}[self.axis]
        usable = results is not None and length > 1 and not (self.axis == "step" and state.query.kind == "text")
        reason = NO_STEPS if self.axis == "step" and state.query.kind == "text" else ""
        if not reason and length == 1:
            reason = f"This file has one {'denoise step' if self.axis == 'step' else self.axis}"
        if self._shown_state != (usable, reason):
            self._shown_state = usable, reason
            for widget in (self.slider, self.number, self.play):
                widget.setEnabled(usable)
                widget.setToolTip(reason or (f"Play (Space plays {self.axis})" if widget is self.play else ""))
            self.setToolTip(reason)
        if self.slider.maximum() != max(length - 1, 0):
            self.slider.blockSignals(True)
            self.slider.setRange(0, max(length - 1, 0))
            self.slider.blockSignals(False)
        label = f"0–{min(dims.heads, 10) - 1}" if self.axis == "head" and dims.heads else KEYS[self.axis]
        if label != self._key_label:
            self._key_label = label
            self.update()
        place = position(state, self.axis, dims.heads)
        if self.slider.value() != place:
            self.slider.blockSignals(True)  # the view that is shown is not always the one that is edited
            self.slider.setValue(place)
            self.slider.blockSignals(False)
        if leaving or not self.number.hasFocus():
            text = self.words(state, dims)
            if self.number.text() != text:
                self.number.setText(text)

    def _list_numbers(self, dims: Dims) -> Sequence[int]:
        """Return the numbers that the file has on this axis."""
        results = self.session.results
        assert results is not None
        return {
            "frame": range(dims.frames), "layer": results.layers, "step": results.steps, "head": range(dims.heads),
        }[self.axis]  # fmt: skip

    def words(self, state: ViewState, dims: Dims) -> str:
        """Return the text of the number field; `dims` are those of the session."""
        results = self.session.results
        if results is None or not dims.frames:
            return "–"
        if self.axis == "step" and state.query.kind == "text":
            return "prefix"
        if self.axis != "head" or len(state.heads) == 1:
            place, numbers = position(state, self.axis, dims.heads), self._list_numbers(dims)
            return format_place(numbers[place], numbers)
        reduction = "mean" if state.reduce == "mean" else "max"
        return f"{reduction} {format_numbers(state.heads)}" if state.heads else reduction

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, colors = QPainter(self), theme.active()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        drawing.write(painter, box, self.axis.capitalize(), colors.secondary, 13)
        key = QRectF(self.width() - 38, box.center().y() - 9, 36, 18)
        painter.setPen(theme.color(colors.faint))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(key.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        drawing.write(painter, key, self._key_label, colors.secondary, 11, align="centre")


def _without_span(text: str) -> str:
    """Return what stands before `of 0–3`."""
    return text.partition(" of ")[0].strip()


class AxisSliders(Panel):
    """The four axes in two columns."""

    watched_fields = frozenset({"frame", "query", "step", "layer", "heads", "reduce"})
    OPAQUE = False
    played = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Axes", parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 6, 0, 6)
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(0)
        self.rows: dict[str, AxisRow] = {}
        for number, axis in enumerate(AXES):
            row = AxisRow(session, axis)
            row.played.connect(self.played)
            self.rows[axis] = row
            grid.addWidget(row, number // 2, number % 2)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_playing(self, axis: str) -> None:
        """Show which axis is playing; an empty string means none."""
        for name, row in self.rows.items():
            row.play.show_playing(name == axis)

    def show_requested(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        view, dims = self.session.requested_view, self.session.dims
        for row in self.rows.values():
            row.show_state(view, dims)
