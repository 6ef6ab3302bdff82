"""The action chart draws predicted and true actions in their own colours and goes where it is clicked."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QGuiApplication
from window_driver import close, show, spin, until

from capture.results import schema
from viewer.rendering import theme

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.panels.action_chart import ActionChart


@pytest.fixture
def opposed(small: Path, tmp_path: Path) -> Path:
    """A file whose predicted actions rise from 0 to 1 while the true ones fall from 1 to 0, in all dimensions."""
    path = shutil.copy(small, tmp_path / "opposed.h5")
    with h5py.File(path, "r+") as file:
        predicted, truth = file[schema.ACTION_PREDICTED], file[schema.ACTION_TRUTH]
        rising = np.linspace(0, 1, predicted.shape[1], dtype=np.float32)[None, :, None]
        predicted[:] = np.broadcast_to(rising, predicted.shape)
        truth[:] = np.broadcast_to(1 - rising, truth.shape)
    return tmp_path / "opposed.h5"


def rows_near(chart: ActionChart, color: str, left: float, right: float, top: float, bottom: float) -> list[int]:
    """Rows of a part of the chart, in pixels, that hold a pixel near a colour."""
    image = chart.grab().toImage()
    target = QColor(color)
    return [
        y
        for y in range(round(top), round(bottom))
        if any(
            abs(QColor(image.pixel(x, y)).red() - target.red()) < 40
            and abs(QColor(image.pixel(x, y)).green() - target.green()) < 40
            and abs(QColor(image.pixel(x, y)).blue() - target.blue()) < 40
            for x in range(round(left), round(right))
        )
    ]


def test_predicted_actions_are_orange_and_true_actions_grey(app: QApplication, opposed: Path, tmp_path: Path) -> None:
    window = show(opposed, tmp_path)
    window.panels.show_tab("action_chart")
    spin()
    chart, t = window.panels.action_chart, theme.active()
    box = chart.cells(3)[0][1]
    ends = box.right() - 8, box.right() - 2, box.top(), box.bottom()
    predicted, truth = rows_near(chart, t.accent, *ends), rows_near(chart, t.secondary, *ends)
    assert max(predicted) < box.center().y(), "the predicted line ends at the top, where it rises to 1"
    assert min(truth) > box.center().y(), "the true line ends at the bottom, where it falls to 0"
    close(window)


def test_values_and_read_out_name_predicted_and_true_actions(app: QApplication, opposed: Path, tmp_path: Path) -> None:
    window = show(opposed, tmp_path)
    window.panels.show_tab("action_chart")
    spin()
    chart = window.panels.action_chart
    values: dict[str, npt.NDArray[np.float64] | None] = chart.values()
    assert values["predicted"] is not None
    assert values["truth"] is not None
    assert (values["predicted"][0, 0], values["predicted"][-1, 0]) == (0, 1)
    assert (values["truth"][0, 0], values["truth"][-1, 0]) == (1, 0)
    box = chart.cells(values["predicted"].shape[1])[0][0]
    last = QPointF(box.right() - 1, box.center().y())
    horizon = len(values["predicted"])
    point = chart.place_at(last)
    assert point == ("chunk", 0, horizon - 1)
    title, rows = chart.read_place(point)
    assert title == f"a0, action {horizon - 1}"
    assert [row[1:] for row in rows] == [("predicted", "1"), ("true", "0")]
    close(window)


def test_chunk_zooms_in_all_dimensions_and_copies_its_data(app: QApplication, opposed: Path, tmp_path: Path) -> None:
    window = show(opposed, tmp_path)
    window.panels.show_tab("action_chart")
    until(lambda: window.plot_loader.is_done)
    spin()
    chart = window.panels.action_chart
    assert chart.plot is not None
    box = chart.cells(3)[0][2]
    point = QPointF(box.left() + 1, box.center().y())
    inside = chart.to_content_box(point)
    assert inside is not None
    full_axis = chart.x_axis("chunk", chart.charts()["chunk"][2])
    chart.plot.zoom(inside, 0.5)
    spin(0.01)
    axis = chart.x_axis("chunk", chart.charts()["chunk"][2])
    assert axis.low == pytest.approx(0, abs=0.1)
    assert axis.high - axis.low == pytest.approx(max((full_axis.high - full_axis.low) / 2, min(4, full_axis.high)))
    assert chart.x_axis("path", chart.charts()["path"][0]).low == 0, "the path has an axis of its own"
    chart.copy_data()
    rows = QGuiApplication.clipboard().text().splitlines()
    assert rows[0] == "action,dimension,predicted,true"
    assert rows[1] == "0,0,0.0,1.0"
    close(window)
