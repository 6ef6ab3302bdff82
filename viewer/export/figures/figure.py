"""A figure: its content with a caption and colour bars, as pixels at any scale, PDF or SVG."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from PySide6.QtCore import QBuffer, QIODevice, QMarginsF, QRectF, QSize, QSizeF
from PySide6.QtGui import QImage, QPageSize, QPainter, QPdfWriter

from capture.results import schema
from viewer.analysis.caption import Caption, describe_heads, describe_prompts, elide, words_of
from viewer.analysis.caption import caption as create_caption
from viewer.analysis.effects.measured import find_warning, name_shown, name_source
from viewer.errors import UserError
from viewer.export import encoding, metadata
from viewer.export.figures import color_bar
from viewer.export.figures.text_layout import Paragraph, TextRun, measure_text_width, wrap_runs
from viewer.model.number_ranges import find_ranges, format_numbers, format_place, format_range
from viewer.model.view_state import FROM_EFFECTS
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.analysis.query_series import QuerySeries
    from viewer.export.figures.color_bar import ColorScale
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

MARGIN: Final = 20.0
LEAST_WIDTH: Final = 260.0
BAR_WIDTH: Final = 360.0
THEMES: Final = {"light": replace(theme.LIGHT, window="#FFFFFF"), "dark": theme.DARK}
PX_AN_INCH: Final = 96
DOTS_AN_INCH: Final = 1200
MOST_PIXELS: Final = 1 << 28
MOST_CHARACTERS_OF_NAME: Final = 80
"""Of the names of file and checkpoint in a caption."""
MOST_RANGES: Final = 6
"""Ranges of frames that a caption names."""
MOST_SIDE: Final = 32_000
"""Pixels; Qt paints no wider, and a JPEG can hold twice that."""


class FigureContent(Protocol):
    """What a figure shows above its caption."""

    @property
    def width(self) -> float:
        """In px."""

    @property
    def height(self) -> float:
        """In px."""

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw it from its upper left corner."""


class EmbeddedView(Protocol):
    """A view that a figure carries, so that it can be opened again."""

    def to_json(self) -> str:
        """Return one line of JSON."""


@dataclass(frozen=True)
class Figure:
    """Content and caption, and the view that they show."""

    content: FigureContent
    view: EmbeddedView
    title: str
    paragraphs: tuple[Paragraph, ...] = ()
    scales: tuple[ColorScale, ...] = ()
    other: str = ""
    """Relative path of the subtracted file, if the figure is a difference of two files."""

    @property
    def width(self) -> int:
        """In px."""
        return round(max(self.content.width, LEAST_WIDTH if self.paragraphs else 0) + 2 * MARGIN)

    @property
    def height(self) -> int:
        """In px."""
        return round(self.content.height + 2 * MARGIN + self._caption_height())

    def _caption_height(self) -> float:
        text = sum(paragraph.height + 6 for paragraph in self.paragraphs) + 8 if self.paragraphs else 0.0
        return text + (color_bar.HEIGHT + 14 if self.scales else 0.0)

    def paint(self, painter: QPainter) -> None:
        """Draw the whole page, in px."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        if not isinstance(painter.device(), QImage):  # an image is filled before, to its last pixel
            painter.fillRect(QRectF(0, 0, self.width, self.height), theme.color(theme.active().window))
        room = self.width - 2 * MARGIN
        self.content.paint(painter, round(MARGIN + (room - self.content.width) / 2), MARGIN)
        y = MARGIN + round(self.content.height)
        if self.scales:
            y += 14
            each = min((room - 24 * (len(self.scales) - 1)) / len(self.scales), BAR_WIDTH)
            for number, scale in enumerate(self.scales):
                color_bar.draw(painter, MARGIN + number * (each + 24), y, each, scale)
            y += color_bar.HEIGHT
        y += 8
        for paragraph in self.paragraphs:
            y += 6
            paragraph.paint(painter, MARGIN, y)
            y += paragraph.height

    def render(self, scale: float, *, even: bool = False) -> QImage:
        """Return the figure in pixels, `scale` for each px.

        `even`: round both sides up to even numbers, which video needs.

        Raises:
            UserError: The image would be too large.
        """
        width, height = round(self.width * scale), round(self.height * scale)
        if even:
            width, height = width + width % 2, height + height % 2
        if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
            raise UserError(f"A picture of {width} × {height} pixels is too large; take a smaller --size or --scale.")
        image = QImage(width, height, QImage.Format.Format_RGB32)
        image.fill(theme.color(theme.active().window))
        image.setDevicePixelRatio(scale)
        with QPainter(image) as painter:
            self.paint(painter)
        return image

    def encode(self, file_format: str, scale: float) -> bytes:
        """Return the bytes of a png, jpg, pdf or svg file in which the view is embedded."""
        view = metadata.add_second_file(self.view.to_json(), self.other)
        if file_format == "png":
            return metadata.embed_in_png(encoding.encode_png(self.render(scale)), view)
        if file_format == "jpg":
            return metadata.embed_in_jpg(encoding.encode_jpg(self.render(scale)), view)
        return self._encode_pdf(view) if file_format == "pdf" else metadata.embed_in_svg(self._encode_svg(), view)

    def _encode_pdf(self, view: str) -> bytes:
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        writer = QPdfWriter(buffer)
        writer.setResolution(DOTS_AN_INCH)
        points = QSizeF(self.width, self.height) * (72 / PX_AN_INCH)
        writer.setPageSize(QPageSize(points, QPageSize.Unit.Point, "figure", QPageSize.SizeMatchPolicy.ExactMatch))
        writer.setPageMargins(QMarginsF(0, 0, 0, 0))
        writer.setTitle(self.title)
        writer.setCreator("pi0-export")
        writer.setDocumentXmpMetadata(metadata.create_xmp(view, self.title))
        with QPainter(writer) as painter:
            painter.setRenderHint(QPainter.RenderHint.LosslessImageRendering)
            painter.scale(DOTS_AN_INCH / PX_AN_INCH, DOTS_AN_INCH / PX_AN_INCH)
            self.paint(painter)
        return bytes(buffer.data().data())

    def _encode_svg(self) -> bytes:
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
        return fix_text_widths(bytes(buffer.data().data()))


def fix_text_widths(svg: bytes) -> bytes:
    """Return an SVG whose texts keep their widths in any font, and whose last font family every browser knows."""

    def fix_width(match: re.Match[str]) -> str:
        pixels, weight, text = round(float(match["pixels"])), int(match["weight"]), html.unescape(match["text"])
        width = measure_text_width(text, pixels, bold=weight > 500)
        length = f' textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs"' if width and text.strip() else ""
        return f"<text{length}{match['rest']}>{match['text']}</text>"

    pattern = (
        r'<text(?P<rest>[^>]*font-size="(?P<pixels>[\d.]+)" font-weight="(?P<weight>\d+)"[^>]*)>(?P<text>[^<]*)</text>'
    )
    return re.sub(pattern, fix_width, svg.decode()).replace("Sans Serif", "sans-serif").encode()


def create_caption_runs(caption: Caption) -> tuple[TextRun, ...]:
    """Return the caption in the colours of the window: subject, position, details."""
    colors = theme.active()
    return (
        TextRun(caption.subject, colors.accent_text, 13, True),
        TextRun(caption.place, colors.text),
        TextRun(caption.details, colors.secondary),
    )


def describe_subtracted(source: ExportSource, view: ViewState) -> str:
    """Return what a view is compared with, in a few words; empty where it has nothing."""
    pair = source.subtracted(view)
    if pair is None:
        return ""
    results, other = pair
    where = f"frame {other.frame}" if view.measure in FROM_EFFECTS else describe_position(results, other)
    words = f"{name_side(results, other)}, {where}"
    return f"{words} of {results.path.name}" if source.other is not None else words


def name_side(results: Results, view: ViewState) -> str:
    """Return whose attention, effects or gradients a side of a comparison has: action 4 of 0–14, or dimension 2."""
    if view.measure in FROM_EFFECTS and (view.dim is not None or view.query.kind == "text"):
        return name_shown(view)
    return words_of(results, view.frame, view.query)[0]


def describe_position(results: Results, view: ViewState) -> str:
    """Return frame, step, layer and heads of a view as text."""
    step = f", step {results.steps[view.step]}" if view.query.kind == "action" and results.steps else ""
    return f"frame {view.frame}{step}, layer {results.layers[view.layer]}, {describe_heads(view, results.heads)}"


def describe_origin(results: Results, view: ViewState, series: QuerySeries | None = None, left_out: str = "") -> str:
    """Return where a figure is from: file, checkpoint, frame or frames of a series, and prompt.

    `left_out`: what a video leaves out, of which this is one picture.
    """
    if series is None:
        where = f"frame {format_place(view.frame, range(results.done))}{f' ({left_out})' if left_out else ''}"
        prompt = describe_prompts([results.string(schema.FRAMES_PROMPT, view.frame)])
    else:
        where, prompts = describe_frames(results, series), results.words_of(schema.FRAMES_PROMPT)
        prompt = describe_prompts(prompts[frame] for frame in series.frames if frame < len(prompts))
    parts = [
        elide(results.path.name, MOST_CHARACTERS_OF_NAME),
        elide(results.checkpoint_name, MOST_CHARACTERS_OF_NAME),
        f"{where}, {prompt}" if prompt else where,
        name_source(results, view),
        find_warning(view),
    ]
    return " · ".join(part for part in parts if part)


def build_figure(
    source: ExportSource, content: FigureContent, view: ViewState, text: Caption, scales: tuple[ColorScale, ...], *,
    caption: bool, series: QuerySeries | None = None, left_out: str = "",
) -> Figure:  # fmt: skip
    """Return a figure, with caption and colour bars or without.

    `series` holds the frames that it shows where they are several; `left_out` says what a video leaves out.
    """
    other = ""
    if source.other is not None and view.compare == "difference":
        other = metadata.relative_path(source.other.path, source.results.path)
    if not caption:
        return Figure(content, view, str(text), other=other)
    width = max(content.width, LEAST_WIDTH)
    origin = TextRun(describe_origin(source.results, view, series, left_out), theme.active().secondary, 11)
    paragraphs = wrap_runs(create_caption_runs(text), width), wrap_runs((origin,), width)
    return Figure(content, view, str(text), paragraphs, scales, other)


def describe_view(source: ExportSource, view: ViewState) -> Caption:
    """Return the caption of a view, its comparison included."""
    difference = describe_subtracted(source, view) if view.compare == "difference" else ""
    return create_caption(source.results, view, difference=difference)


def describe_frames(results: Results, series: QuerySeries) -> str:
    """Return the frames of a series as text: `frames 0–5 of 0–13; 8 left out, whose prompts lack “ball”`."""
    frames = sorted(series.frames)
    ranges = find_ranges(frames)
    if len(ranges) > MOST_RANGES:
        numbers = f"{len(frames)} frames from {frames[0]} to {frames[-1]}"
    else:
        numbers = f"frame{'s' * (len(frames) > 1)} {format_numbers(frames)}"
    return f"{numbers} of {format_range((0, results.done - 1))}{series.describe_left_out(before='; ')}"


def set_scale_text(caption: Caption, text: str) -> Caption:
    """Return the caption with other words about the colour scale, or without any."""
    details = [part for part in caption.details.split(" · ") if "scale" not in part]
    return replace(caption, details=" · ".join([*details, text] if text else details))
