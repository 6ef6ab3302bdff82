"""Table of layers and heads over a run: its cells, marks, labels and colour bar."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF

from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, LINE, draw_place_axis
from viewer.rendering.score_table import GAP, MIN_TEXT, TableLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt
    from PySide6.QtGui import QPainter

    from viewer.rendering.axes import Axis, Write

CORNER: Final = 2.5
MOST_TICKS: Final = 7
BAR_HEIGHT: Final = 8.0
SCALE_HEIGHT: Final = BAR_HEIGHT + 2 * LINE + 8
"""Pixels of the colour bar with its label and its numbers."""
LEAST_SCALE: Final = 120.0
"""Least pixels of a colour bar's width, in which there is room for the numbers of its ends and its middle."""
WORD_GAP: Final = 16.0
"""Pixels between the words above a colour bar."""
MARK_WIDTH: Final = 1.6
"""Pixels of the ring of a marked cell."""


def lay_out_cells(box: QRectF, shape: tuple[int, int], ratio: float, visible: QRectF) -> TableLayout:
    """Return the places of equal cells that fill a box, or of which the `visible` part, in shares of it, fills it.

    `shape`: number of rows and columns.
    """
    rows, columns = shape

    def spans(start: float, length: float, count: int, low: float, size: float) -> list[tuple[float, float]]:
        each = length / count / size
        first = start - low * length / size
        return [drawing.snap_span(first + number * each, each - GAP, ratio) for number in range(count)]

    return TableLayout(
        box,
        spans(box.left(), box.width(), columns, visible.left(), visible.width()),
        spans(box.top(), box.height(), rows, visible.top(), visible.height()),
        ratio,
    )


def draw_run_cells(
    painter: QPainter,
    layout: TableLayout,
    words: npt.NDArray[np.uint32],
    texts: Sequence[Sequence[str]],
    marks: npt.NDArray[np.bool_],
    *,
    write: Write = drawing.write,
    font: float = 10,
) -> None:
    """Draw all cells with their numbers where they fit, and a ring in each marked one.

    Args:
        painter: Antialiasing painter.
        layout: Places of the cells.
        words: Colour of each cell, 0xFFRRGGBB, (rows, columns).
        texts: Number of each cell as it is written.
        marks: Whether a cell is marked, (rows, columns).
        write: What draws a line of text.
        font: Size of the numbers in pixels.
    """
    first = layout.cell(0, 0)
    has_text = first.width() >= MIN_TEXT[0] and first.height() >= MIN_TEXT[1]
    for row, col in np.ndindex(words.shape):
        cell, word = layout.cell(row, col), int(words[row, col])
        if not cell.intersects(layout.box):
            continue
        drawing.fill(painter, cell, theme.color(f"#{word & 0xFFFFFF:06X}"), CORNER)
        ink = drawing.readable_on(word)
        if has_text:
            write(painter, cell, texts[row][col], ink, font, align="centre")
        if marks[row, col]:
            drawing.ring(painter, cell.adjusted(1, 1, -1, -1), theme.color(ink), MARK_WIDTH, CORNER)


def draw_cell_labels(
    painter: QPainter,
    layout: TableLayout,
    rows: Iterable[object],
    columns: Iterable[object],
    room: float,
    *,
    write: Write = drawing.write,
) -> None:
    """Draw the names of the rows, in `room` pixels left of the table, and of the columns below it."""
    colors, box = theme.active(), layout.box
    for name, (top, bottom) in zip(rows, layout.rows, strict=True):
        write(painter, QRectF(box.left() - room, top, room - 6, bottom - top), str(name), colors.secondary, FONT,
              align="right")  # fmt: skip
    for name, (left, right) in zip(columns, layout.columns, strict=True):
        foot = QRectF(left - 6, box.bottom() + 1, right - left + 12, LINE)
        write(painter, foot, str(name), colors.secondary, FONT, align="centre")


def measure_scale(label: str, ends: tuple[str, str], width_of: Callable[[str], float]) -> float:
    """Return the least width in pixels of a colour bar whose words do not touch; see `draw_scale`."""
    if not any(ends):
        return max(width_of(label), LEAST_SCALE)
    left, right = _mark_ends(ends)
    # The label is centred, so that the longer of the others decides.
    return max(width_of(label) + 2 * max(width_of(left), width_of(right)) + 2 * WORD_GAP, LEAST_SCALE)


def _mark_ends(ends: tuple[str, str]) -> tuple[str, str]:
    return f"← {ends[0]}", f"{ends[1]} →"


def draw_scale(
    painter: QPainter,
    box: QRectF,
    table: npt.NDArray[np.uint32],
    axis: Axis,
    label: str,
    ends: tuple[str, str] = ("", ""),
    *,
    write: Write = drawing.write,
    width_of: Callable[[str], float] | None = None,
) -> None:
    """Draw a colour bar with its label above and its numbers below, SCALE_HEIGHT pixels tall.

    `box` is at least as wide as `measure_scale` returns.

    `ends`: what lies at the left and at the right of the numbers, written beside the label.
    """
    colors = theme.active()
    line = QRectF(box.left(), box.top(), box.width(), LINE)
    if any(ends):
        left, right = _mark_ends(ends)
        write(painter, line, left, colors.secondary, FONT)
        write(painter, line, right, colors.secondary, FONT, align="right")
        write(painter, line, label, colors.secondary, FONT, align="centre")
    else:
        write(painter, line, label, colors.secondary, FONT)
    bar = QRectF(box.left(), box.top() + LINE + 3, box.width(), BAR_HEIGHT)
    # Each colour as four pixels, because PDF viewers smooth images that they enlarge.
    painter.drawImage(bar, drawing.create_word_image(np.repeat(np.repeat(table[None], 4, 1), 8, 0), blended=False))
    measure = width_of or partial(drawing.width_of, pixels=FONT)
    draw_place_axis(painter, bar, axis, axis.ticks(bar.width(), measure, MOST_TICKS), write=write, width_of=measure)
