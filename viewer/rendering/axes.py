"""Axes of charts: the map from values to places, and the painting of ticks, in the window and in figures alike."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF

from viewer.rendering import drawing, theme
from viewer.rendering.ticks import Tick, find_axis_top, find_label_step, find_log_ticks, fit_ticks, round_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtGui import QPainter

FONT: Final = 11
"""Font size of the labels in pixels."""
LINE: Final = 14.0
"""Height of a label in pixels."""
MOST_TICKS: Final = 5
BAR_TICKS, BAR_GAP = 11, 12.0
"""Most ticks of a colour bar, and the least distance of their labels in pixels."""
LOG_DECADES: Final = 5
"""A logarithmic axis shows at most so many powers of ten below its top."""


class Write(Protocol):
    """Function that draws one line of text in a box, as `drawing.write` does."""

    def __call__(
        self, painter: QPainter, box: QRectF, text: str, color: str, pixels: float, /, *, align: str = "left"
    ) -> float: ...


class Axis(NamedTuple):
    """Values along one side of a chart, from `low` at its start to `high` at its end."""

    low: float
    high: float
    is_log: bool = False
    factor: float = 1.0
    """What values are multiplied by in their labels: 100 for a share in %."""
    unit: str = ""
    is_whole: bool = False
    """Whether only whole numbers have a label."""

    def place(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where values lie: 0 at the start, 1 at the end, 0.5 on an axis of one value; NaN where they have none.

        On a logarithmic axis values below its start, 0 included, lie at the start.
        """
        numbers = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.is_log:
            numbers = np.log10(np.maximum(numbers, low))
            low, high = math.log10(low), math.log10(high)
        if high == low:
            return np.where(np.isfinite(numbers), 0.5, np.nan)
        return (numbers - low) / (high - low)

    def place_of(self, value: float) -> float:
        """Return where one value lies, as `place` does; arrays of one number would take five times as long."""
        if self.is_log or not math.isfinite(value):
            return float(self.place(value))
        return (value - self.low) / (self.high - self.low) if self.high != self.low else 0.5

    def value_at(self, place: float) -> float:
        """Return the value at a place from 0 to 1."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** place)
        return self.low + place * (self.high - self.low)

    def ticks(
        self, room: float, measure: Callable[[str], float], most: int = MOST_TICKS, gap: float = 4.0
    ) -> tuple[Tick, ...]:
        """Return the round numbers whose labels have room beside each other, `gap` apart, along `room` pixels."""
        if not self.is_log:
            low, high = sorted((self.low, self.high))
            return fit_ticks(
                low, high, room, measure, most=most, gap=gap, factor=self.factor, unit=self.unit, whole=self.is_whole
            )
        suffix = f" {self.unit}" if self.unit else ""
        for count in range(most, 0, -1):
            log_ticks = find_log_ticks(self.low * self.factor, self.high * self.factor, count)
            ticks = tuple(Tick(tick.value / self.factor, tick.text + suffix) for tick in log_ticks)
            places = self.place([tick.value for tick in ticks]) * room
            widest = max((measure(tick.text) for tick in ticks), default=0.0)
            if len(ticks) < 2 or float(np.diff(places).min()) >= widest + gap:
                break
        return ticks


RANK_AXIS: Final = Axis(0.0, 1.0, factor=100.0, unit="%")
"""Axis of a colour bar of ranks."""


def make_share_axis(values: npt.NDArray[np.floating], *, is_log: bool = False) -> Axis:
    """Return the axis of attention masses in %: from 0, or a power of ten on a logarithmic one, to a round number."""
    finite = values[np.isfinite(values)]
    top = find_axis_top(float(finite.max(initial=0.0)) or 1e-6, ceiling=1.0)
    if not is_log:
        return Axis(0.0, top, factor=100.0, unit="%")
    smallest = float(finite[finite > 0].min(initial=top))
    bottom = 10.0 ** max(math.floor(math.log10(smallest)), math.floor(math.log10(top)) - LOG_DECADES)
    return Axis(min(bottom, top / 10), top, is_log=True, factor=100.0, unit="%")


def make_value_axis(values: npt.NDArray[np.floating], most: int = 4) -> Axis:
    """Return the axis of numbers of any sign, from one round number to another; -1 to 1 without finite values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    if high == low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    step = round_step((high - low) / (max(most, 2) - 1))
    return Axis(math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step)


def draw_value_axis(
    painter: QPainter, box: QRectF, axis: Axis, width: float, *, write: Write = drawing.write, ink: str = ""
) -> None:
    """Draw the ticks of the vertical axis: lines across `box`, and labels in `width` px at its left."""
    colors = theme.active()
    for tick in _find_value_ticks(axis, box.height()):
        y = box.bottom() - axis.place_of(tick.value) * box.height()
        painter.fillRect(QRectF(box.left(), round(y) - 0.5, box.width(), 1), theme.color(colors.line))
        if not width:
            continue
        label = QRectF(box.left() - width, y - LINE / 2, width - 6, LINE)
        write(painter, label, tick.text, ink or colors.secondary, FONT, align="right")


@lru_cache(maxsize=256)
def _find_value_ticks(axis: Axis, height: float) -> tuple[Tick, ...]:
    """Return the ticks of a vertical axis of a height in pixels."""
    ticks = axis.ticks(height, _measure_height)
    if len(ticks) < 2:  # low: the ends of an axis of shares are round, too
        all_ticks = axis.ticks(math.inf, _measure_height)
        return (all_ticks[0], all_ticks[-1]) if all_ticks and height >= LINE else all_ticks[-1:]
    return ticks


def _measure_height(_text: str) -> float:
    """Return what a label takes of a vertical axis in pixels."""
    return LINE - 3


def draw_place_axis(
    painter: QPainter,
    box: QRectF,
    axis: Axis,
    ticks: Sequence[Tick],
    *,
    write: Write = drawing.write,
    width_of: Callable[[str], float] | None = None,
    ink: str = "",
) -> None:
    """Draw the horizontal axis below `box`: its line, and a mark and a label at each tick that lies on the axis."""
    colors, measure = theme.active(), width_of or measure_label
    start, bottom, room = box.left(), box.bottom(), box.width()
    line, ink = theme.color(colors.faint), ink or colors.secondary
    painter.fillRect(QRectF(start, bottom, room, 1), line)
    taken = -math.inf
    for tick in ticks:
        place = axis.place_of(tick.value)
        if not -1e-6 <= place <= 1 + 1e-6:
            continue
        x = start + place * room
        painter.fillRect(QRectF(x - 0.5, bottom, 1, 4), line)
        width = measure(tick.text)
        left = min(max(x - width / 2, start), start + room - width)
        if left >= taken:
            write(painter, QRectF(left, bottom + 3, width + 1, LINE), tick.text, ink, FONT)
            taken = left + width + 6


@lru_cache(maxsize=1024)
def measure_label(text: str) -> float:
    """Return the width in pixels of a label of an axis in the window."""
    return drawing.width_of(text, FONT)


def label_places(
    labels: Sequence[object], axis: Axis, room: float, measure: Callable[[str], float]
) -> tuple[Tick, ...]:
    """Return ticks with the labels of places 0, 1, 2 … of an axis: of every visible one, or every 2nd, 5th, 10th ….

    Args:
        labels: What the places are called.
        axis: The visible part of the axis.
        room: Its length in pixels.
        measure: Returns the width of a text in pixels.
    """
    first, last = max(math.ceil(axis.low - 1e-6), 0), min(math.floor(axis.high + 1e-6), len(labels) - 1)
    texts = {place: str(labels[place]) for place in range(first, last + 1)}
    if not texts:
        return ()
    step = find_label_step(len(texts), max(measure(text) for text in {texts[first], texts[last]}), room)
    return tuple(Tick(float(place), text) for place, text in texts.items() if place % step == 0)
