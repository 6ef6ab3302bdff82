"""Cells of the table of layers and heads: places, hits, one image with numbers, and an enlarged part."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QApplication

from viewer.rendering.score_table import GAP, draw_cells, lay_out_table

BOX = QRectF(22, 26, 270, 180)
WHOLE = QRectF(0, 0, 1, 1)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_cells_fill_the_box_on_whole_screen_pixels(ratio: float) -> None:
    layout = lay_out_table(BOX, (18, 9), ratio, WHOLE)
    for spans in (layout.columns, layout.rows):
        for start, stop in spans:
            assert start * ratio == pytest.approx(round(start * ratio))
            assert stop * ratio == pytest.approx(round(stop * ratio))
    assert layout.columns[0][0] == 22
    assert layout.columns[-1][1] == pytest.approx(292 - GAP, abs=1)
    assert layout.rows[-1][1] == pytest.approx(206 - GAP, abs=1)
    gaps = np.diff([start for start, _ in layout.columns])
    assert gaps[-1] == pytest.approx(gaps[:-1].mean() + 4, abs=1), "the mean is a little apart"


def test_cell_at_is_the_cell_that_is_drawn_there() -> None:
    for visible in (WHOLE, QRectF(0.4, 0.5, 0.25, 0.25)):
        layout = lay_out_table(BOX, (18, 9), 1.0, visible)
        for row, column in np.ndindex(18, 9):
            centre = layout.cell(row, column).center()
            assert layout.cell_at(centre) == ((row, column) if BOX.contains(centre) else None)
    assert layout.cell_at(QPointF(5, 100)) is None


def test_enlarged_table_shows_the_visible_part() -> None:
    full, large = (lay_out_table(BOX, (18, 9), 1.0, part) for part in (WHOLE, QRectF(0.5, 0.5, 0.5, 0.5)))
    small, big = full.cell(12, 6), large.cell(12, 6)
    assert big.left() == pytest.approx(22 + (small.left() - 22 - 135) * 2, abs=2)
    assert big.top() == pytest.approx(26 + (small.top() - 26 - 90) * 2, abs=2)
    assert big.width() == pytest.approx(2 * small.width() + GAP, abs=2)


def test_cells_have_their_colors_and_numbers(app: QApplication) -> None:
    layout = lay_out_table(QRectF(0, 0, 120, 60), (2, 3), 1.0, WHOLE)
    words = np.array([[0xFF102030, 0xFFF0F0F0, 0xFF00FF00], [0xFF0000FF, 0xFFFF0000, 0xFF808080]], np.uint32)
    image = QImage(120, 60, QImage.Format.Format_RGB32)
    with QPainter(image) as painter:
        draw_cells(painter, layout, words, [[1, 2, 3], [4, 5, 6]], lambda value: f"{value:.0f}", QColor("#15171C"))
    for row, column in np.ndindex(2, 3):
        box = layout.cell(row, column).toRect()
        colours = {image.pixel(x, y) for x in range(box.left(), box.right()) for y in range(box.top(), box.bottom())}
        assert image.pixel(box.topLeft()) == words[row, column]
        assert len(colours) > 1, "a number is written"
    gap = round(layout.columns[0][1])
    assert image.pixel(gap, 5) == 0xFF15171C
