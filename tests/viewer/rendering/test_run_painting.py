"""Painting of the Run page: colours of a difference, stacks of dots, places of cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage, QPainter

from viewer.rendering.axes import Axis
from viewer.rendering.runs.cell_table import SCALE_HEIGHT, draw_scale, lay_out_cells, measure_scale
from viewer.rendering.runs.group_colors import color_words, create_difference_table, create_heat_table, find_range
from viewer.rendering.runs.strip_plot import stack_dots
from viewer.rendering.score_table import GAP


@pytest.mark.parametrize("ground", [0x15171C, 0xF7F8FA])
def test_difference_is_the_ground_at_zero_red_for_failure_and_blue_for_success(ground: int) -> None:
    words = color_words(np.array([[-2.0, 0.0, 2.0, np.nan]]), (-2.0, 2.0), create_difference_table(ground), ground)
    failure, nothing, success, missing = (int(word) & 0xFFFFFF for word in words[0])
    assert failure >> 16 > failure & 255
    assert success & 255 > success >> 16
    assert missing == ground
    for shift in (16, 8, 0):  # the table has 256 colours, of which none lies at 0 exactly
        assert abs((nothing >> shift & 255) - (ground >> shift & 255)) <= 3


def test_range_of_a_difference_lies_on_both_sides_of_zero() -> None:
    values = np.array([[-0.5, np.nan], [0.25, 0.0]])
    assert find_range(values, is_difference=True) == (-0.5, 0.5)
    assert find_range(np.array([[0.2, 0.7]]), is_difference=False) == (0.0, 0.7)
    assert find_range(np.array([[0.2, 0.7]]), is_difference=False, starts_at_zero=False) == (0.2, 0.7)
    assert find_range(np.array([[np.nan]]), is_difference=True) == (-1.0, 1.0)
    low, high = find_range(np.zeros((2, 2)), is_difference=False)
    assert low < high


def test_values_without_a_spread_have_a_color_of_the_table() -> None:
    table = create_heat_table("inferno", 0)
    words = color_words(np.array([[0.0, 1.0]]), (0.0, 1.0), table, 0)
    assert words.tolist() == [[int(table[0]), int(table[255])]]


def test_dots_of_one_layer_do_not_overlap() -> None:
    positions = np.array([0.0, 1.0, 2.0, 6.0, 6.5, 30.0])
    layers = stack_dots(positions, 6.0)
    for layer in set(layers.tolist()):
        gaps = np.diff(np.sort(positions[layers == layer]))
        assert (gaps >= 6.0).all()
    assert layers.tolist() == [0, 1, 2, 0, 3, 0]


def test_cells_fill_the_box_at_equal_distances_and_are_found_under_a_point() -> None:
    layout = lay_out_cells(QRectF(26, 2, 400, 90), (3, 8), 1.0, QRectF(0, 0, 1, 1))
    assert len(layout.rows) == 3
    assert [left for left, _ in layout.columns] == [26 + 50 * head for head in range(8)]
    assert layout.columns[-1][1] == 426 - GAP
    assert layout.cell_at(layout.cell(2, 7).center()) == (2, 7)
    assert layout.cell_at(QPointF(500, 50)) is None
    enlarged = lay_out_cells(QRectF(26, 2, 400, 90), (3, 8), 1.0, QRectF(0.5, 0, 0.5, 1))
    assert enlarged.columns[4][0] == 26
    assert enlarged.columns[4][1] - enlarged.columns[4][0] == 100 - GAP


@pytest.mark.parametrize("ends", [("", ""), ("more in failures", "more in successes")])
@pytest.mark.parametrize("label", ["difference, percentage points", "nats"])
def test_words_above_a_color_bar_of_the_least_width_do_not_touch(label: str, ends: tuple[str, str]) -> None:
    def width_of(text: str) -> float:
        return 7.0 * len(text)

    written: list[tuple[float, float]] = []

    def write(_: QPainter, box: QRectF, text: str, *rest: object, align: str = "left") -> float:
        free = box.width() - width_of(text)
        left = box.left() + {"left": 0.0, "right": free, "centre": free / 2}[align]
        if box.top() == 0:  # the line of the words, not that of the numbers
            written.append((left, left + width_of(text)))
        return width_of(text)

    image = QImage(800, 60, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    box = QRectF(0, 0, measure_scale(label, ends, width_of), SCALE_HEIGHT)
    draw_scale(painter, box, create_heat_table("inferno", 0), Axis(0, 1), label, ends, write=write, width_of=width_of)
    painter.end()
    written.sort()
    assert len(written) == (3 if any(ends) else 1)
    assert written[0][0] >= 0
    assert written[-1][1] <= box.right()
    for (_, end), (start, _) in itertools.pairwise(written):
        assert start - end >= 16
