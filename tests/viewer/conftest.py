"""Windows on the offscreen platform, small files, and a net that lets no error in a slot pass unseen."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))

import make_results
import make_run
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from viewer import theme
from viewer.results import Results
from viewer.session import Session
from viewer.settings import Settings
from viewer.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def app() -> QApplication:
    made = QApplication.instance() or QApplication([])
    assert isinstance(made, QApplication)
    theme.apply("dark")
    return made


@pytest.fixture(autouse=True)
def no_silent_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """An exception in a slot or paint reaches sys.excepthook only: collect it, and fail the test."""
    seen: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: seen.append(error))
    yield seen
    if seen:
        raise seen[0]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small results file with heavy-tailed weights."""
    return make_results.write(tmp_path_factory.mktemp("files") / "small.h5")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest results file that holds everything; copied by whoever changes it."""
    recipe = make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("tiny") / "tiny.h5", recipe)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve episodes in every state; copied by whoever changes it."""
    return make_run.write_mixed(tmp_path_factory.mktemp("runs") / "libero")


@pytest.fixture
def results(small: Path) -> Iterator[Results]:
    made = Results(small)
    yield made
    made.close()


@pytest.fixture
def session(app: QApplication, small: Path) -> Iterator[Session]:
    made = Session()
    made.open(Results(small))
    yield made
    made.open(None)


def spin(seconds: float = 0.05) -> None:
    """Let the event loop run so long, and so many turns that what asks for a later turn gets it on a busy machine too."""
    end, turns = time.monotonic() + seconds, 20 if seconds else 1
    while True:
        QCoreApplication.processEvents()
        turns -= 1
        if turns <= 0 and time.monotonic() > end:
            return
        time.sleep(0.002)


def press(window: Window, key: Qt.Key, held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """A key given to the window."""
    QTest.keyClick(window, key, held)
    spin(0.01)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the event loop run until something holds."""
    end = time.monotonic() + seconds
    while not true():
        QCoreApplication.processEvents()
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.002)


def show(path: Path, folder: Path, size: tuple[int, int] = (1280, 800), **view: object) -> Window:
    """A shown window with an open file."""
    settings = Settings(folder / "settings.ini")
    settings.set_text("toured", "yes")
    window = Window(settings)
    window.resize(*size)
    window.show_results(Results(path), False)
    window.show()
    if view:
        window.session.update(**view)
    spin()
    settle(window)
    return window


def settle(window: Window) -> None:
    """Let the event loop run until nothing moves any more: layouts ask each other several times."""
    still, last = 0, None
    while still < 5:
        QCoreApplication.processEvents()
        now = [child.geometry().getRect() for child in window.findChildren(QWidget)]
        still, last = (still + 1 if now == last else 0), now


def rest(window: Window) -> None:
    """Let what is computed beside the window be done and shown."""
    until(lambda: not window.room.over_frames._timer.isActive())
    if window.worker._pool is not None:
        window.worker._pool.submit(lambda: None).result(20)
    spin()


def close(window: Window) -> None:
    window.close()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def window(app: QApplication, small: Path, tmp_path: Path) -> Iterator[Window]:
    made = show(small, tmp_path)
    yield made
    close(made)
