"""The notice at the bottom of the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import QAbstractButton, QAbstractSlider
from window_driver import press, settle

from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


def test_long_sentence_is_shown_in_full_on_several_lines(window: MainWindow) -> None:
    window.resize(1024, 700)
    notice = window.notice
    notice.show_message("Pinned.")
    one_line = notice.size()
    notice.show_message(f"/home/someone/{'a_long_folder/' * 12}figures cannot be written; choose another folder.")
    assert notice.height() > one_line.height(), "it has more lines, not a shorter text"
    assert notice.height() >= 2 * theme.line(13)
    assert notice.geometry().bottom() == window.height() - 1
    assert notice._timer.interval() > 6000, "and stays for as long as it takes to read"


def test_message_of_one_line_covers_only_the_status_bar(window: MainWindow) -> None:
    window.resize(1280, 800)
    settle(window)
    press(window, Qt.Key.Key_P)
    assert window.notice.isVisible()
    assert window.notice.text.startswith("Pinned.")
    assert window.notice.geometry() == window.status.geometry()
    controls = [*window.findChildren(QAbstractButton), *window.findChildren(QAbstractSlider)]
    for control in controls:
        if control.isVisible():
            rectangle = QRect(control.mapTo(window, QPoint(0, 0)), control.size())
            assert not rectangle.intersects(window.notice.geometry()), control.accessibleName()
