"""The sentence over the Run page that describes its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.runs.run_sentence import join_phrases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.runs.run_sentence import Phrase

LINE: Final = 22
PIXELS: Final = 14.5
SECONDARY_PIXELS: Final = 12
MOST_LINES: Final = 5


class RunHeading(QWidget):
    """Writes phrases one after another, in as many lines as they need: subjects in bold, notes in a weaker colour."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("What is shown")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._phrases: tuple[Phrase, ...] = ()
        self._words: list[tuple[float, float, str, Phrase]] = []
        self._height = LINE
        self.setFixedHeight(LINE)

    @property
    def text(self) -> str:
        """The whole sentence."""
        return join_phrases(self._phrases)

    def show_phrases(self, phrases: Sequence[Phrase]) -> None:
        """Show a sentence."""
        if tuple(phrases) != self._phrases:
            self._phrases = tuple(phrases)
            self.setAccessibleDescription(self.text)
            self.setToolTip(plain_tooltip(self.text))
            self._lay_out()

    def sizeHint(self) -> QSize:
        return QSize(600, self._height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    def _lay_out(self) -> None:
        """Find the place of every word: x and y in pixels."""
        words: list[tuple[float, float, str, Phrase]] = []
        x, y = 0.0, 0
        for phrase in self._phrases:
            pixels = SECONDARY_PIXELS if phrase.is_note else PIXELS
            space = drawing.width_of(" ", pixels, bold=phrase.is_subject)
            if phrase.starts_line and words:
                x, y = 0.0, y + LINE
            for number, word in enumerate(phrase.text.split(" ")):
                if number:
                    x += space
                if not word:
                    continue
                width = drawing.width_of(word, pixels, bold=phrase.is_subject)
                if x + width > self.width() and x > 0:
                    x, y = 0.0, y + LINE
                if y < MOST_LINES * LINE:
                    words.append((x, y, word, phrase))
                x += width
        self._words, self._height = words, min(y + LINE, MOST_LINES * LINE)
        if self.height() != self._height:
            self.setFixedHeight(self._height)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        for x, y, word, phrase in self._words:
            pixels = SECONDARY_PIXELS if phrase.is_note else PIXELS
            ink = colors.accent_text if phrase.is_subject else colors.secondary if phrase.is_note else colors.text
            box = QRectF(x, y, max(self.width() - x, 0), LINE)
            drawing.write(painter, box, word, ink, pixels, bold=phrase.is_subject)
