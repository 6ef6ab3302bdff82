"""The notice at the window's foot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


def test_a_long_sentence_is_shown_whole_on_several_lines(window: MainWindow) -> None:
    window.resize(1024, 700)
    notice = window.notice
    notice.say("Pinned.")
    single = notice.size()
    notice.say(f"/home/someone/{'a_long_folder/' * 12}figures cannot be written; choose another folder.")
    assert notice.height() > single.height(), "it has more lines, not a shorter text"
    assert notice.height() >= 2 * theme.line(13) + 16
    assert notice.width() <= window.width() - 40
    assert notice.geometry().bottom() < window.height() - 26
    assert notice._timer.interval() > 6000, "and stays for as long as it takes to read"
