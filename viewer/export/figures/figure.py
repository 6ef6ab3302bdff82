"""A figure: a drawing with its sentence, colour bars and source under it, at any scale and on any of Qt's painters."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from PySide6.QtCore import QBuffer, QIODevice, QMarginsF, QRectF, QSize, QSizeF
from PySide6.QtGui import QImage, QPageSize, QPainter, QPdfWriter

from capture.results import schema
from viewer.analysis.caption import Caption, caption, heads_of, words_of
from viewer.errors import UserError
from viewer.export import encoding, metadata
from viewer.export.figures import color_bar
from viewer.export.figures.text_layout import Paragraph, Run, paragraph, width_of
from viewer.model.number_ranges import format_numbers
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.export.figures.color_bar import ColourScale
    from viewer.export.scenes import Source
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

MARGIN: Final = 20.0
LEAST_WIDTH: Final = 260.0
BAR_WIDTH: Final = 360.0
THEMES: Final = {"light": replace(theme.LIGHT, window="#FFFFFF"), "dark": theme.DARK}
PX_AN_INCH: Final = 96
DOTS_AN_INCH: Final = 1200
MOST_PIXELS: Final = 1 << 28
MOST_SIDE: Final = 32_000
"""Pixels; Qt paints no wider, and a JPEG can hold twice that."""


class Body(Protocol):
    """What a figure shows."""

    @property
    def width(self) -> float:
        """In px."""

    @property
    def height(self) -> float:
        """In px."""

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw it with its upper left corner there."""


@dataclass(frozen=True)
class Figure:
    """What is painted, and the view that it shows."""

    body: Body
    view: ViewState
    title: str
    paragraphs: tuple[Paragraph, ...] = ()
    scales: tuple[ColourScale, ...] = ()
    other: str = ""
    """Where the second file lies, seen from the first, if the figure is a difference of two files."""

    @property
    def width(self) -> int:
        """In px."""
        return round(max(self.body.width, LEAST_WIDTH if self.paragraphs else 0) + 2 * MARGIN)

    @property
    def height(self) -> int:
        """In px."""
        return round(self.body.height + 2 * MARGIN + self._foot_height())

    def _foot_height(self) -> float:
        words = sum(one.height + 6 for one in self.paragraphs) + 8 if self.paragraphs else 0.0
        return words + (color_bar.HEIGHT + 14 if self.scales else 0.0)

    def paint(self, painter: QPainter) -> None:
        """The whole page, in px."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        if not isinstance(painter.device(), QImage):  # an image has its ground already, to its last pixel
            painter.fillRect(QRectF(0, 0, self.width, self.height), theme.colour(theme.active().window))
        room = self.width - 2 * MARGIN
        self.body.paint(painter, round(MARGIN + (room - self.body.width) / 2), MARGIN)
        y = MARGIN + round(self.body.height)
        if self.scales:
            y += 14
            each = min((room - 24 * (len(self.scales) - 1)) / len(self.scales), BAR_WIDTH)
            for number, scale in enumerate(self.scales):
                color_bar.paint(painter, MARGIN + number * (each + 24), y, each, scale)
            y += color_bar.HEIGHT
        y += 8
        for one in self.paragraphs:
            y += 6
            one.paint(painter, MARGIN, y)
            y += one.height

    def image(self, scale: float, *, even: bool = False) -> QImage:
        """The figure in pixels; `even` sides for video."""
        width, height = round(self.width * scale), round(self.height * scale)
        if even:
            width, height = width + width % 2, height + height % 2
        if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
            raise UserError(f"A picture of {width} × {height} pixels is too large; take a smaller --size or --scale.")
        made = QImage(width, height, QImage.Format.Format_RGB32)
        made.fill(theme.colour(theme.active().window))
        made.setDevicePixelRatio(scale)
        with QPainter(made) as painter:
            self.paint(painter)
        return made

    def encoded(self, suffix: str, scale: float) -> bytes:
        """The figure as the bytes of a file that carries its view."""
        view = metadata.with_other(self.view.to_json(), self.other)
        if suffix == "png":
            return metadata.into_png(encoding.png(self.image(scale)), view)
        if suffix == "jpg":
            return metadata.into_jpg(encoding.jpg(self.image(scale)), view)
        return self._pdf(view) if suffix == "pdf" else metadata.into_svg(self._svg(), view)

    def _pdf(self, view: str) -> bytes:
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        writer = QPdfWriter(buffer)
        writer.setResolution(DOTS_AN_INCH)
        points = QSizeF(self.width, self.height) * (72 / PX_AN_INCH)
        writer.setPageSize(QPageSize(points, QPageSize.Unit.Point, "figure", QPageSize.SizeMatchPolicy.ExactMatch))
        writer.setPageMargins(QMarginsF(0, 0, 0, 0))
        writer.setTitle(self.title)
        writer.setCreator("pi0-export")
        writer.setDocumentXmpMetadata(metadata.xmp(view, self.title))
        with QPainter(writer) as painter:
            painter.setRenderHint(QPainter.RenderHint.LosslessImageRendering)
            painter.scale(DOTS_AN_INCH / PX_AN_INCH, DOTS_AN_INCH / PX_AN_INCH)
            self.paint(painter)
        return bytes(buffer.data().data())

    def _svg(self) -> bytes:
        from PySide6.QtSvg import QSvgGenerator

        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setResolution(PX_AN_INCH)
        generator.setSize(QSize(self.width, self.height))
        generator.setViewBox(QRectF(0, 0, self.width, self.height))
        generator.setTitle(self.title)
        generator.setDescription("made by pi0-export")
        with QPainter(generator) as painter:
            self.paint(painter)
        return fitted(bytes(buffer.data().data()))


def fitted(svg: bytes) -> bytes:
    """An SVG whose texts keep their widths where the font is another, and whose last family every browser knows."""

    def held(match: re.Match[str]) -> str:
        pixels, weight, text = round(float(match["pixels"])), int(match["weight"]), html.unescape(match["text"])
        width = width_of(text, pixels, bold=weight > 500)
        length = f' textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs"' if width and text.strip() else ""
        return f"<text{length}{match['rest']}>{match['text']}</text>"

    pattern = (
        r'<text(?P<rest>[^>]*font-size="(?P<pixels>[\d.]+)" font-weight="(?P<weight>\d+)"[^>]*)>(?P<text>[^<]*)</text>'
    )
    return re.sub(pattern, held, svg.decode()).replace("Sans Serif", "sans-serif").encode()


def sentence_runs(made: Caption) -> tuple[Run, ...]:
    """The sentence as the window writes it, from loud to quiet."""
    t = theme.active()
    return Run(made.subject, t.accent_text, 13, True), Run(made.place, t.text), Run(made.details, t.secondary)


def described(source: Source, view: ViewState) -> str:
    """What a view is compared with, in a few words."""
    pair = source.compared(view)
    if pair is None:
        return ""
    results, other = pair
    words = f"{words_of(results, other.frame, other.query)[0]}, {place_of(results, other)}"
    return f"{words} of {results.path.name}" if source.other is not None else words


def place_of(results: Results, view: ViewState) -> str:
    """Frame, step, layer and heads of a view."""
    step = f", step {results.steps[view.step]}" if view.query.kind == "action" and results.steps else ""
    return f"frame {view.frame + 1}{step}, layer {results.layers[view.layer]}, {heads_of(view, results.heads)}"


def origin(results: Results, view: ViewState, frames: str = "") -> str:
    """Where a figure is from: file, checkpoint, frame (or `frames`) and prompt."""
    prompt = " ".join(results.string(schema.FRAMES_PROMPT, view.frame).split())
    parts = [
        results.path.name,
        results.checkpoint_name,
        (frames or f"frame {view.frame + 1} of {results.done}") + (f", prompt “{prompt}”" if prompt else ""),
        "attention is not cause",
    ]
    return " · ".join(part for part in parts if part)


def titled(
    source: Source, body: Body, view: ViewState, made: Caption, scales: tuple[ColourScale, ...], *, words: bool,
    frames: str = "",
) -> Figure:  # fmt: skip
    """The figure with its words, or bare; `frames` says which frames it shows where they are several."""
    title, other = str(made), ""
    if source.other is not None and view.compare == "difference":
        other = metadata.way_to(source.other.path, source.results.path)
    if not words:
        return Figure(body, view, title, other=other)
    width = max(body.width, LEAST_WIDTH)
    foot = Run(origin(source.results, view, frames), theme.active().secondary, 11)
    return Figure(body, view, title, (paragraph(sentence_runs(made), width), paragraph((foot,), width)), scales, other)


def sentence(source: Source, view: ViewState) -> Caption:
    """The sentence of a view, its comparison included."""
    return caption(source.results, view, difference=described(source, view) if view.compare == "difference" else "")


def frames_of(results: Results, places: tuple[int, ...]) -> str:
    """Several frames, counted from 1."""
    return f"frames {format_numbers([place + 1 for place in places])} of {results.done}"


def on_scale(made: Caption, words: str) -> Caption:
    """The sentence with other words about the colour scale."""
    kept = [part for part in made.details.split(" · ") if not part.endswith("scale") and "scale for" not in part]
    return replace(made, details=" · ".join([*kept, words] if words else kept))
