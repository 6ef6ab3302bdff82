"""The bar of a row's weight: its legend, and what it sums up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QApplication, QToolTip
from window_driver import close, show, until

from viewer.model.view_state import Query

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.widgets.panels.mass_bar import MassBar


def tooltip_at(bar: MassBar, point: QPointF) -> str:
    position = point.toPoint()
    QApplication.sendEvent(bar, QHelpEvent(QHelpEvent.Type.ToolTip, position, bar.mapToGlobal(position)))
    return QToolTip.text()


@pytest.mark.parametrize("kind", ["text", "action"])
def test_legend_fills_its_panel_and_leaves_no_empty_line(app: QApplication, tmp_path: Path, kind: str) -> None:
    path = make_results.write(tmp_path / "two.h5", make_results.Recipe(layers=18, frames=1))
    window = show(path, tmp_path, (1280, 800), query=Query(kind, (0,)))
    bar = window.panels.mass
    summary = bar.find_summary_box()
    assert 0 <= bar.height() - summary.bottom() <= 2
    cells = bar.boxes()
    assert not any(line.intersects(summary) for *_, line in cells)
    gap = window.panels.atlas.y() - (bar.y() + summary.bottom())
    assert gap <= 12, "no more than the space between two panels"
    close(window)


def test_cells_of_18_layers_are_at_least_6_pixels_high_in_a_low_window(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "deep.h5", make_results.Recipe(layers=18, frames=1))
    window = show(path, tmp_path, (1280, 800))
    scores = window.panels.atlas.scores()
    assert scores is not None
    first, second = (window.panels.atlas.cell(scores, layer, 0).top() for layer in (0, 1))
    assert second - first >= 6.5
    close(window)


def test_summary_describes_its_numbers_and_what_is_left_out(app: QApplication, tmp_path: Path, small: Path) -> None:
    window = show(small, tmp_path, (1280, 800))
    bar = window.panels.mass
    assert tooltip_at(bar, bar.find_summary_box().center()).startswith("sinks: BOS, newline and letterbox bars")
    window.session.update(left_out=("bos",))
    until(lambda: window.session.shown.left_out == ("bos",))
    assert tooltip_at(bar, bar.find_summary_box().center()).startswith("left out: the weight of the groups")
    QToolTip.hideText()
    close(window)
