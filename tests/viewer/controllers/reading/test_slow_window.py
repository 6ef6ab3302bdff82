"""The window on a slow file: it answers while a read waits, and what it shows belongs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_effects
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from slow_source import SlowSource
from window_driver import close, press, show, spin, until

from viewer.analysis import scene as scenes
from viewer.io.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


class SlowWindow:
    """A window that shows a slow file, everything read."""

    def __init__(self, window: MainWindow, source: SlowSource, local: Results) -> None:
        self.window, self.source, self.local = window, source, local

    @property
    def session(self):
        return self.window.session

    def wait_until_read(self) -> None:
        until(lambda: not self.session.reader._tasks)
        spin(0.02)

    def ask(self, **changes: object) -> None:
        """Ask for a view while requests are held, and wait until its read has begun."""
        self.source.block()
        self.session.update(**changes)
        until(lambda: self.source.waiting)

    def caption(self) -> str:
        return str(self.window.panels.sentence._lines[0][1])

    def assert_consistent(self) -> None:
        """Assert that pictures, heat, words, caption and marks are those of the one shown view."""
        shown = self.session.shown
        expected = scenes.compose(self.local, shown)
        for pane in self.window.panels.camera_grid.panes:
            content = pane._content
            assert content is not None
            assert content.view == shown
            assert (content.scene.maps == expected.maps).all()
            which = "model" if content.is_stand_in else shown.picture
            assert (content.pixels == self.local.picture(shown.frame, pane.camera, which)).all()
        words = [chip.label for chip in self.window.panels.strips.places if chip.kind == "text"]
        assert words == [chip.label for chip in self.local.chips(shown.frame)]
        assert f"layer {self.local.layers[shown.layer]} " in self.caption()


@pytest.fixture
def slow(app: object, small: Path, tiny: Path, tmp_path: Path) -> Iterator[SlowWindow]:
    window = show(tiny, tmp_path)
    source = SlowSource(small)
    window.show_results(Results(small, source), False)
    slow_window = SlowWindow(window, source, Results(small))
    until(lambda: window.session.path == small)
    slow_window.wait_until_read()
    yield slow_window
    source.release()
    close(window)
    slow_window.local.close()


def test_file_is_shown_once_its_first_picture_is_there(app: object, small: Path, tiny: Path, tmp_path: Path) -> None:
    window = show(tiny, tmp_path)
    source = SlowSource(small)
    results = Results(small, source)
    source.block()
    window.show_results(results, False)
    until(lambda: source.waiting)
    assert window.session.path == tiny
    source.release()
    until(lambda: window.session.results is results)
    close(window)


def test_window_answers_while_a_read_waits(slow: SlowWindow) -> None:
    window, before = slow.window, slow.session.shown
    slow.ask(frame=1)
    QTest.keyPress(window, Qt.Key.Key_H)
    spin(0.02)
    assert slow.session.bare
    QTest.keyRelease(window, Qt.Key.Key_H)
    QTest.mouseClick(window.panels.heat.smooth, Qt.MouseButton.LeftButton)
    assert slow.session.state.smooth
    press(window, Qt.Key.Key_Question)
    assert window.overlays.overlay is not None
    press(window, Qt.Key.Key_Escape)
    slow.session.update(colours="viridis")
    spin(0.05)
    assert slow.source.waiting == 1
    assert slow.session.shown.frame == before.frame
    slow.assert_consistent()


def test_sliders_and_marks_move_at_once_and_the_picture_stays(slow: SlowWindow) -> None:
    slow.ask(frame=2, layer=1)
    rows = slow.window.panels.axes.rows
    assert rows["frame"].slider.value() == 2
    assert rows["layer"].slider.value() == 1
    assert rows["frame"].number.text().startswith("2")
    assert slow.window.panels.timeline.position() == 2
    assert slow.window.panels.atlas.marked.layer == 1
    assert slow.session.shown.frame == 0
    slow.assert_consistent()


def test_loading_mark_names_the_frame_until_it_is_read(slow: SlowWindow) -> None:
    slow.ask(frame=1)
    until(lambda: slow.session.loading.text)
    assert slow.session.loading.text == "loading frame 1…"
    slow.source.release()
    until(lambda: slow.session.shown.frame == 1)
    assert slow.session.loading.text == ""
    slow.assert_consistent()


def test_view_in_memory_is_shown_without_a_read(slow: SlowWindow) -> None:
    slow.session.update(frame=1)
    until(lambda: slow.session.shown.frame == 1)
    slow.wait_until_read()
    slow.source.block()
    slow.session.update(frame=0)
    slow.session.flush()
    assert slow.session.shown.frame == 0
    slow.assert_consistent()


def test_newer_request_replaces_the_one_that_waits(slow: SlowWindow) -> None:
    shown: list[int] = []
    slow.session.changed.connect(lambda _, after: shown.append(after.frame))
    slow.ask(frame=1)
    slow.session.update(frame=2)
    spin(0.02)
    count = len(slow.source.requests)
    slow.source.release()
    until(lambda: slow.session.shown.frame == 2)
    assert shown == [2]
    frame_1 = slow.local.extents(1, "text", (0,), "source")
    later = [part for request in slow.source.requests[count:] for part in request]
    assert not any(
        offset < start + size and start < offset + length for offset, length in later for start, size in frame_1
    )


def test_every_shown_view_is_consistent_while_scrubbing(slow: SlowWindow) -> None:
    slow.source.seconds = 0.002
    slow.session.changed.connect(lambda *_: slow.assert_consistent())
    count = slow.local.horizon
    for step in range(12):
        slow.session.update(frame=step % 3, layer=step % 4)
        if step % 4 == 3:
            slow.window.panels.strips.select("action", step % count)
        spin(0.01)
        slow.assert_consistent()
    until(lambda: not slow.session.is_waiting)
    slow.wait_until_read()
    slow.assert_consistent()


def test_word_chosen_while_another_frame_is_read_is_that_of_the_shown_prompt(slow: SlowWindow) -> None:
    chips_of_frame = slow.local.chips(0)
    chip_number = next(number for number, chip in enumerate(chips_of_frame) if chip.role == "prompt")
    slow.ask(frame=1)
    slow.window.panels.strips.select("text", chip_number)
    slow.source.release()
    until(lambda: slow.session.shown.frame == 1)
    chips = slow.local.chips(1)
    picked = [chips[item].text for item in slow.session.shown.query.items]
    assert picked == [chips_of_frame[chip_number].text]
    slow.assert_consistent()


def test_heat_over_the_models_picture_comes_before_the_cameras_own(slow: SlowWindow) -> None:
    cameras = range(len(slow.local.cameras))
    middles = [offset + size // 2 for offset, size in slow.local.extents(1, "text", (0,), "source")[: len(cameras)]]

    def is_of_camera(ranges: Sequence[tuple[int, int]]) -> bool:
        return any(start <= middle < start + size for start, size in ranges for middle in middles)

    slow.source.is_held = is_of_camera
    slow.source.block()
    slow.session.update(frame=1)
    until(lambda: slow.session.shown.frame == 1)
    until(lambda: slow.source.waiting)
    panes = slow.window.panels.camera_grid.panes
    assert all(pane._content.is_stand_in for pane in panes)
    slow.assert_consistent()
    slow.source.release()
    slow.wait_until_read()
    assert not any(pane._content.is_stand_in for pane in panes)
    slow.assert_consistent()


def test_words_are_painted_before_their_values_are_read(slow: SlowWindow) -> None:
    strips = slow.window.panels.strips
    assert strips.legend
    slow.session.changed.connect(lambda *_: slow.source.block())
    slow.session.update(frame=1)
    until(lambda: slow.session.shown.frame == 1)
    spin(0.02)
    assert strips.is_waiting
    assert strips.legend == ""
    assert strips._color_levels == [0] * len(strips.places)
    slow.source.release()
    slow.wait_until_read()
    assert strips.legend
    assert any(strips._color_levels)


def test_panels_keep_their_last_picture_until_theirs_is_read(slow: SlowWindow) -> None:
    atlas = slow.window.panels.atlas
    slow.session.update(score="entropy")
    spin(0.02)
    slow.wait_until_read()
    before = atlas._content
    slow.session.changed.connect(lambda *_: slow.source.block())  # the first picture is read, nothing more
    slow.session.update(frame=1)
    until(lambda: slow.session.shown.frame == 1)
    spin(0.02)
    assert atlas.is_waiting
    assert atlas.shown.frame == 0
    assert atlas._content is before
    slow.source.release()
    slow.wait_until_read()
    assert not atlas.is_waiting
    assert atlas.shown.frame == 1
    assert atlas._content is not before


def test_other_file_opens_while_a_read_waits(slow: SlowWindow, tiny: Path) -> None:
    slow.ask(frame=1)
    slow.window.show_results(Results(tiny), False)
    spin(0.05)
    assert slow.session.path == tiny
    slow.session.update(frame=1)
    slow.session.flush()
    assert slow.session.shown.frame == 1
    assert slow.source.waiting


def test_window_closes_while_a_read_waits(app: object, small: Path, tmp_path: Path) -> None:
    window, source = show(small, tmp_path), SlowSource(small)
    window.show_results(Results(small, source), False)
    until(lambda: window.session.is_slow)
    until(lambda: not window.session.reader._tasks)
    source.block()
    window.session.update(frame=1)
    until(lambda: source.waiting)
    close(window)
    assert source.waiting
    source.release()


def test_lost_connection_is_a_page_that_brings_the_picture_back(slow: SlowWindow) -> None:
    window = slow.window
    slow.ask(frame=1)
    slow.source.lose()
    until(lambda: window.stack.currentWidget() is window.page)
    assert window.page.title.text() == "Connection lost"
    assert "The connection to gpu was lost" in window.page.text.text()
    assert "Trying again in" in window.page.text.text()
    assert slow.session.shown.frame == 0
    slow.source.find_again()
    window.page.retry.click()
    until(lambda: window.stack.currentWidget() is window.panels)
    until(lambda: slow.session.shown.frame == 1)
    slow.wait_until_read()
    slow.assert_consistent()


def test_lost_connection_is_tried_again_by_itself(slow: SlowWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    slow.ask(frame=1)
    slow.source.lose()
    reader = slow.session.reader
    until(lambda: reader._retry_timer.isActive())
    slow.source.find_again()
    reader._retry_timer.start(0)  # as if its time had come
    until(lambda: slow.session.shown.frame == 1)


def test_lost_file_can_be_closed(slow: SlowWindow) -> None:
    window = slow.window
    slow.ask(frame=1)
    slow.source.lose()
    until(lambda: window.page.close_file.isVisible())
    window.page.close_file.click()
    assert slow.session.results is None
    assert window.page.title.text() == "See what Pi0.5 looks at"


def test_pinned_view_is_compared_once_both_are_read(slow: SlowWindow) -> None:
    slow.session.update(frame=1)
    until(lambda: slow.session.shown.frame == 1)
    slow.wait_until_read()
    press(slow.window, Qt.Key.Key_P)
    slow.session.update(frame=0, compare="difference")
    until(lambda: slow.session.shown.frame == 0)
    slow.wait_until_read()
    first, second = (scenes.compose(slow.local, view) for view in (slow.session.shown, slow.session.pin[1]))
    content = slow.window.panels.camera_grid.panes[0]._content
    assert content.scene.difference
    assert abs(content.scene.maps - (first.maps - second.maps)).max() < 1e-6


def test_playback_shows_frames_that_come_more_slowly_than_they_play(slow: SlowWindow) -> None:
    shown: list[int] = []
    slow.source.seconds = 0.03
    slow.session.changed.connect(lambda _, after: shown.append(after.frame))
    slow.window.playback.set_speed("30 fps")
    slow.window.playback.toggle("frame")
    until(lambda: len(set(shown)) == 3)
    slow.window.playback.stop()


def test_undo_goes_back_to_what_was_shown(slow: SlowWindow) -> None:
    slow.session.begin()
    for frame in (1, 2, 1):
        slow.session.update(frame=frame)
        spin(0.01)
    slow.session.end()
    until(lambda: not slow.session.is_waiting)
    assert slow.session.shown.frame == 1
    slow.session.undo()
    until(lambda: slow.session.shown.frame == 0)
    assert not slow.session.can_undo


def test_pointer_over_a_picture_waits_for_nothing(slow: SlowWindow) -> None:
    pane = slow.window.panels.camera_grid.panes[0]
    slow.source.block()
    center = pane.area().center()
    QTest.mouseMove(pane, QPointF(center).toPoint())
    slow.session.point((0, 1, 1))
    spin(0.05)
    assert slow.session.pointer is not None
    slow.source.release()
    slow.wait_until_read()
    assert "hovered patch" in slow.window.panels.strips.legend


@pytest.mark.parametrize("is_changed", [False, True])
def test_effects_of_a_slow_file_are_compared_in_the_background(
    slow: SlowWindow, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_changed: bool
) -> None:
    path = make_effects.write(tmp_path / "small.effects.h5", small)
    if is_changed:
        with h5py.File(path, "a") as file:
            file["baseline/robot_actions"][0, 0, 0] += 0.5
    said: list[str] = []
    slow.session.noticed.connect(said.append)
    results = slow.session.results
    assert results is not None
    slow.source.block()
    noted: list[object] = []
    note = slow.window.files.effects._note_check
    monkeypatch.setattr(slow.window.files.effects, "_note_check", lambda *told: noted.append(note(*told)))
    slow.window.files.effects.open(path)
    until(lambda: bool(results.effects), 20)
    shown = "Effects of small.effects.h5 on frame 0: an effect map (hold E to see it), gradients, 1 region, every head."
    assert said == [shown], "while they are compared"
    slow.source.release()
    until(lambda: noted)
    assert bool(results.effects) != is_changed
    assert said[1:] == list(results.effects_left_out)
    if is_changed:
        assert said[1].startswith("small.effects.h5 holds effects on other calls than small.h5: the actions of frame 0")
