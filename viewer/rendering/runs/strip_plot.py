"""Distribution of one head's score over episodes: a dot an episode in a row a group, with mean and interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, Qt

from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, LINE, draw_place_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtGui import QPainter

    from viewer.rendering.axes import Axis, Write

DOT: Final = 3.0
"""Radius of an episode's dot in pixels."""
DOT_OPACITY: Final = 0.75
MOST_DOTS: Final = 250
"""Episodes of a group from which bars of a histogram take the place of dots."""
MOST_BARS: Final = 60
BAR_OPACITY: Final = 0.6
INTERVAL_HEIGHT: Final = 10.0
"""Pixels under the dots in which mean and interval are drawn."""
FOOT: Final = LINE + 6
"""Pixels of the axis under the rows."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StripGroup:
    """The episodes of one row."""

    name: str
    color: str
    values: Doubles
    """(episodes,)"""
    mean: float
    low: float
    high: float
    """Ends of the interval of the mean."""


def stack_dots(places: Doubles, width: float) -> npt.NDArray[np.intp]:
    """Return in which layer of a stack each dot lies, so that dots of one layer do not overlap.

    Args:
        places: (dots,) x in pixels.
        width: Pixels that a dot takes.

    Returns:
        (dots,) numbers from 0.
    """
    layers = np.zeros(len(places), np.intp)
    ends: list[float] = []
    for dot in np.argsort(places, kind="stable").tolist():
        free = next((layer for layer, end in enumerate(ends) if end <= places[dot]), len(ends))
        if free == len(ends):
            ends.append(0.0)
        ends[free] = places[dot] + width
        layers[dot] = free
    return layers


def describe_strips(groups: Sequence[StripGroup]) -> str:
    """Return what the marks of strips stand for; empty without strips."""
    if not groups:
        return ""
    most = max(int(np.isfinite(group.values).sum()) for group in groups)
    return "a dot is an episode" if most <= MOST_DOTS else "bars count episodes"


def draw_strips(
    painter: QPainter,
    box: QRectF,
    groups: Sequence[StripGroup],
    axis: Axis,
    label_width: float,
    *,
    write: Write = drawing.write,
    width_of: Callable[[str], float] | None = None,
    marked: float | None = None,
) -> None:
    """Draw a row for each group over a common axis.

    Args:
        painter: Antialiasing painter.
        box: Rectangle of all, with the axis at its foot and `label_width` pixels for names at its left.
        groups: The rows.
        axis: Values along the horizontal axis.
        label_width: Pixels for the names of the groups.
        write: What draws a line of text.
        width_of: What measures a text of the axis.
        marked: A value to be marked in all rows, such as that of a chosen episode.
    """
    colors = theme.active()
    inner = QRectF(box.left() + label_width, box.top(), box.width() - label_width, box.height() - FOOT)
    measure = width_of or partial(drawing.width_of, pixels=FONT)
    ticks = axis.ticks(inner.width(), measure)
    for tick in ticks:
        x = inner.left() + axis.place_of(tick.value) * inner.width()
        painter.fillRect(QRectF(round(x) - 0.5, inner.top(), 1, inner.height()), theme.color(colors.line))
    draw_place_axis(painter, inner, axis, ticks, write=write, width_of=measure)
    if not groups:
        return
    height = inner.height() / len(groups)
    for number, group in enumerate(groups):
        row = QRectF(inner.left(), inner.top() + number * height, inner.width(), height)
        name = QRectF(box.left(), row.bottom() - INTERVAL_HEIGHT - LINE - 4, label_width - 8, LINE)
        write(painter, name, group.name, colors.text, FONT)
        write(painter, name.translated(0, LINE - 1), f"n = {np.isfinite(group.values).sum()}", colors.secondary, FONT)
        _draw_row(painter, row, group, axis)
    if marked is not None and math.isfinite(marked):
        x = inner.left() + axis.place_of(marked) * inner.width()
        painter.fillRect(QRectF(round(x) - 0.5, inner.top(), 1, inner.height()), theme.color(colors.text))


def _draw_row(painter: QPainter, row: QRectF, group: StripGroup, axis: Axis) -> None:
    values = group.values[np.isfinite(group.values)]
    xs = row.left() + axis.place(values) * row.width()
    floor = row.bottom() - INTERVAL_HEIGHT
    painter.setPen(Qt.PenStyle.NoPen)
    if len(values) > MOST_DOTS:
        _draw_bars(painter, row, xs, floor, group.color)
    else:
        _draw_dots(painter, row, xs, floor, group.color)
    if math.isfinite(group.mean):
        _draw_mean(painter, row, group, axis, floor)


def _draw_dots(painter: QPainter, row: QRectF, xs: Doubles, floor: float, color: str) -> None:
    layers = stack_dots(xs, 2 * DOT)
    room = max(floor - DOT - (row.top() + DOT + 2), 0.0)
    step = min(2 * DOT, room / max(int(layers.max(initial=0)), 1))
    painter.setBrush(theme.color(color, DOT_OPACITY))
    for x, layer in zip(xs.tolist(), layers.tolist(), strict=True):
        painter.drawEllipse(QPointF(x, floor - DOT - layer * step), DOT, DOT)


def _draw_bars(painter: QPainter, row: QRectF, xs: Doubles, floor: float, color: str) -> None:
    count = min(MOST_BARS, max(int(row.width() // 6), 1))
    tallest = max(floor - row.top() - 4, 1.0)
    numbers, edges = np.histogram(xs, count, (row.left(), row.right()))
    painter.setBrush(theme.color(color, BAR_OPACITY))
    for number, left, right in zip(numbers.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        height = tallest * number / max(int(numbers.max()), 1)
        painter.drawRect(QRectF(left, floor - height, right - left - 1, height))


def _draw_mean(painter: QPainter, row: QRectF, group: StripGroup, axis: Axis, floor: float) -> None:
    """Draw the interval as a bar, and the mean as a disc on it."""
    colors, y = theme.active(), floor + INTERVAL_HEIGHT / 2
    mean = row.left() + axis.place_of(group.mean) * row.width()
    if math.isfinite(group.low) and math.isfinite(group.high):
        left, right = (row.left() + axis.place_of(end) * row.width() for end in (group.low, group.high))
        drawing.fill(painter, QRectF(left, y - 1.5, max(right - left, 1.0), 3), theme.color(group.color), 1.5)
    drawing.fill(painter, QRectF(mean - 5, y - 5, 10, 10), theme.color(colors.panel), 5)
    drawing.fill(painter, QRectF(mean - 4, y - 4, 8, 8), theme.color(group.color), 4)
