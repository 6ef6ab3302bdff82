"""Curves of the attention mass on each group of keys over denoise steps, layers or frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer.analysis.curves import Curves, read_curves
from viewer.errors import READ_ERRORS
from viewer.rendering import drawing, theme, ticks
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session

AXES: Final = (("steps", "denoise steps"), ("layers", "layers"), ("frames", "frames"))


class CurvePlot(Panel):
    """Line plot with a cursor at the current position; a click or drag moves it."""

    BOTTOM = 16

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(session, name, parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._still = drawing.Layer()
        self._content: Curves | None = None
        self._before: Curves | None = None
        self._cursor = QRectF()

    def curves(self) -> Curves | None:
        """Return the curves; None if there are none yet. Subclasses implement it."""
        raise NotImplementedError

    def axis(self) -> str:
        """Return the field of the view along the horizontal axis. Subclasses implement it."""
        raise NotImplementedError

    def plot(self) -> QRectF:
        """Return the rectangle of the lines."""
        return QRectF(1, self.HEADING + 6, self.width() - 2, max(self.height() - self.HEADING - 6 - self.BOTTOM, 4))

    def x_of(self, curves: Curves, place: int) -> float:
        """Return the x of a point of the curves in pixels."""
        box = self.plot()
        return box.left() + (box.width() * place / (len(curves.at) - 1) if len(curves.at) > 1 else box.width() / 2)

    def polylines(self, curves: Curves) -> list[tuple[str, QPolygonF]]:
        """Return the line of each group whose mass exceeds 0.001 somewhere."""
        box, values = self.plot(), curves.values
        if np.isnan(values).any():
            values = np.nan_to_num(values)
        most = values.max(0, initial=0)
        high = max(float(most.max(initial=0)), 1e-6)
        xs = [self.x_of(curves, place) for place in range(len(values))]
        ys = box.bottom() - values / high * (box.height() - 3)
        return [
            (name, QPolygonF(list(map(QPointF, xs, ys[:, n].tolist()))))
            for n, name in enumerate(curves.names)
            if most[n] > 1e-3
        ]

    def paint_background(self, painter: QPainter, curves: Curves) -> None:
        """Paint everything but the cursor: lines, axis, labels at the ends."""
        t, results, box = theme.active(), self.session.results, self.plot()
        if results is None or not curves.at:
            return
        painter.fillRect(QRectF(box.left(), box.bottom(), box.width(), 1), theme.colour(t.line))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        lines = [
            (theme.colour(theme.group_colour("exterior bars" if name == "bars" else name, results.cameras)), line)
            for name, line in reversed(self.polylines(curves))
        ]
        for up in (-0.4, 0.4):  # two thin lines: Qt strokes a wider pen twenty times slower
            painter.translate(0, up)
            for ink, line in lines:
                painter.setPen(ink)
                if line.size() == 1:
                    painter.setBrush(ink)
                    painter.drawEllipse(line.at(0), 2, 2)
                else:
                    painter.drawPolyline(line)
            painter.translate(0, -up)
        high = float(np.nanmax(curves.values, initial=0.0))
        drawing.write(
            painter, QRectF(box.left() + 2, box.top() - 13, 60, 13), ticks.format_share(high), t.secondary, 11
        )
        feet = QRectF(box.left(), box.bottom() + 2, box.width(), 14)
        drawing.write(painter, feet, str(curves.labels[0]), t.secondary, 11)
        if len(curves.labels) > 1:
            drawing.write(painter, feet, str(curves.labels[-1]), t.secondary, 11, align="right")

    def titles(self) -> tuple[str, str]:
        """Return the heading and the note at its right. Subclasses implement it."""
        raise NotImplementedError

    def load(self) -> None:
        self._content = self.curves()

    def paint(self, painter: QPainter, area: QRect) -> None:
        curves, t = self._content, theme.active()

        def still(inner: QPainter) -> None:
            self.paint_heading(inner, *self.titles())
            if curves is not None:
                self.paint_background(inner, curves)

        self._still.draw(painter, self, (id(curves),), still, drawing.ground(self), curves)
        self._cursor = QRectF() if curves is None else self.cursor_box(curves)
        painter.fillRect(self._cursor, theme.colour(t.text))
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def cursor_box(self, curves: Curves) -> QRectF:
        """Return the rectangle of the cursor; empty if the current position is not on the axis."""
        at = getattr(self.session.shown, self.axis())
        if at not in curves.at:
            return QRectF()
        x, box = self.x_of(curves, curves.at.index(at)), self.plot()
        return QRectF(x - 0.75, box.top() - 2, 1.5, box.height() + 4)

    def update_changed(self) -> None:
        """Repaint everything if the curves changed, else only where the cursor was and is."""
        if not self.isVisible():
            return
        self._load_if_visible()
        curves, before = self._content, self._before
        self._before = curves
        if curves is None or curves is not before:
            self.update(0, self.HEADING - 8, 80, 8)  # the label at the left, without the button in the heading
            self.update(0, self.HEADING - 4, self.width(), self.height())
        else:
            for box in (self._cursor, self.cursor_box(curves)):
                self.update(box.toAlignedRect().adjusted(-1, 0, 1, 0))

    def place_at(self, point: QPointF) -> int | None:
        """Return the position on the axis that is nearest to a point."""
        curves = self.curves()
        if curves is None or not curves.at:
            return None
        box = self.plot()
        part = (point.x() - box.left()) / max(box.width(), 1)
        return curves.at[round(min(max(part, 0.0), 1.0) * (len(curves.at) - 1))]

    def go(self, point: QPointF) -> None:
        """Move the cursor to a point."""
        place = self.place_at(point)
        if place is not None:
            self.session.update(**{self.axis(): place})

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and event.position().y() >= self.HEADING - 4:
            self.session.begin()
            self.go(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.go(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.session.end()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        curves = self.curves()
        here = getattr(self.session.state, self.axis()) if curves is not None else None
        if curves is None or here not in curves.at or Qt.Key(event.key()) not in moves:
            super().keyPressEvent(event)
            return
        place = min(max(curves.at.index(here) + moves[Qt.Key(event.key())], 0), len(curves.at) - 1)
        self.session.update(**{self.axis(): curves.at[place]})

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            curves, place = self.curves(), self.place_at(QPointF(event.pos()))
            text = ""
            if curves is not None and place is not None and event.pos().y() >= self.HEADING:
                row = curves.at.index(place)
                parts = [
                    f"{name} {ticks.format_share(float(value))}"
                    for name, value in zip(curves.names, curves.values[row], strict=True)
                    if value > 1e-3
                ]
                text = f"{self.axis().capitalize()} {curves.labels[row]}: {', '.join(parts)}"
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)


class CurvesPanel(CurvePlot):
    """Curves of all groups over the chosen axis."""

    watched_fields = frozenset({"frame", "query", "layer", "step", "heads", "curve"})

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Masses over an axis", parent)
        self.frame_series = frame_series
        frame_series.ready.connect(self.update_changed)
        self.setMinimumHeight(84)
        self.setMaximumHeight(240)
        self.choice = DropDown("Axis of the curves", AXES, prefix="over ", parent=self)
        self.choice.chosen.connect(self._set_axis)
        self._curves: tuple[object, Curves] | None = None

    def sizeHint(self) -> QSize:
        return QSize(288, 120)

    def _set_axis(self, value: str) -> None:
        self.session.update(curve=value)

    def axis(self) -> str:
        shown = self.session.shown
        if shown.curve == "frames":
            return "frame"
        return "step" if shown.curve == "steps" and shown.query.kind == "action" else "layer"

    def curves(self) -> Curves | None:
        results, shown = self.session.results, self.session.shown
        if results is None or not results.done:
            return None
        if shown.curve == "frames":
            return self.frame_series.curves
        other = shown.layer if self.axis() == "step" else shown.step
        key = (id(results), shown.frame, shown.query, shown.heads, self.axis(), other)
        if self._curves is None or self._curves[0] != key:
            try:
                self._curves = key, read_curves(results, shown)
            except READ_ERRORS:
                return None
        return self._curves[1]

    def refresh(self) -> None:
        shown = self.session.shown
        self.choice.show_value("layers" if self.axis() == "layer" else shown.curve)
        self.choice.disable({"steps": "words have one pass"} if shown.query.kind == "text" else {})
        self._place()
        self.update_changed()

    def on_file_changed(self) -> None:
        self._curves = self._content = None
        self._still.drop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place()

    def _place(self) -> None:
        self.place_right(self.choice)

    def titles(self) -> tuple[str, str]:
        return "Masses", ""
