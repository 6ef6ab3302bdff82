"""Drives a window in tests: shows it, sends keys, lets the event loop run, closes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def spin(seconds: float = 0.05) -> None:
    """Let the event loop run so long, and so many turns that what asks for a later turn gets it on a busy machine too."""
    end, turns = time.monotonic() + seconds, 20 if seconds else 1
    while True:
        QCoreApplication.processEvents()
        turns -= 1
        if turns <= 0 and time.monotonic() > end:
            return
        time.sleep(0.002)


def press(window: MainWindow, key: Qt.Key, held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
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


def show(path: Path, folder: Path, size: tuple[int, int] = (1280, 800), **view: object) -> MainWindow:
    """A shown window with an open file."""
    settings = Settings(folder / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(*size)
    window.show_results(Results(path), False)
    window.show()
    if view:
        window.session.update(**view)
    spin()
    settle(window)
    return window


def settle(window: MainWindow) -> None:
    """Let the event loop run until nothing moves any more: layouts ask each other several times."""
    still, last = 0, None
    while still < 5:
        QCoreApplication.processEvents()
        now = [child.geometry().getRect() for child in window.findChildren(QWidget)]
        still, last = (still + 1 if now == last else 0), now


def rest(window: MainWindow) -> None:
    """Let what is computed beside the window be done and shown."""
    until(lambda: not window.panels.over_frames._timer.isActive())
    if window.worker._pool is not None:
        window.worker._pool.submit(lambda: None).result(20)
    spin()


def close(window: MainWindow) -> None:
    window.close()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
