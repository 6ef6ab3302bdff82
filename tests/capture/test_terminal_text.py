"""Text that goes to a terminal."""

from __future__ import annotations

from capture.terminal_text import escape_control_characters, replace_control_characters

HOSTILE = "a\x1b[2J\tb\n\u202ec\udcff"


def test_control_characters_become_dots_and_kept_ones_stay() -> None:
    assert replace_control_characters(HOSTILE) == "a·[2J·b··c\udcff"
    assert replace_control_characters(HOSTILE, keep="\n\t") == "a·[2J\tb\n·c\udcff"


def test_control_characters_become_escapes() -> None:
    assert escape_control_characters("é\x1b\n\u202e") == "é\\x1b\\n\\u202e"
