"""Overlays of the window: palette, help and tour; while one is open, keys go to it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from window_driver import press, spin, until

from viewer.analysis import scores
from viewer.controllers import commands

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


@pytest.mark.parametrize("sheet", ["palette", "help", "export"])
@pytest.mark.parametrize("key", [Qt.Key.Key_Tab, Qt.Key.Key_Backtab])
def test_tab_stays_within_the_sheet_and_escape_closes_it(window: MainWindow, sheet: str, key: Qt.Key) -> None:
    window.activateWindow()
    until(window.isActiveWindow)
    window.perform_id("palette")
    window.perform_id(sheet)  # over another one, too
    assert window.overlays.overlay is not None
    reached = set()
    for _ in range(40):
        focused = QApplication.focusWidget()
        assert focused is not None
        assert focused is window.overlays.overlay or window.overlays.overlay.isAncestorOf(focused), (
            "what lies under the sheet is not reached"
        )
        reached.add(focused)
        QTest.keyClick(focused, key)
        spin(0)
    assert len(reached) >= {"palette": 1, "help": 1, "export": 8}[sheet]
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert window.overlays.overlay is None
    assert QApplication.focusWidget() is window


def test_escape_ends_the_tour(window: MainWindow) -> None:
    window.overlays.show("tour")
    assert window.overlays.tour is not None
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert window.overlays.tour is None


def test_palette_finds_and_performs_commands(window: MainWindow) -> None:
    window.overlays.show("palette")
    palette = window.overlays.overlay
    assert palette is not None
    QTest.keyClicks(palette.field, "mean of h")  # type: ignore[attr-defined]
    window.session.update(heads=(1,))
    QTest.keyClick(palette.field, Qt.Key.Key_Return)  # type: ignore[attr-defined]
    spin()
    assert window.session.state.heads == ()
    assert window.overlays.overlay is None


def test_help_lists_every_key(window: MainWindow) -> None:
    window.overlays.show("help")
    assert window.overlays.overlay is not None
    text = window.overlays.overlay.text.toPlainText()  # type: ignore[attr-defined]
    for command in commands.TABLE:
        if command.keys:
            assert command.title in text
    assert "Attention is not cause" in text
    for named in scores.SCORES.values():
        assert named.title in text
        assert named.description in text
    press(window.overlays.overlay, Qt.Key.Key_Escape)  # type: ignore[arg-type]
    spin()
    assert window.overlays.overlay is None


def test_no_two_commands_share_a_key() -> None:
    keys = [key for command in commands.TABLE for key in command.keys]
    assert len(keys) == len(set(keys))
    assert len({command.id for command in commands.TABLE}) == len(commands.TABLE)


def test_finished_tour_does_not_come_back(window: MainWindow) -> None:
    window.settings.set_text("toured", "")
    window.overlays.show("tour")
    assert window.overlays.tour is not None
    for _ in range(3):
        QTest.mouseClick(window.overlays.tour.next, Qt.MouseButton.LeftButton)  # type: ignore[attr-defined]
    assert window.overlays.tour is None
    assert window.settings.text("toured") == "yes"
