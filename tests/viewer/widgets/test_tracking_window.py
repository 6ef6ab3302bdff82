"""Tracking in a real window: a box is drawn, named, followed in a process, corrected, undone and done again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import moving_regions
import pytest
from growing_results import GrowingResults
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from window_driver import close, press, show, spin, until, wait_until_idle

from viewer.analysis import scores
from viewer.rendering.patches import find_patch_box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.model.view_state import Cell
    from viewer.regions.known_patches import NamedPatches
    from viewer.widgets.main_window import MainWindow

SQUARE = tuple((0, row, col) for row in (6, 7, 8) for col in (2, 3, 4))
"""Where the moving square is in frame 0: three by three whole patches; two frames later one patch further right."""
COVERED = 5
"""The frame in which it is hidden."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moving") / "moving.h5"
    return moving_regions.write(path, covered=(COVERED,), layers=2, heads=2, steps=2)


@pytest.fixture
def window(file: Path, tmp_path: Path) -> Iterator[MainWindow]:
    shutil.copy(file, tmp_path / "moving.h5")
    window = show(tmp_path / "moving.h5", tmp_path, (1280, 800), frame=0)
    yield window
    close(window)


def shifted(frame: int) -> tuple[Cell, ...]:
    """Return the patches of the square in an even frame."""
    return tuple((camera, row, col + frame // 2) for camera, row, col in SQUARE)


def drag(window: MainWindow, first: Cell, last: Cell) -> None:
    """Drag a box from the middle of one patch to that of another with the mouse."""
    pane = window.panels.camera_grid.panes[first[0]]
    grid = window.session.results.grid  # type: ignore[union-attr]
    transform = pane.model_to_pane()
    start, end = (transform.mapRect(find_patch_box(cell, grid)) for cell in (first, last))
    begin, finish = (start.topLeft() + QPointF(3, 3)).toPoint(), (end.bottomRight() - QPointF(3, 3)).toPoint()
    QTest.mousePress(pane, Qt.MouseButton.LeftButton, pos=begin)
    no_modifier, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
    for point in ((begin + finish) / 2, finish):
        position = QPointF(point)
        pane.mouseMoveEvent(
            QMouseEvent(QEvent.Type.MouseMove, position, pane.mapToGlobal(position), left, left, no_modifier)
        )
    QTest.mouseRelease(pane, left, pos=finish)
    spin()


def name_and_track(window: MainWindow, name: str = "") -> None:
    """Name what is marked with the keyboard, and wait until it is tracked and read."""
    press(window, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    field = window.panels.regions.controls.field
    assert field.hasFocus() or window.focusWidget() is field
    if name:
        field.setText(name)
    steps = len(window.session.history.past)
    QTest.keyClick(field, Qt.Key.Key_Return)
    until(lambda: len(window.session.history.past) > steps and not window.regions.process.is_running, 30)
    wait_until_idle(window)


def duck_of(window: MainWindow) -> NamedPatches:
    assert window.session.regions is not None
    return window.session.regions.regions["duck"]


def test_drawn_box_is_tracked_corrected_and_undone(window: MainWindow, tmp_path: Path) -> None:
    session = window.session
    drag(window, (0, 6, 2), (0, 8, 4))
    assert session.state.region == SQUARE
    name_and_track(window, "duck")
    # The region is chosen, and follows the square, until the frame in which that is hidden.
    assert session.state.region_name == "duck"
    duck = duck_of(window)
    assert duck.frames == (0, 1, 2, 3, 4)
    assert [duck.find_cells(frame) for frame in (0, 2, 4)] == [SQUARE, shifted(2), shifted(4)]
    assert [stop[:2] for stop in duck.stops] == [(COVERED, "exterior")]
    assert window.notice.text.startswith("duck was lost in exterior at frame 5: ")
    # Its mass is that of its patches in each frame.
    session.point(None)
    session.update(frame=4)
    spin()
    scene = session.scene()
    assert scene is not None
    mass = float(scores.region_mass(scene.maps, shifted(4)))
    assert f"region duck, 9 patches: {100 * mass:.1f} %" in window.status.left()
    # The lane ends where it was lost; one key goes there.
    lane = window.panels.timeline.lanes[0].cameras[0]
    assert (lane.known, lane.untracked, lane.stops) == (((0, 4),), (0,), (COVERED,))
    session.update(frame=0)
    press(window, Qt.Key.Key_J)
    spin()
    assert session.shown.frame == COVERED
    # Drawn again two frames later, it goes on in both directions, under the same name.
    session.update(frame=6)
    spin()
    drag(window, (0, 6, 5), (0, 8, 7))
    name_and_track(window)
    duck = duck_of(window)
    assert duck.frames == (0, 1, 2, 3, 4, 6, 7)
    assert duck.find_cells(6) == shifted(6)
    assert duck.cameras["exterior"].origins == {0: "drawn", 6: "drawn", **dict.fromkeys((1, 2, 3, 4, 7), "tracked")}
    # Undo takes back the correction, then what came before it; redo brings both back.
    for _ in range(2):
        press(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        until(lambda: not window.regions.is_reading)
        window.regions.check_for_changes()
        until(lambda: not window.regions.is_reading)
        if duck_of(window).frames == (0, 1, 2, 3, 4):
            break
    assert duck_of(window).frames == (0, 1, 2, 3, 4)
    while session.can_undo:
        session.undo()
    window.regions.check_for_changes()
    until(lambda: not window.regions.is_reading)
    assert not (tmp_path / "moving.regions.h5").exists()
    assert session.regions is None
    while session.can_redo:
        session.redo()
    window.regions.check_for_changes()
    until(lambda: session.regions is not None and not window.regions.is_reading)
    assert duck_of(window).frames == (0, 1, 2, 3, 4, 6, 7)


def test_region_is_renamed_recolored_and_removed(window: MainWindow) -> None:
    session, regions = window.session, window.regions
    session.update(region=SQUARE)
    spin()
    controls = window.panels.regions.controls

    def wait(condition: object) -> None:
        until(lambda: not regions.process.is_running and not regions.is_reading and condition(), 30)  # type: ignore[operator]

    assert regions.track("duck", is_whole=False)
    wait(lambda: session.regions is not None)
    assert duck_of(window).frames == (0,)
    press(window, Qt.Key.Key_Y)
    controls.field.setText("yellow duck")
    QTest.keyClick(controls.field, Qt.Key.Key_Return)
    wait(lambda: session.regions is not None and "yellow duck" in session.regions.regions)
    assert session.state.region_name == "yellow duck"
    menu = controls.build_color_menu()
    menu.actions()[2].trigger()
    wait(lambda: session.regions is not None and session.regions.regions["yellow duck"].color == "#5b8dff")
    menu.close()
    QTest.mouseClick(controls.remove, Qt.MouseButton.LeftButton)
    wait(lambda: session.regions is not None and not session.regions.regions)
    assert (session.state.region_name, session.state.region) == ("", ())
    session.undo()
    session.undo()
    regions.check_for_changes()
    wait(lambda: session.regions is not None and list(session.regions.regions) == ["yellow duck"])


def test_file_changed_by_another_program_is_not_overwritten_by_undo(window: MainWindow, tmp_path: Path) -> None:
    from viewer.export.masks.__main__ import main

    window.session.update(region=SQUARE)
    spin()
    assert window.regions.track("duck", is_whole=False)
    until(lambda: window.session.can_undo and window.session.regions is not None, 30)
    assert main(["track", str(tmp_path / "moving.h5"), "--frames", "2-2", "cup=exterior:7,7@2"]) == 0
    while window.session.can_undo:
        window.session.undo()
    assert "was changed since" in window.notice.text
    window.regions.check_for_changes()
    until(lambda: window.session.regions is not None and len(window.session.regions.regions) == 2)


def test_read_only_folder_offers_another_place(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from viewer.controllers.regions import regions_controller
    from viewer.errors import UserError

    def refuse(path: Path) -> None:  # tests run as root, for whom nothing is read-only
        if path.parent == tmp_path:
            raise UserError(f"{path.parent} is read-only.")

    proposed = []
    monkeypatch.setattr(regions_controller, "check_writable", refuse)
    monkeypatch.setattr(
        regions_controller.file_dialogs, "ask_regions_path", lambda _, path: proposed.append(path) or path
    )
    window.session.update(region=SQUARE)
    spin()
    assert window.regions.track("duck", is_whole=False)
    until(lambda: window.session.regions is not None, 30)
    assert proposed[0].name == "moving.regions.h5"
    assert proposed[0].exists()
    assert not (tmp_path / "moving.regions.h5").exists()
    assert duck_of(window).frames == (0,)


def test_stopped_tracking_is_no_failure_and_shows_no_message(window: MainWindow) -> None:
    window.session.update(region=SQUARE)
    press(window, Qt.Key.Key_Y)
    spin()
    assert window.regions.track("duck")  # nothing is awaited until it is stopped, as it is done within a second
    assert window.panels.regions.controls.stop.isVisible()
    QTest.mouseClick(window.panels.regions.controls.stop, Qt.MouseButton.LeftButton)
    until(lambda: not window.regions.process.is_running, 30)
    assert "failed" not in window.notice.text


def test_region_of_a_growing_file_is_drawn_while_it_is_written(tmp_path: Path) -> None:
    writer = GrowingResults(tmp_path / "growing.h5", 3)
    try:
        writer.write_next()
        writer.write_next()
        window = show(tmp_path / "growing.h5.partial", tmp_path, (1280, 800), region=((0, 7, 7),))
        try:
            assert window.regions.track("duck", is_whole=False)
            until(lambda: window.session.regions is not None, 30)
            assert (tmp_path / "growing.regions.h5").exists()
            assert window.session.state.region == ((0, 7, 7),)
            writer.write_next()
            writer.write_next()
            until(lambda: window.session.results is not None and window.session.results.path.suffix == ".h5")
            until(lambda: window.session.regions is not None, 30)
            assert (window.session.state.region_name, window.session.state.region) == ("duck", ((0, 7, 7),))
        finally:
            close(window)
    finally:
        writer.stop()
