"""Colour bar and the controls of the heat map: colour map, range, scale, unit, measure and opacity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from viewer.analysis.color_range import find_bar_range
from viewer.analysis.scene import DATA_FIELDS
from viewer.errors import READ_ERRORS
from viewer.model import attention
from viewer.model.attention import UNIFORM_SPAN
from viewer.rendering import colormaps, drawing, theme, ticks
from viewer.rendering.range_text import describe_below, describe_range
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.label import ControlLabel
from viewer.widgets.controls.number_field import NumberField
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.controls.slider import Slider
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.controllers.session import Session
    from viewer.model.view_state import ViewState

RANGES: Final = (("uniform", "From 1 ×"), ("shared", "From 0"), ("map", "Per map"), ("locked", "Locked"))
RANGE_TIPS: Final = {
    "uniform": "From the weight of a row that is spread evenly, 1 ×, which is transparent, to the 99th percentile of "
    f"all cameras, and to {UNIFORM_SPAN:g} × at least: little weight stays faint",
    "shared": "From 0 to the 99th percentile of all cameras, however little weight they hold",
    "map": "From 0 to the 99th percentile of each camera",
    "locked": "The range that is shown now, kept for all views",
}
MAPS: Final = (("inferno", "inferno"), ("viridis", "viridis"), ("magma", "magma"), ("turbo", "turbo"), ("jet", "jet"))


class ColourBar(Panel):
    """Colour bar with two handles; dragging one locks the range."""

    watched_fields = frozenset(DATA_FIELDS) | {"colours", "compare", "pinned"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Colour range", parent)
        self.setFixedHeight(56)
        self._drag = ""
        self._right: float | None = None
        """Right end of the bar while a handle is dragged: it must not move under the pointer."""
        self._ramp: tuple[tuple[object, ...], QImage] | None = None
        self._scene: Scene | None = None
        self._texts: tuple[str, ...] = ()
        session.bared.connect(self.reload_and_update)

    def load(self) -> None:
        self._scene = self.session.scene()
        self._load_texts()

    def ends(self) -> tuple[float, float, float, float]:
        """Return the left and right end of the bar, and the range that the colours span."""
        return self._ends_of(self.session.scene())

    def _ends_of(self, scene: Scene | None) -> tuple[float, float, float, float]:
        if scene is None:
            return 0.0, 1.0, 0.0, 1.0
        bar = find_bar_range(scene)
        right = bar.right if self._right is None else max(self._right, bar.high)
        return bar.left, right, bar.low, bar.high

    def _load_texts(self) -> None:
        """Load what lies beyond the colour range, as text, description and tooltip."""
        scene, shown = self._scene, self.session.shown
        found = (describe_range(scene, shown), describe_below(scene, shown)) if scene is not None else ()
        self._texts = tuple(text for text in found if text)
        self.setAccessibleDescription(" · ".join(self._texts))
        self.setToolTip("\n".join((*self._texts, "Drag an end of the range to lock it")) if self._texts else "")

    def paint(self, painter: QPainter, area: QRect) -> None:
        t, scene, shown = theme.active(), self._scene, self.session.shown
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if scene is None:
            return
        left, right, low, high = self._ends_of(scene)
        span = right - left or 1.0
        name = colormaps.DIFFERENCE if scene.difference else shown.colours
        scale = "linear" if scene.difference else shown.scale
        # On a linear scale the bar depends only on the relative positions of the ends.
        ends = (round((low - left) / span, 6), round((high - left) / span, 6))
        key = (name, scale, *(ends if scale == "linear" else (left, right, low, high)), self.width())
        if self._ramp is None or self._ramp[0] != key:
            self._ramp = key, _ramp(name, scale, left, right, low, high)
        painter.drawImage(QRectF(0, 3, self.width(), 12), self._ramp[1])
        if shown.scale == "rank" and not scene.difference:
            found = [(tick.value, tick.text) for tick in ticks.find_ticks(0, 1, factor=100, unit="%")]
        else:
            fitting = ticks.fit_ticks(left, right, self.width(), _measure_tick, most=7)
            found = [((tick.value - left) / span, tick.text) for tick in fitting]
        for part, text in found:
            half = _measure_tick(text) / 2
            x = min(max(part * self.width(), half), self.width() - half)
            drawing.write(painter, QRectF(x - 40, 18, 80, 18), text, t.secondary, 12, align="centre")
        if shown.scale != "rank" and not scene.difference and shown.range != "map":
            for value in (low, high):
                x = min(max((value - left) / span * self.width(), 2.0), self.width() - 2.0)
                painter.fillRect(QRectF(x - 2.5, 0, 5, 18), theme.colour("#15171C"))
                painter.fillRect(QRectF(x - 1.5, 0, 3, 18), theme.colour("#FFFFFF"))
        line = QRectF(0, 37, self.width(), 18)
        used = drawing.write(painter, line, self._texts[0], t.secondary, 12)
        rest = self._texts[-1] if len(self._texts) > 1 else ""
        if used + 16 + drawing.width_of(rest, 12) <= line.width():
            drawing.write(painter, line, rest, t.secondary, 12, align="right")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        scene, shown = self.session.scene(), self.session.shown
        if scene is None or scene.difference or shown.scale == "rank" or event.button() != Qt.MouseButton.LeftButton:
            return
        left, right, low, high = self.ends()
        x, span = event.position().x() / max(self.width(), 1) * (right - left) + left, right - left
        near_high = abs(x - high) <= abs(x - low) or abs(high - low) < span * 0.02
        self._drag = "high" if near_high else "low"
        self._right = right
        self.session.begin()
        self._move(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag:
            self._move(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._drag:
            self._drag, self._right = "", None
            self.session.end()
            self.update()

    def _move(self, point: QPointF) -> None:
        left, right, low, high = self.ends()
        value = left + min(max(point.x() / max(self.width(), 1), 0.0), 1.0) * (right - left)
        least = (right - left) / 500
        if self._drag == "high":
            self.session.update(range="locked", low=low, high=max(value, low + least))
        else:
            self.session.update(range="locked", low=min(value, high - least), high=high)

    def sizeHint(self) -> QSize:
        return QSize(240, 56)


def _measure_tick(text: str) -> float:
    return drawing.width_of(text, 12)


def _ramp(name: str, scale: str, left: float, right: float, low: float, high: float) -> QImage:
    """Return one row of the colours of values from `left` to `right`, where the colours span `low` to `high`."""
    if scale == "rank":
        at = np.linspace(0, 1, 512, dtype=np.float32)
    else:
        at = attention.places(np.linspace(left, right, 512, dtype=np.float32), low, high, scale)
    words = colormaps.opaque(name)[np.rint(at * 255).astype(np.intp)][None]
    return drawing.word_image(words, blended=False)


class HeatPanel(Panel):
    """Controls of the heat map, with the colour bar."""

    watched_fields = frozenset(DATA_FIELDS) | {"colours", "opacity", "smooth", "grid", "picture", "compare", "pinned"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Heat", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.bar = ColourBar(session)
        self.colours = DropDown("Colour map", MAPS)
        self.range = SegmentedControl("Range", RANGES)
        self.range.set_tool_tips(RANGE_TIPS)
        self.scale = SegmentedControl("Scale", (("linear", "Linear"), ("log", "Log"), ("rank", "Rank")))
        self.uniform = Button("× uniform", kind="toggle")
        self.norms = Button("× value norm", kind="toggle")
        self.smooth = Button("Smooth", kind="toggle")
        self.model = Button("Model’s picture", kind="toggle")
        for button in (self.uniform, self.norms, self.smooth, self.model):
            button.setCheckable(True)
        self.low, self.high = NumberField("Lower end of the range"), NumberField("Upper end of the range")
        for field in (self.low, self.high):
            field.setToolTip(f"{field.accessibleName()}; typing a number locks the range")
            field.setFixedSize(74, 24)
            field.editingFinished.connect(self._typed)
        self.opacity = Slider("Heat opacity")
        self.opacity.setRange(0, 100)
        first, second = QVBoxLayout(), QVBoxLayout()
        self._halves_layout = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._halves_layout.setContentsMargins(0, 0, 0, 0)
        for half in (first, second):
            half.setContentsMargins(0, 0, 0, 0)
            half.setSpacing(7)
            self._halves_layout.addLayout(half, 1)
        self._halves_layout.setSpacing(7)
        top = QHBoxLayout()
        top.addStretch()
        top.addWidget(self.colours)
        first.addLayout(top)
        first.addWidget(self.bar)
        ends = QHBoxLayout()
        ends.addWidget(self.low)
        ends.addStretch()
        ends.addWidget(self.uniform)
        ends.addStretch()
        ends.addWidget(self.high)
        first.addLayout(ends)
        first.addStretch()
        second.addWidget(self.range)
        second.addWidget(self.scale)
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in (self.norms, self.smooth, self.model):
            row.addWidget(button)
        second.addLayout(row)
        strength = QHBoxLayout()
        strength.setSpacing(8)
        self.strength_name, self.strength_value = ControlLabel("Heat opacity"), ControlLabel("", bright=True)
        for widget in (self.strength_name, self.opacity, self.strength_value):
            strength.addWidget(widget)
        second.addLayout(strength)
        self._difference = self._paints_difference = False
        self._connect()

    def _connect(self) -> None:
        self.colours.chosen.connect(self._set_colours)
        self.range.chosen.connect(self._set_range)
        self.scale.chosen.connect(self._set_scale)
        self.uniform.toggled.connect(self._set_uniform)
        self.norms.toggled.connect(self._set_norms)
        self.smooth.toggled.connect(self._set_smooth)
        self.model.toggled.connect(self._set_model)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.opacity.drag_started.connect(self.session.begin)
        self.opacity.drag_ended.connect(self.session.end)

    def _set_colours(self, value: str) -> None:
        self.session.update(colours=value)

    def _set_scale(self, value: str) -> None:
        self.session.update(scale=value)

    def _set_range(self, value: str) -> None:
        if value == "locked":
            _, _, low, high = self.bar.ends()
            # The range of a difference is symmetric about 0; that of weights, shown later, begins at 0.
            self.session.update(range="locked", low=0.0 if self._difference_shown() else low, high=high)
        else:
            self.session.update(range=value)

    def _set_uniform(self, on: bool) -> None:
        unit = "uniform" if on else "weight"
        if unit != self.session.state.unit:
            self.session.update(
                unit=unit, range="uniform" if self.session.state.range == "locked" else self.session.state.range
            )

    def _set_norms(self, on: bool) -> None:
        self.session.update(measure="contribution" if on else "weight")
        self.norms.setChecked(self.session.state.measure == "contribution")  # unchanged if the file has no value norms

    def _set_smooth(self, on: bool) -> None:
        self.session.update(smooth=on)

    def _set_model(self, on: bool) -> None:
        self.session.update(picture="model" if on else "source")

    def _set_opacity(self, value: int) -> None:
        if round(self.session.state.opacity * 100) != value:
            self.session.update(opacity=value / 100)

    def _difference_shown(self) -> bool:
        scene = self.session.scene()
        return scene is not None and scene.difference

    def _typed(self) -> None:
        try:
            low, high = (float(f.text().replace("−", "-").replace(",", ".")) for f in (self.low, self.high))
        except ValueError:
            self.session.noticed.emit("The ends of the range are numbers, for example 0 and 0.03.")
            self._show_ends(overwrite=True)
            return
        _, _, old_low, old_high = self.bar.ends()
        if (ticks.format_number(low, 4), ticks.format_number(high, 4)) == (
            ticks.format_number(old_low, 4),
            ticks.format_number(old_high, 4),
        ):
            return
        if self._difference_shown():  # symmetric about 0, whichever end was typed
            low, high = 0.0, abs(high if ticks.format_number(low, 4) == ticks.format_number(old_low, 4) else low)
        if not low < high < float("inf"):
            self.session.noticed.emit("The lower end of the range must be below the upper end.")
            self._show_ends(overwrite=True)
            return
        self.session.update(range="locked", low=low, high=high)

    def _show_ends(self, *, overwrite: bool = False) -> None:
        """Show the ends of the range; `overwrite` also replaces what is being typed."""
        _, _, low, high = self.bar.ends()
        for field, value in ((self.low, low), (self.high, high)):
            (field.setText if overwrite else field.show_text)(ticks.format_number(value, 4))

    def refresh(self) -> None:
        state: ViewState = self.session.shown
        self.colours.show_value(state.colours)
        self.range.show_value(state.range)
        self.scale.show_value(state.scale)
        for button, on in (
            (self.uniform, state.unit == "uniform"), (self.norms, state.measure == "contribution"),
            (self.smooth, state.smooth), (self.model, state.picture == "model"),
        ):  # fmt: skip
            button.setChecked(on)
        self.opacity.setValue(round(state.opacity * 100))
        self.strength_value.show_text(f"{round(state.opacity * 100)} %")
        self._show_ends()
        if self._difference != (state.compare == "difference"):
            self._difference = state.compare == "difference"
            self.update()

    def load(self) -> None:
        self._paints_difference = self._difference_shown()

    def on_file_changed(self) -> None:
        results = self.session.results
        try:
            norms = bool(
                results
                and results.done
                and results.value_norms(self.session.shown.frame, self.session.shown.query.kind)
            )
        except READ_ERRORS:
            norms = False
        self.norms.setEnabled(norms)
        self.norms.setToolTip(
            "What a key really contributes: weight × length of its projected value"
            if norms
            else "This file has no value norms"
        )

    def paint(self, painter: QPainter, area: QRect) -> None:
        self.fill_background(painter, area)
        self.paint_heading(painter, "Difference, 0 is white" if self._paints_difference else "Heat")

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = self.width() > 600
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._halves_layout.direction() != direction:
            self._halves_layout.setDirection(direction)
            self._halves_layout.setSpacing(32 if wide else 7)
