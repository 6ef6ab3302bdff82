"""Timeline and curves: zoom along x, linked over frames, crosshair with the values of all lines, data that is copied."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from window_driver import close, double_click, show, spin, until, wait_until_idle

from viewer.model.view_state import Query
from viewer.model.zoom import PER_NOTCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.line_panel import LinePanel
    from viewer.widgets.main_window import MainWindow


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40 frames, 0.2 s apart."""
    recipe = make_results.Recipe(frames=40, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("lines") / "long.h5", recipe)


@pytest.fixture
def window(app: QApplication, long: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show(long, tmp_path, curve="frames", query=Query("action", (1,)))
    until(lambda: window.plot_loader.is_done)
    until(lambda: window.panels.timeline.values() is not None and window.panels.timeline.timeline.timed)
    wait_until_idle(window)
    yield window
    close(window)


def turn_wheel(panel: LinePanel, point: QPointF, along: int, modifiers: Qt.KeyboardModifier) -> None:
    event = QWheelEvent(
        point, panel.mapToGlobal(point), QPoint(), QPoint(0, along), Qt.MouseButton.NoButton, modifiers,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QGuiApplication.sendEvent(panel, event)
    spin(0.01)


def range_of(panel: LinePanel) -> tuple[float, float]:
    axis = panel.x_axis()
    return axis.low, axis.high


def test_wheel_zooms_about_the_pointer_and_a_double_click_shows_everything(window: MainWindow) -> None:
    line = window.panels.timeline
    assert range_of(line) == (0, 39)
    point = QPointF(line.x_of(10), line.content_box().center().y())
    turn_wheel(line, point, 480, Qt.KeyboardModifier.NoModifier)
    low, high = range_of(line)
    assert high - low == pytest.approx(39 * PER_NOTCH**-4)
    assert line.x_of(10) == pytest.approx(point.x(), abs=0.5), "what is under the pointer stays there"
    assert line.is_zoomed()
    shown = [tick.value for tick in line.find_x_ticks(line.x_axis(), line.content_box().width())]
    assert all(low <= value <= high for value in shown)
    turn_wheel(line, point, -120 * 99, Qt.KeyboardModifier.NoModifier)
    assert range_of(line) == (0, 39), "not beyond the first and last frame"
    turn_wheel(line, point, 120 * 99, Qt.KeyboardModifier.NoModifier)
    assert range_of(line)[1] - range_of(line)[0] == pytest.approx(4)
    double_click(line, point.toPoint())
    assert range_of(line) == (0, 39)


def test_shift_and_wheel_or_the_middle_button_pan(window: MainWindow) -> None:
    line = window.panels.timeline
    middle = line.content_box().center()
    turn_wheel(line, middle, 600, Qt.KeyboardModifier.NoModifier)
    low, high = range_of(line)
    turn_wheel(line, middle, -120, Qt.KeyboardModifier.ShiftModifier)
    moved = 60 * (high - low) / line.content_box().width()
    assert range_of(line) == pytest.approx((low + moved, high + moved))
    pressed = Qt.MouseButton.MiddleButton
    for kind, x in (
        (QEvent.Type.MouseButtonPress, 0),
        (QEvent.Type.MouseMove, 60),
        (QEvent.Type.MouseButtonRelease, 60),
    ):
        point = middle + QPointF(x, 0)
        button = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else pressed
        QGuiApplication.sendEvent(
            line, QMouseEvent(kind, point, line.mapToGlobal(point), button, pressed, Qt.KeyboardModifier.NoModifier)
        )
    assert range_of(line) == pytest.approx((low, high))
    assert window.session.state.frame == 0


def test_timeline_and_curves_over_frames_show_the_same_part(window: MainWindow) -> None:
    line, curves = window.panels.timeline, window.panels.curves
    turn_wheel(line, line.content_box().center(), 480, Qt.KeyboardModifier.NoModifier)
    assert range_of(curves) == pytest.approx(range_of(line))
    turn_wheel(curves, curves.content_box().center(), 240, Qt.KeyboardModifier.NoModifier)
    assert range_of(line) == pytest.approx(range_of(curves))
    window.session.update(curve="layers")
    spin(0.01)
    assert range_of(curves) == (0, 1), "layers are another axis"
    zoomed = range_of(line)
    assert line.is_zoomed()
    window.session.update(curve="frames")
    spin(0.01)
    assert range_of(curves) == pytest.approx(zoomed)
    curves.reset_plot()
    assert range_of(line) == (0, 39)


def test_visible_part_moves_with_the_current_frame(window: MainWindow) -> None:
    line = window.panels.timeline
    assert line.plot is not None
    line.plot.show_range(0, 10)
    window.session.update(frame=30)
    spin(0.01)
    assert range_of(line) == pytest.approx((25, 35))
    window.session.update(frame=33)
    spin(0.01)
    assert range_of(line) == pytest.approx((25, 35)), "only as far as needed"


def test_crosshair_shows_the_values_of_all_lines(window: MainWindow) -> None:
    curves, series = window.panels.curves, window.panels.frame_series.curves
    assert series is not None
    QTest.mouseMove(curves, QPoint(round(curves.x_of(7)), round(curves.content_box().center().y())))
    spin(0.01)
    assert curves.hovered == 7
    read_out = curves._read_out
    assert read_out is not None
    assert read_out.isVisible()
    values = {name: value for _, name, value in read_out.rows}
    assert values["exterior"] == f"{100 * series.values[7, 0]:.1f} %"
    assert len(values) == len(curves._chart.lines)  # type: ignore[union-attr]
    assert "1.40 s" in read_out.title
    assert window.rect().contains(read_out.geometry())
    curves.leaveEvent(QEvent(QEvent.Type.Leave))
    assert not read_out.isVisible()


def test_copied_data_are_the_values_of_all_lines(window: MainWindow) -> None:
    timeline, values = window.panels.timeline, window.panels.timeline.values()
    assert values is not None
    timeline.copy_data()
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert rows[0] == ["moment", "exterior", "wrist"]
    assert len(rows) == 41
    np.testing.assert_allclose([float(cell) for cell in rows[6][1:]], values[5], rtol=1e-6)


def test_log_axis_of_the_menu_spreads_small_values(window: MainWindow) -> None:
    curves = window.panels.curves
    assert curves._chart is not None
    assert not curves._chart.y_axis.is_log
    log = next(action for action in curves.build_context_menu().actions() if action.text() == "Log axis")
    log.trigger()
    axis = curves._chart.y_axis
    assert axis.is_log
    assert float(axis.place(axis.high / 10)) > 0.3
    spin(0.01)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_plots_have_the_pixels_of_the_first_picture(
    app: QApplication, long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    from viewer.widgets.plot_loader import PlotLoader

    monkeypatch.setattr(PlotLoader, "_load", lambda self: iter(()))
    window = show(long, tmp_path, curve="frames", query=Query("action", (1,)))
    window.set_theme(theme)
    until(lambda: window.panels.timeline.values() is not None and window.panels.timeline.timeline.timed)
    wait_until_idle(window)
    for panel in (window.panels.timeline, window.panels.curves):
        before = panel.grab().toImage()
        panel.build_plot()
        spin(0.01)
        assert panel.plot is not None
        assert panel.plot.isVisible()
        assert panel.plot.size() == panel.size()
        assert panel.grab().toImage() == before
    window.set_theme("dark")
    close(window)
