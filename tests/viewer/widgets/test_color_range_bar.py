"""The colour bar: its range is dragged as a whole or by an end, its axis zoomed, its colours copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until

from viewer.model import attention
from viewer.rendering import colormaps, drawing, ticks
from viewer.widgets import color_range_bar

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.color_range_bar import ColorBar
    from viewer.widgets.main_window import MainWindow


def x_of(bar: ColorBar, value: float) -> int:
    visible = bar.visible_part()
    return round((value - visible.left()) / visible.width() * bar.width())


def drag(bar: ColorBar, start: int, stop: int) -> None:
    QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(start, 8))
    QTest.mouseMove(bar, QPoint((start + stop) // 2, 8))
    QTest.mouseMove(bar, QPoint(stop, 8))
    QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=QPoint(stop, 8))
    spin(0.01)


def test_dragging_between_the_ends_moves_the_whole_range(window: MainWindow) -> None:
    bar, session = window.panels.heat.bar, window.session
    left, right, _, _ = bar.ends()
    session.update(range="locked", low=left + 0.2 * (right - left), high=left + 0.5 * (right - left))
    spin(0.01)
    _, _, low, high = bar.ends()
    middle = x_of(bar, (low + high) / 2)
    assert bar.part_at(middle) == "both"
    drag(bar, middle, middle + 30)
    state = session.state
    by = 30 * (right - left) / bar.width()
    assert state.low == pytest.approx(low + by, rel=1e-3)
    assert state.high - state.low == pytest.approx(high - low)
    drag(bar, x_of(bar, (state.low + state.high) / 2), 5 * bar.width())
    assert session.state.high <= right * (1 + 1e-9), "not beyond the bar"
    assert session.state.high - session.state.low == pytest.approx(high - low)
    session.undo()
    assert session.state.high == pytest.approx(high + by, rel=1e-3), "a drag is one step of undo"


def test_wheel_zooms_the_axis_and_the_ends_can_be_dragged_there(window: MainWindow) -> None:
    until(lambda: window.plot_loader.is_done)
    bar, session = window.panels.heat.bar, window.session
    assert bar.plot is not None
    left, right, low, high = bar.ends()
    bar.plot.zoom(QPointF(0, 8), 0.5)
    spin(0.01)
    visible = bar.visible_part()
    assert (visible.left(), visible.right()) == pytest.approx(
        (left, left + (right - left) / 2), abs=(right - left) * 1e-6
    )
    assert bar.ends() == (left, right, low, high)
    drag(bar, x_of(bar, low), bar.width() // 4)
    assert session.state.range == "locked"
    assert session.state.low == pytest.approx(left + (right - left) / 8, rel=0.02)
    bar.reset_plot()
    assert not bar.is_zoomed()


def test_copied_data_are_the_colors_of_the_ramp(window: MainWindow) -> None:
    window.panels.heat.bar.copy_data()
    rows = QGuiApplication.clipboard().text().splitlines()
    table = colormaps.table(window.session.shown.colours)
    assert rows[0] == "value,colour"
    assert len(rows) == 257
    assert rows[1].split(",")[1] == "#{:02X}{:02X}{:02X}".format(*table[0])
    assert rows[-1].split(",")[1] == "#{:02X}{:02X}{:02X}".format(*table[-1])


def test_bar_has_the_pixels_of_the_first_picture(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from viewer.widgets.plot_loader import PlotLoader

    monkeypatch.setattr(PlotLoader, "_load", lambda self: iter(()))
    window = show(small, tmp_path)
    bar = window.panels.heat.bar
    for scale in ("linear", "log", "rank"):
        window.session.update(scale=scale)
        spin(0.01)
        before = bar.grab().toImage()
        if bar.plot is None:
            bar.build_plot()
            spin(0.01)
        assert bar.grab().toImage() == before
    close(window)


def test_ends_of_a_difference_fit_into_their_fields(app: QApplication, tmp_path: Path) -> None:
    window = show(make_results.write(tmp_path / "a.h5"), tmp_path)
    heat = window.panels.heat
    for value in (-0.01446, -0.0001446, -1.446e-5, -8.888e-38, -888888.0):
        text = ticks.format_number(value, 4)
        assert drawing.width_of(text, heat.low.pixels) <= heat.low.width() - 12, text
    close(window)


@given(left=st.floats(-1, 1), span=st.floats(1e-6, 10), low=st.floats(0, 0.5), reach=st.floats(1e-3, 1))
def test_words_of_the_ramp_are_those_of_equally_spaced_values(
    left: float, span: float, low: float, reach: float
) -> None:
    right = left + span
    values = np.linspace(left, right, 512, dtype=np.float32)
    for scale in ("linear", "log"):
        wanted = np.rint(attention.places(values, low, low + reach, scale) * 255).astype(int)
        words = color_range_bar._color_words("inferno", scale, left, right, low, low + reach, 512)
        np.testing.assert_array_equal(words, colormaps.opaque("inferno")[wanted])
