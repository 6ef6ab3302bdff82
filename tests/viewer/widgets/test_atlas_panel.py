"""The atlas in the window: zoomed, clicked, copied; as before pyqtgraph was loaded."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow


def test_zoomed_atlas_goes_where_it_is_clicked(window: MainWindow) -> None:
    until(lambda: window.plot_loader.is_done)
    atlas = window.panels.atlas
    scores = atlas.scores()
    assert scores is not None
    assert atlas.plot is not None
    point = atlas.cell(scores, 2, 1).center()
    atlas.plot.zoom(point, 0.5)
    assert atlas.cell_at(point) == (2, 1)
    assert atlas.cell(scores, 2, 1).contains(point)
    QTest.mouseClick(atlas, Qt.MouseButton.LeftButton, pos=point.toPoint())
    assert (window.session.state.layer, window.session.state.heads) == (2, (1,))
    spin(0.01)
    assert atlas.build_context_menu().actions()[4].isEnabled()
    atlas.reset_plot()
    assert not atlas.is_zoomed()


def test_copied_data_are_the_scores(window: MainWindow) -> None:
    atlas = window.panels.atlas
    scores = atlas.scores()
    assert scores is not None
    atlas.copy_data()
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert rows[0] == ["layer", "head", window.session.shown.score]
    assert rows[scores.shape[1]][:2] == ["0", "mean"]
    np.testing.assert_allclose([float(row[2]) for row in rows[1:]], scores.ravel(), rtol=1e-6)


@pytest.mark.parametrize("thumbnails", [False, True])
def test_atlas_has_the_pixels_of_the_first_picture(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thumbnails: bool
) -> None:
    from viewer.widgets.plot_loader import PlotLoader

    monkeypatch.setattr(PlotLoader, "_load", lambda self: iter(()))
    window = show(small, tmp_path, thumbnails=thumbnails)
    atlas = window.panels.atlas
    before = atlas.grab().toImage()
    atlas.build_plot()
    spin(0.01)
    assert atlas.plot is not None
    assert atlas.plot.isVisible()
    assert atlas.grab().toImage() == before
    close(window)
