"""Camera pictures scaled to the size of their pane, with an optional patch grid, and a cache of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QTransform

from viewer.rendering import drawing, picture_overlay, theme

if TYPE_CHECKING:
    from collections.abc import Hashable

    from viewer.analysis.scene import Scene
    from viewer.io.results import Pixels, Results
    from viewer.model.geometry import Affine, PatchGrid
    from viewer.model.view_state import ViewState

MOST_BYTES: Final = 10 << 20
"""Limit in bytes of a pane's cache of scaled pictures."""


@dataclass(frozen=True, eq=False)
class PaneContent:
    """What a pane shows, read before it is painted."""

    results: Results
    view: ViewState
    scene: Scene | None
    """None if it cannot be read."""
    pixels: Pixels | None
    """The picture that is shown, (h, w, 3) uint8 RGB; None if the file has none or it cannot be read."""
    camera_size: tuple[int, int]
    """Height and width of the camera's own picture."""
    camera_to_model: Affine
    """From pixels of the camera's own picture to the model's."""
    is_stand_in: bool = False
    """Whether `pixels` is the model's picture in place of the camera's own, which is still being read."""


class CameraImage:
    """LRU cache of the scaled pictures of one camera pane, bounded in bytes."""

    def __init__(self) -> None:
        self._cache: OrderedDict[Hashable, QImage] = OrderedDict()
        self._grid: tuple[Hashable, QImage] | None = None

    def drop(self) -> None:
        """Clear the cache, since its keys are valid for one file only."""
        self._cache.clear()

    def image(
        self,
        pixels: Pixels | None,
        key: Hashable,
        area: QRectF,
        ratio: float,
        *,
        zoomed: QTransform | None = None,
        smooth: bool = False,
        grid: tuple[QTransform, PatchGrid] | None = None,
    ) -> QImage | None:
        """Return the picture scaled to `area`; None if `pixels` is None.

        Args:
            pixels: The camera's picture, (height, width, 3) uint8 RGB.
            key: Identifies the pixels in the cache: equal keys mean equal pictures.
            area: Rectangle of the pane that the picture fills, in device-independent pixels.
            ratio: Screen pixels per device-independent pixel.
            zoomed: Transform from the picture's pixels to the pane, if only a part of the picture is visible.
            smooth: Whether pixels of a transformed picture are interpolated, however large they are.
            grid: Transform from the model's picture to the pane, and the patch grid, if the grid is shown. It is
                cached as part of the picture, because its translucent lines (34 for 16 x 16 patches) take as long
                to draw as the heat map.
        """
        key = (key, area.getRect(), ratio, _key_of(zoomed), grid and (_key_of(grid[0]), grid[1]))
        if pixels is None:
            return None
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        size = measure_pixels(area, ratio)
        image = scaled(pixels, size) if zoomed is None else _magnify(pixels, area, ratio, zoomed, smooth=smooth)
        image.setDevicePixelRatio(ratio)
        if grid is not None:
            with QPainter(image) as painter:
                painter.drawImage(QPointF(0, 0), self._paint_grid_lines(*grid, area, ratio))
        self._cache[key] = image
        while sum(image.sizeInBytes() for image in self._cache.values()) > MOST_BYTES and len(self._cache) > 2:
            self._cache.popitem(last=False)
        return image

    def _paint_grid_lines(self, place: QTransform, grid: PatchGrid, area: QRectF, ratio: float) -> QImage:
        key = (_key_of(place), grid, area.getRect(), ratio)
        if self._grid is None or self._grid[0] != key:
            overlay = QImage(measure_pixels(area, ratio), QImage.Format.Format_ARGB32_Premultiplied)
            overlay.setDevicePixelRatio(ratio)
            overlay.fill(Qt.GlobalColor.transparent)
            with QPainter(overlay) as painter:
                painter.translate(-area.topLeft())
                paint_grid(painter, place, grid, ratio)
            self._grid = key, overlay
        return self._grid[1]


def measure_pixels(area: QRectF, ratio: float) -> QSize:
    """Return the size of an area in screen pixels, at least 1 x 1."""
    return QSize(max(round(area.width() * ratio), 1), max(round(area.height() * ratio), 1))


def scaled(pixels: Pixels, size: QSize) -> QImage:
    """Return a whole picture, (height, width, 3) uint8 RGB, scaled smoothly to a size in screen pixels."""
    mode = Qt.TransformationMode.SmoothTransformation
    image = drawing.create_picture_image(pixels).scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, mode)
    # Without an alpha channel, Qt copies the image instead of blending it.
    image.reinterpretAsFormat(QImage.Format.Format_RGB32)
    return image


def _key_of(place: QTransform | None) -> tuple[float, ...]:
    return () if place is None else (place.m11(), place.m12(), place.m21(), place.m22(), place.dx(), place.dy())


def _magnify(pixels: Pixels, area: QRectF, ratio: float, place: QTransform, *, smooth: bool = False) -> QImage:
    image = QImage(measure_pixels(area, ratio), QImage.Format.Format_RGB32)
    with QPainter(image) as painter:
        painter.setTransform(
            place * QTransform.fromTranslate(-area.left(), -area.top()) * QTransform.fromScale(ratio, ratio)
        )
        # No interpolation from 3 screen pixels a picture pixel on, so that single pixels can be seen.
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth or abs(painter.transform().m11()) < 3)
        painter.drawImage(QPointF(0, 0), drawing.create_picture_image(pixels))
    return image


def paint_grid(painter: QPainter, place: QTransform, grid: PatchGrid, ratio: float) -> None:
    """Paint faint patch edges over a transparent image; nothing if patches are narrower than 6 pixels or rotated.

    `place` maps the model's picture to the painter.
    """
    if abs(place.m11()) * grid.patch_width < 6 or place.m12() != 0 or place.m21() != 0:
        return
    ink, thick = theme.color("#FFFFFF", 0.075), max(round(ratio), 1) / ratio
    box = place.mapRect(picture_overlay.find_model_box(grid))
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)  # keeps crossings as faint as lines
    # Qt fills a translucent rectangle many times faster than it draws a line of the same size.
    for line in range(grid.cols + 1):
        x = picture_overlay.whole(box.left() + box.width() * line / grid.cols, ratio)
        painter.fillRect(QRectF(x, box.top(), thick, box.height()), ink)
    for line in range(grid.rows + 1):
        y = picture_overlay.whole(box.top() + box.height() * line / grid.rows, ratio)
        painter.fillRect(QRectF(box.left(), y, box.width(), thick), ink)
