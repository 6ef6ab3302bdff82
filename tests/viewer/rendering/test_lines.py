"""Lines are thinned without losing peaks, broken at missing values and episodes, and placed where their values are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QPolygonF

from viewer.rendering.axes import Axis
from viewer.rendering.lines import Line, break_lines, draw_lines, find_runs, make_polyline, place_lines, thin_line

BOX = QRectF(10, 20, 100, 50)
Doubles = npt.NDArray[np.float64]


def points(polyline: QPolygonF) -> list[tuple[float, float]]:
    return [(polyline.at(n).x(), polyline.at(n).y()) for n in range(polyline.size())]


def test_thin_line_keeps_peaks_and_ends() -> None:
    values = np.zeros(10_000)
    values[[0, 4321, 9999]] = 0.1, 0.9, 0.2
    values[77] = np.nan
    xs, thinned = thin_line(np.arange(10_000.0), values, 300)
    assert len(xs) <= 602
    assert {0, 4321, 9999} <= set(xs.tolist())
    assert np.nanmax(thinned) == 0.9
    assert (np.diff(xs) >= 0).all()


def test_thin_line_leaves_short_lines_as_they_are() -> None:
    xs, values = np.arange(600.0), np.random.default_rng(0).random(600)
    thinned = thin_line(xs, values, 300)
    assert thinned[0] is xs
    assert thinned[1] is values


def test_thin_line_keeps_a_gap_that_is_wider_than_a_column() -> None:
    values = np.ones(9_000)
    values[3000:6000] = np.nan
    xs, thinned = thin_line(np.arange(9_000.0), values, 100)
    assert len(find_runs(thinned)) == 2
    assert np.isnan(thinned[(xs > 3100) & (xs < 5900)]).all()


@given(st.integers(1, 3000), st.integers(1, 400), st.integers(0, 5))
def test_thinned_points_are_points_of_the_line(count: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(count) < 0.2, np.nan, rng.random(count))
    xs, thinned = thin_line(np.arange(float(count)), values, columns)
    np.testing.assert_array_equal(thinned, values[xs.astype(int)])
    assert np.isnan(values).all() or np.nanmax(thinned) == np.nanmax(values)


def test_break_lines_adds_a_missing_value_before_each_start() -> None:
    xs, values = break_lines(np.arange(4.0), np.array([1.0, 2, 3, 4]), (0, 2, 9))
    assert xs.tolist() == [0, 1, 1.5, 2, 3]
    np.testing.assert_array_equal(values, [1, 2, np.nan, 3, 4])


def test_find_runs_gives_start_and_stop_of_finite_values() -> None:
    nan = np.nan
    assert find_runs(np.array([nan, 1, 2, nan, nan, 3, nan, 4])) == [(1, 3), (5, 6), (7, 8)]
    assert find_runs(np.array([nan])) == []
    assert find_runs(np.zeros(0)) == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_make_polyline_holds_the_points(count: int) -> None:
    xs, ys = np.arange(float(count)), np.arange(float(count)) ** 2
    assert points(make_polyline(xs, ys)) == list(zip(xs.tolist(), ys.tolist(), strict=True))


def test_place_lines_puts_values_at_their_places() -> None:
    line = Line("a", "#FF0000", np.array([0, 1, np.nan, 0.5, 0.25]))
    [(color, runs)] = place_lines(BOX, Axis(0, 4), Axis(0, 1), np.arange(5.0), [line])
    assert color == "#FF0000"
    assert [points(run) for run in runs] == [[(10, 70), (35, 20)], [(85, 45), (110, 57.5)]]


def test_place_lines_leaves_out_what_is_not_visible_but_for_one_neighbour() -> None:
    line = Line("a", "#FF0000", np.arange(100.0))
    [(_, [run])] = place_lines(BOX, Axis(40, 50), Axis(0, 99), np.arange(100.0), [line])
    assert [x for x, _ in points(run)] == pytest.approx([BOX.left() + 10 * n for n in range(-1, 12)])


def test_place_lines_does_not_join_episodes() -> None:
    line = Line("a", "#FF0000", np.arange(6.0))
    [(_, runs)] = place_lines(BOX, Axis(0, 5), Axis(0, 5), np.arange(6.0), [line], starts=(0, 3))
    assert [run.size() for run in runs] == [3, 3]
    [(_, zoomed)] = place_lines(BOX, Axis(2, 4), Axis(0, 5), np.arange(6.0), [line], starts=(0, 3))
    assert [run.size() for run in zoomed] == [2, 3]


def test_draw_lines_draws_a_lone_value_as_a_dot_and_nothing_in_a_gap() -> None:
    image = QImage(120, 80, QImage.Format.Format_RGB32)
    image.fill(QColor("#000000"))
    line = Line("a", "#FFFFFF", np.array([np.nan, 0.5, np.nan, 0.5, 0.5]))
    with QPainter(image) as painter:
        draw_lines(painter, place_lines(BOX, Axis(0, 4), Axis(0, 1), np.arange(5.0), [line]), BOX)
    bright_columns = [x for x in range(120) if image.pixelColor(x, 45).lightness() > 100]
    assert bright_columns[0] in range(32, 36), "the dot at point 1"
    assert not [x for x in bright_columns if 40 < x < 84], "no line from point 1 to point 3"
    assert [x for x in bright_columns if x > 84] == list(range(85, 111))
