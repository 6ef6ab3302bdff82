"""Following a policy that acts: the newest frame is shown until the user chooses another one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from growing_rollout import GrowingRollout
from window_driver import close, until

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture(scope="module")
def recorder() -> Iterator[GrowingRollout]:
    growing = GrowingRollout()
    yield growing
    growing.stop()


@pytest.fixture
def recording(recorder: GrowingRollout, tmp_path: Path) -> GrowingRollout:
    """A run whose first episode has one call."""
    recorder.open(tmp_path / "runs")
    recorder.call()
    return recorder


def shown_file_and_frame(window: MainWindow) -> tuple[str, int]:
    """Name of the open file and the frame that is shown."""
    path = window.session.path
    return "" if path is None else path.name, window.session.shown.frame


def open_recording(recording: GrowingRollout, tmp_path: Path) -> MainWindow:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    window.settings.set_text("toured", "yes")
    window.show()
    window.open(recording.folder)
    until(lambda: window.session.results is not None)
    return window


def test_frames_of_a_growing_rollout_equal_those_of_the_complete_file(recording: GrowingRollout) -> None:
    growing = Results(recording.folder / "episode_000000.h5.partial")
    recording.call()
    assert growing.is_rollout
    assert growing.grow()
    while_growing = [growing.rows(frame, "action", 0).image.sum() for frame in range(2)]
    recording.end()
    assert growing.grow()
    assert not growing.growing
    complete = Results(recording.folder / "episode_000000.h5")
    assert [complete.rows(frame, "action", 0).image.sum() for frame in range(2)] == while_growing
    assert min(while_growing) > 0
    growing.close()
    complete.close()


def test_newest_frame_is_shown_until_the_user_looks_at_another(
    app: QApplication, recording: GrowingRollout, tmp_path: Path
) -> None:
    window = open_recording(recording, tmp_path)
    until(lambda: window.top.live.isVisible())
    for frame in (1, 2):
        recording.call()
        until(lambda frame=frame: shown_file_and_frame(window) == ("episode_000000.h5.partial", frame))
    assert window.top.live.text().startswith("● Live · ")
    assert "calls a second" in window.top.live.text()
    window.session.update(frame=0)
    until(lambda: "Live · 2 newer frames" in window.top.live.text())
    recording.call()
    until(lambda: "Live · 3 newer frames" in window.top.live.text())
    assert shown_file_and_frame(window)[1] == 0
    window.top.live.click()
    until(lambda: shown_file_and_frame(window)[1] == 3)
    recording.call()
    until(lambda: shown_file_and_frame(window)[1] == 4)
    close(window)


def test_going_to_the_newest_frame_by_hand_follows_again(
    app: QApplication, recording: GrowingRollout, tmp_path: Path
) -> None:
    recording.call()
    window = open_recording(recording, tmp_path)
    until(lambda: shown_file_and_frame(window)[1] == 1)
    window.session.update(frame=0)
    until(lambda: not window.files.live.following)
    window.session.update(frame=1)
    until(lambda: window.files.live.following)
    recording.call()
    until(lambda: shown_file_and_frame(window)[1] == 2)
    close(window)


def test_next_episode_is_shown_when_the_followed_one_has_ended(
    app: QApplication, recording: GrowingRollout, tmp_path: Path
) -> None:
    window = open_recording(recording, tmp_path)
    until(lambda: window.top.live.isVisible())
    recording.end()
    until(lambda: "waiting for the next episode" in window.top.live.text())
    recording.call("open the drawer")
    until(lambda: shown_file_and_frame(window) == ("episode_000001.h5.partial", 0))
    recording.call("open the drawer")
    until(lambda: shown_file_and_frame(window) == ("episode_000001.h5.partial", 1))
    window.session.update(frame=0)
    until(lambda: not window.files.live.following)
    recording.end()
    until(lambda: not window.top.live.isVisible())
    recording.call()
    until(lambda: window.files.run is not None and len(window.files.run.episodes.order) == 3)
    assert shown_file_and_frame(window) == ("episode_000001.h5", 0)
    close(window)


def test_run_is_opened_at_the_episode_that_is_being_recorded(
    app: QApplication, recording: GrowingRollout, tmp_path: Path
) -> None:
    recording.end()
    recording.call("open the drawer")
    window = open_recording(recording, tmp_path)
    until(lambda: shown_file_and_frame(window) == ("episode_000001.h5.partial", 0))
    close(window)


def test_recording_killed_long_ago_is_not_shown_as_the_newest(
    app: QApplication, recording: GrowingRollout, tmp_path: Path
) -> None:
    recording.end()
    recording.call("open the drawer")
    os.utime(recording.folder / "episode_000001.h5.partial", (1_000_000_000, 1_000_000_000))
    window = open_recording(recording, tmp_path)
    until(lambda: shown_file_and_frame(window) == ("episode_000000.h5", 0))
    assert not window.top.live.isVisible()
    close(window)
