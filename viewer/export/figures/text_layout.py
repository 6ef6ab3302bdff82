"""Text on a figure: fonts, widths, single lines and paragraphs that wrap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QGuiApplication, QStaticText

from viewer.rendering import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter


@cache
def figure_font(pixels: int, *, bold: bool = False) -> QFont:
    """Return the interface font without tabular figures, whose glyphs a PDF does not map back to digits."""
    font = QFont()
    # A font with a feature of its own is not given those of the application's font, tabular figures among them.
    font.clearFeatures()
    font.setFeature(QFont.Tag("kern"), 1)
    font.setFamilies(["Inter", *[name for name in QGuiApplication.font().families() if name != "Inter"]])
    font.setPixelSize(pixels)
    font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)  # the same widths at every scale
    return font


@cache
def font_metrics(pixels: int, *, bold: bool = False) -> QFontMetricsF:
    """Return the metrics of `figure_font`."""
    return QFontMetricsF(figure_font(pixels, bold=bold))


@lru_cache(maxsize=8192)
def measure_text_width(text: str, pixels: int = 13, *, bold: bool = False) -> float:
    """Return the width of a text in px."""
    return font_metrics(pixels, bold=bold).horizontalAdvance(text)


@lru_cache(maxsize=1024)
def _lay_out(text: str, pixels: int, bold: bool) -> tuple[QStaticText, float]:
    """Return a text with its glyphs laid out, and its height in px; cached, for figures repeat most of their texts."""
    static = QStaticText(text)
    static.setTextFormat(Qt.TextFormat.PlainText)
    static.prepare(font=figure_font(pixels, bold=bold))
    return static, font_metrics(pixels, bold=bold).height()


def draw_line(
    painter: QPainter, box: QRectF, text: str, color: str, pixels: int = 13, *, bold: bool = False, align: str = "left"
) -> float:
    """Draw one line, vertically centred, shortened with … where it does not fit; return its width in px."""
    if measure_text_width(text, pixels, bold=bold) > box.width() + 0.5:
        text = font_metrics(pixels, bold=bold).elidedText(text, Qt.TextElideMode.ElideRight, max(box.width(), 0))
    width = measure_text_width(text, pixels, bold=bold)
    free = box.width() - width
    left = box.left() + {"left": 0.0, "right": free, "centre": free / 2}[align]
    painter.setFont(figure_font(pixels, bold=bold))
    painter.setPen(theme.color(color))
    if text:
        static, height = _lay_out(text, pixels, bold)
        painter.drawStaticText(QPointF(left, box.center().y() - height / 2), static)
    return width


@dataclass(frozen=True)
class TextRun:
    """Text in one colour, size and weight."""

    text: str
    color: str
    pixels: int = 13
    bold: bool = False


@dataclass(frozen=True)
class Paragraph:
    """Text broken into lines."""

    lines: tuple[tuple[tuple[float, TextRun], ...], ...]
    """The runs of each line with their x in px."""
    leading: float
    """Height of a line in px."""

    @property
    def height(self) -> float:
        """In px."""
        return len(self.lines) * self.leading

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw the lines from their upper left corner."""
        for number, line in enumerate(self.lines):
            for x, run in line:
                box = QRectF(left + x, top + number * self.leading, 1e5, self.leading)
                draw_line(painter, box, run.text, run.color, run.pixels, bold=run.bold)


def wrap_runs(runs: Sequence[TextRun], width: float) -> Paragraph:
    """Break runs at spaces into lines of at most `width` px; a longer word has a line of its own."""
    lines: list[list[tuple[float, TextRun]]] = [[]]
    x = 0.0
    for run in runs:
        space = measure_text_width(" ", run.pixels, bold=run.bold)
        piece, start = "", x + (space if x else 0.0)
        for word in run.text.split():
            candidate = f"{piece} {word}" if piece else word
            is_first = not (piece or lines[-1])
            if not is_first and start + measure_text_width(candidate, run.pixels, bold=run.bold) > width:
                if piece:
                    lines[-1].append((start, replace(run, text=piece)))
                lines.append([])
                candidate, start = word, 0.0
            piece = candidate
        if piece:
            lines[-1].append((start, replace(run, text=piece)))
            x = start + measure_text_width(piece, run.pixels, bold=run.bold)
    filled_lines = tuple(tuple(line) for line in lines if line)
    return Paragraph(filled_lines, max((round(run.pixels * 1.5) for run in runs), default=0))
