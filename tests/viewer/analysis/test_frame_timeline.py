"""Moments, prompts, episodes and seconds of a file, and playback by a clock that the test controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import make_results
import numpy as np
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until, wait_until_idle

from viewer.analysis.frame_timeline import FrameTimeline, build_frame_timeline, plain
from viewer.controllers.playback import Playback
from viewer.controllers.prefetch import read_bytes
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow

DUCK, BOWL = "put the duck in the bowl", "now lift the bowl and wait"


def write_results(path: Path, **recipe: Any) -> Path:
    return make_results.write(path, make_results.Recipe(layers=2, heads=2, steps=2, horizon=2, size=(36, 64), **recipe))


def read_timeline(path: Path, rate: float | None = None) -> FrameTimeline:
    results = Results(path)
    timeline = build_frame_timeline(results, rate)
    results.close()
    return timeline


def test_frames_of_one_prompt_are_moments_of_their_own(tmp_path: Path) -> None:
    timeline = read_timeline(write_results(tmp_path / "a.h5", frames=4))
    assert timeline.along(2) == (0, 1, 2, 3)
    assert timeline.timed
    np.testing.assert_allclose(timeline.seconds, [0, 0.2, 0.4, 0.6])
    np.testing.assert_allclose(timeline.lasting, 0.2)
    assert (timeline.beside(1, 1), timeline.beside(3, 1), timeline.beside(0, -10)) == (2, 3, 0)


def test_several_prompts_per_moment_are_separate_tracks(tmp_path: Path) -> None:
    timeline = read_timeline(write_results(tmp_path / "a.h5", frames=6, tasks=(DUCK, BOWL), counterfactual=True))
    assert timeline.moments == ((0, 1), (2, 3), (4, 5))
    assert timeline.along(3) == (1, 3, 5)
    assert timeline.along(2) == (0, 2, 4)
    assert (timeline.beside(1, 1), timeline.beside(1, -1), timeline.beside(0, 9)) == (3, 1, 4)
    assert (timeline.cycle_prompt(2, 1), timeline.cycle_prompt(3, 1), timeline.cycle_prompt(2, -1)) == (3, 2, 3)
    np.testing.assert_allclose(timeline.seconds, [0, 0.2, 0.4])


def test_prompts_stored_one_after_the_other_give_the_same_moments(tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.h5", frames=4)
    with h5py.File(path, "r+") as file:
        file["frames/index"][...] = [0, 8, 0, 8]
        file["frames/time"][...] = [0, 0.5, 0, 0.5]
        file["frames/prompt"][...] = [DUCK, DUCK, BOWL, BOWL]
    timeline = read_timeline(path)
    assert timeline.moments == ((0, 2), (1, 3))
    assert timeline.along(3) == (2, 3)
    np.testing.assert_allclose(timeline.lasting, 0.5)


def test_each_episode_begins_at_zero(tmp_path: Path) -> None:
    timeline = read_timeline(write_results(tmp_path / "a.h5", frames=6, episodes=("one", "two")))
    assert (timeline.starts, timeline.names) == ((0, 3), ("one", "two"))
    np.testing.assert_allclose(timeline.seconds, [0, 0.2, 0.4, 0, 0.2, 0.4])
    np.testing.assert_allclose(timeline.lasting, 0.2)
    assert [timeline.episode_of(frame) for frame in range(6)] == [0, 0, 0, 1, 1, 1]


def test_impossible_times_are_replaced_by_the_index_then_the_rate(tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.h5", frames=4)
    with h5py.File(path, "r+") as file:
        file["frames/time"][...] = [0, np.nan, 2, 1]
    by_index = read_timeline(path, rate=10)
    assert by_index.timed
    np.testing.assert_allclose(by_index.lasting, 0.2)  # every second frame of ten a second
    unknown = read_timeline(path)
    assert not unknown.timed
    np.testing.assert_allclose(unknown.lasting, 1 / 12)
    with h5py.File(path, "r+") as file:
        file["frames/time"][...] = [0, 0.1, 0.2, 1000]
        file["frames/index"][...] = 0
    paused = read_timeline(path)
    assert paused.moments == ((0,), (1,), (2,), (3,)), "the same prompt twice at one index: each frame is a moment"
    np.testing.assert_allclose(paused.lasting, [0.1, 0.1, 1.0, 0.1])


class Clock:
    """A clock that advances only when the test sets it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_playback(window: MainWindow, clock: Clock, **expected: object) -> tuple[Playback, list[int]]:
    playback = Playback(window.session, window.panels.frame_series, window, clock)
    playback._timer.setInterval(10_000_000)  # beats are given by hand
    shown_frames: list[int] = []
    window.session.changed.connect(lambda before, after: shown_frames.append(after.frame))
    return playback, shown_frames


def test_frames_are_dropped_when_painting_is_late(app: QApplication, tmp_path: Path) -> None:
    window = show(write_results(tmp_path / "a.h5", frames=10, rate=4), tmp_path)
    until(lambda: window.panels.frame_series.timeline.timed)
    clock = Clock()
    playback, shown_frames = make_playback(window, clock)
    playback.toggle("frame")
    for late in (0.0, 0.26, 0.25, 0.75, 0.5, 0.76):  # 0.25 s a frame
        clock.now += late
        playback.show_current_place()
        spin(0.0)
    assert shown_frames == [1, 2, 5, 7, 0], "what the clock has passed by is never shown, and it goes round"
    playback.set_speed("0.5x")
    start = window.session.state.frame
    clock.now += 0.47
    playback.show_current_place()
    assert window.session.state.frame == start
    clock.now += 0.05
    playback.show_current_place()
    assert window.session.state.frame == start + 1
    playback.set_speed("30 fps")
    clock.now += 0.101
    playback.show_current_place()
    assert window.session.state.frame == start + 4
    playback.stop()
    close(window)


def test_playing_and_arrow_keys_stay_with_one_prompt(app: QApplication, tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.h5", frames=8, tasks=(DUCK, BOWL), counterfactual=True, rate=4)
    window = show(path, tmp_path, frame=1)
    until(lambda: len(window.panels.frame_series.timeline.moments) == 4)
    bowl = next(n for n, chip in enumerate(window.session.results.chips(1)) if chip.text == "bowl")  # type: ignore[union-attr]
    window.session.update(query=Query("text", (bowl,)))
    spin(0.01)
    clock = Clock()
    playback, shown_frames = make_playback(window, clock)
    playback.toggle("frame")
    for _ in range(4):
        clock.now += 0.26
        playback.show_current_place()
        spin(0.0)
    assert shown_frames == [3, 5, 7, 1]
    playback.stop()
    QTest.keyClick(window, Qt.Key.Key_Right)
    assert window.session.state.frame == 3
    QTest.keyClick(window, Qt.Key.Key_T)
    spin(0.01)
    assert window.session.state.frame == 2
    chips = window.session.results.chips(2)  # type: ignore[union-attr]
    assert chips[window.session.state.query.first].text == "bowl", "the word is found in the other prompt"
    QTest.keyClick(window, Qt.Key.Key_Left)
    assert window.session.state.frame == 0
    close(window)


def test_speeds_are_chosen_by_key_and_remembered(window: MainWindow) -> None:
    QTest.keyClick(window, Qt.Key.Key_Period)
    assert window.playback.speed == "2x"
    assert "2×" in window.notice.text
    for _ in range(5):
        QTest.keyClick(window, Qt.Key.Key_Comma)
    assert window.playback.speed == "0.25x"
    assert window.settings.text("speed") == "0.25x"
    window.panels.timeline.speed.chosen.emit("5 fps")
    assert window.playback.speed == "5 fps"
    assert window.panels.timeline.speed.text().startswith("5 a second")


def test_timeline_shows_moments_and_goes_to_them(app: QApplication, tmp_path: Path) -> None:
    window = show(write_results(tmp_path / "a.h5", frames=6, episodes=("one", "two"), tasks=(DUCK, BOWL)), tmp_path)
    line = window.panels.timeline
    until(lambda: line.values() is not None and len(line.timeline.starts) == 2)
    values = line.values()
    assert values is not None
    scene = window.session.plain_scene()
    assert scene is not None
    np.testing.assert_allclose(values[0], [scene.share("exterior"), scene.share("wrist")], atol=5e-3)
    assert line.describe_moment(4).startswith("two · frame 4 of 0–5 · 0.20 s · exterior ")
    assert "now lift the bowl" in line.describe_moment(1)
    assert line.timeline.prompt_changes(line.along()) == [1, 2, 4, 5], (
        "an episode's own beginning is no change of the prompt"
    )
    left, no_button = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for number, (kind, frame, button, buttons) in enumerate(
        (
            (QEvent.Type.MouseMove, 3, no_button, no_button),
            (QEvent.Type.MouseButtonPress, 1, left, left),
            (QEvent.Type.MouseMove, 4, no_button, left),
            (QEvent.Type.MouseButtonRelease, 4, left, no_button),
        )
    ):
        point = QPointF(line.x_of(frame), 50)
        event = QMouseEvent(kind, point, line.mapToGlobal(point), button, buttons, Qt.KeyboardModifier.NoModifier)
        app.sendEvent(line, event)
        window.session.flush()
        assert window.session.state.frame == (frame if number else 0), "the pointer alone moves nothing"
        assert line.hovered == max(frame, 3)
    assert window.session.state.frame == 4
    window.session.undo()
    assert window.session.state.frame == 0, "a drag is one step of undo"
    line.setFocus()
    QTest.keyClick(line, Qt.Key.Key_Right)
    assert window.session.state.frame == 1
    until(lambda: line.values() is not None)
    wait_until_idle(window)
    line.grab()
    before = line._static_layer._pixmap.cacheKey()
    window.session.update(frame=2)
    window.session.flush()  # no longer: another prompt has the word elsewhere, and then the curves are read again
    line.grab()
    assert line._static_layer._pixmap.cacheKey() == before, "scrubbing repaints the cursor alone"
    point = QPointF(line.x_of(2), line.content_box().center().y())
    image, ratio = line.grab().toImage(), line.devicePixelRatioF()
    assert image.pixelColor(round(point.x() * ratio), round(point.y() * ratio)).lightness() > 150
    close(window)


def test_file_without_times_has_one_moment_per_frame() -> None:
    timeline = plain(3)
    assert (timeline.along(0), timeline.timed, timeline.beside(2, 1)) == ((0, 1, 2), False, 2)
    assert plain(0).moments == ()


def test_film_of_layers_and_frames_stays_while_scrubbing_and_follows_clicks(app: QApplication, tmp_path: Path) -> None:
    window = show(write_results(tmp_path / "a.h5", frames=40), tmp_path, film="layers-frames")
    film = window.panels.film
    until(lambda: film.film() is not None and len(film.film().columns) == 16)  # type: ignore[union-attr]
    first = film.film()
    assert first is not None
    window.session.update(frame=30)
    spin()
    assert film.film() is first
    row, column = film.current(first) or (-1, -1)
    assert row == 1
    assert abs(first.columns[column] - 30) <= 1, "the thumbnail nearest to the frame is ringed"
    block, width, height = film.blocks(first)[1]
    point = QPointF(block.left() + 2.5 * width, block.top() + 0.5 * height).toPoint()
    QTest.mouseClick(film, Qt.MouseButton.LeftButton, pos=point)
    assert (window.session.state.layer, window.session.state.frame) == (0, first.columns[2])
    close(window)


def test_prefetch_reads_what_the_frame_needs(app: QApplication, tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.h5", frames=4)
    results = Results(path)
    raw = path.read_bytes()
    for kind, token, axis in (("text", 3, "text/to_image"), ("action", 1, "action/to_image")):
        parts = results.extents(2, kind, (token,), "source")  # type: ignore[arg-type]
        prefetched = b"".join(raw[offset : offset + size] for offset, size in parts)
        with h5py.File(path, locking=False) as file:
            bits = file[axis][2, :, token].astype(np.float32)
            picture = file["images/wrist/source"][2]
        stored = (np.ascontiguousarray(bits).view(np.uint32) >> 16).astype(np.uint16)
        assert picture.tobytes() in prefetched
        assert all(layer.tobytes() in prefetched for layer in stored)
    assert results.extents(99, "text", (0,), "source") == []
    state = ViewState(frame=1, query=Query("action", (1,)))
    assert read_bytes(results, state, lambda: False) > 36 * 64 * 3 * 2
    assert read_bytes(results, state, lambda: True) == 0
    results.close()


def test_playing_reads_ahead(app: QApplication, tmp_path: Path) -> None:
    window = show(write_results(tmp_path / "a.h5", frames=10, rate=4), tmp_path)
    until(lambda: window.panels.frame_series.timeline.timed)
    clock = Clock()
    window.playback.clock = clock
    window.playback.toggle("frame")
    clock.now += 0.26
    window.playback.show_current_place()
    until(lambda: {frame for frame, *_ in window.panels.prefetch.visited} >= {2, 3, 4, 5})
    window.playback.stop()
    close(window)
