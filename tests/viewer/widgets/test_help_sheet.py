"""Help sheet: its list of terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.widgets.overlays.help_sheet import GLOSSARY, HelpSheet

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
