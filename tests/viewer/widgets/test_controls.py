"""Controls outside a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from window_driver import spin, until

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


def test_escape_discards_the_typed_text(window: MainWindow) -> None:
    window.activateWindow()
    until(window.isActiveWindow)
    heat, before = window.panels.heat, window.session.state
    shown = heat.high.text()
    heat.high.setFocus()
    heat.high.selectAll()
    QTest.keyClicks(heat.high, "0.9")
    QTest.keyClick(heat.high, Qt.Key.Key_Escape)
    spin(0.01)
    assert not heat.high.hasFocus()
    assert heat.high.text() == shown
    assert window.session.state == before
    assert not window.notice.isVisible()
