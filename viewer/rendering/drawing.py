"""Painting functions shared by panels: images from arrays, cached text and layers, rounded shapes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPoint, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from viewer.rendering import theme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ORIGIN: Final = QPoint(0, 0)
MAX_LINE: Final = 1000
"""Characters of a line of text that are measured and drawn: more than a screen is wide."""
NO_PEN, NO_BRUSH = QPen(Qt.PenStyle.NoPen), QBrush(Qt.BrushStyle.NoBrush)
"""Objects, as PySide calls Python to convert an enumerator, which takes longer than to set a pen."""
WINDOW: Final = QPalette.ColorRole.Window
DARK_INK: Final = "#15171C"
LIGHT_INK: Final = "#F4F4F6"
"""Text colours on a coloured cell: DARK_INK on light cells, LIGHT_INK on dark ones."""


class Layer:
    """Cached pixmap of the part of a widget that rarely changes, repainted only when its key changes."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._pixmap = QPixmap()
        self._source: object = None

    def draw(
        self,
        painter: QPainter,
        widget: QWidget,
        key: tuple[object, ...],
        paint: Callable[[QPainter], None],
        ground: QColor | None = None,
        keep: object = None,
    ) -> None:
        """Draw the layer over the whole widget; repaint it first if key, size, pixel ratio or theme has changed.

        Args:
            painter: Painter of the widget.
            widget: The widget, which gives the size.
            key: Identifies the content.
            paint: Called with a painter on the pixmap to paint the content.
            ground: Background colour; None for transparent.
            keep: Object that is kept alive with the layer, so that its `id` in `key` is not reused.
        """
        ratio = find_pixel_ratio(painter)
        whole = (*key, widget.width(), widget.height(), ratio, theme.active(), ground is None or ground.rgb())
        if whole != self._key:
            pixmap = QPixmap(widget.size() * ratio)
            pixmap.setDevicePixelRatio(ratio)
            pixmap.fill(ground if ground is not None else Qt.GlobalColor.transparent)
            with QPainter(pixmap) as inner:
                paint(inner)
            self._key, self._pixmap, self._source = whole, pixmap, keep
        painter.drawPixmap(ORIGIN, self._pixmap)

    def drop(self) -> None:
        """Discard the pixmap; the next `draw` repaints it."""
        self._key = self._source = None


def find_pixel_ratio(painter: QPainter) -> float:
    """Return device pixels per unit of the painter, which is right also for a widget that is rendered to an image."""
    return painter.deviceTransform().m11()


def ground(widget: QWidget) -> QColor:
    """Return the background colour of a widget, which it inherits from its parent through the palette."""
    return widget.palette().color(WINDOW)


def create_picture_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """Return a picture, (height, width, 3) uint8 RGB, as a QImage in the screen's format with memory of its own."""
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, width * 3, QImage.Format.Format_RGB888).convertToFormat(
        QImage.Format.Format_RGB32
    )


def create_word_image(words: npt.NDArray[np.uint32], *, blended: bool) -> QImage:
    """Return 0xAARRGGBB words, (height, width) uint32, as a QImage that shares and keeps alive their memory.

    With `blended`, the words are premultiplied and drawn with their alpha; otherwise alpha is ignored.
    """
    words = np.ascontiguousarray(words)
    kind = QImage.Format.Format_ARGB32_Premultiplied if blended else QImage.Format.Format_RGB32
    image = QImage(words.data, words.shape[1], words.shape[0], words.shape[1] * 4, kind)
    image.words = words  # type: ignore[attr-defined]
    return image


@lru_cache(maxsize=4096)
def width_of(text: str, pixels: float = 13, *, bold: bool = False) -> float:
    """Return the width of a text in device-independent pixels; `pixels` is the font size."""
    return theme.metrics(pixels, bold=bold).horizontalAdvance(text)


@lru_cache(maxsize=4096)
def _measure(text: str, pixels: float, bold: bool) -> tuple[float, float]:
    """Return the width of a text and the height of its line in device-independent pixels."""
    return theme.metrics(pixels, bold=bold).horizontalAdvance(text), theme.line(pixels, bold=bold)


@lru_cache(maxsize=512)
def elide_middle(text: str, room: float, pixels: float, *, bold: bool = False) -> str:
    """Return a text with … in its middle where it is wider than `room` pixels: names of files differ at their ends."""
    return theme.metrics(pixels, bold=bold).elidedText(text[:MAX_LINE], Qt.TextElideMode.ElideMiddle, max(room, 0))


@lru_cache(maxsize=512)
def _elide(text: str, room: float, pixels: float, bold: bool) -> str:
    """Return a text that ends with … where it is wider than `room` pixels."""
    return theme.metrics(pixels, bold=bold).elidedText(text, Qt.TextElideMode.ElideRight, max(room, 0))


@lru_cache(maxsize=1024)
def word(text: str, pixels: float, bold: bool, color: str, ratio: float) -> QPixmap:
    """Return a cached pixmap of a text, with a margin of one pixel at its left; copying it is faster than drawing text.

    Args:
        text: The text, one line.
        pixels: Font size in device-independent pixels.
        bold: Whether the font is semi-bold.
        color: Hex name, `#RRGGBB`.
        ratio: Device pixels per device-independent pixel.
    """
    measures = theme.metrics(pixels, bold=bold)
    size = QSizeF(measures.horizontalAdvance(text) + 3, measures.height() + 1) * ratio
    pixmap = QPixmap(math.ceil(size.width()), math.ceil(size.height()))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    with QPainter(pixmap) as painter:
        painter.setFont(theme.font(pixels, bold=bold))
        painter.setPen(theme.color(color))
        painter.drawText(QPointF(1, measures.ascent()), text)
    return pixmap


def write(
    painter: QPainter,
    box: QRectF,
    text: str,
    color: str,
    pixels: float = 13,
    *,
    bold: bool = False,
    align: str = "left",
) -> float:
    """Draw one line of text, vertically centred in `box` and elided with … if too wide; return its width.

    `align` is `left`, `right` or `centre`; `pixels` is the font size; `color` is a hex name.
    """
    if not text:
        return 0.0
    text = text[:MAX_LINE]
    (width, height), room = _measure(text, pixels, bold), box.width()
    if width > room + 0.5:
        text = _elide(text, room, pixels, bold)
        if not text:
            return 0.0
        width, height = _measure(text, pixels, bold)
    left, ratio = box.x(), find_pixel_ratio(painter)
    if align == "right":
        left += room - width
    elif align == "centre":
        left += (room - width) / 2
    picture = word(text, pixels, bold, color, ratio)
    top = box.y() + (box.height() - height) / 2
    painter.drawPixmap(QPointF(round(left * ratio) / ratio - 1, round(top * ratio) / ratio), picture)
    return width


def fill(painter: QPainter, box: QRectF, color: QColor, radius: float = theme.RADIUS) -> None:
    """Fill a rectangle with rounded corners."""
    painter.setPen(NO_PEN)
    painter.setBrush(color)
    painter.drawRoundedRect(box, radius, radius)


def round_off(painter: QPainter, box: QRectF, outside: QColor, radius: float = theme.RADIUS) -> None:
    """Round the corners of a filled box by painting the colour `outside` over them."""
    path = QPainterPath()
    path.addRect(box)
    path.addRoundedRect(box, radius, radius)
    painter.fillPath(path, outside)


def ring(painter: QPainter, box: QRectF, color: QColor, width: float = 2.0, radius: float = theme.RADIUS) -> None:
    """Draw the outline of a focused or selected item, inside `box`."""
    painter.setBrush(NO_BRUSH)
    painter.setPen(QPen(color, width))
    inset = width / 2
    painter.drawRoundedRect(box.adjusted(inset, inset, -inset, -inset), radius, radius)


@lru_cache(maxsize=8)
def corners(ground: str, ratio: float) -> tuple[QImage, QImage, QImage, QImage]:
    """Return images that round a picture's corners when drawn over them, in the background colour `ground`.

    Order: upper left, upper right, lower left, lower right.
    """
    side = theme.RADIUS
    whole = QImage(round(2 * side * ratio), round(2 * side * ratio), QImage.Format.Format_ARGB32_Premultiplied)
    whole.setDevicePixelRatio(ratio)
    whole.fill(Qt.GlobalColor.transparent)
    with QPainter(whole) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRect(QRectF(0, 0, 2 * side, 2 * side))
        path.addRoundedRect(QRectF(0, 0, 2 * side, 2 * side), side, side)
        painter.fillPath(path, theme.color(ground))
    half = whole.width() // 2
    other_half = whole.width() - half
    return (
        whole.copy(0, 0, half, half),
        whole.copy(half, 0, other_half, half),
        whole.copy(0, half, half, other_half),
        whole.copy(half, half, other_half, other_half),
    )


def readable_on(word: int) -> str:
    """Return the readable text colour, DARK_INK or LIGHT_INK, on a cell of colour 0xAARRGGBB."""
    return DARK_INK if lightness(word) > 128 else LIGHT_INK


def contrast(one: int, two: int) -> float:
    """Return the contrast of two colours 0xRRGGBB, 1 to 21 (WCAG 2.1); text needs 4.5."""

    def luminance(word: int) -> float:
        parts = ((word >> shift & 255) / 255 for shift in (16, 8, 0))
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def lightness(word: int) -> float:
    """Return the perceived lightness of a colour 0xRRGGBB, 0 to 255 (luma of ITU-R BT.601)."""
    return 0.299 * (word >> 16 & 255) + 0.587 * (word >> 8 & 255) + 0.114 * (word & 255)


def snap_span(start: float, length: float, ratio: float) -> tuple[float, float]:
    """Return the start and stop of a span on whole screen pixels, at least one of them long."""
    first = round(start * ratio)
    return first / ratio, max(round((start + length) * ratio), first + 1) / ratio


def index_pixels(spans: Sequence[tuple[float, float]], ratio: float) -> npt.NDArray[np.intp]:
    """Return the number of the span that each screen pixel lies in, or the count of spans if in a gap."""
    first = round(spans[0][0] * ratio)
    indices = np.full(round(spans[-1][1] * ratio) - first, len(spans), np.intp)
    for number, (start, stop) in enumerate(spans):
        indices[round(start * ratio) - first : round(stop * ratio) - first] = number
    return indices
