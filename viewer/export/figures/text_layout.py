"""Words on a page: fonts, measures and paragraphs that wrap instead of being cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QGuiApplication, QStaticText

from viewer.rendering import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter


@cache
def font(pixels: int, *, bold: bool = False) -> QFont:
    """The interface font, without tabular figures: their glyphs have no digits in a PDF's text."""
    made = QFont()
    # Asking for one feature keeps a painter from adding those of the application's font, tabular figures among them.
    made.clearFeatures()
    made.setFeature(QFont.Tag("kern"), 1)
    made.setFamilies(["Inter", *[name for name in QGuiApplication.font().families() if name != "Inter"]])
    made.setPixelSize(pixels)
    made.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    made.setHintingPreference(QFont.HintingPreference.PreferNoHinting)  # the same widths at every scale
    return made


@cache
def metrics(pixels: int, *, bold: bool = False) -> QFontMetricsF:
    """Measures of `font`."""
    return QFontMetricsF(font(pixels, bold=bold))


@lru_cache(maxsize=8192)
def width_of(text: str, pixels: int = 13, *, bold: bool = False) -> float:
    """How wide a text is."""
    return metrics(pixels, bold=bold).horizontalAdvance(text)


@lru_cache(maxsize=1024)
def _laid_out(text: str, pixels: int, bold: bool) -> tuple[QStaticText, float]:
    """A text whose glyphs are placed once, for figures repeat most of theirs; and its height."""
    made = QStaticText(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.prepare(font=font(pixels, bold=bold))
    return made, metrics(pixels, bold=bold).height()


def write(
    painter: QPainter, box: QRectF, text: str, colour: str, pixels: int = 13, *, bold: bool = False, align: str = "left"
) -> float:
    """Write one line, ended with … where it does not fit, vertically centred; returns its width."""
    if width_of(text, pixels, bold=bold) > box.width() + 0.5:
        measures = metrics(pixels, bold=bold)
        text = measures.elidedText(text, Qt.TextElideMode.ElideRight, max(box.width(), 0))
    width = width_of(text, pixels, bold=bold)
    free = box.width() - width
    left = box.left() + {"left": 0.0, "right": free, "centre": free / 2}[align]
    painter.setFont(font(pixels, bold=bold))
    painter.setPen(theme.colour(colour))
    if text:
        made, height = _laid_out(text, pixels, bold)
        painter.drawStaticText(QPointF(left, box.center().y() - height / 2), made)
    return width


@dataclass(frozen=True)
class Run:
    """Words in one colour and weight."""

    text: str
    colour: str
    pixels: int = 13
    bold: bool = False


@dataclass(frozen=True)
class Paragraph:
    """Runs broken into lines; measured once, painted where it is wanted."""

    lines: tuple[tuple[tuple[float, Run], ...], ...]
    """Each line's pieces with their x."""
    leading: float

    @property
    def height(self) -> float:
        """How tall it is."""
        return len(self.lines) * self.leading

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Write the lines."""
        for number, line in enumerate(self.lines):
            for x, run in line:
                box = QRectF(left + x, top + number * self.leading, 1e5, self.leading)
                write(painter, box, run.text, run.colour, run.pixels, bold=run.bold)


def paragraph(runs: Sequence[Run], width: float) -> Paragraph:
    """Runs broken at their spaces into lines of at most this width; a longer word has a line of its own."""
    lines: list[list[tuple[float, Run]]] = [[]]
    x = 0.0
    for run in runs:
        space = width_of(" ", run.pixels, bold=run.bold)
        piece, start = "", x + (space if x else 0.0)
        for word in run.text.split():
            longer = f"{piece} {word}" if piece else word
            fits = not (piece or lines[-1]) or start + width_of(longer, run.pixels, bold=run.bold) <= width
            if not fits:
                if piece:
                    lines[-1].append((start, _with(run, piece)))
                lines.append([])
                longer, start = word, 0.0
            piece = longer
        if piece:
            lines[-1].append((start, _with(run, piece)))
            x = start + width_of(piece, run.pixels, bold=run.bold)
    kept = tuple(tuple(line) for line in lines if line)
    return Paragraph(kept, max((round(run.pixels * 1.5) for run in runs), default=0))


def _with(run: Run, text: str) -> Run:
    return Run(text, run.colour, run.pixels, run.bold)
