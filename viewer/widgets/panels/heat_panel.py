"""Controls of the heat map, with its colour bar: colour map, range, scale, unit, measure and opacity."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from viewer.analysis.comparison import has_one_range
from viewer.analysis.effects.measured import (
    find_dims,
    find_map_unavailable_reason,
    list_mapped_frames,
    name_dims,
)
from viewer.analysis.scene import DATA_FIELDS
from viewer.controllers.view_changes import to_measure
from viewer.errors import READ_ERRORS
from viewer.model.attention import UNIFORM_SPAN
from viewer.model.plain_text import plain_tooltip
from viewer.model.view_state import FROM_EFFECTS
from viewer.rendering import drawing, ticks
from viewer.widgets.color_range_bar import ColorBar
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.label import ControlLabel
from viewer.widgets.controls.number_field import NumberField
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.controls.slider import Slider
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.model.view_state import Measure, ViewState

RANGES: Final = (("uniform", "From 1 ×"), ("shared", "From 0"), ("map", "Per map"), ("locked", "Locked"))
RANGE_TIPS: Final = {
    "uniform": "From the weight of a row that is spread evenly, 1 ×, which is transparent, to the 99th percentile of "
    f"all cameras, and to {UNIFORM_SPAN:g} × at least: little weight stays faint",
    "shared": "From 0 to the 99th percentile of all cameras, however little weight they hold",
    "map": "From 0 to the 99th percentile of each camera",
    "locked": "The range that is shown now, kept for all views",
}
WIDEST_ENDS: Final = ("−0.0008888", "−8.888e−38")
"""The longest ends of a range: four digits, of the smallest numbers with and without an exponent."""
MEASURES: Final = (("weight", "Weight"), ("contribution", "× norm"), ("effect", "Effect"),
                    ("gradient", "Gradient"))  # fmt: skip
MEASURE_TIPS: Final = {
    "contribution": "What a key really contributes: weight × length of its projected value",
    "effect": "How far the actions move when a patch is removed, in multiples of the noise (held E shows it)",
    "gradient": "Attention × gradient of action dimensions: positive parts, mean of heads, sum over layers and steps",
}
ALL_DIMS: Final = "all"
DIM_TIPS: Final = {
    "effect": "Effect on dimension {dim} of the actions, all actions together, in multiples of its own noise",
    "gradient": "Attention × gradient of action dimension {dim}",
}
ALL_DIMS_TIPS: Final = {
    "effect": "Effect on the actions, root mean square over all dimensions",
    "gradient": "Attention × gradient, mean of {dims}",
}
MAPS: Final = (("inferno", "inferno"), ("viridis", "viridis"), ("magma", "magma"), ("turbo", "turbo"), ("jet", "jet"))


class HeatPanel(Panel):
    """Controls of the heat map, with the colour bar."""

    watched_fields = frozenset(DATA_FIELDS) | {"colours", "opacity", "smooth", "grid", "picture", "compare", "pinned"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Heat", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.bar = ColorBar(session)
        self.colours = DropDown("Colour map", MAPS)
        self.range = SegmentedControl("Range", RANGES)
        self.range.set_tool_tips(RANGE_TIPS)
        self.scale = SegmentedControl("Scale", (("linear", "Linear"), ("log", "Log"), ("rank", "Rank")))
        self.uniform = Button("× uniform", kind="toggle")
        self.measure = SegmentedControl("Measure", MEASURES)
        self.dim = DropDown("Action dimension", ((ALL_DIMS, "all dims"),))
        self.dim.hide()
        self._dims: tuple[str, tuple[int, ...], int | None] = "", (), None
        self.smooth = Button("Smooth", kind="toggle")
        self.model = Button("Model’s picture", kind="toggle")
        for button in (self.uniform, self.smooth, self.model):
            button.setCheckable(True)
        self.low, self.high = NumberField("Lower end of the range"), NumberField("Upper end of the range")
        for field in (self.low, self.high):
            field.setToolTip(f"{field.accessibleName()}; typing a number locks the range")
            field.setFixedSize(max(ceil(drawing.width_of(text, field.pixels)) for text in WIDEST_ENDS) + 12, 24)
            field.editingFinished.connect(self._on_typed)
        self.opacity = Slider("Heat opacity")
        self.opacity.setRange(0, 100)
        self.strength_name, self.strength_value = ControlLabel("Heat opacity"), ControlLabel("", bright=True)
        self._halves_layout = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._build()
        self._paints_difference = self._has_one_range = False
        self._heading: tuple[object, ...] = ()
        self._connect()

    def _build(self) -> None:
        """Lay out the colour bar with its controls, and measure, range, scale and opacity, as two halves."""
        first, second = QVBoxLayout(), QVBoxLayout()
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
        ends.setSpacing(2)
        ends.addWidget(self.low)
        ends.addStretch()
        ends.addWidget(self.uniform)
        ends.addWidget(self.dim)
        ends.addStretch()
        ends.addWidget(self.high)
        first.addLayout(ends)
        first.addStretch()
        second.addWidget(self.measure)
        second.addWidget(self.range)
        second.addWidget(self.scale)
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in (self.smooth, self.model):
            row.addWidget(button)
        second.addLayout(row)
        strength = QHBoxLayout()
        strength.setSpacing(8)
        for widget in (self.strength_name, self.opacity, self.strength_value):
            strength.addWidget(widget)
        second.addLayout(strength)

    def _connect(self) -> None:
        self.colours.chosen.connect(self._set_colors)
        self.range.chosen.connect(self._set_range)
        self.scale.chosen.connect(self._set_scale)
        self.uniform.toggled.connect(self._set_uniform)
        self.measure.chosen.connect(self._set_measure)
        self.dim.chosen.connect(self._set_dim)
        self.smooth.toggled.connect(self._set_smooth)
        self.model.toggled.connect(self._set_model)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.opacity.drag_started.connect(self.session.begin)
        self.opacity.drag_ended.connect(self.session.end)

    def _set_colors(self, value: str) -> None:
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

    def _set_measure(self, measure: Measure) -> None:
        self.session.update(**to_measure(self.session.state, measure, self.session.results))
        self.measure.show_value(self.session.state.measure)  # unchanged if the file has no value norms

    def _set_dim(self, value: str) -> None:
        self.session.update(dim=None if value == ALL_DIMS else int(value))

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

    def _on_typed(self) -> None:
        try:
            low, high = (float(field.text().replace("−", "-").replace(",", ".")) for field in (self.low, self.high))
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
        self.measure.show_value(state.measure)
        self._show_units(state.measure)
        self._show_dims(state)
        for button, on in (
            (self.uniform, state.unit == "uniform"), (self.smooth, state.smooth),
            (self.model, state.picture == "model"),
        ):  # fmt: skip
            if button.isChecked() != on:
                button.blockSignals(True)
                button.setChecked(on)
                button.blockSignals(False)
        self.opacity.setValue(round(state.opacity * 100))
        self.strength_value.show_text(f"{round(state.opacity * 100)} %")
        self._show_ends()
        heading = (state.compare == "difference", state.pinned)
        if self._heading != heading:
            self._heading = heading
            self.update()

    def load(self) -> None:
        self._paints_difference = self._difference_shown()
        pin = self.session.pin
        self._has_one_range = pin is not None and has_one_range(self.session.current, pin[1])

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
        contribution = self.measure.buttons["contribution"]
        contribution.setEnabled(norms)
        contribution.setToolTip(MEASURE_TIPS["contribution"] if norms else "This file has no value norms")
        frame = self.session.shown.frame
        for measure in FROM_EFFECTS:
            is_known = results is not None and bool(results.done)
            lack = find_map_unavailable_reason(results, frame, measure) if results is not None and is_known else ""
            button = self.measure.buttons[measure]
            button.setEnabled(results is not None and bool(list_mapped_frames(results, measure)))
            button.setToolTip(plain_tooltip(f"{lack[:1].upper()}{lack[1:]}" if lack else MEASURE_TIPS[measure]))

    def _show_units(self, measure: Measure) -> None:
        """Show what a range can begin at, and whether there is a unit to choose: effects have the noise's alone."""
        is_effect = measure in FROM_EFFECTS
        for button in (self.uniform, self.range.buttons["uniform"]):
            button.setEnabled(not is_effect)
        self.uniform.relabel({"effect": "× noise", "gradient": "relevance"}.get(measure, "× uniform"))
        if is_effect and self.session.shown.range == "uniform":
            self.range.show_value("shared")

    def _show_dims(self, state: ViewState) -> None:
        """Show in place of the unit of which action dimension effects or gradients are, where there is a choice."""
        results, is_effect = self.session.results, state.measure in FROM_EFFECTS
        is_known = is_effect and results is not None and bool(results.done)
        try:
            dims = find_dims(results, state.frame, state.measure) if is_known and results is not None else ()
        except READ_ERRORS:
            dims = ()
        has_choice = bool(dims) or (is_effect and state.dim is not None)
        self.uniform.setVisible(not has_choice)
        self.dim.setVisible(has_choice)
        if not has_choice:
            return
        if self._dims != (state.measure, dims, state.dim):
            self._dims = state.measure, dims, state.dim
            self._set_dim_options(state.measure, dims, state.dim)
        self.dim.show_value(ALL_DIMS if state.dim is None else str(state.dim))

    def _set_dim_options(self, measure: Measure, dims: tuple[int, ...], chosen: int | None) -> None:
        """Offer each dimension that the frame has, and all of them together; the chosen one even if it lacks it."""
        together = "mean" if measure == "gradient" else "all dims"
        tips = {str(dim): DIM_TIPS[measure].format(dim=dim) for dim in dims}
        tips[ALL_DIMS] = ALL_DIMS_TIPS[measure].format(dims=name_dims(dims) if dims else "none")
        lacking = {} if chosen is None or chosen in dims else {str(chosen): "not in this frame"}
        self.dim.set_options(((ALL_DIMS, together), *((name, f"dim {name}") for name in (*map(str, dims), *lacking))))
        self.dim.set_tool_tips(tips)
        self.dim.disable(lacking)

    def paint(self, painter: QPainter, area: QRect) -> None:
        self.fill_background(painter, area)
        shared = "Heat, one scale for both views" if self._has_one_range else "Heat"
        self.paint_heading(painter, "Difference, 0 is white" if self._paints_difference else shared)

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = self.width() > 600
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._halves_layout.direction() != direction:
            self._halves_layout.setDirection(direction)
            self._halves_layout.setSpacing(32 if wide else 7)
