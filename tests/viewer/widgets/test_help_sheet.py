"""Help sheet: its list of terms; keys that buttons show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.controllers.commands import BY_ID, BY_KEY
from viewer.widgets.overlays.help_sheet import GLOSSARY, HelpSheet
from viewer.widgets.panels.window_bars import TopBar

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


def test_help_explains_the_terms_of_the_window(window: MainWindow) -> None:
    window.perform_id("help")
    sheet = window.overlays.overlay
    assert isinstance(sheet, HelpSheet)
    text = sheet.text.toPlainText()
    terms = [term for term, _ in GLOSSARY]
    assert {"Weight", "Mass", "Row", "Range", "Pinned", "Uniform", "Letterbox bars"} <= set(terms)
    assert all(term in text and meaning in text for term, meaning in GLOSSARY)
    assert max(len(meaning) for _, meaning in GLOSSARY) < 120
    sheet.close()


def test_buttons_show_the_keys_that_do_what_they_do(window: MainWindow) -> None:
    bar = window.findChild(TopBar)
    buttons = {"episodes": bar.episodes, "run": bar.run, "export": bar.export, "palette": bar.commands}
    for command, button in buttons.items():
        assert button.hint.replace(" ", "+") in BY_ID[command].keys
        assert BY_KEY[button.hint.replace(" ", "+")].id == command
    assert bar.episodes.hint == "Ctrl Shift L"
