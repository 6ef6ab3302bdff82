"""The tour: when it starts, and that it does not cover the controls that it explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QPoint, QRect
from window_driver import close, settle, spin, until

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow
from viewer.widgets.overlays.tour import HINTS

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.mark.parametrize("shown_first", [True, False])
def test_tour_starts_with_the_first_file(app: QApplication, tmp_path: Path, shown_first: bool) -> None:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    if shown_first:
        window.show()
        spin()
        assert window.overlays.tour is None, "there is nothing to explain yet"
    window.show_results(Results(make_results.write(tmp_path / "a.h5")), False)
    window.show()
    until(lambda: window.overlays.tour is not None)
    assert window.overlays.tour is not None
    window.overlays.tour.finish()
    close(window)


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800), (1920, 1080)])
def test_tour_does_not_cover_the_controls_it_explains(app: QApplication, tmp_path: Path, size: tuple[int, int]) -> None:
    settings = Settings(tmp_path / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(*size)
    window.show_results(Results(make_results.write(tmp_path / "a.h5")), False)
    window.show()
    settle(window)
    window.overlays.show_tour()
    tour = window.overlays.tour
    assert tour is not None
    for number, (name, _, _) in enumerate(HINTS):
        assert tour.index == number
        panel = tour.panels[name]
        target = QRect(panel.mapTo(window, QPoint(0, 0)), panel.size())
        assert not tour.geometry().intersects(target), name
        assert window.rect().contains(tour.geometry())
        tour.next.click()
    close(window)
