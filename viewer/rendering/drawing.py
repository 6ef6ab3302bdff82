"""Small pieces of painting that panels share: images of arrays, cached words and layers, rounded shapes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPoint, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from viewer.rendering import theme

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGIN: Final = QPoint(0, 0)
WINDOW: Final = QPalette.ColorRole.Window
DARK_INK: Final = "#15171C"
LIGHT_INK: Final = "#F4F4F6"
"""Text on a heat cell."""


class Layer:
    """What a panel paints seldom: kept in the screen's own pixels and copied, until something that it shows changes."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._pixmap = QPixmap()
        self._kept: object = None

    def draw(
        self,
        painter: QPainter,
        widget: QWidget,
        key: tuple[object, ...],
        paint: Callable[[QPainter], None],
        ground: QColor | None = None,
        keep: object = None,
    ) -> None:
        """Lay it over the whole widget, painted anew if need be; see-through where `ground` is None.

        `keep` is held as long as the layer, so that the `id` of it in `key` stays its own.
        """
        ratio = ratio_of(painter)
        whole = (*key, widget.width(), widget.height(), ratio, theme.active(), ground is None or ground.rgb())
        if whole != self._key:
            made = QPixmap(widget.size() * ratio)
            made.setDevicePixelRatio(ratio)
            made.fill(ground if ground is not None else Qt.GlobalColor.transparent)
            with QPainter(made) as inner:
                paint(inner)
            self._key, self._pixmap, self._kept = whole, made, keep
        painter.drawPixmap(ORIGIN, self._pixmap)

    def drop(self) -> None:
        """Paint it again the next time."""
        self._key = self._kept = None


def ratio_of(painter: QPainter) -> float:
    """Pixels of what is really painted on for each of the painter's, also where a widget is painted into an image."""
    return painter.deviceTransform().m11()


def ground(widget: QWidget) -> QColor:
    """The colour that a widget stands on: children take it over from whatever they are put into."""
    return widget.palette().color(WINDOW)


def picture_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """A camera's picture (h, w, 3) uint8 RGB as an image of its own memory in the screen's format."""
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, width * 3, QImage.Format.Format_RGB888).convertToFormat(
        QImage.Format.Format_RGB32
    )


def word_image(words: npt.NDArray[np.uint32], *, blended: bool) -> QImage:
    """0xAARRGGBB words (h, w) as an image; premultiplied where it is to be blended. It keeps the array alive."""
    words = np.ascontiguousarray(words)
    kind = QImage.Format.Format_ARGB32_Premultiplied if blended else QImage.Format.Format_RGB32
    image = QImage(words.data, words.shape[1], words.shape[0], words.shape[1] * 4, kind)
    image.words = words  # type: ignore[attr-defined]
    return image


@lru_cache(maxsize=4096)
def width_of(text: str, pixels: float = 13, *, bold: bool = False) -> float:
    """How wide a word is."""
    return theme.metrics(pixels, bold=bold).horizontalAdvance(text)


@lru_cache(maxsize=1024)
def word(text: str, pixels: float, bold: bool, colour: str, ratio: float) -> QPixmap:
    """A word as it is copied to the screen, one pixel of room at its left: several times faster than setting it."""
    measures = theme.metrics(pixels, bold=bold)
    size = QSizeF(measures.horizontalAdvance(text) + 3, measures.height() + 1) * ratio
    made = QPixmap(math.ceil(size.width()), math.ceil(size.height()))
    made.setDevicePixelRatio(ratio)
    made.fill(Qt.GlobalColor.transparent)
    with QPainter(made) as painter:
        painter.setFont(theme.font(pixels, bold=bold))
        painter.setPen(theme.colour(colour))
        painter.drawText(QPointF(1, measures.ascent()), text)
    return made


def write(
    painter: QPainter,
    box: QRectF,
    text: str,
    colour: str,
    pixels: float = 13,
    *,
    bold: bool = False,
    align: str = "left",
) -> float:
    """Write one line of text, cut with … where it does not fit, vertically centred; returns its width."""
    if not text:
        return 0.0
    width, room = width_of(text, pixels, bold=bold), box.width()
    if width > room + 0.5:
        text = theme.metrics(pixels, bold=bold).elidedText(text, Qt.TextElideMode.ElideRight, max(room, 0))
        if not text:
            return 0.0
        width = width_of(text, pixels, bold=bold)
    left, ratio = box.x(), ratio_of(painter)
    if align == "right":
        left += room - width
    elif align == "centre":
        left += (room - width) / 2
    picture = word(text, pixels, bold, colour, ratio)
    top = box.y() + (box.height() - theme.line(pixels, bold=bold)) / 2
    painter.drawPixmap(QPointF(round(left * ratio) / ratio - 1, round(top * ratio) / ratio), picture)
    return width


def fill(painter: QPainter, box: QRectF, colour: QColor, radius: float = theme.RADIUS) -> None:
    """A filled shape with round corners."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawRoundedRect(box, radius, radius)


def round_off(painter: QPainter, box: QRectF, outside: QColor, radius: float = theme.RADIUS) -> None:
    """Make the corners of what fills a box round, by painting what is round it over them."""
    path = QPainterPath()
    path.addRect(box)
    path.addRoundedRect(box, radius, radius)
    painter.fillPath(path, outside)


def ring(painter: QPainter, box: QRectF, colour: QColor, width: float = 2.0, radius: float = theme.RADIUS) -> None:
    """The outline of what has the focus or is selected."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(colour, width))
    inset = width / 2
    painter.drawRoundedRect(box.adjusted(inset, inset, -inset, -inset), radius, radius)


@lru_cache(maxsize=8)
def corners(ground: str, ratio: float) -> tuple[QImage, QImage, QImage, QImage]:
    """What makes a picture's corners round: the ground outside of them, upper left, upper right, lower left, right."""
    side = theme.RADIUS
    whole = QImage(round(2 * side * ratio), round(2 * side * ratio), QImage.Format.Format_ARGB32_Premultiplied)
    whole.setDevicePixelRatio(ratio)
    whole.fill(Qt.GlobalColor.transparent)
    with QPainter(whole) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRect(QRectF(0, 0, 2 * side, 2 * side))
        path.addRoundedRect(QRectF(0, 0, 2 * side, 2 * side), side, side)
        painter.fillPath(path, theme.colour(ground))
    half = whole.width() // 2
    rest = whole.width() - half
    return (
        whole.copy(0, 0, half, half),
        whole.copy(half, 0, rest, half),
        whole.copy(0, half, half, rest),
        whole.copy(half, half, rest, rest),
    )


def readable_on(word: int) -> str:
    """Text colour for a heat cell 0xAARRGGBB."""
    return DARK_INK if lightness(word) > 128 else LIGHT_INK


def lightness(word: int) -> float:
    """How light a colour 0xRRGGBB looks, 0 to 255."""
    return 0.299 * (word >> 16 & 255) + 0.587 * (word >> 8 & 255) + 0.114 * (word & 255)


def number(value: float, digits: int = 3) -> str:
    """A weight with a few significant digits, no exponent for what is worth reading."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else "–"
    size = abs(value)
    if size >= 100:
        text = f"{value:.0f}"
    elif size >= 1:
        text = f"{value:.{max(digits - 2, 1)}f}"
    elif size >= 10**-digits:
        text = f"{value:.{digits}f}"
    elif size >= 1e-5:
        text = f"{value:.5f}"
    else:
        text = f"{value:.0e}"
    return text.replace("-", "−")


def per_cent(value: float) -> str:
    """A share with one decimal."""
    return f"{100 * value:.1f} %".replace("-", "−")
