"""Lines of a chart as polylines, thinned to the columns of the screen and broken where there is no value.

A long line is stroked as two thin ones, 0.8 px apart: on two cores Qt took 2 ms for two antialiased lines of 5,000
points at the width 1, and 60 ms at the width 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import shiboken6
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPolygonF

from viewer.rendering import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.rendering.axes import Axis

Doubles = npt.NDArray[np.float64]
HALF_STROKE: Final = 0.4
"""Distance in pixels of the two thin lines from their middle."""
DOT_RADIUS: Final = 2.0
"""Radius in pixels of a point that has no neighbour to be joined with."""


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    color: str
    values: npt.NDArray[np.floating]
    """(points,); NaN where there is no value"""


def break_lines(xs: Doubles, values: Doubles, starts: Sequence[int]) -> tuple[Doubles, Doubles]:
    """Return points with a NaN before each index of `starts` but 0, so that no line joins what lies on its two sides.

    `xs` (points,), `values` (points,) or (points, lines).
    """
    places = [start for start in starts if 0 < start < len(xs)]
    if not places:
        return xs, values
    between = [(xs[place - 1] + xs[place]) / 2 for place in places]
    return np.insert(xs, places, between), np.insert(values, places, np.nan, axis=0)


def thin_line(xs: Doubles, values: Doubles, columns: int) -> tuple[Doubles, Doubles]:
    """Return the lowest and the highest point of every column of the screen, in order; all points if they are few.

    Args:
        xs: (points,) ascending and about equally spaced.
        values: (points,); a column in which all are NaN gives one NaN, so that gaps stay gaps.
        columns: Number of columns of screen pixels.
    """
    count = len(values)
    if count <= 2 * columns:
        return xs, values
    size = -(-count // columns)
    padded = np.full(-(-count // size) * size, np.nan)
    padded[:count] = values
    cells = padded.reshape(-1, size)
    missing = np.isnan(cells)
    lows = np.where(missing, np.inf, cells).argmin(1)
    highs = np.where(missing, -np.inf, cells).argmax(1)
    first = np.arange(len(cells)) * size
    places = np.stack([np.minimum(lows, highs), np.maximum(lows, highs)], 1) + first[:, None]
    places = np.minimum(places.ravel(), count - 1)
    return xs[places], values[places]


def find_runs(values: Doubles) -> list[tuple[int, int]]:
    """Return start and stop of each run of finite values."""
    finite = np.isfinite(values)
    if finite.all():  # nearly every line, and three times as fast
        return _whole_run(values)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _whole_run(values: Doubles) -> list[tuple[int, int]]:
    return [(0, len(values))] if len(values) else []


def make_polyline(xs: Doubles, ys: Doubles) -> QPolygonF:
    """Return points as a polygon, written into its memory at once instead of point by point."""
    polygon = QPolygonF()
    polygon.resize(len(xs))
    if len(xs):
        memory = shiboken6.VoidPtr(polygon.data(), len(xs) * 16, True)  # type: ignore[arg-type, call-arg]
        points: Doubles = np.frombuffer(memory, np.float64).reshape(-1, 2)  # type: ignore[call-overload]
        points[:, 0], points[:, 1] = xs, ys
    return polygon


def place_lines(
    box: QRectF,
    x_axis: Axis,
    y_axis: Axis,
    xs: Doubles,
    lines: Sequence[Line],
    starts: Sequence[int] = (),
    ratio: float = 1.0,
) -> list[tuple[str, list[QPolygonF]]]:
    """Return the colour of each line and its runs as polylines in the coordinates of `box`.

    Args:
        box: Rectangle of the chart in device-independent pixels.
        x_axis: Range of `xs` that spans the box; points beyond it are left out, but for one on each side.
        y_axis: Range of the values.
        xs: (points,) ascending.
        lines: Lines with a value for each of `xs`.
        starts: Points that are not joined with the one before.
        ratio: Screen pixels per device-independent pixel.
    """
    low, high = sorted((x_axis.low, x_axis.high))
    first = max(int(np.searchsorted(xs, low)) - 1, 0)
    stop = min(int(np.searchsorted(xs, high, "right")) + 1, len(xs))
    columns = max(round(box.width() * ratio), 1)
    across = box.left() + x_axis.place(xs[first:stop]) * box.width()
    values = np.array([line.values[first:stop] for line in lines], np.float64).reshape(len(lines), stop - first)
    down = box.bottom() - y_axis.place(values) * box.height()
    breaks = [start - first for start in starts if first < start < stop]
    find = _whole_run if not breaks and np.isfinite(down).all() else find_runs
    placed = []
    for line, ys in zip(lines, down, strict=True):
        x, y = thin_line(*break_lines(across, ys, breaks), columns)
        placed.append((line.color, [make_polyline(x[start:stop], y[start:stop]) for start, stop in find(y)]))
    return placed


def draw_lines(painter: QPainter, placed: Sequence[tuple[str, Sequence[QPolygonF]]], box: QRectF) -> None:
    """Draw placed lines, the first one on top; a run of one point is drawn as a dot. `box` clips them."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setClipRect(box.adjusted(-DOT_RADIUS, -DOT_RADIUS, DOT_RADIUS, DOT_RADIUS))
    for shift in (-HALF_STROKE, HALF_STROKE):
        painter.translate(0, shift)
        for color, runs in reversed(placed):
            painter.setPen(theme.color(color))
            for run in runs:
                if run.size() > 1:
                    painter.drawPolyline(run)
        painter.translate(0, -shift)
    painter.setPen(Qt.PenStyle.NoPen)
    for color, runs in reversed(placed):
        painter.setBrush(theme.color(color))
        for run in runs:
            if run.size() == 1:
                painter.drawEllipse(QPointF(run.at(0)), DOT_RADIUS, DOT_RADIUS)
    painter.restore()
