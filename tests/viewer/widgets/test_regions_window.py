"""Named regions in a real window: read beside the file, chosen, shown as lanes and outlines, frame by frame."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import h5py
import moving_regions
import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPointF, Qt
from PySide6.QtTest import QTest
from window_driver import close, press, show, spin, until, wait_until_idle

from viewer.analysis import scores
from viewer.analysis.regions.regions_reading import RegionsReading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

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
    wait_until_idle(window)
    return window


@pytest.fixture(scope="module")
def shared(app: QApplication, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainWindow]:
    folder = tmp_path_factory.mktemp("shared")
    window = show_regions(copy_files(file, folder), folder, (1600, 1100), frame=1)
    yield window
    close(window)


@pytest.fixture
def window(shared: MainWindow) -> MainWindow:
    """Return a window in which frame 1 is shown and no region is chosen."""
    shared.session.update(frame=1, region=(), score="picture")
    shared.session.point(None)
    QCoreApplication.sendEvent(shared.panels.timeline, QEvent(QEvent.Type.Leave))
    shared.panels.show_tab("film")
    spin()
    shared.session.history.clear()
    return shared


def click_row(window: MainWindow, number: int, column: int = 0) -> None:
    panel = window.panels.regions
    left = panel.edges()[column][0] + 12
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=QPointF(left, panel.HEADING + 22 * number + 8).toPoint())
    spin()


def test_list_has_name_color_and_known_frames(window: MainWindow) -> None:
    press(window, Qt.Key.Key_Y)
    rows = window.panels.regions.rows
    assert window.panels.current_tab == "regions"
    assert [(row.name, row.color, row.known) for row in rows] == [
        ("duck", "#2ec4b6", "3 of 8 frames (exterior 3)"),
        ("cup", "#e05299", "1 of 8 frames (wrist 1)"),
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
    assert window.status.left() == "region duck, unknown or absent in this frame"
    assert "region duck, unknown or absent in this frame" in window.panels.sentence.accessibleDescription()


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
    assert [(camera.camera, camera.known, camera.untracked, camera.stops) for camera in duck.cameras] == [
        ("exterior", ((1, 3),), (1,), (4,)),
        ("wrist", (), (), ()),
    ]
    assert [camera.known for camera in cup.cameras] == [(), ((2, 2),)]
    box = timeline.find_lanes_box()
    image = timeline.grab().toImage()

    def color_at(frame: float, lane: int, camera: int) -> tuple[int, int, int]:
        pixel = image.pixelColor(round(timeline.x_of(frame)), round(box.top() + 14 * lane + 2 + 2 + 5 * camera))
        return pixel.red(), pixel.green(), pixel.blue()

    assert np.allclose(color_at(2.2, 0, 0), (0x2E, 0xC4, 0xB6), atol=50)  # known: nearly the region's colour
    assert max(color_at(2.2, 0, 1)) < 60  # not known in the wrist's picture: the ground
    assert max(color_at(5.2, 0, 0)) < 60
    assert np.allclose(color_at(2.2, 1, 1), (0xE0, 0x52, 0x99), atol=50)


def test_strips_of_a_low_timeline_lie_above_its_chart(window: MainWindow) -> None:
    timeline = window.panels.timeline
    timeline.resize(timeline.width(), timeline.MIN_HEIGHT)
    assert (timeline.lane_count, len(timeline.lanes)) == (0, 2)
    image = timeline.grab().toImage()
    x, top = round(timeline.x_of(2.2)), round(timeline.content_box().top())
    colours = {image.pixelColor(x, y).name() for y in range(timeline.HEADING - 8, top)}
    assert len(colours) >= 3  # the ground, and the strips of the duck and the cup
    background = {image.pixelColor(x, y).name() for y in range(top - 3, top)}
    assert background == {image.pixelColor(x, timeline.HEADING - 8).name()}, "the ground lies between strips and chart"


def test_click_on_a_lane_chooses_its_region_and_the_frame(window: MainWindow) -> None:
    timeline = window.panels.timeline
    point = QPointF(timeline.x_of(3), timeline.find_lanes_box().top() + 6)
    QTest.mouseMove(timeline, point.toPoint())
    QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=point.toPoint())
    spin()
    assert (window.session.shown.region_name, window.session.shown.frame) == ("duck", 3)


def test_outlines_have_the_colors_of_the_regions(window: MainWindow) -> None:
    pane = window.panels.camera_grid.panes[0]
    window.session.update(frame=2, region_name="duck")
    spin()
    content = pane._content
    assert content is not None
    outline = pane.model_to_pane().mapRect(
        pane.outlines.named(window.session.regions, 2, content.results.grid)[0][2].boundingRect()
    )
    image = pane.grab().toImage()
    pixel = image.pixelColor(round(outline.left()), round(outline.center().y()))
    assert np.allclose((pixel.red(), pixel.green(), pixel.blue()), (0x2E, 0xC4, 0xB6), atol=40)


def test_change_by_another_program_is_noticed(file: Path, tmp_path: Path) -> None:
    from viewer.export.masks.__main__ import main

    window = show_regions(copy_files(file, tmp_path), tmp_path, region_name="cup", frame=2)
    try:
        assert window.session.state.region == ((1, 6, 6),)
        press(window, Qt.Key.Key_Y)
        assert main(["remove", str(tmp_path / "small.h5"), "cup"]) == 0
        window.regions.check_for_changes()
        until(lambda: [row.name for row in window.panels.regions.rows] == ["duck"])
        assert window.session.state.region == ()
    finally:
        close(window)


def test_regions_of_another_capture_give_one_sentence_and_the_window_stays_usable(file: Path, tmp_path: Path) -> None:
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
    reading = RegionsReading(regions, path)
    sentence = reading.wait()
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert not reading.regions.regions


def test_timeline_has_the_mass_of_the_region_with_gaps(window: MainWindow) -> None:
    session = window.session
    session.update(region_name="duck")
    spin()
    until(lambda: window.panels.frame_series.region_curve is not None)
    wait_until_idle(window)
    chart = window.panels.timeline._chart
    assert chart is not None
    line = chart.lines[-1]
    assert (line.name, line.color) == ("duck", "#2ec4b6")
    assert np.isfinite(line.values).tolist() == [False, True, True, True, False, False, False, False]
    session.update(frame=3)
    spin()
    scene = session.scene()
    assert scene is not None
    assert line.values[3] == pytest.approx(float(scores.region_mass(scene.maps, ((0, 7, 6), (0, 8, 6)))), rel=1e-3)
    assert window.panels.timeline.describe_moment(3).endswith(" · duck known in 3 of 8")
    session.update(region=())
    spin()
    until(lambda: window.panels.frame_series.region_curve is None)


def test_export_names_the_region(window: MainWindow) -> None:
    from viewer.widgets.overlays.export_form import ExportForm

    window.session.update(region_name="duck", frame=2, score="lift")
    window.session.flush()
    for kind, is_named in (("table", True), ("atlas", True), ("summary", False)):
        words = ExportForm(window.session, kind, window.regions.path.parent).arguments()  # type: ignore[union-attr]
        assert (words[-2:] == ["--region", "duck"]) is is_named
        assert '"region_name":"duck"' in words[words.index("--view") + 1]


def test_saved_view_opens_with_the_region(window: MainWindow) -> None:
    from viewer.model.view_state import from_json

    window.session.update(region_name="duck", frame=3)
    window.session.flush()
    view = from_json(window.session.state.to_json())
    assert (view.region_name, view.region) == ("duck", ((0, 7, 6), (0, 8, 6)))
    window.session.update(region=(), frame=0)
    window.session.flush()
    window.session.open(window.session.results, view)
    until(lambda: window.session.regions is not None)
    assert window.session.state.region == ((0, 7, 6), (0, 8, 6))


def test_next_episode_keeps_the_name_and_has_its_own_patches(file: Path, tmp_path: Path) -> None:
    from viewer.io.results import Results
    from viewer.regions.file_versions import default_path
    from viewer.regions.region import RegionSet
    from viewer.regions.regions_file import replace_regions

    first = copy_files(file, tmp_path)
    second = moving_regions.write(tmp_path / "second.h5", layers=2, heads=2, steps=2)
    results = Results(second)
    regions = RegionSet(results.uuid)
    moving_regions.make_region(regions, results, "duck", {0: ((5, 5),)})
    replace_regions(default_path(second), regions, results)
    results.close()
    window = show_regions(first, tmp_path, frame=1, region_name="duck")
    try:
        carried_view = window.files._carry(window.session.results)  # type: ignore[arg-type]
        opened = Results(second)
        view = carried_view.onto(opened)  # type: ignore[union-attr]
        window.session.open(opened, view)
        assert (window.session.state.region_name, window.session.state.region) == ("duck", ())
        until(lambda: window.session.regions is not None)
        assert window.session.state.region == ()  # not known in frame 1
        window.session.update(frame=0)
        window.session.flush()
        assert window.session.state.region == ((0, 5, 5),)
    finally:
        close(window)
