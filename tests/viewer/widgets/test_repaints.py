"""A change of the view repaints what shows it and nothing else, and what is kept between changes follows the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QPoint
from PySide6.QtWidgets import QApplication, QWidget
from window_driver import close, settle, show, spin

from viewer.model.view_state import Query
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtGui import QColor

    from viewer.widgets.main_window import MainWindow


class Paints(QObject):
    """Counts the paint events of widgets."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        self.counts = dict.fromkeys(widgets, 0)
        for widget in widgets:
            widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and isinstance(watched, QWidget):
            self.counts[watched] += 1
        return False


@pytest.fixture
def window(app: QApplication, tmp_path: Path) -> Iterator[MainWindow]:
    opened = show(make_results.write(tmp_path / "a.h5"), tmp_path, query=Query("action", (1,)))
    settle(opened)
    yield opened
    close(opened)


def color_at(window: MainWindow, widget: QWidget, x: float, y: float) -> QColor:
    """Return the colour of the window at a point of a widget."""
    return window.grab().toImage().pixelColor(widget.mapTo(window, QPoint(round(x), round(y))))


def test_handles_that_are_not_used_are_not_painted_with_their_neighbours(window: MainWindow) -> None:
    handles = window.panels.handles.under_pictures, window.panels.handles.under_chips
    spin()
    paints, film = Paints(*handles), Paints(window.panels.film.plot.viewport())  # type: ignore[union-attr]
    window.session.update(step=1)
    spin()
    assert sum(film.counts.values()) == 1
    assert list(paints.counts.values()) == [0, 0]


def test_handle_shows_its_bar_while_it_has_the_focus(window: MainWindow) -> None:
    handle = window.panels.handles.under_pictures
    at = handle, handle.width() / 2, handle.height() / 2
    before = color_at(window, *at)
    window.activateWindow()
    handle.setFocus()
    spin()
    assert handle.updatesEnabled()
    assert color_at(window, *at) == theme.color(theme.active().accent) != before
    handle.clearFocus()
    spin()
    assert color_at(window, *at) == before
    assert not handle.updatesEnabled()


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_kept_background_colors_follow_the_theme(window: MainWindow, choice: str) -> None:
    window.set_theme(choice)
    QCoreApplication.processEvents()
    for panel in window.findChildren(Panel):
        assert panel.ground() == drawing.ground(panel), panel.accessibleName()
    palette = window.panels.mass.palette()
    palette.setColor(drawing.WINDOW, theme.color("#123456"))
    window.panels.mass.setPalette(palette)
    assert window.panels.mass.ground().name() == "#123456"


def test_controls_in_a_heading_are_not_painted_with_the_chart(window: MainWindow) -> None:
    curves = window.panels.curves
    spin()
    chart, control = Paints(curves.plot.viewport()), Paints(curves.choice)  # type: ignore[union-attr]
    window.session.update(step=1)
    spin()
    assert sum(chart.counts.values()) >= 1
    assert sum(control.counts.values()) == 0
