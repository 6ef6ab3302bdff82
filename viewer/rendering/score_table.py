"""Table of layers and heads: places of its cells, whole or enlarged, and its painting as one image with an overlay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF

from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from PySide6.QtGui import QColor, QPainter

GAP: Final = 2
"""Pixels between cells."""
MEAN_GAP: Final = 4
"""Pixels by which the last column, of the mean, is further away."""
MIN_TEXT: Final = (25, 11)
"""Width and height in pixels of the smallest cell that has its number written in it."""
Spans = list[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class TableLayout:
    """Places of the cells, on whole screen pixels."""

    box: QRectF
    """Rectangle in which cells are visible."""
    columns: Spans
    """Left and right of each column."""
    rows: Spans
    """Top and bottom of each row."""
    ratio: float
    """Screen pixels per device-independent pixel."""

    def cell(self, row: int, column: int) -> QRectF:
        """Return the rectangle of a cell."""
        (left, right), (top, bottom) = self.columns[column], self.rows[row]
        return QRectF(left, top, right - left, bottom - top)

    @cached_property
    def indices(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """The column and the row of each screen pixel, see `drawing.index_pixels`."""
        return drawing.index_pixels(self.columns, self.ratio), drawing.index_pixels(self.rows, self.ratio)

    def cell_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return row and column under a visible point."""
        if not self.box.adjusted(-GAP, -GAP, GAP, GAP).contains(point):
            return None
        row = next((n for n, (top, bottom) in enumerate(self.rows) if top <= point.y() < bottom + GAP), None)
        right_gap = GAP + MEAN_GAP
        column = next(
            (n for n, (left, right) in enumerate(self.columns) if left <= point.x() < right + right_gap), None
        )
        return None if row is None or column is None else (row, column)


def lay_out_table(box: QRectF, shape: tuple[int, int], ratio: float, visible: QRectF) -> TableLayout:
    """Return the places of cells that fill a box, or of which the `visible` part, in shares of the box, fills it.

    `shape`: number of rows and columns.
    """
    rows, columns = shape
    scale = 1 / visible.width()
    width, height = (box.width() - MEAN_GAP) / columns, box.height() / rows
    lefts = [box.left() + number * width + (MEAN_GAP if number == columns - 1 else 0) for number in range(columns)]
    tops = [box.top() + number * height for number in range(rows)]
    origin = QPointF(box.left() + visible.left() * box.width(), box.top() + visible.top() * box.height())
    across = [drawing.snap_span(box.left() + (x - origin.x()) * scale, width * scale - GAP, ratio) for x in lefts]
    down = [drawing.snap_span(box.top() + (y - origin.y()) * scale, height * scale - GAP, ratio) for y in tops]
    return TableLayout(box, across, down, ratio)


def draw_cells(
    painter: QPainter,
    layout: TableLayout,
    words: npt.NDArray[np.uint32],
    values: Sequence[Sequence[float]],
    format_cell: Callable[[float], str],
    ground: QColor,
) -> None:
    """Draw all cells as one image, and their numbers where they fit.

    Args:
        painter: Painter, clipped to the box.
        layout: Places of the cells.
        words: Colour of each cell, 0xFFRRGGBB, (rows, columns).
        values: Number of each cell.
        format_cell: Returns the text of a number.
        ground: Colour of the gaps.
    """
    columns, rows, ratio = layout.columns, layout.rows, layout.ratio
    padded = np.full((words.shape[0] + 1, words.shape[1] + 1), ground.rgb(), np.uint32)
    padded[:-1, :-1] = words
    across, down = layout.indices
    image = drawing.create_word_image(padded[:, across][down], blended=False)
    image.setDevicePixelRatio(ratio)
    painter.drawImage(QPointF(columns[0][0], rows[0][0]), image)
    if columns[0][1] - columns[0][0] < MIN_TEXT[0] or rows[0][1] - rows[0][0] < MIN_TEXT[1]:
        return
    high = theme.line(10)
    for (top, bottom), numbers, inks in zip(rows, values, words.tolist(), strict=True):
        y = round((top + bottom - high) / 2 * ratio) / ratio
        for (left, right), value, ink in zip(columns, numbers, inks, strict=True):
            text = format_cell(value)
            x = round((left + right - drawing.width_of(text, 10)) / 2 * ratio) / ratio - 1
            painter.drawPixmap(QPointF(x, y), drawing.word(text, 10, False, drawing.readable_on(ink), ratio))


def draw_table_labels(
    painter: QPainter, layout: TableLayout, row_names: Sequence[object], column_names: Sequence[str], room: float
) -> None:
    """Draw the names of the visible rows, in `room` pixels left of the box, and of the visible columns below it."""
    colors, box = theme.active(), layout.box
    has_all_labels = layout.rows[0][1] - layout.rows[0][0] + GAP >= 10
    for number, (top, bottom) in enumerate(layout.rows):
        if (has_all_labels or number % 2 == 0) and box.top() - 1 <= (top + bottom) / 2 <= box.bottom() + 1:
            label = QRectF(box.left() - room, top, room - 6, bottom - top)
            drawing.write(painter, label, str(row_names[number]), colors.secondary, 11, align="right")
    foot = min(layout.rows[-1][1], box.bottom()) + 1
    for name, (left, right) in zip(column_names, layout.columns, strict=True):
        if box.left() <= (left + right) / 2 <= box.right() + 1:
            drawing.write(
                painter, QRectF(left - 6, foot, right - left + 12, 15), name, colors.secondary, 11, align="centre"
            )
