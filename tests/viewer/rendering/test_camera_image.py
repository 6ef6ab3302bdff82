"""The cache of scaled camera pictures, and the patch grid on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QTransform

from viewer.rendering import camera_image
from viewer.rendering.camera_image import CameraImage

if TYPE_CHECKING:
    import pytest
    from PySide6.QtWidgets import QApplication

    from viewer.io.results import Results

AREA = QRectF(0, 24, 64, 36)


def test_picture_is_scaled_once_per_key_and_ratio(
    app: QApplication, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    scaled = camera_image.scaled

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return scaled(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(camera_image, "scaled", counted)
    pane = CameraImage()
    first = pane.image(results.picture(0, 0, "source"), 0, AREA, 1.0)
    other_frame = pane.image(results.picture(1, 0, "source"), 1, AREA, 1.0)
    assert first is not None
    assert other_frame is not None
    assert pane.image(results.picture(0, 0, "source"), 0, AREA, 1.0) is first
    assert len(calls) == 2
    assert (first.width(), first.height()) == (64, 36)
    twice = pane.image(results.picture(0, 0, "source"), 0, AREA, 2.0)
    assert twice is not None
    assert (twice.width(), twice.devicePixelRatio()) == (128, 2.0)
    pane.drop()
    assert pane.image(results.picture(0, 0, "source"), 0, AREA, 1.0) is not first


def test_grid_lines_lie_on_patch_edges(app: QApplication, results: Results) -> None:
    pane, area = CameraImage(), QRectF(0, 0, 224, 126)
    offset = QTransform.fromTranslate(0, -49)
    without_grid = pane.image(results.picture(0, 0, "source"), 0, area, 1.0)
    lined = pane.image(results.picture(0, 0, "source"), 0, area, 1.0, grid=(offset, results.grid))
    assert without_grid is not None
    assert lined is not None
    differs = np.frombuffer(without_grid.constBits(), np.uint32) != np.frombuffer(lined.constBits(), np.uint32)
    rows, columns = np.nonzero(differs.reshape(126, 224))
    assert set(np.unique(columns[rows % 14 != 7]).tolist()) <= set(range(0, 224, 14))
    assert differs.any()


def test_cache_stays_within_its_byte_limit(
    app: QApplication, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_image, "MOST_BYTES", 3 * 64 * 36 * 4)
    pane = CameraImage()
    for width in range(40, 64):
        pane.image(results.picture(0, 0, "source"), 0, QRectF(0, 0, width, 36), 1.0)
    assert sum(image.sizeInBytes() for image in pane._cache.values()) <= 3 * 64 * 36 * 4
