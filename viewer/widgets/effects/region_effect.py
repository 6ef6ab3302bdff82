"""What the actions do without the region: what is measured, beside random regions, and a measurement of it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRect, QRectF, QSize
from PySide6.QtGui import QPainter, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QWidget

from viewer.analysis.effects.measured import describe_target, find_region_effects
from viewer.analysis.regions.carried_region import describe_region
from viewer.controllers.effects.region_run import REMOVAL_METHODS
from viewer.errors import READ_ERRORS
from viewer.model.noise_multiples import format_multiple
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, Axis, draw_place_axis, make_value_axis
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.plot_menu import PlotPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.effects.effects_controller import EffectsController
    from viewer.controllers.session import Session
    from viewer.model.effects import TargetEffect

HINT: Final = "Drag a box on a picture to ask what the actions do without it."
LINE: Final = 20
STRIP: Final = 26.0
"""Height of the row of one measurement, in pixels."""
AXIS: Final = 20.0
"""Height of the labels of their axis."""
FOOT: Final = 34.0
"""Height of the row of buttons."""
MOST_STRIPS: Final = 3
DOT: Final = 3.0


class RegionEffect(PlotPanel):
    """Measured effects of the region, each on a strip with its random regions; buttons to measure it now."""

    watched_fields = frozenset({"frame", "query", "region", "region_name"})

    def __init__(self, session: Session, effects: EffectsController, parent: QWidget | None = None) -> None:
        super().__init__(session, "Effect of this region", parent)
        self.effects = effects
        self.setMinimumHeight(120)
        self.targets: tuple[TargetEffect, ...] = ()
        """What is measured of the region."""
        self.removal = DropDown(
            "How the region is removed", [(name, method.title) for name, method in REMOVAL_METHODS.items()], parent=self
        )
        self.removal.chosen.connect(self._set_removal)
        self.removal.show_value(effects.removal)
        self.measure = Button("Measure now", parent=self)
        self.measure.clicked.connect(effects.measure_region)
        self.stop = Button("Stop", parent=self)
        self.stop.clicked.connect(effects.region_run.cancel)
        self.copy = Button("Copy command", parent=self)
        self.copy.clicked.connect(effects.copy_command)
        self.checkpoint = Button("Choose checkpoint…", parent=self)
        self.checkpoint.clicked.connect(effects.ask_checkpoint)
        effects.region_run.changed.connect(self._on_run_changed)
        effects.removal_changed.connect(self._on_run_changed)

    def sizeHint(self) -> QSize:
        return QSize(480, 200)

    def _set_removal(self, name: str) -> None:
        self.effects.set_removal(name)

    def _on_run_changed(self) -> None:
        self.refresh()

    # Content

    def load(self) -> None:
        results, view = self.displayed
        self.targets = ()
        if results is not None and results.done and view.region:
            try:
                self.targets = find_region_effects(results, view.frame, view.region)
            except READ_ERRORS as error:
                self.session.report_failure(error)

    def on_file_changed(self) -> None:
        self.targets = ()

    def sentences(self) -> list[str]:
        """Return a sentence for each measurement of the region."""
        query = self.session.shown.query
        return [
            f"{text[:1].upper()}{text[1:]}."
            for text in (" ".join(describe_target(target, query)) for target in self.targets)
        ]

    def note(self) -> str:
        """Return what is going on, or why nothing is measured here, in one line; empty if there is nothing to say."""
        run = self.effects.region_run
        if run.is_running:
            done, total = run.progress
            return f"measuring: {done} of {total} calls" if total else run.stage
        if not self.session.shown.region:
            sentence = describe_region(self.session.shown)
            return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else HINT
        reason = self.effects.find_unavailable_reason()
        if reason:
            return f"{reason[:1].upper()}{reason[1:]}: copy the command for another machine."
        return "" if self.targets else "Not measured yet."

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        if not self.isVisible():
            return
        has_region, running = bool(self.session.shown.region), self.effects.region_run.is_running
        reason = self.effects.find_unavailable_reason() if has_region else ""
        self.removal.show_value(self.effects.removal)
        self.removal.setVisible(has_region and not running)
        self.measure.setVisible(has_region and not running and not reason)
        self.copy.setVisible(has_region and not running)
        self.checkpoint.setVisible(has_region and not running and self.effects.needs_checkpoint)
        self.stop.setVisible(running)
        self.setToolTip(plain_tooltip("\n".join(self.sentences())))
        self._place_buttons()
        self.schedule_description()
        self.update()

    def describe(self) -> None:
        self.setAccessibleDescription(" ".join([*self.sentences(), self.note()]))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_buttons()

    def _place_buttons(self) -> None:
        """Place the buttons in a row at the bottom."""
        x = 0
        for button in (self.measure, self.removal, self.copy, self.checkpoint, self.stop):
            if button.isHidden():
                continue
            size = button.sizeHint()
            button.setGeometry(x, self.height() - size.height() - 2, size.width(), size.height())
            x += size.width() + 8

    # Painting

    def strip_axis(self) -> Axis:
        """Return the axis of all strips, multiples of the noise from 0."""
        actions = self._find_actions()
        values = [0.0]
        for target in self.targets[:MOST_STRIPS]:
            comparison = target.compare_with_noise(actions)
            values += [comparison.multiple, *comparison.controls.tolist()]
        return make_value_axis(np.array(values))

    def _find_actions(self) -> tuple[int, ...]:
        query = self.session.shown.query
        return query.items if query.kind == "action" else ()

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors = theme.active()
        self.fill_background(painter, area)
        self.paint_heading(painter, "Effect of this region")
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        y = float(self.HEADING)
        if self.targets:
            for line in _wrap(self.sentences()[0], self.width()):
                drawing.write(painter, QRectF(0, y, self.width(), LINE), line, colors.text, 13)
                y += LINE
            y = self._paint_strips(painter, y + 4)
        note = self.note()
        if note and y + LINE <= self.height() - FOOT:
            drawing.write(painter, QRectF(0, y, self.width(), LINE), note, colors.secondary, 13)
            y += LINE
        done, total = self.effects.region_run.progress
        if self.effects.region_run.is_running:
            bar = QRectF(self.stop.width() + 12, self.height() - 19, max(self.width() - self.stop.width() - 24, 20), 6)
            drawing.fill(painter, bar, theme.color(colors.raised), 3)
            share = min(done / total, 1.0) if total else 0.0
            drawing.fill(painter, QRectF(bar.left(), bar.top(), bar.width() * share, 6), theme.color(colors.accent), 3)

    def _paint_strips(self, painter: QPainter, top: float) -> float:
        """Paint a strip for each measurement, and their axis; return where they end."""
        colors, axis = theme.active(), self.strip_axis()
        room = int((self.height() - FOOT - AXIS - top) // STRIP)
        shown = self.targets[: max(min(room, MOST_STRIPS), 1)]
        label = max(drawing.width_of(target.phrase, 12) for target in shown)
        left = min(label + 12, self.width() * 0.45)
        for target in shown:
            box = QRectF(left, top, max(self.width() - left - 78, 20), STRIP)
            drawing.write(painter, QRectF(0, top, left - 10, STRIP), target.phrase, colors.secondary, 12)
            self._paint_strip(painter, box, axis, target)
            top += STRIP
        line = QRectF(left, top - 2, max(self.width() - left - 78, 20), 1)
        ticks = axis.ticks(line.width(), lambda text: drawing.width_of(text, FONT))
        draw_place_axis(painter, line, axis, ticks)
        drawing.write(painter, QRectF(line.right() + 6, top, 72, 16), "× noise", colors.secondary, FONT)
        return top + AXIS

    def _paint_strip(self, painter: QPainter, box: QRectF, axis: Axis, target: TargetEffect) -> None:
        """Paint the range of the random regions as a band, each of them as a dot, and the region as a diamond."""
        colors, comparison = theme.active(), target.compare_with_noise(self._find_actions())
        middle = box.center().y()

        def x_of(value: float) -> float:
            return box.left() + axis.place_of(value) * box.width()

        painter.fillRect(QRectF(box.left(), middle - 0.5, box.width(), 1), theme.color(colors.line))
        if comparison.controls.size:
            low, high = x_of(float(comparison.controls.min())), x_of(float(comparison.controls.max()))
            band = QRectF(low - DOT, middle - 7, high - low + 2 * DOT, 14)
            drawing.fill(painter, band, theme.color(colors.secondary, 0.25), 4)
            for value in comparison.controls.tolist():
                dot = QRectF(x_of(value) - DOT, middle - DOT, 2 * DOT, 2 * DOT)
                drawing.fill(painter, dot, theme.color(colors.secondary, 0.8), DOT)
        if np.isfinite(comparison.multiple):
            mark = QRectF(x_of(comparison.multiple) - 5, middle - 5, 10, 10)
            drawing.fill(painter, mark.adjusted(-1.5, -1.5, 1.5, 1.5), drawing.ground(self), 3)
            drawing.fill(painter, mark, theme.color(colors.accent), 2)
        text = format_multiple(comparison.multiple)
        drawing.write(painter, QRectF(box.right() + 8, box.top(), 70, STRIP), text, colors.accent_text, 13, bold=True)

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return the region's effect and those of its random regions, of each measurement."""
        if not self.targets:
            return None
        rows: list[list[object]] = []
        for target in self.targets:
            comparison = target.compare_with_noise(self._find_actions())
            rows.append([target.phrase, "region", comparison.multiple])
            rows += [[target.phrase, "random region", value] for value in comparison.controls.tolist()]
        return ["taken away", "what", "times_noise"], rows


def _wrap(text: str, width: float) -> tuple[str, ...]:
    """Return a text as one line, or as two where it is wider than `width` pixels."""
    words = text.split(" ")
    for count in range(len(words), 0, -1):
        first = " ".join(words[:count])
        if drawing.width_of(first, 13) <= width:
            return (first, " ".join(words[count:])) if count < len(words) else (first,)
    return (text,)
