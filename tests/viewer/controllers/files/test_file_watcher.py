"""Changes of an open file on disk are announced once, and F5 reopens the file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from PySide6.QtCore import Qt
from window_driver import close, press, show, spin, until

from viewer.controllers.files.file_watcher import FileWatcher
from viewer.io.results import Results

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow

CUT = "a.h5 was cut short after it was opened: what is missing is shown as zeros. F5 opens it again."
GONE = "a.h5 was deleted, moved or unmounted after it was opened; it is shown as long as it can be read."
REPLACED = "Another file took the place of a.h5; the one that was opened is still shown. F5 opens the new one."
REWRITTEN = "a.h5 was written to after it was opened, so what is shown may be wrong. F5 opens it again."


@pytest.fixture(autouse=True)
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.controllers.files.file_watcher.MILLISECONDS", 20)


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(small, tmp_path / "a.h5"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a file of the same sizes with other values."""
    return make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=5))


def weights(results: Results) -> float:
    """Return the sum of the weights of an action in the last frame, to tell files apart."""
    return float(results.rows(results.done - 1, "action", 2).image.sum(dtype=np.float64))


def collect_notices(window: MainWindow) -> list[str]:
    """Return a list to which every later notice is appended."""
    messages: list[str] = []
    window.session.noticed.connect(messages.append)
    return messages


def is_reopened(window: MainWindow) -> Results:
    before = window.session.results
    press(window, Qt.Key.Key_F5)
    until(lambda: window.session.results is not before and window.session.results is not None)
    after = window.session.results
    assert after is not None
    return after


def test_truncated_file_is_announced_once_and_reopens(app: QApplication, copied: Path, tmp_path: Path) -> None:
    window = show(copied, tmp_path, layer=2)
    results, content, messages = window.session.results, copied.read_bytes(), collect_notices(window)
    assert results is not None
    os.truncate(copied, len(content) // 4)
    until(lambda: messages)
    assert not results.picture(results.done - 1, 1, "source").any(), "HDF5 reads what is missing as zeros"
    spin(0.2)
    assert messages == [CUT]
    press(window, Qt.Key.Key_F5)
    until(lambda: len(messages) > 1)
    assert "damaged" in messages[1]
    assert "a.h5 cannot be opened: it is torn or damaged." in messages[1]
    assert window.session.results is results, "what is open stays"
    copied.write_bytes(content)
    results = is_reopened(window)
    assert results.picture(results.done - 1, 1, "source").any()
    assert window.session.state.layer == 2
    spin(0.2)
    assert len(messages) == 2
    close(window)


def test_replaced_file_stays_shown_until_reopened(
    app: QApplication, copied: Path, other: Path, results: Results, tmp_path: Path
) -> None:
    window = show(copied, tmp_path, frame=1)
    shown, messages = window.session.results, collect_notices(window)
    assert shown is not None
    another = Results(other)
    new = weights(another)
    another.close()
    assert new != weights(results)
    other.replace(copied)
    until(lambda: messages)
    spin(0.2)
    assert messages == [REPLACED]
    assert weights(shown) == weights(results)
    assert weights(is_reopened(window)) == new
    assert window.session.state.frame == 1
    close(window)


def test_file_rewritten_in_place_is_reread(app: QApplication, copied: Path, other: Path, tmp_path: Path) -> None:
    """A second handle beside the open one would share HDF5's cached metadata of the old content."""
    window = show(copied, tmp_path)
    messages, expected = collect_notices(window), Results(other)
    copied.write_bytes(other.read_bytes())
    stat = copied.stat()
    os.utime(copied, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    until(lambda: messages)
    assert messages[0] in {REWRITTEN, CUT}
    results = is_reopened(window)
    assert weights(results) == weights(expected)
    assert np.array_equal(results.picture(1, 0, "source"), expected.picture(1, 0, "source"))
    expected.close()
    close(window)


def test_second_file_is_watched_and_reopened(
    app: QApplication, small: Path, copied: Path, other: Path, tmp_path: Path
) -> None:
    window = show(small, tmp_path)
    window.files.opening.start(copied, second=True)
    until(lambda: window.session.other is not None)
    messages, second = collect_notices(window), window.session.other
    other.replace(copied)
    until(lambda: messages)
    assert messages == [REPLACED]
    is_reopened(window)
    until(lambda: window.session.other not in {None, second})
    assert window.session.other is not None
    assert (window.session.other.path, window.session.state.compare) == (copied, "side")
    close(window)


def test_release_of_reserved_space_is_not_a_truncation(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5.partial", make_results.Recipe(done=2, complete=False))
    size = path.stat().st_size
    os.truncate(path, size + 100_000)  # space that a capture reserves for further frames
    results = Results(path)
    os.truncate(path, size)
    assert results.file_change == ""
    os.truncate(path, size // 4)
    assert results.file_change == "cut short"
    path.unlink()
    assert results.file_change == "", "it may have got its final name"
    results.close()


def test_deleted_file_and_its_replacement_are_both_announced(
    app: QApplication, copied: Path, other: Path, tmp_path: Path
) -> None:
    window = show(copied, tmp_path)
    results, messages = window.session.results, collect_notices(window)
    assert results is not None
    before, watch = weights(results), window.findChild(FileWatcher)
    assert watch is not None
    away = copied.rename(tmp_path / "away.h5")
    until(lambda: messages)
    for _ in range(5):
        watch.check_files()
    assert messages == [GONE]
    assert weights(results) == before
    away.rename(copied)  # restored unchanged: no notice
    watch.check_files()
    other.replace(copied)
    until(lambda: len(messages) > 1)
    assert messages == [GONE, REPLACED]
    close(window)
