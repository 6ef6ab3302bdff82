"""Text from files as plain text for tooltips, terminals and spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest
from PySide6.QtGui import Qt, QTextDocument

from viewer.model.plain_text import MAX_TOOLTIP_CHARACTERS, TOOLTIP_COLUMNS, clean_text, format_csv_cell, plain_tooltip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("put the duck in the bowl\n\tnow", "put the duck in the bowl\n\tnow"),
        ("a\0b\x1b[31mc\x7f\x9b", "a\ufffdb\ufffd[31mc\ufffd\ufffd"),
        ("a\u202eb\u2066c\u200f", "a\ufffdb\ufffdc\ufffd"),
        ("\ud800", "\ufffd"),
        ("ضع البطة 放鸭子 e\u0301 👍🏽", "ضع البطة 放鸭子 e\u0301 👍🏽"),
    ],
)
def test_clean_text_replaces_controls_and_keeps_places(text: str, expected: str) -> None:
    assert clean_text(text) == expected
    assert len(clean_text(text)) == len(text)


def test_clean_text_is_cut_to_a_length() -> None:
    assert clean_text("x" * 11, 10) == "x" * 9 + "…"
    assert len(plain_tooltip("y" * 1_000_000)) == MAX_TOOLTIP_CHARACTERS


@pytest.mark.parametrize(
    "text", ["<img src=/etc/passwd>", "a < b\n  and <b>c</b> &amp;", "&lt;b&gt;", "plain", "2 < 3"]
)
def test_tooltip_shows_every_character(text: str) -> None:
    tooltip = plain_tooltip(text)
    shown = tooltip
    if Qt.mightBeRichText(tooltip):
        document = QTextDocument()
        document.setHtml(tooltip)
        shown = document.toPlainText()
        assert "<img" not in tooltip
    assert shown == text


def test_tooltip_breaks_long_lines_between_words() -> None:
    words = "the weight of a row that is spread evenly over all of its keys " * 4
    tooltip = plain_tooltip(f"Title\n{words.strip()}")
    lines = tooltip.split("\n")
    assert lines[0] == "Title"
    assert max(map(len, lines)) <= TOOLTIP_COLUMNS
    assert min(map(len, lines[1:-1])) > TOOLTIP_COLUMNS - 10
    assert " ".join(lines[1:]) == words.strip()
    assert plain_tooltip("x" * 200) == "x" * 200


@pytest.mark.parametrize("text", ["=cmd()", "+1+1", "-2", "@SUM(A1)", "\t=1"])
def test_csv_cell_is_no_formula(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([format_csv_cell(text)])
    assert next(csv.reader(io.StringIO(stream.getvalue()))) == [f"'{text}"]


def test_csv_cell_keeps_numbers_and_other_texts() -> None:
    assert [format_csv_cell(value) for value in (-1.5, 3, "a=b", "", None, True)] == [-1.5, 3, "a=b", "", None, True]
