"""The heat of one camera as it lies on the picture: a filled rectangle a patch, or one image where it is smooth."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QTransform

from capture.schema import GRID, MODEL_PIXELS, PATCH_PIXELS
from viewer import attention, colourmaps, drawing, geometry

if TYPE_CHECKING:
    from viewer.attention import Floats
    from viewer.scene import Scene
    from viewer.state import ViewState

SMOOTH_PIXELS: Final = 224
MODEL: Final = QRectF(0, 0, MODEL_PIXELS, MODEL_PIXELS)


class HeatMap:
    """What a camera pane keeps between two paintings of the same heat, and of any heat at the same place."""

    def __init__(self, camera: int) -> None:
        self.camera = camera
        self._levels: tuple[tuple[object, ...], list[int], Scene] | None = None
        self._image: tuple[tuple[object, ...], QImage, Scene] | None = None
        self._cells: tuple[tuple[object, ...], list[tuple[QRectF, int]]] | None = None

    def drop(self) -> None:
        """Keep nothing of another file."""
        self._levels = self._image = None

    def paint(
        self, painter: QPainter, scene: Scene, shown: ViewState, place: QTransform, area: QRectF, ratio: float
    ) -> None:
        """Lay the heat over `area`; `place` maps the model's picture to the pane."""
        if self.camera >= len(scene.maps) or shown.opacity == 0:
            return
        name = colourmaps.DIFFERENCE if scene.difference else shown.colours
        straight = place.m12() == 0 and place.m21() == 0
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        if straight and not shown.smooth:
            colours = _colours(name, round(shown.opacity * 100))
            levels, fill = self._at(scene, shown), painter.fillRect
            # Blending rectangles of one colour each is several times faster than blending a scaled image of 16 x 16.
            for box, patch in self.cells(place, area, ratio):
                colour = colours[levels[patch]]
                if colour is not None:
                    fill(box, colour)
            return
        painter.setClipRect(area)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        image = self._smoothed(scene, shown, name)
        if straight:
            # Turned pictures are drawn by turning the small image: a plain scaled blit is several times faster.
            axes = Qt.Orientation(0)
            if place.m11() < 0:
                axes |= Qt.Orientation.Horizontal
            if place.m22() < 0:
                axes |= Qt.Orientation.Vertical
            painter.drawImage(place.mapRect(MODEL), image.flipped(axes) if axes else image)
        else:
            painter.save()
            painter.setTransform(place, True)
            painter.drawImage(MODEL, image)
            painter.restore()
        painter.setClipping(False)

    def cells(self, place: QTransform, area: QRectF, ratio: float) -> list[tuple[QRectF, int]]:
        """Where the visible patches lie, on whole pixels of the screen, and their numbers from 0 to 255."""
        key = (place.m11(), place.m22(), place.dx(), place.dy(), area.getRect(), ratio)
        if self._cells is None or self._cells[0] != key:
            columns = _edges(place.m11(), place.dx(), area.left(), area.right(), ratio)
            rows = _edges(place.m22(), place.dy(), area.top(), area.bottom(), ratio)
            made = [
                (QRectF(left, top, right - left, bottom - top), row * GRID + col)
                for row, top, bottom in rows
                for col, left, right in columns
            ]
            self._cells = key, made
        return self._cells[1]

    def _placed(self, scene: Scene, shown: ViewState, values: Floats) -> Floats:
        low, high = scene.ranges[self.camera]
        scale = "linear" if scene.difference else shown.scale
        if scale == "rank":  # already ranked
            low, high, scale = 0.0, 1.0, "linear"
        placed: Floats = np.rint(attention.places(values, low, high, scale) * 255)
        return placed

    def _values(self, scene: Scene, shown: ViewState) -> Floats:
        if shown.scale == "rank" and not scene.difference:  # among the patches of all cameras, as on a shared scale
            ranks: Floats = attention.places(scene.maps, 0.0, 1.0, "rank")[self.camera]
            return ranks
        one: Floats = scene.maps[self.camera]
        return one

    def _at(self, scene: Scene, shown: ViewState) -> list[int]:
        """Each patch's place on the colour table, 0 to 255."""
        key = (id(scene), shown.scale)
        if self._levels is None or self._levels[0] != key:
            levels = self._placed(scene, shown, self._values(scene, shown)).astype(np.intp).ravel().tolist()
            self._levels = key, levels, scene  # the scene is kept, so that its id is not used again
        return self._levels[1]

    def _smoothed(self, scene: Scene, shown: ViewState, name: str) -> QImage:
        key = (id(scene), name, shown.scale, shown.opacity, shown.smooth)
        if self._image is None or self._image[0] != key:
            values = self._values(scene, shown)
            if shown.smooth:
                weights = geometry.smoothing(SMOOTH_PIXELS)
                values = (weights @ values @ weights.T).astype(np.float32, copy=False)
            at = self._placed(scene, shown, values).astype(np.intp)
            words = colourmaps.heat(name, round(shown.opacity * 100))[at]
            self._image = key, drawing.word_image(words, blended=True), scene
        return self._image[1]


def _edges(scale: float, shift: float, low: float, high: float, ratio: float) -> list[tuple[int, float, float]]:
    """The visible patches along one axis: number, start and stop on whole pixels of the screen."""
    at = [round((scale * PATCH_PIXELS * number + shift) * ratio) / ratio for number in range(GRID + 1)]
    spans = []
    for number in range(GRID):
        start = max(min(at[number], at[number + 1]), low)
        stop = min(max(at[number], at[number + 1]), high)
        if start < stop:
            spans.append((number, start, stop))
    return spans


@lru_cache(maxsize=16)
def _colours(name: str, opacity: int) -> list[QColor | None]:
    """A map's 256 colours with their alpha; None where nothing is to be painted."""
    alphas = (colourmaps.heat(name, opacity) >> 24).tolist()
    return [
        QColor(red, green, blue, alpha) if alpha else None
        for (red, green, blue), alpha in zip(colourmaps.table(name).tolist(), alphas, strict=True)
    ]
