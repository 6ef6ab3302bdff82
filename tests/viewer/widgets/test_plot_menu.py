"""The context menu of plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, QRect
from PySide6.QtGui import QColor, QContextMenuEvent, QGuiApplication, QPainter
from window_driver import spin

from viewer.widgets.plot_menu import PlotPanel, format_csv_text, render_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from PySide6.QtWidgets import QApplication

    from viewer.controllers.session import Session


class Ramp(PlotPanel):
    """Red left half, green right half."""

    zoomed = True
    log = False
    empty = False

    def paint(self, painter: QPainter, area: QRect) -> None:
        painter.fillRect(0, 0, 20, 30, QColor("#FF0000"))
        painter.fillRect(20, 0, 20, 30, QColor("#00FF00"))

    def picture_area(self) -> QRect:
        return QRect(10, 0, 20, 30)

    def data_table(self) -> tuple[Sequence[str], list[Sequence[object]]] | None:
        return None if self.empty else (("layer", "weight"), [(0, np.float32(0.25)), (1, 1e-7)])

    def is_zoomed(self) -> bool:
        return self.zoomed

    def reset_plot(self) -> None:
        self.zoomed = False

    def is_log(self) -> bool:
        return self.log

    def set_log(self, log: bool) -> None:
        self.log = log


def ramp(session: Session) -> Ramp:
    panel = Ramp(session, "Ramp")
    panel.resize(40, 30)
    return panel


def test_menu_holds_the_five_entries_in_order(session: Session) -> None:
    panel = ramp(session)
    menu = panel.build_context_menu()
    actions = {action.text(): action for action in menu.actions() if action.text()}
    assert list(actions) == ["Copy picture", "Copy data as CSV", "Export…", "Reset view", "Log axis"]
    actions["Log axis"].trigger()
    assert panel.log
    actions["Reset view"].trigger()
    assert not panel.zoomed
    second_menu = panel.build_context_menu()
    states = {action.text(): (action.isEnabled(), action.isChecked()) for action in second_menu.actions()}
    assert states["Reset view"] == (False, False)
    assert states["Log axis"] == (True, True)


def test_plot_without_values_to_scale_has_no_log_axis(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ramp, "is_log", lambda self: None)
    panel = ramp(session)
    assert "Log axis" not in [action.text() for action in panel.build_context_menu().actions()]


def test_copied_picture_is_the_plot_at_twice_its_size(session: Session) -> None:
    panel = ramp(session)
    panel.copy_picture()
    image = QGuiApplication.clipboard().image()
    assert (image.width(), image.height()) == (40, 60)
    assert image.pixelColor(19, 30) == QColor("#FF0000")
    assert image.pixelColor(20, 30) == QColor("#00FF00")


def test_copied_data_is_csv(session: Session) -> None:
    messages: list[str] = []
    session.noticed.connect(messages.append)
    panel = ramp(session)
    panel.copy_data()
    assert QGuiApplication.clipboard().text() == "layer,weight\n0,0.25\n1,1e-07\n"
    assert messages == ["Ramp: 2 rows copied, as comma-separated values."]
    panel.empty = True
    copy = next(action for action in panel.build_context_menu().actions() if action.text() == "Copy data as CSV")
    assert not copy.isEnabled()


def test_export_asks_the_window(session: Session) -> None:
    requests: list[str] = []
    session.command_requested.connect(requests.append)
    panel = ramp(session)
    next(action for action in panel.build_context_menu().actions() if action.text() == "Export…").trigger()
    assert requests == ["export"]


def test_context_menu_event_opens_the_menu(app: QApplication, session: Session) -> None:
    panel = ramp(session)
    panel.show()
    app.sendEvent(panel, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, QPoint(5, 5), QPoint(5, 5)))
    spin(0)
    menu = app.activePopupWidget()
    assert menu is not None
    assert menu.parent() is panel
    menu.close()
    panel.close()


def test_csv_quotes_commas_and_keeps_none_empty() -> None:
    assert format_csv_text(("a", "b"), [("x, y", None), (2, float("nan"))]) == 'a,b\n"x, y",\n2,nan\n'


def test_render_part_takes_only_the_part(session: Session) -> None:
    image = render_part(ramp(session), QRect(30, 10, 5, 5), 1)
    assert (image.width(), image.height()) == (5, 5)
    assert image.pixelColor(2, 2) == QColor("#00FF00")
