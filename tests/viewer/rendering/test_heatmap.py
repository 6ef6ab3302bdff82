"""Both methods of painting a heat map give the same pixels, aligned to screen pixels at every pixel ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter, QTransform

from viewer.analysis.scene import Scene
from viewer.model.geometry import PatchGrid
from viewer.model.view_state import ViewState
from viewer.rendering import heatmap
from viewer.rendering.heatmap import HeatMap

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


GRID = PatchGrid(16, 16, 224, 224)


def make_scene(seed: int = 0) -> Scene:
    maps = np.random.default_rng(seed).gamma(0.4, 1.0, (1, 16, 16)).astype(np.float32)
    empty = np.zeros(0, np.float32)
    return Scene(maps, empty, empty, {}, 0.0, ((0.0, float(maps.max())),), 256, 1.0, GRID)


def paint_heat(heat: HeatMap, shown: ViewState, transform: QTransform, area: QRectF, ratio: float) -> np.ndarray:
    image = QImage(round(area.right() * ratio) + 5, round(area.bottom() * ratio) + 5, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(0xFF808080)
    with QPainter(image) as painter:
        heat.paint(painter, make_scene(), shown, transform, area, ratio)
    return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width()).copy()


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("flip", [1, -1])
def test_small_area_image_equals_filled_rectangles(
    app: QApplication, monkeypatch: pytest.MonkeyPatch, ratio: float, flip: int
) -> None:
    area = QRectF(10, 24, 300, 169)
    # The model's picture is higher than the visible part of it; with flip -1 it is rotated by 180 degrees.
    scale = 300 / 224 * flip
    transform = QTransform(scale, 0, 0, scale, 10 if flip > 0 else 310, -41 if flip > 0 else 259)
    shown = ViewState(opacity=0.7)
    few = paint_heat(HeatMap(0), shown, transform, area, ratio)
    monkeypatch.setattr(heatmap, "MOST_DOTS", 0)
    many = paint_heat(HeatMap(0), shown, transform, area, ratio)
    channels = [np.stack([(words >> s & 255).astype(int) for s in (16, 8, 0)]) for words in (few, many)]
    assert np.abs(channels[0] - channels[1]).max() <= 2, "premultiplied words and colours with alpha round differently"
    outside = few.copy()
    outside[round(24 * ratio) : round(193 * ratio), round(10 * ratio) : round(310 * ratio)] = 0xFF808080
    assert (outside == 0xFF808080).all()


def test_patch_is_painted_at_its_row_and_column(app: QApplication) -> None:
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0, 5, 9] = 1
    empty = np.zeros(0, np.float32)
    peak = Scene(maps, empty, empty, {}, 0.0, ((0.0, 1.0),), 256, 1.0, GRID)
    image = QImage(224, 224, QImage.Format.Format_RGB32)
    image.fill(0xFF000000)
    with QPainter(image) as painter:
        HeatMap(0).paint(painter, peak, ViewState(opacity=1.0), QTransform(), QRectF(0, 0, 224, 224), 1.0)
    words = np.frombuffer(image.constBits(), np.uint32).reshape(224, 224)
    painted_pixels = np.argwhere(words != 0xFF000000)
    assert painted_pixels.min(0).tolist() == [70, 126]
    assert painted_pixels.max(0).tolist() == [83, 139]


def test_heat_map_is_recomputed_for_another_scene_and_layout(app: QApplication) -> None:
    heat, area = HeatMap(0), QRectF(0, 0, 224, 224)
    first = heat._index_patches(make_scene(1), ViewState()).copy()
    assert (heat._index_patches(make_scene(2), ViewState()) != first).any()
    assert len(heat.cells(QTransform(), area, 1.0, GRID)) == 256
    assert len(heat.cells(QTransform.fromTranslate(-28, 0), area, 1.0, GRID)) == 14 * 16
