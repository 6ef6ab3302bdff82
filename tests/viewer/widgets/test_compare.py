"""Comparing with a pinned view, and with a second file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from window_driver import close, press, show, spin, until

from viewer.controllers.settings import Settings
from viewer.export.metadata import find_second_file, read_second_file, read_view
from viewer.io.results import Results
from viewer.model.view_state import Query, from_json
from viewer.rendering import ticks
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def test_range_of_a_difference_is_symmetric_about_zero(window: MainWindow) -> None:
    heat, session = window.panels.heat, window.session
    window.perform_id("pin")
    session.update(compare="difference", layer=3)
    spin(0.01)

    def ends() -> tuple[float, float]:
        spin(0.01)
        scene = session.scene()
        assert scene is not None
        return scene.ranges[0]

    window.perform_id("lock")
    reach = ends()[1]
    assert ends() == (-reach, reach)
    for field, text, expected in ((heat.low, "-0.25", 0.25), (heat.high, "0.5", 0.5), (heat.low, "0", 0.5)):
        field.setText(text)
        field.editingFinished.emit()
        assert ends() == (-expected, expected)
        assert (heat.low.text(), heat.high.text()) == (
            ticks.format_number(-expected, 4),
            ticks.format_number(expected, 4),
        )
    session.update(compare="off")
    assert ends() == (0, 0.5), "weights begin at 0"


def test_compare_pins_blinks_and_shows_side_by_side(window: MainWindow) -> None:
    press(window, Qt.Key.Key_B)
    assert "pin a view first" in window.notice.text
    window.session.update(layer=1)
    press(window, Qt.Key.Key_P)
    window.session.update(layer=3)
    spin(0.01)
    scene_before = window.session.scene()
    QTest.keyPress(window, Qt.Key.Key_B)
    spin(0.01)
    blinked_scene = window.session.scene()
    assert scene_before is not blinked_scene
    assert "layer 1" in window.panels.sentence.accessibleDescription()
    QTest.keyRelease(window, Qt.Key.Key_B)
    assert window.session.scene() is scene_before
    window.perform_id("side")
    spin()
    for above, below in zip(window.panels.camera_grid.panes, window.panels.camera_grid.pinned, strict=True):
        assert below.isVisible()
        assert above.scene is not None
        assert below.scene is not None
        assert blinked_scene is not None
        assert (below.scene.maps == blinked_scene.maps).all()
        assert above.scene.ranges == below.scene.ranges, "one colour range for both sides"
    window.perform_id("unpin")
    spin()
    assert not any(pane.isVisible() for pane in window.panels.camera_grid.pinned)


def test_second_file_is_aligned_by_words_and_layer_number(app: QApplication, tmp_path: Path) -> None:
    first = make_results.write(tmp_path / "one.h5", make_results.Recipe(tasks=("put the duck in the bowl",)))
    second = make_results.write(
        tmp_path / "two.h5",
        make_results.Recipe(tasks=("please take the duck out of it",), seed=2, extra={"layers": [2, 3, 4, 5]}),
    )
    window = show(first, tmp_path)
    chips = window.session.results.chips(0)  # type: ignore[union-attr]
    duck = next(n for n, chip in enumerate(chips) if chip.text == "duck")
    window.session.update(query=Query("text", (duck,)), layer=3)
    window.show_results(Results(second), True)
    spin()
    pin = window.session.pin
    assert pin is not None
    assert pin[0].chips(0)[pin[1].query.first].text == "duck"
    assert pin[0].layers[pin[1].layer] == 3
    assert window.panels.camera_grid.pinned[0].isVisible()
    assert window.top.comparison() == "compared with two.h5"
    bowl = next(n for n, chip in enumerate(chips) if chip.text == "bowl")
    window.session.update(query=Query("text", (bowl,)))
    spin()
    assert window.session.not_compared
    assert window.top.comparison() == "not compared with two.h5", "as the sentence says"
    close(window)


def test_blinking_to_a_second_file_with_fewer_cameras(app: QApplication, tmp_path: Path) -> None:
    first = make_results.write(tmp_path / "one.h5", make_results.Recipe(frames=1))
    second = make_results.write(tmp_path / "two.h5", make_results.Recipe(frames=1, cameras=("exterior",)))
    window = show(first, tmp_path, region=((0, 5, 5), (1, 6, 6)))
    window.show_results(Results(second), True)
    window.session.blink(True)
    scene = window.session.scene()
    assert scene is not None
    assert window.status.left().startswith(f"region of 1 patch: {ticks.format_share(float(scene.maps[0, 5, 5]))}")
    window.session.point((1, 6, 6))
    window.status.describe()
    assert not window.grab().isNull()
    close(window)


def test_command_and_saved_picture_name_both_files_of_a_comparison(window: MainWindow, tmp_path: Path) -> None:
    import shlex

    second_file = make_results.write(tmp_path / "another one.h5", make_results.Recipe(seed=5))
    window.show_results(Results(second_file), True)
    words = shlex.split(window.acts.command_line())
    assert words[1:4] == [str(window.session.path), str(second_file), "--view"]
    assert from_json(words[4]).compare == "side"
    window.acts.write_picture(tmp_path / "both.png")
    until(lambda: not window.acts.is_saving)
    way = read_second_file(read_view(str(tmp_path / "both.png")))
    assert find_second_file(window.session.path, way, "").samefile(second_file)  # type: ignore[union-attr,arg-type]


def test_second_file_waits_for_a_slow_first_one(app: QApplication, small: Path, tmp_path: Path) -> None:
    second_file = make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=5))
    window = MainWindow(Settings(tmp_path / "s.ini"))
    window.settings.set_text("toured", "yes")
    window.show()
    window.open(small)
    window.files.compare_with(second_file)
    until(lambda: window.session.other is not None)
    assert (window.session.path, window.session.other.path) == (small, second_file)  # type: ignore[union-attr]
    window.perform_id("close")
    window.open(tmp_path / "missing.h5")
    window.files.compare_with(second_file)
    until(lambda: window.page.title.text() == "This cannot be opened")
    assert not window.files.opening.busy, "nothing is compared with a file that is not there"
    close(window)
