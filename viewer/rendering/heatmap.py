"""Paint the heat map of one camera: one filled rectangle per patch, or one scaled image if it is smoothed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QTransform

from viewer.model import attention, geometry
from viewer.rendering import colormaps, drawing, picture_overlay

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.model.attention import Floats
    from viewer.model.geometry import PatchGrid
    from viewer.model.view_state import ViewState

SMOOTH_PIXELS: Final = 224
"""Side in pixels of a map that is smoothed."""
MOST_DOTS: Final = 1 << 18
"""Area in screen pixels from which patches are painted as rectangles instead of as an image."""
Span = tuple[int, float, float]
"""A column or row of patches: index, start and stop in device-independent pixels."""


class HeatMap:
    """Painter of one camera's heat map, which caches colours per scene and patch positions per layout."""

    def __init__(self, camera: int) -> None:
        self.camera = camera
        self._levels: tuple[tuple[object, ...], npt.NDArray[np.intp], Scene] | None = None
        self._image: tuple[tuple[object, ...], QImage, Scene] | None = None
        self._edges: tuple[tuple[object, ...], list[Span], list[Span]] | None = None
        self._cells: list[tuple[QRectF, int]] = []
        self._pixel_indices = np.zeros(0, np.intp), np.zeros(0, np.intp)
        self._sheet: tuple[npt.NDArray[np.uint32], QImage] | None = None

    def drop(self) -> None:
        """Clear the cached colours when another file is opened."""
        self._levels = self._image = None

    def paint(
        self, painter: QPainter, scene: Scene, shown: ViewState, place: QTransform, area: QRectF, ratio: float
    ) -> None:
        """Paint the heat map over `area`.

        Args:
            painter: Painter of the pane.
            scene: The maps to show.
            shown: The view, for colour map, scale, opacity and smoothing.
            place: Transform from the model's picture to the pane.
            area: Visible rectangle in device-independent pixels.
            ratio: Screen pixels per device-independent pixel.
        """
        if self.camera >= len(scene.maps) or shown.opacity == 0:
            return
        name = colormaps.DIFFERENCE if scene.difference else shown.colours
        straight = place.m12() == 0 and place.m21() == 0
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        if straight and not shown.smooth:
            if area.width() * area.height() * ratio * ratio < MOST_DOTS:
                painter.drawImage(area.topLeft(), self._spread(scene, shown, name, place, area, ratio))
                return
            colours = _create_colors(name, round(shown.opacity * 100))
            levels, fill = self._index_patches(scene, shown).ravel().tolist(), painter.fillRect
            # Filling one rectangle per patch is several times faster than scaling and blending a small image.
            for box, patch in self.cells(place, area, ratio, scene.grid):
                color = colours[levels[patch]]
                if color is not None:
                    fill(box, color)
            return
        painter.setClipRect(area)
        picture_overlay.paint_map(painter, place, self._paint_smoothed(scene, shown, name), scene.grid)
        painter.setClipping(False)

    def edges(self, place: QTransform, area: QRectF, ratio: float, grid: PatchGrid) -> tuple[list[Span], list[Span]]:
        """Return the visible columns and rows of patches: index, start and stop, aligned to screen pixels."""
        key = (place.m11(), place.m22(), place.dx(), place.dy(), area.getRect(), ratio, grid)
        if self._edges is None or self._edges[0] != key:
            columns = _find_edges(
                place.m11() * grid.patch_width, place.dx(), grid.cols, area.left(), area.right(), ratio
            )
            rows = _find_edges(place.m22() * grid.patch_height, place.dy(), grid.rows, area.top(), area.bottom(), ratio)
            self._edges = key, columns, rows
            self._cells = [
                (QRectF(left, top, right - left, bottom - top), row * grid.cols + col)
                for row, top, bottom in rows
                for col, left, right in columns
            ]
            self._pixel_indices = (
                _index_pixels(columns, grid.cols, area.left(), area.right(), ratio),
                _index_pixels(rows, grid.rows, area.top(), area.bottom(), ratio),
            )
        return self._edges[1], self._edges[2]

    def cells(self, place: QTransform, area: QRectF, ratio: float, grid: PatchGrid) -> list[tuple[QRectF, int]]:
        """Return the rectangles of the visible patches and their indices, counted row by row."""
        self.edges(place, area, ratio, grid)
        return self._cells

    def _spread(
        self, scene: Scene, shown: ViewState, name: str, place: QTransform, area: QRectF, ratio: float
    ) -> QImage:
        """Return the heat map of a small area as an image, which is faster there than filling 144 rectangles."""
        self.edges(place, area, ratio, scene.grid)
        rows, cols = scene.grid.shape
        words = np.zeros((rows + 1, cols + 1), np.uint32)  # the last row and column mean no patch
        words[:rows, :cols] = colormaps.heat(name, round(shown.opacity * 100))[self._index_patches(scene, shown)]
        across, down = self._pixel_indices
        if self._sheet is None or self._sheet[0].shape != (len(down), len(across)):
            dots = np.empty((len(down), len(across)), np.uint32)
            self._sheet = dots, drawing.create_word_image(dots, blended=True)
        # Reuse the memory: allocating new pages costs more than filling them.
        np.take(words[:, across], down, axis=0, out=self._sheet[0], mode="clip")
        self._sheet[1].setDevicePixelRatio(ratio)
        return self._sheet[1]

    def _place_values(self, scene: Scene, shown: ViewState, values: Floats) -> Floats:
        low, high = scene.ranges[self.camera]
        scale = "linear" if scene.difference else shown.scale
        if scale == "rank":  # already ranked
            low, high, scale = 0.0, 1.0, "linear"
        placed: Floats = np.rint(attention.places(values, low, high, scale) * 255)
        return placed

    def _find_values(self, scene: Scene, shown: ViewState) -> Floats:
        if shown.scale == "rank" and not scene.difference:  # among the patches of all cameras, as on a shared scale
            ranks: Floats = attention.places(scene.maps, 0.0, 1.0, "rank")[self.camera]
            return ranks
        weights: Floats = scene.maps[self.camera]
        return weights

    def _index_patches(self, scene: Scene, shown: ViewState) -> npt.NDArray[np.intp]:
        """Return each patch's index into the colour table, 0 to 255: (rows, cols) intp."""
        key = (id(scene), shown.scale)
        if self._levels is None or self._levels[0] != key:
            levels = self._place_values(scene, shown, self._find_values(scene, shown)).astype(np.intp)
            self._levels = key, levels, scene  # the scene is kept, so that its id is not used again
        return self._levels[1]

    def _paint_smoothed(self, scene: Scene, shown: ViewState, name: str) -> QImage:
        key = (id(scene), name, shown.scale, shown.opacity, shown.smooth)
        if self._image is None or self._image[0] != key:
            values = self._find_values(scene, shown)
            if shown.smooth:
                values = geometry.smooth(values, SMOOTH_PIXELS)
            at = self._place_values(scene, shown, values).astype(np.intp)
            words = colormaps.heat(name, round(shown.opacity * 100))[at]
            self._image = key, drawing.create_word_image(words, blended=True), scene
        return self._image[1]


def _find_edges(side: float, shift: float, count: int, low: float, high: float, ratio: float) -> list[Span]:
    """Return the visible patches along one axis: index, start and stop, aligned to screen pixels."""
    at = [picture_overlay.whole(side * number + shift, ratio) for number in range(count + 1)]
    spans = []
    for number in range(count):
        start = max(min(at[number], at[number + 1]), low)
        stop = min(max(at[number], at[number + 1]), high)
        if start < stop:
            spans.append((number, start, stop))
    return spans


def _index_pixels(spans: list[Span], count: int, low: float, high: float, ratio: float) -> npt.NDArray[np.intp]:
    """Return the patch index of each screen pixel along one axis: (pixels,) intp; `count` where there is no patch."""
    indices = np.full(max(round((high - low) * ratio), 1), count, np.intp)
    for number, start, stop in spans:
        indices[round((start - low) * ratio) : round((stop - low) * ratio)] = number
    return indices


@lru_cache(maxsize=16)
def _create_colors(name: str, opacity: int) -> list[QColor | None]:
    """Return the 256 colours of a map with their alpha; None for transparent ones."""
    alphas = (colormaps.heat(name, opacity) >> 24).tolist()
    return [
        QColor(red, green, blue, alpha) if alpha else None
        for (red, green, blue), alpha in zip(colormaps.table(name).tolist(), alphas, strict=True)
    ]
