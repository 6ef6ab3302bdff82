"""The camera pane: a planted map changes exactly the pixels of its patch in the camera's own picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import numpy as np
import numpy.typing as npt
import pytest
from planted_results import CELL, Plant, expected_patch_rectangle, write_planted
from PySide6.QtCore import QPoint, QPointF, QRect, Qt
from PySide6.QtTest import QTest
from window_driver import close, double_click, show, spin

from viewer.model.view_state import Query
from viewer.rendering.drawing import width_of

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow
    from viewer.widgets.panels.camera_pane import CameraPane


def pixels(pane: CameraPane, area: QRect | None = None) -> npt.NDArray[np.uint8]:
    image = (
        pane.grab(area or pane.area().toAlignedRect())
        .toImage()
        .convertToFormat(pane.grab().toImage().Format.Format_RGB32)
    )
    data = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return data[:, : image.width(), 2::-1].copy()


def heated_pixels(window: MainWindow, pane: CameraPane) -> npt.NDArray[np.bool_]:
    """Return which pixels differ between the pane with heat and without."""
    window.session.hide_heat(False)
    spin()
    heated = pixels(pane).astype(int)
    window.session.hide_heat(True)
    spin()
    without_heat = pixels(pane).astype(int)
    window.session.hide_heat(False)
    return np.abs(heated - without_heat).max(-1) > 12


@pytest.mark.parametrize("is_turned", [(), ("exterior", "wrist"), ("wrist",)])
@pytest.mark.parametrize("size", [(180, 320), (240, 320), (320, 180), (224, 224)])
def test_heat_covers_the_planted_patch_of_the_camera_picture(
    app: QApplication, tmp_path: Path, is_turned: tuple[str, ...], size: tuple[int, int]
) -> None:
    window = show(
        write_planted(tmp_path, turned=is_turned, size=size), tmp_path, query=Query("text", (4,)), layer=1, grid=False
    )
    for camera, name in enumerate(("exterior", "wrist")):
        pane = window.panels.camera_grid.panes[camera]
        shown = heated_pixels(window, pane)
        rows, cols = np.nonzero(shown)
        left, top, right, bottom = expected_patch_rectangle(shown.shape, CELL[camera], size, name in is_turned)
        if right <= 1 or left >= shown.shape[1] - 1:  # a bar: nothing of it on the camera's picture
            assert not shown.any()
            continue
        right = min(right, shown.shape[1])
        left = max(left, 0)
        assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == pytest.approx(
            (left, top, right, bottom), abs=1.01
        )
        inside = shown[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
        assert inside.mean() > 0.97, "the patch is filled, and nothing beside it is lit"
    close(window)


def test_heat_of_actions_covers_their_own_patch(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path), tmp_path, query=Query("action", (2,)), step=1, grid=False)
    shown = heated_pixels(window, window.panels.camera_grid.panes[0])
    rows, cols = np.nonzero(shown)
    box = expected_patch_rectangle(shown.shape, (CELL[0][0] + 1, CELL[0][1] - 2), (180, 320), turned=False)
    assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == pytest.approx(box, abs=1.01)
    close(window)


def test_model_picture_shows_the_same_patch_between_its_bars(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path), tmp_path, query=Query("text", (4,)), picture="model", grid=False)
    pane = window.panels.camera_grid.panes[0]
    area = pane.area()
    assert area.width() == area.height()
    shown = heated_pixels(window, pane)
    rows, cols = np.nonzero(shown)
    row, col = CELL[0]
    side = area.width() / 16
    assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == pytest.approx(
        (col * side, row * side, (col + 1) * side, (row + 1) * side), abs=1.01
    )
    without_heat = pixels(pane)
    assert np.ptp(without_heat[5 : int(3 * side) - 2].astype(int)) > 0, "the bars are hatched"
    close(window)


@pytest.mark.parametrize("name", ["exterior", "observation_images_top_camera_with_a_long_name"])
@pytest.mark.parametrize("picture", ["source", "model"])
def test_texts_over_a_picture_never_overlap(app: QApplication, tmp_path: Path, name: str, picture: str) -> None:
    path = make_results.write(tmp_path / "named.h5", make_results.Recipe(frames=1, cameras=(name, "wrist")))
    window = show(path, tmp_path, query=Query("text", (4,)), picture=picture)
    pane = window.panels.camera_grid.panes[0]
    for width in range(180, 700, 20):
        pane.resize(width, width)
        spin(0)
        area = pane.area()
        size = "224 × 224" if picture == "model" else "128 × 72"
        label = f"what the model saw · {size}" if picture == "model" and area.width() > 380 else size
        start = round(area.right() - 1 - width_of(label, 12))
        gap = pixels(pane, QRect(start - 8, 0, 6, pane.TITLE - 4))
        assert np.ptp(gap.reshape(-1, 3), axis=0).max() == 0, f"nothing is written just before “{label}” at {width}"
    close(window)


def test_opacity_changes_the_heat_and_not_the_picture(app: QApplication, tmp_path: Path) -> None:
    """The opacity of the heat must not change that of the picture."""
    window = show(write_planted(tmp_path), tmp_path, query=Query("text", (4,)), grid=False)
    pane = window.panels.camera_grid.panes[0]
    row, col = CELL[0]
    patch = pane.model_to_pane().mapRect(QRect(col * 14, row * 14, 14, 14)).adjusted(4, 4, -4, -4)
    neighbour = patch.translated(patch.width() + 40, 0)
    heat_colors, other_colors = [], []
    for opacity in (0.0, 0.5, 1.0):
        window.session.update(opacity=opacity)
        spin()
        heat_colors.append(pixels(pane, patch).astype(int).mean((0, 1)))
        other_colors.append(pixels(pane, neighbour).astype(int).mean((0, 1)))
    assert np.abs(heat_colors[1] - heat_colors[0]).max() > 30
    assert np.abs(heat_colors[2] - heat_colors[1]).max() > 30
    assert other_colors[0] == pytest.approx(other_colors[2])
    assert heat_colors[2] == pytest.approx([252, 255, 164], abs=3), (
        "full weight at full opacity is the map's last colour"
    )
    close(window)


def test_weak_camera_stays_dark_on_the_shared_scale(app: QApplication, tmp_path: Path) -> None:
    """With a range for each map, a weight of a thousandth looks like the greatest; the default range must not do that."""
    path = make_results.write(
        tmp_path / "weak.h5", make_results.Recipe(frames=1, size=(180, 320), plant=Plant(share=(1.0, 0.001)))
    )
    window = show(path, tmp_path, query=Query("text", (4,)), grid=False)
    wrist = window.panels.camera_grid.panes[1]
    assert not heated_pixels(window, wrist).any()
    window.session.update(range="map")
    spin()
    assert heated_pixels(window, wrist).any()
    assert "a scale for each camera" in window.panels.sentence.accessibleDescription()
    close(window)


def test_hovering_outlines_the_patch_and_shows_its_weight(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path, turned=("exterior",)), tmp_path, query=Query("text", (4,)))
    pane = window.panels.camera_grid.panes[0]
    patch = pane.model_to_pane().mapRect(QRect(CELL[0][1] * 14, CELL[0][0] * 14, 14, 14))
    QTest.mouseMove(pane, QPoint(5, 40))
    QTest.mouseMove(pane, patch.center())
    spin()
    assert window.session.pointer == (0, *CELL[0])
    words = window.status.left()
    assert "patch (6, 3)" in words
    assert "rank 1" in words
    strips = window.panels.strips.values()
    assert strips is not None
    assert strips.subject == "patch"
    assert strips.words[4] == pytest.approx(1 / 3, abs=0.01)
    edge = pixels(pane, QRect(patch.left() - 1, patch.top() - 1, 3, patch.height() // 2))
    assert (edge.reshape(-1, 3).min(-1) > 240).any(), "a white outline"
    close(window)


def test_dragged_box_becomes_the_region_and_shift_paints_patches(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path), tmp_path, query=Query("text", (4,)))
    pane = window.panels.camera_grid.panes[0]
    transform = pane.model_to_pane()

    def middle(row: int, col: int) -> QPoint:
        return transform.map(QPointF(col * 14 + 7, row * 14 + 7)).toPoint()

    start, stop = middle(5, 4) - QPoint(6, 6), middle(6, 6) + QPoint(6, 6)
    QTest.mousePress(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    QTest.mouseMove(pane, (start + stop) / 2)
    QTest.mouseMove(pane, stop)
    QTest.mouseRelease(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, stop)
    spin()
    assert window.session.state.region == tuple((0, r, c) for r in (5, 6) for c in (4, 5, 6))
    assert window.panels.current_tab == "region_ranking"
    QTest.mouseClick(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, middle(9, 9))
    spin()
    assert (0, 9, 9) in window.session.state.region
    assert len(window.session.state.region) == 7
    QTest.mouseClick(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle(10, 10))
    spin()
    assert window.session.state.region == ((0, 10, 10),)
    close(window)


def test_wheel_zooms_about_the_pointer_and_patches_keep_their_place(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path), tmp_path, query=Query("text", (4,)), grid=False)
    pane = window.panels.camera_grid.panes[0]
    point = pane.model_to_pane().map(QPointF(CELL[0][1] * 14 + 7, CELL[0][0] * 14 + 7))
    from PySide6.QtGui import QWheelEvent

    event = QWheelEvent(
        point, pane.mapToGlobal(point), QPoint(), QPoint(0, 600), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    pane.wheelEvent(event)
    spin()
    assert pane.zoom.factor > 2
    assert pane.cell_at(point) == (0, *CELL[0])
    assert heated_pixels(window, pane)[int(point.y() - pane.area().top()), int(point.x() - pane.area().left())]
    double_click(pane, point.toPoint())
    assert pane.zoom.is_whole
    close(window)


def test_arrow_keys_move_between_patches_as_on_the_screen(app: QApplication, tmp_path: Path) -> None:
    window = show(write_planted(tmp_path, turned=("exterior",)), tmp_path)
    pane = window.panels.camera_grid.panes[0]
    window.session.point((0, 8, 8))
    before = pane.model_to_pane().map(QPointF(8 * 14 + 7, 8 * 14 + 7))
    QTest.keyClick(pane, Qt.Key.Key_Right)
    assert window.session.pointer is not None
    _, row, col = window.session.pointer
    after = pane.model_to_pane().map(QPointF(col * 14 + 7, row * 14 + 7))
    assert after.x() > before.x()
    assert after.y() == pytest.approx(before.y())
    QTest.keyClick(pane, Qt.Key.Key_Return)
    spin()
    assert window.session.state.region == ((0, row, col),)
    close(window)


def test_one_pane_is_shown_for_each_of_three_cameras_and_of_one(app: QApplication, tmp_path: Path) -> None:
    for names in (("exterior", "wrist", "left_wrist"), ("top",)):
        path = make_results.write(tmp_path / f"{len(names)}.h5", make_results.Recipe(frames=1, cameras=names))
        window = show(path, tmp_path)
        panes = window.panels.camera_grid.panes
        assert len(panes) == len(names)
        assert all(pane.isVisible() and pane.width() > 100 for pane in panes)
        assert [name for name, _ in window.panels.mass.shares()][: len(names)] == list(names)
        close(window)


def test_difference_scale_is_centred_on_zero_and_shared(app: QApplication, tmp_path: Path) -> None:
    """One signed scale serves both sides, not the minimum and maximum of each."""
    window = show(write_planted(tmp_path), tmp_path, query=Query("text", (4,)), grid=False)
    window.perform_id("pin")
    window.session.update(query=Query("action", (2,)), compare="difference", opacity=1.0)
    spin()
    scene = window.session.scene()
    assert scene is not None
    assert scene.difference
    assert scene.ranges[0] == scene.ranges[1]
    assert scene.ranges[0][0] == -scene.ranges[0][1]
    pane = window.panels.camera_grid.panes[0]
    for (row, col), red in ((CELL[0], False), ((CELL[0][0] + 1, CELL[0][1] - 2), True)):
        patch = pane.model_to_pane().mapRect(QRect(col * 14, row * 14, 14, 14)).adjusted(4, 4, -4, -4)
        color = pixels(pane, patch).astype(int).mean((0, 1))
        assert (color[0] > color[2]) == red, "more is red, less is blue"
    close(window)
