"""A camera's picture as it lies in its pane: scaled once for its size, with the edges of the patches on it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QTransform

from viewer.rendering import drawing, picture_overlay, theme

if TYPE_CHECKING:
    from collections.abc import Hashable

    from viewer.io.results import Pixels
    from viewer.model.geometry import PatchGrid

MOST_BYTES: Final = 10 << 20
"""Scaled pictures that a pane keeps, for going to and fro between frames."""


class Backdrop:
    """The last pictures of one pane."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, QImage] = OrderedDict()
        self._grid: tuple[Hashable, QImage] | None = None

    def drop(self) -> None:
        """Keep nothing of another file."""
        self._kept.clear()

    def image(
        self,
        pixels: Pixels | None,
        key: Hashable,
        area: QRectF,
        ratio: float,
        *,
        zoomed: QTransform | None = None,
        grid: tuple[QTransform, PatchGrid] | None = None,
    ) -> QImage | None:
        """Return the picture `pixels`, (h, w, 3) uint8 RGB, for `area` of the pane; None where `pixels` is None.

        `key` stands for the pixels: equal keys mean equal pictures. `zoomed`: the map from the picture's pixels to the
        pane where only a part of it is seen. `grid`: where the edges of patches are shown, the map
        from the model's picture to the pane and the patches; the edges are part of what is kept, as 34 see-through
        lines cost as much as the heat.
        """
        key = (key, area.getRect(), ratio, _numbers(zoomed), grid and (_numbers(grid[0]), grid[1]))
        if pixels is None:
            return None
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        size = pixels_of(area, ratio)
        made = scaled(pixels, size) if zoomed is None else _magnified(pixels, area, ratio, zoomed)
        made.setDevicePixelRatio(ratio)
        if grid is not None:
            with QPainter(made) as painter:
                painter.drawImage(QPointF(0, 0), self._lines(*grid, area, ratio))
        self._kept[key] = made
        while sum(one.sizeInBytes() for one in self._kept.values()) > MOST_BYTES and len(self._kept) > 2:
            self._kept.popitem(last=False)
        return made

    def _lines(self, place: QTransform, grid: PatchGrid, area: QRectF, ratio: float) -> QImage:
        key = (_numbers(place), grid, area.getRect(), ratio)
        if self._grid is None or self._grid[0] != key:
            made = QImage(pixels_of(area, ratio), QImage.Format.Format_ARGB32_Premultiplied)
            made.setDevicePixelRatio(ratio)
            made.fill(Qt.GlobalColor.transparent)
            with QPainter(made) as painter:
                painter.translate(-area.topLeft())
                paint_grid(painter, place, grid, ratio)
            self._grid = key, made
        return self._grid[1]


def pixels_of(area: QRectF, ratio: float) -> QSize:
    """The size of an area in pixels of the screen."""
    return QSize(max(round(area.width() * ratio), 1), max(round(area.height() * ratio), 1))


def scaled(pixels: Pixels, size: QSize) -> QImage:
    """Return a whole picture, (h, w, 3) uint8 RGB, scaled to a size in pixels of the screen."""
    mode = Qt.TransformationMode.SmoothTransformation
    made = drawing.picture_image(pixels).scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, mode)
    # A see-through format would be blended where a plain one is copied.
    made.reinterpretAsFormat(QImage.Format.Format_RGB32)
    return made


def _numbers(place: QTransform | None) -> tuple[float, ...]:
    return () if place is None else (place.m11(), place.m12(), place.m21(), place.m22(), place.dx(), place.dy())


def _magnified(pixels: Pixels, area: QRectF, ratio: float, place: QTransform) -> QImage:
    made = QImage(pixels_of(area, ratio), QImage.Format.Format_RGB32)
    with QPainter(made) as painter:
        painter.setTransform(
            place * QTransform.fromTranslate(-area.left(), -area.top()) * QTransform.fromScale(ratio, ratio)
        )
        # So near that single pixels can be told apart they are shown as they are.
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, abs(painter.transform().m11()) < 3)
        painter.drawImage(QPointF(0, 0), drawing.picture_image(pixels))
    return made


def paint_grid(painter: QPainter, place: QTransform, grid: PatchGrid, ratio: float) -> None:
    """The edges of patches, barely there, on nothing; none where the patches are tiny or turned."""
    if abs(place.m11()) * grid.patch_width < 6 or place.m12() != 0 or place.m21() != 0:
        return
    ink, thick = theme.colour("#FFFFFF", 0.075), max(round(ratio), 1) / ratio
    box = place.mapRect(picture_overlay.model_rect(grid))
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)  # crossings no lighter than lines
    # Filled, not drawn: Qt draws a see-through line many times slower than it fills a rectangle of its size.
    for line in range(grid.cols + 1):
        x = picture_overlay.whole(box.left() + box.width() * line / grid.cols, ratio)
        painter.fillRect(QRectF(x, box.top(), thick, box.height()), ink)
    for line in range(grid.rows + 1):
        y = picture_overlay.whole(box.top() + box.height() * line / grid.rows, ratio)
        painter.fillRect(QRectF(box.left(), y, box.width(), thick), ink)
