"""Panels that the window makes after its first picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QWidget
from window_driver import close, show, spin, until

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.rendering import theme
from viewer.widgets.controls.slider import Slider
from viewer.widgets.late_panels import NAMES
from viewer.widgets.main_window import MainWindow
from viewer.widgets.plot_loader import PlotLoader

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture
def no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep windows as they are at their first picture."""
    monkeypatch.setattr(PlotLoader, "_load", lambda self: iter(()))


def test_late_panels_are_made_after_the_first_paint(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    painted: list[list[QWidget]] = []
    paint_event = type(window.panels.sentence).paintEvent

    class Watcher(QWidget):
        def eventFilter(self, watched: object, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint:
                painted.append(window.panels.made_panels(NAMES))
            return False

    watcher = Watcher()
    window.panels.sentence.installEventFilter(watcher)
    window.show_results(Results(small), False)
    window.show()
    until(lambda: painted and window.plot_loader.is_done)
    assert painted[0] == [], "the first picture waits for none of them"
    assert len(window.panels.made_panels(NAMES)) == len(NAMES)
    assert type(window.panels.sentence).paintEvent is paint_event
    close(window)


@pytest.mark.usefixtures("no_loading")
def test_late_panel_shows_the_file_that_was_opened_before(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False, query=Query("action", (1,)))
    assert window.panels.made_panels(NAMES) == []
    window.panels.show_tab("action_chart")
    spin(0.01)
    assert window.panels.stack.currentWidget() is window.panels.action_chart
    assert window.panels.action_chart.values().get("predicted") is not None
    assert window.panels.action_chart.action == 1
    window.session.update(wall="best")
    spin(0.01)
    assert window.panels.front.currentWidget() is window.panels.wall.parentWidget()
    assert window.panels.wall.choice.buttons["best"].isChecked(), "its controls follow a view from before it was made"
    close(window)


@pytest.mark.usefixtures("no_loading")
def test_theme_reaches_late_panels_that_are_made_and_makes_no_others(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path, plots=False)
    window.panels.show_tab("regions")
    window.set_theme("light")
    assert window.panels.made_panels(NAMES) == [window.panels.regions]
    assert theme.active().line in window.panels.regions.scroll_bar.styleSheet()
    close(window)


def test_tab_key_reaches_late_panels_between_their_tabs_and_the_sliders(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path)
    order: list[QWidget] = []
    widget: QWidget | None = window
    while widget is not None and (not order or widget is not window):
        order.append(widget)
        widget = widget.nextInFocusChain()
    reachable = [candidate for candidate in order if candidate.focusPolicy() & Qt.FocusPolicy.TabFocus.value]
    places = {name: reachable.index(getattr(window.panels, name)) for name in ("film", "regions", "action_chart")}
    slider = reachable.index(window.panels.axes.findChildren(Slider)[0])
    assert places["film"] < places["regions"] < places["action_chart"] < slider
    close(window)
