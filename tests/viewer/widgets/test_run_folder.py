"""What happens in a run's folder while it is open: files appear, are replaced, the index is written anew."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import make_results
import make_run
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from run_window import file_name, open_episodes, show_run
from window_driver import close, spin, until

from viewer.controllers.settings import Settings
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture
def window(app: QApplication, mixed: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show_run(mixed, tmp_path)
    yield window
    close(window)


def test_dropped_folder_opens_and_a_bad_index_is_reported(window: MainWindow, mixed: Path, tmp_path: Path) -> None:
    make_run.write(tmp_path / "two", 2)

    def drop(path: Path) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        no_modifier = Qt.KeyboardModifier.NoModifier
        window.dropEvent(
            QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, no_modifier)
        )

    drop(tmp_path / "two")
    until(lambda: window.session.path == tmp_path / "two" / "episode_000000.h5")
    assert len(open_episodes(window).order) == 2
    (tmp_path / "bad").mkdir()
    make_run.write_index(tmp_path / "bad", [{"file": "../x.h5"}])
    drop(tmp_path / "bad")
    assert "leads out of the folder" in window.notice.text
    assert window.session.path == tmp_path / "two" / "episode_000000.h5"
    (tmp_path / "none").mkdir()
    drop(tmp_path / "none")
    assert "holds neither an index.json nor results files" in window.notice.text


def test_folder_of_one_file_opens_that_file(app: QApplication, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(small, folder / "only.h5")
    window = show_run(folder, tmp_path)
    assert window.episodes is None
    assert file_name(window) == "only.h5"
    close(window)


def test_new_file_in_the_folder_appears_in_the_list(app: QApplication, mixed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    make_run.write_index(run, [make_run.make_entry(number) for number in range(3)])
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    window.settings.set_text("toured", "yes")
    window.show()
    window.open(run)
    assert window.page.title.text() == "Nothing to look at yet"
    assert "has not finished its first frame" in window.page.text.text()
    shutil.copy(mixed / "episode_000009.h5.partial", run / "episode_000000.h5.partial")
    open_episodes(window).check_folder()
    until(lambda: window.session.results is not None)
    assert file_name(window) == "episode_000000.h5.partial"
    assert open_episodes(window).status(0).state == "writing"
    (run / "episode_000000.h5.partial").unlink()
    for number in range(3):
        shutil.copy(mixed / f"episode_{number:06d}.h5", run)
    window.files.check_for_new_frames()
    until(lambda: file_name(window) == "episode_000000.h5")
    open_episodes(window).check_folder()
    until(lambda: open_episodes(window).complete)
    assert not open_episodes(window)._timer.isActive(), "nothing more is to come: nobody looks any more"
    close(window)


def test_rewritten_index_is_read_again(app: QApplication, tmp_path: Path) -> None:
    run = make_run.write(tmp_path / "run", 2, names=3)
    window = show_run(run, tmp_path)
    make_run.write_index(
        run, [make_run.make_entry(number, failed="no" if number == 3 else None) for number in range(5)]
    )
    open_episodes(window).check_folder()
    until(lambda: len(open_episodes(window).order) == 5)
    assert open_episodes(window).current == 0
    assert open_episodes(window).status(3) == ("failed", "no")
    (run / "index.json").write_text("{")
    open_episodes(window).check_folder()
    spin(0.2)
    assert len(open_episodes(window).order) == 5, "half an index is not believed"
    close(window)


def test_next_episode_is_prefetched(window: MainWindow) -> None:
    run = window.files.run
    assert run is not None
    until(lambda: len(run.prefetch.ready) == 1)  # the first episode has none before it
    path = next(iter(run.prefetch.ready))
    assert path.name == "episode_000003.h5"
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    assert file_name(window) == "episode_000003.h5", "at once, without a turn of the event loop"
    until(lambda: {episode.name for episode in run.prefetch.ready} == {"episode_000000.h5", "episode_000006.h5"})


def test_replaced_file_is_not_shown_from_the_cache(app: QApplication, tmp_path: Path) -> None:
    folder = make_run.write(tmp_path / "run", 4)
    window = show_run(folder, tmp_path)
    run = window.files.run
    assert run is not None
    until(lambda: run.prefetch.ready)
    make_results.write(tmp_path / "new.h5", make_results.Recipe(frames=2, seed=77))
    shutil.move(tmp_path / "new.h5", folder / "episode_000001.h5")
    QTest.keyClick(window, Qt.Key.Key_PageDown)
    until(lambda: file_name(window) == "episode_000001.h5")
    assert window.session.dims.frames == 2
    close(window)


def test_command_line_accepts_a_folder(mixed: Path, tmp_path: Path) -> None:
    from viewer import __main__ as program

    options = program.create_parser().parse_args([str(mixed)])
    program._check(options)
    run = program._run(options)
    assert run is not None
    look = program._first_probe(options, run)
    assert look is not None
    assert look.path == mixed / "episode_000000.h5"
    assert look.wait() == ""
    with pytest.raises(Exception, match="is opened by itself; leave the others out"):
        program._check(program.create_parser().parse_args([str(mixed), "a.h5"]))
    assert json.loads((mixed / "index.json").read_text())["format"] == "pi0-attention-index"
