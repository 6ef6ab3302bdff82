"""Named regions in a real window: read beside the file, chosen, shown as lanes and outlines, frame by frame."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import h5py
import moving_regions
import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from window_driver import close, press, rest, show, spin, until

from viewer.analysis import scores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results file with the regions duck and cup beside it; tests copy both."""
    path = moving_regions.write(tmp_path_factory.mktemp("moving") / "small.h5", layers=2, heads=2, steps=2)
    moving_regions.write_duck(path)
    return path


def copy_files(file: Path, folder: Path) -> Path:
    for name in ("small.h5", "small.regions.h5"):
        shutil.copy(file.with_name(name), folder / name)
    return folder / "small.h5"


def show_regions(path: Path, folder: Path, size: tuple[int, int] = (1280, 800), **view: object) -> MainWindow:
    window = show(path, folder, size, **view)
    until(lambda: window.session.regions is not None or window.regions.problem)
    rest(window)
    return window


@pytest.fixture
def window(file: Path, tmp_path: Path) -> Iterator[MainWindow]:
    made = show_regions(copy_files(file, tmp_path), tmp_path, (1600, 1100), frame=1)
    yield made
    close(made)


def click_row(window: MainWindow, number: int, column: int = 0) -> None:
    panel = window.panels.regions
    left = panel.edges()[column][0] + 12
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=QPointF(left, panel.HEADING + 22 * number + 8).toPoint())
    spin()


def test_list_has_name_colour_and_known_frames(window: MainWindow) -> None:
    press(window, Qt.Key.Key_Y)
    rows = window.panels.regions.rows
    assert window.panels.current_tab == "regions"
    assert [(row.name, row.color, row.known) for row in rows] == [
        ("duck", "#ff8a1f", "3 of 8 frames (exterior 3)"),
        ("cup", "#2ec4b6", "1 of 8 frames (wrist 1)"),
    ]
    assert rows[0].lost == "frame 4, exterior: the region leaves the picture"


def test_chosen_region_has_the_patches_of_each_frame(window: MainWindow) -> None:
    press(window, Qt.Key.Key_Y)
    click_row(window, 0)
    session = window.session
    for frame in range(4):
        session.update(frame=frame)
        spin(0.01)
        assert session.shown.region_name == "duck"
        assert session.shown.region == (((0, 7, 3 + frame), (0, 8, 3 + frame)) if frame else ())
    assert window.panels.current_tab == "regions"  # a frame in which it is not known changes no tab


def test_mass_of_the_chosen_region_is_that_of_its_patches_in_the_frame(window: MainWindow) -> None:
    window.session.update(region_name="duck", frame=3)
    spin()
    scene = window.session.scene()
    assert scene is not None
    mass = float(scores.region_mass(scene.maps, ((0, 7, 6), (0, 8, 6))))
    assert window.status.left().startswith(f"region duck, 2 patches: {100 * mass:.1f} % of this row")
    window.session.update(frame=5)
    spin()
    assert window.status.left() == "region duck, in no patch of this frame"
    assert "region duck, in no patch of this frame" in window.panels.sentence.accessibleDescription()


def test_marked_box_takes_the_place_of_the_named_region(window: MainWindow) -> None:
    window.session.update(region_name="duck")
    window.session.flush()
    window.session.history.end_step()  # as after a pause
    window.session.update(region=((0, 5, 5),))
    window.session.flush()
    assert (window.session.state.region_name, window.session.state.region) == ("", ((0, 5, 5),))
    window.session.undo()
    assert (window.session.state.region_name, window.session.state.region) == ("duck", ((0, 7, 4), (0, 8, 4)))


def test_click_on_a_stop_goes_to_its_frame(window: MainWindow) -> None:
    press(window, Qt.Key.Key_Y)
    click_row(window, 0, column=2)
    assert (window.session.shown.frame, window.session.shown.region_name) == (4, "duck")


def test_lanes_show_where_each_region_is_known(window: MainWindow) -> None:
    timeline = window.panels.timeline
    assert timeline.lane_count == 2
    duck, cup = timeline.lanes
    assert [(one.camera, one.known, one.given, one.stops) for one in duck.cameras] == [
        ("exterior", ((1, 3),), (1,), (4,)),
        ("wrist", (), (), ()),
    ]
    assert [one.known for one in cup.cameras] == [(), ((2, 2),)]
    box = timeline.lanes_box()
    image = timeline.grab().toImage()

    def colour_at(moment: float, lane: int, camera: int) -> tuple[int, int, int]:
        found = image.pixelColor(round(timeline.x_of(moment)), round(box.top() + 14 * lane + 2 + 2 + 5 * camera))
        return found.red(), found.green(), found.blue()

    assert np.allclose(colour_at(2.2, 0, 0), (0xFF, 0x8A, 0x1F), atol=50)  # known: nearly the region's colour
    assert max(colour_at(2.2, 0, 1)) < 60  # not known in the wrist's picture: the ground
    assert max(colour_at(5.2, 0, 0)) < 60
    assert np.allclose(colour_at(2.2, 1, 1), (0x2E, 0xC4, 0xB6), atol=50)


def test_click_on_a_lane_chooses_its_region_and_the_frame(window: MainWindow) -> None:
    timeline = window.panels.timeline
    point = QPointF(timeline.x_of(3), timeline.lanes_box().top() + 6)
    QTest.mouseMove(timeline, point.toPoint())
    QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=point.toPoint())
    spin()
    assert (window.session.shown.region_name, window.session.shown.frame) == ("duck", 3)


def test_outlines_have_the_colours_of_the_regions(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(frame=2, region_name="duck")
    spin()
    content = pane._content
    assert content is not None
    outline = pane.model_to_pane().mapRect(
        pane.outlines.named(window.session.regions, 2, content.results.grid)[0][2].boundingRect()
    )
    image = pane.grab().toImage()
    found = image.pixelColor(round(outline.left()), round(outline.center().y()))
    assert np.allclose((found.red(), found.green(), found.blue()), (0xFF, 0x8A, 0x1F), atol=40)


def test_change_by_another_program_is_noticed(window: MainWindow, tmp_path: Path) -> None:
    from viewer.export.masks.__main__ import main

    assert main(["remove", str(tmp_path / "small.h5"), "cup"]) == 0
    window.regions.look_for_changes()
    until(lambda: window.session.regions is not None and list(window.session.regions.regions) == ["duck"])
    assert [row.name for row in window.panels.regions.rows or []] in ([], ["duck"])  # hidden panels load when shown


def test_regions_of_another_capture_give_one_sentence_and_the_window_goes_on(file: Path, tmp_path: Path) -> None:
    path = copy_files(file, tmp_path)
    with h5py.File(tmp_path / "small.regions.h5", "r+") as regions:
        regions.attrs["uuid"] = "another"
    window = show_regions(path, tmp_path)
    try:
        assert window.regions.problem.startswith("small.regions.h5 belongs to another results file")
        assert window.panels.regions.message() == window.regions.problem
        window.session.update(frame=2)
        spin()
        assert window.session.scene() is not None
    finally:
        close(window)


@pytest.mark.parametrize("harm", ["cut short", "link", "shape", "name"])
def test_damaged_or_hostile_regions_give_one_sentence(harm: str, file: Path, tmp_path: Path) -> None:
    path = copy_files(file, tmp_path)
    regions = tmp_path / "small.regions.h5"
    if harm == "cut short":
        regions.write_bytes(regions.read_bytes()[:700])
    else:
        with h5py.File(regions, "r+") as opened:
            if harm == "link":
                opened["evil"] = h5py.ExternalLink("/etc/passwd", "/")
            elif harm == "shape":
                del opened["duck/exterior/coverage"]
                opened["duck/exterior"].create_dataset("coverage", (8, 1 << 20, 1 << 20), "f4", chunks=(1, 64, 64))
            else:
                opened.create_group("a" * 100)
    window = show_regions(path, tmp_path)
    try:
        assert window.session.regions is None
        assert window.regions.problem.endswith(".")
        assert "Traceback" not in window.regions.problem
    finally:
        close(window)
