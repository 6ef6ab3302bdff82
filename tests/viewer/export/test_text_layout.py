"""Paragraphs that wrap and never lose a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from viewer.export.figures import text_layout
from viewer.export.figures.text_layout import TextRun, measure_text_width, wrap_runs

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

WORDS = st.lists(st.text("abcdefgh“”…·×", min_size=1, max_size=12), min_size=1, max_size=30)


@given(words=st.lists(WORDS, min_size=1, max_size=4), width=st.integers(120, 900))
@settings(max_examples=60)
def test_wrap_runs_keeps_every_word_and_the_width(app: QApplication, words: list[list[str]], width: int) -> None:
    runs = [TextRun(" ".join(words_of_run), "#000000", 13, bool(n % 2)) for n, words_of_run in enumerate(words)]
    paragraph = wrap_runs(runs, width)
    written = " ".join(run.text for line in paragraph.lines for _, run in line)
    assert written.split() == [word for words_of_run in words for word in words_of_run]
    for line in paragraph.lines:
        x, last = line[-1]
        end = x + measure_text_width(last.text, last.pixels, bold=last.bold)
        assert end <= width + 0.5 or len(line) == 1, "only a single long word may pass the edge"


def test_draw_line_shortens_text_to_its_box(app: QApplication) -> None:
    image = QImage(200, 30, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFFFF)
    with QPainter(image) as painter:
        used = text_layout.draw_line(painter, QRectF(10, 0, 80, 30), "a very long heading indeed", "#000000", 13)
    assert 40 < used <= 80.5
    ink = [x for x in range(200) for y in range(30) if image.pixelColor(x, y).lightness() < 128]
    assert ink
    assert min(ink) >= 9
    assert max(ink) <= 91
