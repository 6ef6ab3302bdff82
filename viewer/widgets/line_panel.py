"""Panel with lines over an axis: cursor, crosshair with the values of all lines, zoom along the axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme
from viewer.rendering.axes import Axis
from viewer.rendering.line_chart import LineChart, draw_axes, draw_content, draw_crosshair, draw_cursor, place_x
from viewer.rendering.ticks import format_share
from viewer.widgets.hover_panel import HoverPanel, ReadOutContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viewer.controllers.session import Session
    from viewer.rendering.ticks import Tick

LEAST_CHART: Final = 12
"""Pixels; a lower chart is not drawn."""
FEWEST_POINTS: Final = 4.0
"""Distances between points that are visible at the highest zoom."""


class LinePanel(HoverPanel):
    """Line chart whose cursor is the current position; a click or drag moves it, hovering reads all lines.

    Points lie at 0, 1, 2 … of the horizontal axis. Subclasses say what the chart is (`make_chart`), what its places are
    called, and where the cursor is.
    """

    LABELS: ClassVar[float] = 48.0
    """Room for the labels of the vertical axis, in pixels."""
    FOOT: ClassVar[float] = 18.0
    """Room for the labels of the horizontal axis, in pixels."""

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(session, name, parent)
        self._is_log = False
        self._chart: LineChart | None = None
        self._axes, self._static_layer = drawing.Layer(), drawing.Layer()
        self._linked: list[LinePanel] = []
        self._followed: int | None = None

    # What subclasses describe

    def make_chart(self) -> LineChart | None:
        """Return the chart, the same object while its content is the same; None if there is none yet."""
        raise NotImplementedError

    def find_x_ticks(self, axis: Axis, room: float) -> tuple[Tick, ...]:
        """Return the ticks of the visible part of the horizontal axis, which is `room` pixels long."""
        raise NotImplementedError

    def position(self) -> int | None:
        """Return the point at the cursor; None if the current position is not on the axis."""
        raise NotImplementedError

    def go_to(self, point: int) -> None:
        """Move the cursor to a point."""
        raise NotImplementedError

    def titles(self) -> tuple[str, str]:
        """Return the heading and the note at its right."""
        raise NotImplementedError

    def point_title(self) -> str:
        """Return what the points are: the title of their column in copied data."""
        raise NotImplementedError

    def name_point(self, point: int) -> str:
        """Return what a point is called in the read-out."""
        raise NotImplementedError

    # Content

    def load(self) -> None:
        self._chart = self.make_chart()
        self.update_extent()
        if self.hovered is not None and self.hovered >= self.point_count():
            self.hovered = None
        self.update_read_out()

    def point_count(self) -> int:
        """Return the number of points of the axis."""
        return 0 if self._chart is None else len(self._chart.xs)

    def content_box(self) -> QRectF:
        """Return the rectangle of the lines."""
        top = self.HEADING + 2
        return QRectF(self.LABELS, top, max(self.width() - self.LABELS - 6, 4), max(self.height() - top - self.FOOT, 4))

    def content_extent(self) -> QRectF:
        return QRectF(0, 0, max(self.point_count() - 1, 1), 1)

    def least_visible(self) -> tuple[float, float]:
        return FEWEST_POINTS, 1.0

    def x_axis(self) -> Axis:
        """Return the visible part of the horizontal axis."""
        if self.point_count() == 1:
            return Axis(0, 0)
        visible = self.visible_part()
        return Axis(visible.left(), visible.right())

    def x_of(self, point: float) -> float:
        """Return the x of a point in pixels."""
        return place_x(self.content_box(), self.x_axis(), point)

    def point_at(self, x: float) -> int | None:
        """Return the visible point that is nearest to an x in pixels; None if there is none."""
        count, box = self.point_count(), self.content_box()
        if not count:
            return None
        place = min(max((x - box.left()) / box.width(), 0.0), 1.0)
        return min(max(round(self.x_axis().value_at(place)), 0), count - 1)

    def is_log(self) -> bool:
        return self._is_log

    def set_log(self, log: bool) -> None:
        self._is_log = log
        self.reload_and_update()

    def update_content(self) -> None:
        """Load the chart again, and repaint all but the heading with its controls if it is another one."""
        before = self._chart
        self._read_now(self._load_if_visible)
        if self._chart is None or self._chart is not before:
            self._update_chart()

    def refresh(self) -> None:
        self._follow_cursor()
        self._update_chart()

    def _update_chart(self) -> None:
        """Repaint all but the heading, whose controls end one pixel above."""
        self.update(0, self.HEADING - 5, self.width(), self.height())

    def on_file_changed(self) -> None:
        self.hover(None)
        self._chart = None
        self._axes.drop()
        self._static_layer.drop()

    def data_table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]] | None:
        """Return the name of each point and the value of each line; None without lines."""
        chart = self._chart
        if chart is None or not chart.lines:
            return None
        columns = np.stack([line.values for line in chart.lines], 1).tolist()
        rows = ([self.name_point(point), *values] for point, values in enumerate(columns))
        return [self.point_title(), *(line.name for line in chart.lines)], rows

    # The visible part

    def build_plot(self) -> None:
        super().build_plot()
        assert self.plot is not None
        self.plot.range_changed.connect(self._share_range)

    def is_over_frames(self) -> bool:
        """Return whether the points are moments of the episode, whose visible part linked panels share."""
        raise NotImplementedError

    def link_with(self, other: LinePanel) -> None:
        """Show the same part of the moments as another panel, while both are over frames."""
        self._linked.append(other)
        other._linked.append(self)

    def _share_range(self) -> None:
        self.update_read_out()
        for other in self._linked:
            self.pass_range_to(other)

    def pass_range_to(self, other: LinePanel) -> None:
        """Make another panel show the visible part of this one, if both are over the same moments."""
        if self.plot is None or other.plot is None or not (self.is_over_frames() and other.is_over_frames()):
            return
        if self.point_count() == other.point_count():
            visible = self.visible_part()
            other.plot.show_range(visible.left(), visible.right())

    def _follow_cursor(self) -> None:
        """Move the visible part so that it holds the current position, if that has changed."""
        current = self.position()
        if current == self._followed:
            return
        self._followed = current
        visible = self.visible_part()
        if current is not None and self.plot is not None and not visible.left() <= current <= visible.right():
            self.plot.show_range(current - visible.width() / 2, current + visible.width() / 2)

    # Painting

    @property
    def has_room(self) -> bool:
        """Whether the panel is high enough for a chart under its heading."""
        return self.height() >= self.HEADING + self.FOOT + LEAST_CHART

    def paint(self, painter: QPainter, area: QRect) -> None:
        chart, axis, box = self._chart, self.x_axis(), self.content_box()

        def draw_static(inner: QPainter) -> None:
            if chart is None or not len(chart.xs) or not self.has_room:
                self.paint_heading(inner, *self.titles())
                return
            self._draw_axes(inner, box, chart.y_axis, axis)
            draw_content(inner, box, chart, axis)

        key = (id(chart), axis, self.titles(), box.getRect())
        self._static_layer.draw(painter, self, key, draw_static, self.ground(), chart)
        self.paint_over(painter, box)
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            drawing.ring(painter, QRectF(self.rect()), theme.color(theme.active().accent))

    def _draw_axes(self, painter: QPainter, box: QRectF, y_axis: Axis, x_axis: Axis) -> None:
        """Draw heading and axes, which change less often than the lines."""
        ticks = self.find_x_ticks(x_axis, box.width())

        def axes(inner: QPainter) -> None:
            self.paint_heading(inner, *self.titles())
            draw_axes(inner, box, y_axis, x_axis, ticks, self.LABELS)

        self._axes.draw(painter, self, (y_axis, x_axis, ticks, self.titles()), axes, self.ground())

    def paint_over(self, painter: QPainter, box: QRectF) -> None:
        """Paint the cursor, and the crosshair with its read-out."""
        chart = self._chart
        if chart is None or not len(chart.xs) or not self.has_room:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        current = self.position()
        if current is not None:
            draw_cursor(painter, box, self.x_of(current))
        if self.hovered is not None:
            draw_crosshair(painter, box, self.x_of(self.hovered), chart, self.hovered)

    def read_out_rows(self, point: int) -> list[tuple[str, str, str]]:
        """Return colour, name and value of each line at a point; none where the heading shows them."""
        lines = self._chart.lines if self._chart is not None else ()
        return [(line.color, line.name, format_share(float(line.values[point]))) for line in lines]

    def read_item(self, item: int) -> ReadOutContent | None:
        rows = self.read_out_rows(item)
        foot = QPointF(self.x_of(item), self.content_box().top() - 6)
        return ReadOutContent(foot, self.name_point(item), rows) if rows else None

    # Mouse and keyboard

    def is_in_chart(self, point: QPointF) -> bool:
        """Return whether a point lies in the chart and not in the heading."""
        return point.y() >= self.HEADING - 4

    def item_at(self, point: QPointF) -> int | None:
        """Return the point of the axis below or above a point of the chart."""
        return self.point_at(point.x()) if self.is_in_chart(point) else None

    def select_at(self, point: QPointF) -> None:
        nearest = self.point_at(point.x())
        if nearest is not None:
            self.go_to(nearest)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        current = self.position()
        if current is None or Qt.Key(event.key()) not in moves:
            super().keyPressEvent(event)
            return
        self.go_to(min(max(current + moves[Qt.Key(event.key())], 0), self.point_count() - 1))
