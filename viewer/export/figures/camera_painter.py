"""Paint cameras in figures with the functions of the window's panes, so that pixels are the same at one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter, QTransform

from viewer.export.figures import text_layout
from viewer.export.figures.color_bar import ColorScale, find_table_positions
from viewer.model import geometry
from viewer.rendering import colormaps, drawing, picture_overlay, theme
from viewer.rendering.camera_image import CameraImage
from viewer.rendering.heatmap import SMOOTH_PIXELS, HeatMap
from viewer.rendering.patches import create_region_path

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

VECTOR_DENSITY: Final = 3.0
"""Pixels per px of a picture that is embedded in a PDF or SVG."""
IDENTITY: Final = np.array([[1.0, 0, 0], [0, 1.0, 0]])


class CameraPainter:
    """Paints the cameras of one file, and caches scaled pictures between figures."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._backdrops = [CameraImage() for _ in range(len(results.cameras))]
        self._heats = [HeatMap(camera) for camera in range(len(results.cameras))]

    def picture_size(self, camera: int, view: ViewState) -> tuple[int, int]:
        """Return height and width of the picture that is shown, the camera's own or the model's, in pixels."""
        grid = self.results.grid
        return (grid.height, grid.width) if view.picture == "model" else self.results.picture_size(camera)

    def height_at(self, camera: int, view: ViewState, width: int) -> int:
        """Return the height of a picture at a width, both in px."""
        height, across = self.picture_size(camera, view)
        return max(round(width * height / across), 1)

    def place_transform(self, box: QRectF, camera: int, view: ViewState) -> QTransform:
        """Return the transform from the model's picture to the box that the shown picture fills."""
        height, width = self.picture_size(camera, view)
        to_model = IDENTITY if view.picture == "model" else self.results.to_model(view.frame, camera)
        whole = QTransform(box.width() / width, 0, 0, box.height() / height, box.left(), box.top())
        return picture_overlay.from_model(to_model) * whole

    def paint(
        self, painter: QPainter, box: QRectF, camera: int, view: ViewState, scene: Scene | None, *, grid: bool = True
    ) -> None:
        """Paint the picture, with the heatmap of `scene` where there is one; as one image in a PDF or SVG."""
        device = painter.device()
        if isinstance(device, QImage):
            self._paint(painter, box, camera, view, scene, device.devicePixelRatio(), grid=grid)
            return
        image = _create_embedded_image(box, view, self.picture_size(camera, view))
        with QPainter(image) as inner:
            inner.translate(-box.topLeft())
            self._paint(inner, box, camera, view, scene, image.devicePixelRatio(), grid=grid)
        image.setDevicePixelRatio(1)
        painter.drawImage(box, image)

    def _paint(
        self, painter: QPainter, box: QRectF, camera: int, view: ViewState, scene: Scene | None, ratio: float,
        *, grid: bool,
    ) -> None:  # fmt: skip
        place = self.place_transform(box, camera, view)
        pixels = self.results.picture(view.frame, camera, view.picture)
        key = (view.frame, view.picture)
        backdrop = self._backdrops[camera].image(
            pixels, key, box, ratio, grid=(place, self.results.grid) if grid and view.grid else None
        )
        painter.save()
        if backdrop is None:
            self._paint_placeholder(painter, box)
        else:
            painter.drawImage(box.topLeft(), backdrop)
        if scene is not None:
            self._heats[camera].paint(painter, scene, view, place, box, ratio)
        painter.setClipRect(box)
        self._paint_marks(painter, place, camera, view, ratio, region=scene is not None)
        painter.restore()

    def _paint_marks(
        self, painter: QPainter, place: QTransform, camera: int, view: ViewState, ratio: float, *, region: bool
    ) -> None:
        if view.picture == "model":
            to_model = self.results.to_model(view.frame, camera)
            picture_overlay.paint_hatch(painter, place, to_model, *self.results.picture_size(camera), self.results.grid)
        path = create_region_path(view.region, camera, self.results.grid) if region else None
        if path is not None:
            picture_overlay.paint_region(painter, place, path, ratio)

    def _paint_placeholder(self, painter: QPainter, box: QRectF) -> None:
        painter.fillRect(box, theme.color(theme.active().raised))
        text_layout.draw_line(painter, box, "no picture of this camera", theme.active().secondary, 12, align="centre")

    def paint_map(
        self, painter: QPainter, box: QRectF, camera: int, view: ViewState, values: Floats, scale: ColorScale
    ) -> None:
        """Paint a map (rows, cols) without the picture, in opaque colours, placed as it would be over the picture."""
        if view.smooth:
            values = geometry.smooth(values, SMOOTH_PIXELS)
        entries = np.rint(find_table_positions(values, scale) * 255).astype(np.intp)
        image = drawing.create_word_image(colormaps.opaque(scale.colours)[entries], blended=False)
        device = painter.device()
        if isinstance(device, QImage):
            self._paint_map_image(painter, box, camera, view, image)
            return
        embedded = _create_embedded_image(box, view, self.picture_size(camera, view))
        with QPainter(embedded) as inner:
            inner.translate(-box.topLeft())
            self._paint_map_image(inner, box, camera, view, image)
        embedded.setDevicePixelRatio(1)
        painter.drawImage(box, embedded)

    def _paint_map_image(self, painter: QPainter, box: QRectF, camera: int, view: ViewState, image: QImage) -> None:
        painter.save()
        painter.setClipRect(box)
        painter.fillRect(box, theme.color(theme.active().raised))
        place = self.place_transform(box, camera, view)
        picture_overlay.paint_map(painter, place, image, self.results.grid)
        self._paint_marks(painter, place, camera, view, painter.device().devicePixelRatio(), region=True)
        painter.restore()


def _create_embedded_image(box: QRectF, view: ViewState, size: tuple[int, int]) -> QImage:
    """Return an empty image for a PDF or SVG, at the resolution of the camera's own picture within limits."""
    ratio = VECTOR_DENSITY if view.picture == "model" else min(max(size[1] / max(box.width(), 1), VECTOR_DENSITY), 8.0)
    image = QImage(max(round(box.width() * ratio), 1), max(round(box.height() * ratio), 1), QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    return image
