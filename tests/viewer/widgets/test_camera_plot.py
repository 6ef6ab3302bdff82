"""The camera pane's plot has the pixels of the plain pane, blocks nothing and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QKeyEvent
from PySide6.QtTest import QTest
from window_driver import check_screen, close, show, spin, turn_wheel, until

from viewer.model.view_state import Query
from viewer.model.zoom import Zoom
from viewer.rendering import theme

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
        image_by_view: dict[object, list[bytes]] = {}
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
                    image_by_view[size, colours, name] = [image_of(pane) for pane in grid.panes]
                grid.panes[0].setFocus()
                image_by_view[size, colours, "focus"] = [image_of(grid.panes[0])]
                window.setFocus()
        return image_by_view

    baseline = images()
    window.plot_loader.start()
    until(lambda: window.plot_loader.is_done)
    assert all(pane.has_plot for pane in grid.panes)
    plotted = images()
    close(window)
    theme.apply("dark")
    return len(baseline), [name for name in baseline if baseline[name] != plotted[name]]


def test_plot_has_the_pixels_of_the_plain_pane(app: QApplication, small: Path, tmp_path: Path) -> None:
    assert differing_views(small, tmp_path) == (28, [])


def test_plot_has_the_pixels_of_the_plain_pane_at_scale_factor_2(small: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    completed = subprocess.run(
        [sys.executable, "-c", SAME_PIXELS, str(small)], capture_output=True, text=True, check=False,
        env={**os.environ, "QT_SCALE_FACTOR": "2", "PYTHONPATH": paths},
    )  # fmt: skip
    assert completed.stdout.strip() == "2.0 (28, [])", completed.stderr


def test_take_over_shows_nothing_in_between(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, plots=False)
    screen = app.primaryScreen()
    before = screen.grabWindow(window.winId()).toImage()
    window.plot_loader.start()
    frames_seen = 0
    while not window.plot_loader.is_done:
        app.processEvents()
        assert screen.grabWindow(window.winId()).toImage() == before
        frames_seen += 1
    assert frames_seen > 5, "control returned to the event loop between the pieces"
    close(window)


def test_every_change_of_the_picture_is_repainted(window: MainWindow, app: QApplication) -> None:
    """The screen shows what a complete repaint would show: focus, pointer, a drag under way, zoom, theme, bare picture."""
    pane = window.panels.camera_grid.panes[0]
    no_modifier = Qt.KeyboardModifier.NoModifier
    start, stop = (pane.model_to_pane().map(QPointF(x, y)).toPoint() for x, y in ((60, 80), (120, 130)))

    pane.setFocus()
    check_screen(window, "focus")
    QTest.mousePress(pane, Qt.MouseButton.LeftButton, no_modifier, start)
    QTest.mouseMove(pane, (start + stop) / 2)
    QTest.mouseMove(pane, stop)
    check_screen(window, "drag")
    QTest.mouseRelease(pane, Qt.MouseButton.LeftButton, no_modifier, stop)
    check_screen(window, "region")
    pane.leaveEvent(QEvent(QEvent.Type.Leave))
    check_screen(window, "pointer gone")
    turn_wheel(pane, QPointF(stop), 4)
    check_screen(window, "zoom")
    window.session.hide_heat(True)
    check_screen(window, "bare")
    window.session.hide_heat(False)
    window.setFocus()
    check_screen(window, "no focus")
    window.set_theme("light")
    check_screen(window, "theme")
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
    plot_point = pane.model_to_pane().map(QPointF(100, 100)).toPoint()
    point, screen = pane.mapTo(window, plot_point), window.windowHandle()
    QTest.mouseMove(screen, point - QPoint(3, 3))
    QTest.mouseMove(screen, point)
    spin()
    cell = pane.cell_at(QPointF(plot_point))  # the region's ranking then takes room from the pictures
    assert window.session.pointer == cell
    assert pane.underMouse()
    QTest.mouseClick(screen, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
    spin()
    assert window.session.state.region == (cell,)
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
    without_focus = QGuiApplication.clipboard().image()
    pane.setFocus()
    focused = pane.grab(pane.area().toRect()).toImage()
    pane.copy_picture()
    assert QGuiApplication.clipboard().image() == without_focus
    assert pane.hasFocus()
    assert pane.grab(pane.area().toRect()).toImage() == focused


def test_logarithmic_colors_are_an_entry_of_the_menu(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    log = next(action for action in pane.build_context_menu().actions() if action.text() == "Logarithmic colours")
    log.trigger()
    assert window.session.state.scale == "log"
    spin()
    second_menu = pane.build_context_menu()
    assert next(action for action in second_menu.actions() if action.text() == "Logarithmic colours").isChecked()


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
