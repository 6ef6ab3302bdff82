"""A run in the window: its list of episodes, going from one to the next, and changes in its folder."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

import make_run
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from run_window import episode_panel, file_name, list_rows, open_episodes, show_run
from window_driver import close, spin, until

from capture.results import progress_clock
from viewer.controllers import commands
from viewer.controllers.files.probe_worker import ProbeWorker
from viewer.io import run_index
from viewer.model.view_state import Query
from viewer.widgets.main_window import MainWindow
from viewer.widgets.panels.episodes.episode_model import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture
def window(app: QApplication, mixed: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show_run(mixed, tmp_path)
    yield window
    close(window)


def test_run_lists_its_episodes_by_prompt_with_outcome_and_state(window: MainWindow) -> None:
    rows = list_rows(window)
    task = make_run.TASKS
    assert rows[:5] == [
        f"{task[0]}, 4 episodes · 2 succeeded 1 failed",
        f"- episode_000000, {task[0]}, 6 frames, success, open",
        f"- episode_000003, {task[0]}, 6 frames",
        f"- episode_000006, {task[0]}, 6 frames, success",
        f"- episode_000009, {task[0]}, 6 frames, failure, "
        "being written, or stopped before its end; opens as far as it goes",
    ]
    assert rows[9] == (f"- episode_000010, {task[1]}, 6 frames, success, the video of the wrist camera is missing.")
    assert rows[-1].endswith("still to come")
    assert episode_panel(window).summary() == "9 of 12 done · 6 ✓ 3 ✕"
    assert episode_panel(window).place() == "0 of 0–11"
    assert window.windowTitle() == "episode_000000.h5 – libero – pi0-viewer"
    assert window.settings.recent() == [run_index.read_run(open_episodes(window).run.folder).folder]


def test_page_down_goes_on_and_keeps_the_view_by_words(window: MainWindow) -> None:
    results = window.session.results
    assert results is not None
    the = next(n for n, chip in enumerate(results.chips(0)) if chip.text == "bowl")
    window.session.update(query=Query("text", (the,)), layer=3, heads=(1,), frame=2, colours="magma")
    spin()
    for expected in ("episode_000003.h5", "episode_000006.h5", "episode_000009.h5.partial", "episode_000001.h5"):
        QTest.keyClick(window, Qt.Key.Key_PageDown)
        until(lambda expected=expected: file_name(window) == expected)
        state = window.session.state
        assert (state.layer, state.heads, state.frame, state.colours) == (3, (1,), 2, "magma")
        chip = window.session.results.chips(state.frame)[state.query.first]  # type: ignore[union-attr]
        assert chip.text == "bowl"
    QTest.keyClick(window, Qt.Key.Key_PageUp)
    until(lambda: file_name(window) == "episode_000009.h5.partial")


def test_playing_continues_in_the_next_episode(window: MainWindow) -> None:
    window.perform_id("play_frame")
    assert window.playback.axis == "frame"
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: file_name(window) == "episode_000003.h5")
    assert window.playback.axis == "frame"
    before = window.session.state.frame
    until(lambda: window.session.state.frame != before)
    window.perform_id("play")
    assert window.playback.axis == ""
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: file_name(window) == "episode_000006.h5")
    assert window.playback.axis == "", "what was stopped stays stopped"


def test_damaged_episode_is_reported_and_the_open_one_stays(window: MainWindow) -> None:
    open_episodes(window).go(1)
    until(lambda: file_name(window) == "episode_000001.h5")
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: 4 in open_episodes(window).damaged)
    assert file_name(window) == "episode_000001.h5"
    assert "torn or damaged" in window.notice.text
    assert any("episode_000004" in row and "torn or damaged" in row for row in list_rows(window))
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: file_name(window) == "episode_000007.h5")
    QTest.keyClick(window, Qt.Key.Key_PageUp)
    until(lambda: file_name(window) == "episode_000001.h5")


def test_first_and_last_episode_are_announced_without_wrapping(window: MainWindow) -> None:
    QTest.keyClick(window, Qt.Key.Key_PageUp)
    assert "This is the first episode" in window.notice.text
    open_episodes(window).go(8)
    until(lambda: file_name(window) == "episode_000008.h5")
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    assert "This is the last episode that can be opened." in window.notice.text
    open_episodes(window).go(11)
    assert "episode_000011 is not there yet; it opens as soon as" in window.notice.text
    open_episodes(window).go(10)
    assert "gave it up: the video of the wrist camera is missing." in window.notice.text
    assert file_name(window) == "episode_000008.h5"


def test_click_enter_and_the_filter_open_episodes(window: MainWindow) -> None:
    tree, model, field = episode_panel(window).tree, episode_panel(window).model, episode_panel(window).field
    index = model.index_of(6)
    QTest.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualRect(index).center())
    until(lambda: file_name(window) == "episode_000006.h5")
    QTest.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(field, "stove fail")
    assert list_rows(window) == [
        f"{make_run.TASKS[2]}, 1 episode · 0 succeeded 1 failed",
        f"- episode_000005, {make_run.TASKS[2]}, 6 frames, failure",
    ]
    assert episode_panel(window).summary() == "1 of 12 listed · 0 ✓ 1 ✕"
    QTest.keyClick(field, Qt.Key.Key_Return)
    until(lambda: file_name(window) == "episode_000005.h5")
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    assert "last episode that matches the filter" in window.notice.text
    field.selectAll()
    QTest.keyClicks(field, "nowhere")
    assert list_rows(window) == []
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert len(open_episodes(window).order) == 12
    QTest.keyClick(field, Qt.Key.Key_Down)
    tree.setCurrentIndex(model.index_of(2))
    tree.setFocus()
    QTest.keyClick(tree, Qt.Key.Key_Down)
    assert tree.currentIndex().data(NUMBER) == 5
    QTest.keyClick(tree, Qt.Key.Key_Up)
    QTest.keyClick(tree, Qt.Key.Key_Return)
    until(lambda: file_name(window) == "episode_000002.h5")


def test_keys_of_the_window_work_in_the_list(window: MainWindow) -> None:
    tree = episode_panel(window).tree
    tree.setFocus()
    QTest.keyClick(tree, Qt.Key.Key_M, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(tree, Qt.Key.Key_End)
    assert window.session.state.reduce == "max"
    assert window.session.state.frame == 5
    top = episode_panel(window).model.index(0, 0)
    tree.setCurrentIndex(top)
    QTest.keyClick(tree, Qt.Key.Key_Return)
    assert not tree.isExpanded(top)
    QTest.keyClick(tree, Qt.Key.Key_Right)
    assert tree.isExpanded(top)
    keys = [key for command in commands.TABLE for key in command.keys]
    assert len(keys) == len(set(keys))


def test_list_is_hidden_by_key_and_stays_hidden(window: MainWindow, mixed: Path, tmp_path: Path) -> None:
    assert episode_panel(window).isVisible()
    assert window.top.episodes.isVisible()
    QTest.keyClick(window, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert not episode_panel(window).isVisible()
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: file_name(window) == "episode_000003.h5")
    window.settings.sync()
    second = show_run(mixed / "index.json", tmp_path)
    assert not episode_panel(second).isVisible()
    assert file_name(second) == "episode_000003.h5", "the episode that was open last"
    QTest.keyClick(second, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert episode_panel(second).isVisible()
    close(second)


def test_single_file_has_no_list_and_closes_a_run(window: MainWindow, small: Path) -> None:
    window.open(small)
    until(lambda: file_name(window) == "small.h5")
    assert window.episodes is None
    assert not window.top.episodes.isVisible()
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    assert "open the folder of a run first" in window.notice.text


def test_closing_a_run_removes_its_list(window: MainWindow) -> None:
    window.perform_id("close")
    assert window.episodes is None
    assert window.session.results is None
    assert window.page.isVisible()


def test_probe_worker_survives_what_kills_or_stops_it(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ProbeWorker()
    stuck = tmp_path / "stuck"
    script = tmp_path / "looks.py"
    script.write_text(
        "import json, os, sys, time\n"
        "for line in sys.stdin:\n"
        "    path = json.loads(line)\n"
        "    print(flush=True)\n"
        "    if path.endswith('dies'): os._exit(7)\n"
        "    if path.endswith('stuck'): time.sleep(60)\n"
        "    print(json.dumps({'error': path if path.endswith('bad') else ''}), flush=True)\n"
    )
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    python.chmod(0o755)
    monkeypatch.setattr("viewer.child_process.sys.executable", str(python))
    good, bad, dies = (worker.request_check(tmp_path / word) for word in ("good", "bad", "dies"))
    after = worker.request_check(tmp_path / "after")
    until(lambda: after.poll() is not None)
    assert (good.answer, bad.answer, after.answer) == ("", str(tmp_path / "bad"), "")
    assert "damaged so badly that reading it fails (code 7)" in str(dies.answer)
    slow = worker.request_check(stuck)
    until(lambda: slow.since)
    start = time.monotonic()
    urgent = worker.request_check(tmp_path / "good", urgent=True)
    until(lambda: urgent.poll() is not None)
    assert urgent.answer == ""
    assert "took too long" in str(slow.answer)
    assert time.monotonic() - start < 5
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.3)
    hopeless = worker.request_check(stuck, urgent=True)
    until(lambda: hopeless.poll() is not None)
    assert "took too long" in str(hopeless.answer)
    worker.stop()


def test_list_of_five_thousand_episodes_folds_and_is_navigable(app: QApplication, mixed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(mixed / "episode_000000.h5", run)
    shutil.copy(mixed / "episode_000001.h5", run)
    make_run.write_index(run, [make_run.make_entry(n, prompts=[f"task {n % 50}"]) for n in range(5000)])
    window = show_run(run, tmp_path)
    tree, model = episode_panel(window).tree, episode_panel(window).model
    assert model.rowCount() == 50
    assert [tree.isExpanded(model.index(row, 0)) for row in (0, 1)] == [True, False], "only the open one’s prompt"
    episode_panel(window).field.setFocus()
    QTest.keyClicks(episode_panel(window).field, "episode_0049")
    assert len(open_episodes(window).order) == 100
    assert tree.isExpanded(model.index(3, 0))
    episode_panel(window).field.selectAll()
    QTest.keyClicks(episode_panel(window).field, "task 2")
    assert len(open_episodes(window).order) > 1000
    hit = model.index_of(open_episodes(window).order[0])
    assert tree.isExpanded(hit.parent()), "the prompt of the first episode that was found"
    assert tree.visualRect(hit).height() > 0
    close(window)


@pytest.mark.parametrize("size", [(900, 600), (1024, 700), (1280, 800), (2560, 1440)])
def test_nothing_is_cut_off_beside_the_list(
    app: QApplication, mixed: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    window = show_run(mixed, tmp_path, size)
    for widget in (
        *window.panels.tabs.buttons.values(),
        window.panels.film.mode,
        window.top.menu,
        episode_panel(window).field,
    ):
        if widget.isVisible():
            corner = widget.mapTo(window, QPoint(widget.width(), widget.height()))
            assert corner.x() <= size[0], widget.accessibleName()
            assert corner.y() <= size[1], widget.accessibleName()
            assert widget.width() >= widget.sizeHint().width() or widget is episode_panel(window).field, (
                widget.accessibleName()
            )
    assert episode_panel(window).width() >= 190
    assert window.panels.camera_grid.panes[0].area().height() > 60
    window.set_theme("light")
    spin()
    window.set_theme("dark")
    close(window)
