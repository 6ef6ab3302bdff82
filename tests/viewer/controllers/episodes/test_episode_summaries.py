"""A run without an index: prompts and frame counts are read in the background while the list is shown."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import make_results
import make_run
import pytest
from PySide6.QtCore import Qt
from window_driver import close, spin, until

from viewer.analysis import probe
from viewer.controllers.episodes.episode_summaries import EpisodeSummaries
from viewer.controllers.settings import Settings
from viewer.io import run_index
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.controllers.episodes.episodes import Episodes


@pytest.fixture
def folder(mixed: Path, tmp_path: Path) -> Path:
    """Return a folder of eight intact files, a damaged one and one that is being written, without an index."""
    run_folder = tmp_path / "plain"
    shutil.copytree(mixed, run_folder, ignore=shutil.ignore_patterns("*.json"))
    return run_folder


@pytest.fixture
def window(app: QApplication, folder: Path, tmp_path: Path) -> Iterator[MainWindow]:
    settings = Settings(tmp_path / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(1280, 800)
    window.show()
    window.open(folder)
    until(lambda: window.session.results is not None)
    yield window
    close(window)


def listed_names(window: MainWindow) -> Episodes:
    assert window.files.run is not None
    return window.files.run.episodes


def known_names(window: MainWindow) -> list[str]:
    """Return the names of the episodes whose frame count is known."""
    return [episode.name for episode in listed_names(window).run.episodes if episode.frames is not None]


def test_prompts_and_frame_counts_appear_in_the_list(window: MainWindow) -> None:
    assert known_names(window) == []
    until(lambda: len(known_names(window)) == 9)
    run = listed_names(window).run
    assert run.episodes[1].prompts == (make_run.TASKS[1],)
    assert [episode.frames for episode in run.episodes] == [6, 6, 6, 6, None, 6, 6, 6, 6, 6]
    assert window.episodes is not None
    index = window.episodes.model.index_of(1)
    words = str(index.data(Qt.ItemDataRole.ToolTipRole))
    assert make_run.TASKS[1] in words
    assert "6 frames" in words
    assert window.episodes.model.flat, "nothing jumps while the files are read"
    status = listed_names(window).status(4)
    assert status.state == "failed"
    assert "episode_000004.h5 cannot be opened: it is torn" in status.sentence
    assert window.session.path is not None
    assert window.session.path.name == "episode_000000.h5"


def test_filter_matches_prompts_once_they_are_read(window: MainWindow) -> None:
    assert window.episodes is not None
    listed_names(window).narrow("stove")
    assert listed_names(window).order == ()
    until(lambda: listed_names(window).order == (2, 5, 8))


def test_visible_rows_are_read_first(window: MainWindow) -> None:
    assert window.files.run is not None
    summaries = EpisodeSummaries(listed_names(window), window.files.run.probe_worker, window)
    listed_names(window).recently_visible.clear()
    listed_names(window).note_unknown_row(2)
    listed_names(window).note_unknown_row(7)
    assert [summaries._find_next() for _ in range(4)] == [7, 2, 0, 1]
    summaries.stop()


def test_only_new_and_newly_finished_files_are_read_again(window: MainWindow, folder: Path) -> None:
    until(lambda: len(known_names(window)) == 9)
    summaries = window.files.run.summaries  # type: ignore[union-attr]
    assert summaries is not None
    read = set(summaries._read)
    (folder / "episode_000009.h5.partial").unlink()
    make_results.write(folder / "episode_000009.h5", make_results.Recipe(frames=4, tasks=("open the door",)))
    make_run.write_episode(folder, 11)
    listed_names(window).check_folder()
    until(lambda: listed_names(window).run.episodes[9].prompts == ("open the door",))
    until(lambda: "episode_000011" in known_names(window))
    assert listed_names(window).run.episodes[9].frames == 4
    assert len(known_names(window)) == 10
    assert summaries._read - read == {("episode_000009.h5", "done"), ("episode_000011.h5", "done")}


def test_summaries_are_completed_after_urgent_checks(window: MainWindow, folder: Path) -> None:
    run = window.files.run
    assert run is not None
    until(lambda: run.summaries is not None and run.summaries._request is not None)
    for number in (3, 2, 1, 6):
        run.episodes.go(number)
        spin(0.01)
    until(lambda: window.session.path == folder / "episode_000006.h5")
    until(lambda: len(known_names(window)) == 9)


def test_run_with_an_index_reads_no_summaries(app: QApplication, mixed: Path, tmp_path: Path) -> None:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    window.open(mixed)
    until(lambda: window.session.results is not None)
    assert window.files.run is not None
    assert window.files.run.summaries is None
    close(window)


def test_invalid_prompts_and_frame_counts_of_a_file_are_rejected(tmp_path: Path) -> None:
    episode = run_index.Episode("a.h5", "a")
    known_episode = run_index.with_summary(episode, ["put\nit\x07 there", 7, ""], 3)
    assert (known_episode.prompts, known_episode.frames) == (("put it there",), 3)
    for prompts, frames in ((None, 3), (["put it"], None), ("put it", 3), (["put it"], True)):
        assert run_index.with_summary(episode, prompts, frames) is episode
    assert run_index.with_summary(episode, ["x"] * 5000, 1).prompts == ("x",) * run_index.MAX_PROMPTS
    path = make_results.write(tmp_path / "two.h5", make_results.Recipe(frames=4, tasks=("go", "come")))
    assert probe.read_prompts(path) == {"error": "", "prompts": ("go", "come"), "frames": 4}
    (tmp_path / "no.h5").write_bytes(b"hello")
    assert "is not an HDF5 file" in probe.read_prompts(tmp_path / "no.h5")["error"]
