"""The action chart draws predicted and true actions in their own colours and goes where it is clicked."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor
from window_driver import close, show, spin

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


def rows_near(chart: ActionChart, colour: str, left: float, right: float, top: float, bottom: float) -> list[int]:
    """Rows of a part of the chart, in pixels, that hold a pixel near a colour."""
    image = chart.grab().toImage()
    wanted = QColor(colour)
    return [
        y
        for y in range(round(top), round(bottom))
        if any(
            abs(QColor(image.pixel(x, y)).red() - wanted.red()) < 40
            and abs(QColor(image.pixel(x, y)).green() - wanted.green()) < 40
            and abs(QColor(image.pixel(x, y)).blue() - wanted.blue()) < 40
            for x in range(round(left), round(right))
        )
    ]


def test_predicted_actions_are_orange_and_true_actions_grey(app: QApplication, opposed: Path, tmp_path: Path) -> None:
    window = show(opposed, tmp_path)
    window.panels.show_tab("action_chart")
    spin()
    chart, t = window.panels.action_chart, theme.active()
    box = chart.cells(3)[0][1]
    inner = box.adjusted(4, 5, -4, -5)
    ends = inner.right() - 6, inner.right(), inner.top(), inner.bottom()
    predicted, truth = rows_near(chart, t.accent, *ends), rows_near(chart, t.secondary, *ends)
    assert max(predicted) < inner.center().y(), "the predicted line ends at the top, where it rises to 1"
    assert min(truth) > inner.center().y(), "the true line ends at the bottom, where it falls to 0"
    close(window)


def test_values_and_tool_tip_name_predicted_and_true_actions(app: QApplication, opposed: Path, tmp_path: Path) -> None:
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
    last = QPoint(round(box.right() - 4), round(box.center().y()))
    horizon = len(values["predicted"])
    assert chart.explain(last) == f"a0, action {horizon - 1}: 1, true 0"
    close(window)
