"""Text from files as plain text: where Qt looks for markup, on a terminal, and in tables that spreadsheets open.

A prompt or a word of a results file may hold anything. Qt takes text with a tag for rich text, which reads files of the
disk; a terminal obeys escape sequences; a spreadsheet computes what begins with an equals sign; marks of writing
direction turn round the text beside them. Standard library only.
"""

from __future__ import annotations

from typing import Final

MAX_CHARACTERS: Final = 10_000
"""Characters of one text from a file that are kept."""
MAX_TOOLTIP_CHARACTERS: Final = 2000
TOOLTIP_COLUMNS: Final = 72
"""Characters of a line of a tooltip: Qt breaks none that the screen is wide enough for."""
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters for which spreadsheets take a cell for a formula."""

_DIRECTION_MARKS: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS: Final = {
    code: REPLACEMENT
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000), *_DIRECTION_MARKS)
    if chr(code) not in "\n\t"
}


def clean_text(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return at most `most` characters of a text, each control character and mark of direction replaced.

    Line ends and tabs stay, and every character keeps its place, so that spans of characters still fit.
    """
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return shown if shown.isascii() and shown.isprintable() else shown.translate(_CONTROLS)


def shorten_line(text: str, most: int) -> str:
    """Return a text in one line of at most `most` characters, with single blanks."""
    return clean_text(" ".join(text.split()), most)


def capitalise(text: str) -> str:
    """Return a text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]


def plain_tooltip(text: str) -> str:
    """Return the text as Qt is to get it for a tooltip, where it would take a tag or an entity for rich text."""
    shown = clean_text(text, MAX_TOOLTIP_CHARACTERS)
    if not set("<&") & set(shown):
        return "\n".join(_break_line(line) for line in shown.split("\n"))
    import html  # its table of entities is rarely needed

    return f'<span style="white-space: pre-wrap">{html.escape(shown)}</span>'


def _break_line(line: str) -> str:
    """Return a line with line ends in place of spaces, where it is longer than TOOLTIP_COLUMNS."""
    lines = []
    while len(line) > TOOLTIP_COLUMNS:
        place = line.rfind(" ", 1, TOOLTIP_COLUMNS + 1)
        if place < 0:  # one long word
            place = line.find(" ", TOOLTIP_COLUMNS)
        if place < 0:
            break
        lines.append(line[:place])
        line = line[place + 1 :]
    return "\n".join([*lines, line])


def format_csv_cell(value: object) -> object:
    """Return a cell of a table that a spreadsheet does not take for a formula: texts that look like one get a '."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
