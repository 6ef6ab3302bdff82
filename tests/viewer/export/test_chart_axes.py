"""Charts of figures have the axes of the window: the same numbers, rounded alike, for the same data and room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from export_driver import open_export
from window_driver import close, show

from viewer.export.figures import color_bar
from viewer.export.figures.charts import CurveChart
from viewer.model.view_state import Query
from viewer.rendering import drawing
from viewer.rendering.axes import Axis
from viewer.widgets import color_range_bar

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_results.write(tmp_path / "file.h5", make_results.Recipe(layers=18, steps=10, frames=40))


@pytest.mark.parametrize("axis", ["layers", "steps"])
def test_curves_of_figure_and_window_have_the_same_axes(
    app: QApplication, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str
) -> None:
    monkeypatch.setattr("viewer.export.figures.charts._measure_label", lambda text: drawing.width_of(text, 11))
    with open_export("curves", str(path), "--over", axis, "--actions", "1", "--steps", "0-9") as export:
        figure = export.renderer.create_figure(export.plan.files[0])
        chart, view = figure.content, figure.view
    assert isinstance(chart, CurveChart)
    window = show(path, tmp_path, query=Query("action", (1,)), curve=axis, layer=view.layer, step=view.step)
    window.session.update(heads=view.heads, reduce=view.reduce)
    panel = window.panels.curves
    panel.load()
    lines = panel.make_chart()
    assert lines is not None
    shares, x_axis = chart.find_axes()
    assert shares == lines.y_axis
    assert x_axis == panel.x_axis()
    for length in (90.0, 150.0, 400.0):
        texts = [tick.text for tick in chart.find_x_ticks(length)]
        assert texts == [tick.text for tick in panel.find_x_ticks(panel.x_axis(), length)]
        assert len(texts) >= 4
    close(window)


@pytest.mark.parametrize("scale", ["linear", "rank"])
def test_color_bars_of_figure_and_window_have_the_same_numbers(
    app: QApplication, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    monkeypatch.setattr(color_bar, "_measure_text", color_range_bar.measure_label)
    ends = (0.0, 1.0) if scale == "rank" else (0.0, 0.0837)
    axis = Axis(0.0, 1.0, factor=100.0, unit="%") if scale == "rank" else Axis(*ends)
    for width in (180.0, 268.0, 600.0):
        ticks = color_bar.find_scale_ticks(color_bar.ColorScale("inferno", *ends, scale), width)
        window = color_range_bar._find_ticks(axis, width)
        assert ticks == [(axis.place_of(tick.value), tick.text) for tick in window]
        assert len(ticks) >= 3
