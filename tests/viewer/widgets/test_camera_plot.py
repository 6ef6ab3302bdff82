"""The camera pane's plot has the pixels of the plain pane, blocks nothing and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QKeyEvent, QWheelEvent
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until

from viewer.model.view_state import Query
from viewer.model.zoom import Zoom
from viewer.rendering import region_handles, theme

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow
    from viewer.widgets.panels.camera_pane import CameraPane

BOX = tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6))
SAME_PIXELS = """
import sys, tempfile
from pathlib import Path
from PySide6.QtWidgets import QApplication
app = QApplication([])
from test_camera_plot import differing_views
print(app.devicePixelRatio(), differing_views(Path(sys.argv[1]), Path(tempfile.mkdtemp())))
"""


def image_of(pane: CameraPane) -> bytes:
    image = pane.grab().toImage()
    return bytes(image.convertToFormat(image.Format.Format_RGB32).constBits())


def differing_views(path: Path, folder: Path) -> tuple[int, list[object]]:
    """Compare panes before and after their plot is built: how many were compared, and which differ."""
    window = show(path, folder, query=Query("action", (1,)), layer=1, smooth=False, plots=False)
    grid = window.panels.camera_grid

    def images() -> dict[object, list[bytes]]:
        found: dict[object, list[bytes]] = {}
        for size in ((1280, 800), (1501, 911)):
            window.resize(*size)
            for colours in ("dark", "light"):
                window.set_theme(colours)
                for name, view, pointer, notches in (
                    ("plain", {"region": ()}, None, 0),
                    ("region", {"region": BOX}, None, 0),
                    ("pointer", {}, (0, 5, 5), 0),
                    ("smooth", {"smooth": True}, (1, 5, 5), 0),
                    ("model", {"smooth": False, "picture": "model"}, (0, 2, 5), 0),
                    ("zoomed", {"picture": "source"}, (0, 5, 5), 6),
                ):
                    window.session.update(**view)
                    window.session.point(pointer)
                    for pane in grid.panes:
                        pane.show_zoom(Zoom().zoomed(notches, 0.3, 0.4))
                    window.session.flush()
                    spin(0)
                    found[size, colours, name] = [image_of(pane) for pane in grid.panes]
                grid.panes[0].setFocus()
                found[size, colours, "focus"] = [image_of(grid.panes[0])]
                window.setFocus()
        return found

    plain = images()
    window.plot_loader.start()
    until(lambda: window.plot_loader.is_done)
    assert all(pane.has_plot for pane in grid.panes)
    plotted = images()
    close(window)
    theme.apply("dark")
    return len(plain), [name for name in plain if plain[name] != plotted[name]]


def test_plot_has_the_pixels_of_the_plain_pane(app: QApplication, small: Path, tmp_path: Path) -> None:
    assert differing_views(small, tmp_path) == (28, [])


def test_plot_has_the_pixels_of_the_plain_pane_at_scale_factor_2(small: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", SAME_PIXELS, str(small)], capture_output=True, text=True, check=False,
        env={**os.environ, "QT_SCALE_FACTOR": "2", "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.strip() == "2.0 (28, [])", done.stderr


def test_take_over_shows_nothing_in_between(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False)
    screen = app.primaryScreen()
    before = screen.grabWindow(window.winId()).toImage()
    window.plot_loader.start()
    seen = 0
    while not window.plot_loader.is_done:
        app.processEvents()
        assert screen.grabWindow(window.winId()).toImage() == before
        seen += 1
    assert seen > 5, "control returned to the event loop between the pieces"
    close(window)


def test_every_change_of_the_picture_is_repainted(window: MainWindow, app: QApplication) -> None:
    """The screen shows what a complete repaint would show: focus, pointer, a drag under way, zoom, theme, bare picture."""
    pane = window.panels.camera_grid.panes[0]
    none = Qt.KeyboardModifier.NoModifier
    start, stop = (pane.model_to_pane().map(QPointF(x, y)).toPoint() for x, y in ((60, 80), (120, 130)))

    def check(what: str) -> None:
        spin()
        shown = app.primaryScreen().grabWindow(window.winId()).toImage()
        whole = window.grab().toImage()
        assert shown.convertToFormat(whole.format()) == whole, what

    pane.setFocus()
    check("focus")
    QTest.mousePress(pane, Qt.MouseButton.LeftButton, none, start)
    QTest.mouseMove(pane, (start + stop) / 2)
    QTest.mouseMove(pane, stop)
    check("drag")
    QTest.mouseRelease(pane, Qt.MouseButton.LeftButton, none, stop)
    check("region")
    pane.leaveEvent(QEvent(QEvent.Type.Leave))
    check("pointer gone")
    wheel(pane, QPointF(stop), 4)
    check("zoom")
    window.session.hide_heat(True)
    check("bare")
    window.session.hide_heat(False)
    window.setFocus()
    check("no focus")
    window.set_theme("light")
    check("theme")
    window.set_theme("dark")


def test_input_while_pyqtgraph_loads_is_not_lost(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False)
    pane = window.panels.camera_grid.panes[0]
    layer = window.session.state.layer
    window.plot_loader.start()
    start, stop = (pane.model_to_pane().map(QPointF(x, y)).toPoint() for x, y in ((60, 80), (100, 110)))
    QTest.mousePress(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    app.postEvent(window, QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Up, Qt.KeyboardModifier.NoModifier))
    until(lambda: window.plot_loader.is_done)
    QTest.mouseMove(pane, stop)
    QTest.mouseRelease(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, stop)
    spin()
    assert window.session.state.layer == layer + 1
    assert window.session.state.region, "a drag that began before the plot was built ends on it"
    close(window)


def test_mouse_keys_and_menu_reach_the_pane_through_the_plot(window: MainWindow, app: QApplication) -> None:
    pane = window.panels.camera_grid.panes[0]
    assert pane.has_plot
    middle = pane.area().center().toPoint()
    assert window.childAt(pane.mapTo(window, middle)) is pane
    assert pane.focusPolicy() == Qt.FocusPolicy.TabFocus
    app.sendEvent(pane, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, middle, middle))
    menu = app.activePopupWidget()
    assert menu is not None
    assert menu.parent() is pane
    menu.close()
    QTest.keyClick(pane, Qt.Key.Key_Down)
    assert window.session.pointer is not None


def test_events_of_the_screen_reach_the_pane_under_its_plot(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    place = pane.model_to_pane().map(QPointF(100, 100)).toPoint()
    point, screen = pane.mapTo(window, place), window.windowHandle()
    QTest.mouseMove(screen, point - QPoint(3, 3))
    QTest.mouseMove(screen, point)
    spin()
    assert window.session.pointer == pane.cell_at(QPointF(place))
    assert pane.underMouse()
    QTest.mouseClick(screen, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
    spin()
    assert window.session.state.region == (pane.cell_at(QPointF(place)),)
    QTest.wheelEvent(screen, QPointF(point), QPoint(0, 600))
    spin()
    assert pane.zoom.factor > 2
    QTest.keyPress(screen, Qt.Key.Key_Space)
    QTest.mousePress(screen, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
    before = pane.zoom
    QTest.mouseMove(screen, point + QPoint(20, 10))
    QTest.mouseRelease(screen, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point + QPoint(20, 10))
    QTest.keyRelease(screen, Qt.Key.Key_Space)
    spin()
    assert pane.zoom != before
    assert window.playback.axis == ""


def test_menu_copies_the_weights_of_the_picture(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[1]
    pane.copy_data()
    lines = QGuiApplication.clipboard().text().splitlines()
    scene = window.session.scene()
    assert scene is not None
    assert lines[0] == "camera,row,col,weight"
    assert len(lines) == 1 + scene.maps[1].size
    assert lines[2] == f"wrist,0,1,{scene.maps[1][0, 1]}"
    pane.copy_picture()
    image = QGuiApplication.clipboard().image()
    assert (image.width(), image.height()) == (2 * pane.area().width(), 2 * pane.area().height())


def test_copied_picture_has_no_ring_of_the_focus(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    pane.copy_picture()
    plain = QGuiApplication.clipboard().image()
    pane.setFocus()
    focused = pane.grab(pane.area().toRect()).toImage()
    pane.copy_picture()
    assert QGuiApplication.clipboard().image() == plain
    assert pane.hasFocus()
    assert pane.grab(pane.area().toRect()).toImage() == focused


def test_logarithmic_colours_are_an_entry_of_the_menu(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    log = next(one for one in pane.build_context_menu().actions() if one.text() == "Logarithmic colours")
    log.trigger()
    assert window.session.state.scale == "log"
    spin()
    again = pane.build_context_menu()
    assert next(one for one in again.actions() if one.text() == "Logarithmic colours").isChecked()


def test_error_while_a_plot_is_painted_becomes_a_sentence(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, no_silent_errors: list[BaseException]
) -> None:
    pane = window.panels.camera_grid.panes[0]
    monkeypatch.setattr(pane.heat, "paint", lambda *given: 1 / 0)
    before = pane.grab(pane.area().toRect()).toImage()
    spin()
    assert [type(error) for error in no_silent_errors] == [ZeroDivisionError] * len(no_silent_errors)
    assert no_silent_errors
    no_silent_errors.clear()
    assert "exterior camera cannot be drawn" in window.notice.text
    monkeypatch.undo()
    pane.update_picture()
    spin()
    assert pane.grab(pane.area().toRect()).toImage() != before, "the picture is back"


# Zoom


def wheel(pane: CameraPane, point: QPointF, notches: float) -> None:
    pane.wheelEvent(
        QWheelEvent(
            point, pane.mapToGlobal(point), QPoint(), QPoint(0, round(120 * notches)), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )
    )  # fmt: skip
    spin(0.02)


def drag(pane: CameraPane, start: QPoint, by: QPoint, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
    none = Qt.KeyboardModifier.NoModifier
    QTest.mousePress(pane, button, none, start)
    for part in (0.5, 1.0):
        QTest.mouseMove(pane, start + by * part)
    QTest.mouseRelease(pane, button, none, start + by)
    spin(0.02)


def test_middle_button_drags_the_zoomed_picture_under_the_pointer(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    point = pane.area().center()
    wheel(pane, point, 6)
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
    wheel(pane, point, 6)
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
    wheel(pane, point, 4)
    steps = len(window.session._past)
    none = Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(pane, Qt.MouseButton.LeftButton, none, point.toPoint())
    spin(0)
    assert window.session.state.region != region
    QTest.mouseDClick(pane, Qt.MouseButton.LeftButton, none, point.toPoint())
    spin(0)
    assert pane.zoom.is_whole
    assert window.session.state.region == region
    assert len(window.session._past) == steps, "no step of undo is left"


def test_linked_pictures_show_the_same_part_and_the_choice_is_kept(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path)
    first, second = window.panels.camera_grid.panes[:2]
    wheel(first, first.area().center(), 3)
    assert second.zoom.is_whole
    window.perform_id("link_zoom")
    assert second.zoom == first.zoom
    wheel(second, second.area().topLeft() + QPointF(5, 5), 3)
    assert first.zoom == second.zoom
    window.perform_id("whole")
    assert first.zoom.is_whole
    assert second.zoom.is_whole
    close(window)
    again = show(small, tmp_path)
    assert again.panels.is_zoom_linked
    again.perform_id("link_zoom")
    assert not again.panels.is_zoom_linked
    close(again)


def test_zoom_is_written_on_the_picture(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    corner = pane.area().toRect()
    corner.setLeft(corner.right() - 60)
    corner.setHeight(34)
    pane.show_zoom(Zoom().zoomed(5, 1.0, 0.0))
    image = pane.grab(corner).toImage()
    colours = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert "#ffffff" in colours, "white letters"


# Handles of a box


def test_plain_pane_zooms_and_resizes_a_box_too(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False, region=BOX)
    pane = window.panels.camera_grid.panes[0]
    assert not pane.has_plot
    box = pane.region_box()
    assert box is not None
    wheel(pane, box.center(), 2)
    middle, box = box.center(), pane.region_box()
    assert box is not None
    assert (box.center() - middle).manhattanLength() < 1, "the point under the pointer stays"
    drag(pane, box.bottomRight().toPoint(), QPoint(round(box.width() / 3), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))
    QTest.mouseDClick(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle.toPoint())
    assert pane.zoom.is_whole
    close(window)


def test_handle_of_a_box_resizes_it_by_patches(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=BOX)
    spin()
    box = pane.region_box()
    assert box is not None
    across = box.width() / 3
    drag(pane, box.bottomRight().toPoint(), QPoint(round(across), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (4, 5, 6, 7))
    box = pane.region_box()
    assert box is not None
    drag(pane, QPointF(box.left(), box.center().y()).toPoint(), QPoint(round(2 * across), 0))
    assert window.session.state.region == tuple((0, row, col) for row in (5, 6, 7) for col in (6, 7))


def test_handle_keeps_patches_that_the_zoom_hides(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(region=BOX)
    spin()
    box = pane.region_box()
    assert box is not None
    wheel(pane, box.bottomRight(), 9)
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
    for handle, place in region_handles.handles(box).items():
        QTest.mouseMove(pane, place.toPoint())
        assert pane.cursor().shape() == region_handles.cursor_of(handle)
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
