"""Sheets over the window keep the keyboard to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import spin, until
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

if TYPE_CHECKING:
    from viewer.window import Window


@pytest.mark.parametrize("sheet", ["palette", "help", "export"])
@pytest.mark.parametrize("key", [Qt.Key.Key_Tab, Qt.Key.Key_Backtab])
def test_tab_goes_round_in_the_sheet_and_escape_closes_it(window: Window, sheet: str, key: Qt.Key) -> None:
    window.activateWindow()
    until(window.isActiveWindow)
    window.perform_id("palette")
    window.perform_id(sheet)  # over another one, too
    assert window.overlay is not None
    reached = set()
    for _ in range(40):
        here = QApplication.focusWidget()
        assert here is not None
        assert here is window.overlay or window.overlay.isAncestorOf(here), "what lies under the sheet is not reached"
        reached.add(here)
        QTest.keyClick(here, key)
        spin(0)
    assert len(reached) >= {"palette": 1, "help": 1, "export": 8}[sheet]
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert window.overlay is None
    assert QApplication.focusWidget() is window


def test_escape_ends_the_tour(window: Window) -> None:
    window.show_tour()
    assert window.tour is not None
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert window.tour is None
