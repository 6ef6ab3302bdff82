"""Charts of lines: axes, lines, marks, cursor, crosshair and its read-out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QPainter, QPolygonF

from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, LINE, draw_place_axis, draw_value_axis
from viewer.rendering.lines import draw_lines, place_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.rendering.axes import Axis
    from viewer.rendering.lines import Doubles, Line
    from viewer.rendering.ticks import Tick

SHORTEST_NAME: Final = 40.0
"""Pixels below which a span has no name."""
PADDING: Final = 6.0
BAND_OPACITY: Final = 0.35
SWATCH: Final = 10.0
"""Pixels that the coloured square of a line takes in the read-out."""


class Mark(NamedTuple):
    """Vertical line at a place of the horizontal axis, such as the start of an episode."""

    place: float
    color: str
    share: float = 1.0
    """Part of the chart's height that it takes, from the bottom."""


class Span(NamedTuple):
    """Named part of the horizontal axis, such as an episode; a line marks its start."""

    start: float
    stop: float
    name: str


class Band(NamedTuple):
    """Range of values at each point of a chart, such as that of random regions."""

    name: str
    color: str
    low: Doubles
    high: Doubles
    """(points,) each"""


class LineChart(NamedTuple):
    """What a chart shows. All lines have a value, which may be NaN, for each of `xs`."""

    xs: Doubles
    """(points,) ascending"""
    lines: tuple[Line, ...]
    y_axis: Axis
    starts: tuple[int, ...] = ()
    """Points that are not joined with the one before: the first ones of episodes."""
    marks: tuple[Mark, ...] = ()
    spans: tuple[Span, ...] = ()
    bands: tuple[Band, ...] = ()
    """Ranges behind the lines."""


def place_x(box: QRectF, x_axis: Axis, place: float) -> float:
    """Return the x of a place on the horizontal axis, in pixels."""
    return box.left() + x_axis.place_of(place) * box.width()


def draw_axes(
    painter: QPainter, box: QRectF, y_axis: Axis, x_axis: Axis, ticks: Sequence[Tick], label_width: float
) -> None:
    """Draw the axes of a chart.

    Args:
        painter: Painter of the widget.
        box: Rectangle of the lines; the labels are drawn left of it and below it.
        y_axis: Axis of the values.
        x_axis: Part of the horizontal axis that `box` shows.
        ticks: Ticks of the horizontal axis.
        label_width: Room for the labels of the vertical axis, in pixels.
    """
    draw_value_axis(painter, box, y_axis, label_width)
    draw_place_axis(painter, box, x_axis, ticks)


def draw_content(painter: QPainter, box: QRectF, chart: LineChart, x_axis: Axis) -> None:
    """Draw marks, spans, bands and lines on the axes of a chart; see `draw_axes`."""
    for mark in chart.marks:
        _draw_mark(painter, box, x_axis.place_of(mark.place), mark.share, mark.color)
    for span in chart.spans:
        start, stop = x_axis.place([span.start, span.stop]).tolist()
        _draw_mark(painter, box, start, 1.0, theme.active().faint)
        left, right = box.left() + max(start, 0) * box.width(), box.left() + min(stop, 1) * box.width()
        if right - left > SHORTEST_NAME:
            name = QRectF(left + 4, box.bottom() + 3, right - left - 8, LINE)
            drawing.write(painter, name, span.name, theme.active().secondary, FONT)
    draw_bands(painter, box, chart, x_axis)
    ratio = drawing.find_pixel_ratio(painter)
    placed = place_lines(box, x_axis, chart.y_axis, chart.xs, chart.lines, chart.starts, ratio)
    draw_lines(painter, placed, box)


def draw_bands(painter: QPainter, box: QRectF, chart: LineChart, x_axis: Axis) -> None:
    """Draw the ranges of a chart, which lie behind its lines."""
    for band in chart.bands:
        _draw_band(painter, box, chart, x_axis, band)


def _draw_band(painter: QPainter, box: QRectF, chart: LineChart, x_axis: Axis, band: Band) -> None:
    xs = box.left() + x_axis.place(chart.xs) * box.width()
    low, high = (box.bottom() - chart.y_axis.place(ends) * box.height() for ends in (band.low, band.high))
    is_finite = np.isfinite(low) & np.isfinite(high)
    edge = [QPointF(x, y) for x, y in zip(xs[is_finite].tolist(), (high[is_finite] - 1).tolist(), strict=True)]
    edge += [
        QPointF(x, y) for x, y in zip(xs[is_finite][::-1].tolist(), (low[is_finite][::-1] + 1).tolist(), strict=True)
    ]
    painter.save()
    painter.setClipRect(box)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color(band.color, BAND_OPACITY))
    painter.drawPolygon(QPolygonF(edge))
    painter.restore()


def _draw_mark(painter: QPainter, box: QRectF, place: float, share: float, color: str) -> None:
    if 0 <= place <= 1:
        x, height = box.left() + place * box.width(), box.height() * share
        painter.fillRect(QRectF(x - 0.5, box.bottom() - height, 1, height), theme.color(color))


def draw_cursor(painter: QPainter, box: QRectF, x: float) -> None:
    """Draw the line of the current position with its grip, if it lies in the box."""
    if not box.left() - 1 <= x <= box.right() + 1:
        return
    ink = theme.color(theme.active().text)
    x = round(x)
    painter.fillRect(QRectF(x - 1, box.top() - 2, 2, box.height() + 4), ink)
    drawing.fill(painter, QRectF(x - 4, box.top() - 5, 8, 8), ink, 4)


def draw_crosshair(painter: QPainter, box: QRectF, x: float, chart: LineChart, index: int) -> None:
    """Draw a vertical line at x, and a dot on each line at its value of point `index`."""
    colors = theme.active()
    painter.fillRect(QRectF(x - 0.5, box.top(), 1, box.height()), theme.color(colors.secondary))
    for line in reversed(chart.lines):
        place = float(chart.y_axis.place(line.values[index]))
        if 0 <= place <= 1:  # not NaN
            dot = QRectF(QPointF(x - 3, box.bottom() - place * box.height() - 3), QSizeF(6, 6))
            drawing.fill(painter, dot.adjusted(-1, -1, 1, 1), theme.color(colors.window), 4)
            drawing.fill(painter, dot, theme.color(line.color), 3)


def measure_read_out(title: str, rows: Sequence[tuple[str, str, str]]) -> QSizeF:
    """Return the size of a read-out in pixels. `rows` are colour, name and value."""
    names = max((drawing.width_of(name, FONT) for _, name, _ in rows), default=0.0)
    values = max((drawing.width_of(value, FONT) for _, _, value in rows), default=0.0)
    width = max(SWATCH + names + 10 + values, drawing.width_of(title, FONT, bold=True))
    return QSizeF(math.ceil(width + 2 * PADDING), LINE * (1 + len(rows)) + 2 * PADDING)


def draw_read_out(painter: QPainter, frame: QRectF, title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Draw a title and a line for each of `rows`: colour, name and value."""
    colors = theme.active()
    drawing.fill(painter, frame, theme.color(colors.faint), 5)
    drawing.fill(painter, frame.adjusted(1, 1, -1, -1), theme.color(colors.raised), 4)
    inner = frame.adjusted(PADDING, PADDING, -PADDING, -PADDING)
    drawing.write(painter, QRectF(inner.left(), inner.top(), inner.width(), LINE), title, colors.text, FONT, bold=True)
    for place, (color, name, value) in enumerate(rows):
        line = QRectF(inner.left(), inner.top() + LINE * (place + 1), inner.width(), LINE)
        drawing.fill(painter, QRectF(line.left(), line.center().y() - 3, 6, 6), theme.color(color), 1.5)
        drawing.write(painter, line.adjusted(SWATCH, 0, 0, 0), name, colors.secondary, FONT)
        drawing.write(painter, line, value, colors.text, FONT, align="right")
