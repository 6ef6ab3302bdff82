"""Pictures are zoomed and moved with the mouse, and the box of a region has handles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from window_driver import close, double_click, show, spin, turn_wheel

from viewer.model.zoom import Zoom
from viewer.rendering import region_handles

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow
    from viewer.widgets.panels.camera_pane import CameraPane
BOX = tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6))


def drag(pane: CameraPane, start: QPoint, by: QPoint, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
    no_modifier = Qt.KeyboardModifier.NoModifier
    QTest.mousePress(pane, button, no_modifier, start)
    for part in (0.5, 1.0):
        QTest.mouseMove(pane, start + by * part)
    QTest.mouseRelease(pane, button, no_modifier, start + by)
    spin(0.02)


def test_middle_button_drags_the_zoomed_picture_under_the_pointer(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    point = pane.area().center()
    turn_wheel(pane, point, 6)
    under = pane.picture_to_pane().inverted()[0].map(point)
    drag(pane, point.toPoint(), QPoint(30, 20), Qt.MouseButton.MiddleButton)
    moved = pane.picture_to_pane().map(under)
    assert (moved - point).toTuple() == pytest.approx((30, 20), abs=1)
    assert window.session.state.region == ()


def test_space_and_left_drag_move_the_picture_and_do_not_play(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    pane = window.panels.camera_grid.panes[0]
    point = pane.area().center()
    turn_wheel(pane, point, 6)
    monkeypatch.setattr(type(pane), "underMouse", lambda self: self is pane)
    before = pane.zoom
    QTest.keyPress(window, Qt.Key.Key_Space)
    drag(pane, point.toPoint(), QPoint(30, 20))
    QTest.keyRelease(window, Qt.Key.Key_Space)
    assert pane.zoom != before
    assert pane.zoom.factor == before.factor
    assert window.session.state.region == ()
    assert window.playback.axis == ""
    QTest.keyClick(window, Qt.Key.Key_Space)
    assert window.playback.axis != "", "without a drag Space plays, as ever"
    window.playback.stop()
    drag(pane, point.toPoint(), QPoint(60, 50))
    assert window.session.state.region != (), "without Space a left drag marks a region"


def test_space_plays_at_once_where_no_picture_is_zoomed(window: MainWindow) -> None:
    QTest.keyPress(window, Qt.Key.Key_Space)
    assert window.playback.axis != ""
    QTest.keyRelease(window, Qt.Key.Key_Space)
    window.playback.stop()


@pytest.mark.parametrize("region", [(), ((0, 2, 3),)])
def test_double_click_shows_the_whole_picture_and_does_nothing_else(
    window: MainWindow, region: tuple[tuple[int, int, int], ...]
) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=region)
    spin()
    point = pane.area().center()
    turn_wheel(pane, point, 4)
    steps = len(window.session.history.past)
    no_modifier = Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(pane, Qt.MouseButton.LeftButton, no_modifier, point.toPoint())
    spin(0)
    assert window.session.state.region != region
    double_click(pane, point.toPoint())
    spin(0)
    assert pane.zoom.is_whole
    assert window.session.state.region == region
    assert len(window.session.history.past) == steps, "no step of undo is left"


def test_linked_pictures_show_the_same_part_and_the_choice_is_kept(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path)
    first, second = window.panels.camera_grid.panes[:2]
    turn_wheel(first, first.area().center(), 3)
    assert second.zoom.is_whole
    window.perform_id("link_zoom")
    assert second.zoom == first.zoom
    turn_wheel(second, second.area().topLeft() + QPointF(5, 5), 3)
    assert first.zoom == second.zoom
    window.perform_id("whole")
    assert first.zoom.is_whole
    assert second.zoom.is_whole
    close(window)
    reopened = show(small, tmp_path)
    assert reopened.panels.is_zoom_linked
    reopened.perform_id("link_zoom")
    assert not reopened.panels.is_zoom_linked
    close(reopened)


def test_zoom_is_written_on_the_picture(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    corner = pane.area().toRect()
    corner.setLeft(corner.right() - 60)
    corner.setHeight(34)
    pane.show_zoom(Zoom().zoomed(5, 1.0, 0.0))
    image = pane.grab(corner).toImage()
    colours = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert "#ffffff" in colours, "white letters"


def test_plain_pane_zooms_and_resizes_a_box_too(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False, region=BOX)
    pane = window.panels.camera_grid.panes[0]
    assert not pane.has_plot
    box = pane.region_box()
    assert box is not None
    turn_wheel(pane, box.center(), 2)
    middle, box = box.center(), pane.region_box()
    assert box is not None
    assert (box.center() - middle).manhattanLength() < 1, "the point under the pointer stays"
    drag(pane, box.bottomRight().toPoint(), QPoint(round(box.width() / 3), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))
    double_click(pane, middle.toPoint())
    assert pane.zoom.is_whole
    close(window)


def test_handle_of_a_box_resizes_it_by_patches(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=BOX)
    spin()
    box = pane.region_box()
    assert box is not None
    patch_width = box.width() / 3
    drag(pane, box.bottomRight().toPoint(), QPoint(round(patch_width), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))
    box = pane.region_box()
    assert box is not None
    drag(pane, QPointF(box.left(), box.center().y()).toPoint(), QPoint(round(2 * patch_width), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (6, 7))


def test_handle_keeps_patches_that_the_zoom_hides(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=BOX)
    spin()
    box = pane.region_box()
    assert box is not None
    turn_wheel(pane, box.bottomRight(), 9)
    zoomed = pane.region_box()
    assert zoomed is not None
    assert zoomed.left() < pane.area().left()
    drag(pane, zoomed.bottomRight().toPoint(), QPoint(round(zoomed.width() / 3), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))


def test_pointer_over_a_handle_shows_where_it_goes(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=BOX)
    spin()
    box = pane.region_box()
    assert box is not None
    for handle, position in region_handles.handles(box).items():
        QTest.mouseMove(pane, position.toPoint())
        assert pane.cursor().shape() == region_handles.choose_cursor(handle)
    QTest.mouseMove(pane, box.center().toPoint())
    assert pane.cursor().shape() == Qt.CursorShape.ArrowCursor


def test_handles_follow_a_turned_camera(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "turned.h5", make_results.Recipe(frames=1, turned=("exterior",)))
    window = show(path, tmp_path, region=BOX)
    pane = window.panels.camera_grid.panes[0]
    box = pane.region_box()
    assert box is not None
    drag(pane, box.topLeft().toPoint(), QPoint(round(-box.width() / 3), 0))
    # The picture is turned by 180°: its left is the model's right.
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))
    close(window)
