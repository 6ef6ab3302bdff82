"""The same pixels as the window for the same view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter
from window_driver import close, show, spin

from viewer.export.encoding import pixels
from viewer.export.figures.camera_painter import CameraPainter
from viewer.model.view_state import Query
from viewer.rendering import theme

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow
    from viewer.widgets.panels.camera_pane import CameraPane

REGION = ((0, 6, 6), (0, 6, 7), (1, 8, 3))
VIEWS: dict[str, dict[str, object]] = {
    "plain": {},
    "action": {"query": Query("action", (1, 2)), "step": 2, "heads": (0, 2), "reduce": "max"},
    "smooth": {"smooth": True, "grid": False, "colours": "viridis"},
    "model's picture": {"picture": "model", "opacity": 1.0},
    "region": {"region": REGION, "scale": "log"},
    "ranked": {"scale": "rank", "left_out": ("bos", "bars")},
    "locked": {"range": "locked", "low": 0.0, "high": 0.004, "unit": "weight"},
    "a range a camera": {"range": "map", "measure": "contribution"},
}


def grab_pane(pane: CameraPane) -> npt.NDArray[np.uint8]:
    image = pane.grab(pane.area().toAlignedRect()).toImage().convertToFormat(QImage.Format.Format_RGB32)
    return pixels(image).copy()


def paint_camera(window: MainWindow, camera: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    results = window.session.results
    assert results is not None
    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(0)
    with QPainter(image) as painter:
        view = window.session.state
        CameraPainter(results).paint(painter, QRectF(0, 0, width, height), camera, view, window.session.scene())
    return pixels(image).copy()


def without_corners(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The window's panes have round corners, a figure's have not."""
    side = round(theme.RADIUS)
    rendered = picture[..., :3].copy()
    for rows in (slice(None, side), slice(-side, None)):
        for cols in (slice(None, side), slice(-side, None)):
            rendered[rows, cols] = 0
    return rendered


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("is_turned", [(), ("wrist",)])
def test_camera_in_a_figure_has_the_pixels_of_the_windows_pane(
    app: QApplication, tmp_path: Path, name: str, is_turned: tuple[str, ...]
) -> None:
    path = make_results.write(
        tmp_path / "a.h5", make_results.Recipe(frames=1, size=(180, 320), turned=is_turned, steps=3, heads=3)
    )
    window = show(path, tmp_path, layer=2, **VIEWS[name])
    spin(0.1)
    for camera, pane in enumerate(window.panels.camera_grid.panes):
        inside = grab_pane(pane)
        rendered = paint_camera(window, camera, inside.shape[1], inside.shape[0])
        assert np.ptp(inside.astype(int)) > 60, "there is something to see"
        assert np.array_equal(without_corners(rendered), without_corners(inside))
    close(window)


def test_difference_in_a_figure_has_the_pixels_of_the_windows_pane(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path, layer=2)
    window.acts.pin()
    window.session.update(layer=0, compare="difference")
    spin(0.1)
    for camera, pane in enumerate(window.panels.camera_grid.panes):
        inside = grab_pane(pane)
        rendered = paint_camera(window, camera, inside.shape[1], inside.shape[0])
        assert np.array_equal(without_corners(rendered), without_corners(inside))
    close(window)
