"""Fixtures: the offscreen platform, small files, sessions and windows; exceptions in slots and paints fail the test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import make_results
import make_run
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from window_driver import close, show

from viewer.controllers.session import Session
from viewer.io.results import Results
from viewer.rendering import theme
from viewer.widgets.main_window import MainWindow
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)  # fonts abort without it, whichever test a worker happens to begin with
def app() -> QApplication:
    application = QApplication.instance() or QApplication([])
    assert isinstance(application, QApplication)
    theme.apply("dark")
    return application


@pytest.fixture(autouse=True)
def dark_theme(app: QApplication) -> None:
    """Begin each test in the dark theme, whichever one the test before it left to the application."""
    if theme.active() is not theme.DARK:
        theme.apply("dark")


@pytest.fixture(autouse=True)
def no_window_left(app: QApplication) -> Iterator[None]:
    """Close windows that a test left open, and fail it, also for a mouse button held: later tests would meet both."""
    before = list_windows()
    yield
    left = [window for window in list_windows() if window not in before]
    for window in left:
        close(window)
    assert not left, f"the test left {len(left)} windows open"
    assert app.mouseButtons() == Qt.MouseButton.NoButton, "the test left a mouse button pressed"


def list_windows() -> list[MainWindow]:
    """Return the main windows that exist."""
    return [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, MainWindow)]


@pytest.fixture(autouse=True)
def no_silent_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Fail a test on an exception that only sys.excepthook or a panel's error page would show."""
    errors: list[BaseException] = []
    is_new_paint_error = Panel.is_new_paint_error

    def collect(self: Panel, error: Exception) -> bool:
        errors.append(error)
        return is_new_paint_error(self, error)

    monkeypatch.setattr(Panel, "is_new_paint_error", collect)
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: errors.append(error))
    yield errors
    if errors:
        raise errors[0]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small results file with heavy-tailed weights."""
    return make_results.write(tmp_path_factory.mktemp("files") / "small.h5")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the smallest results file that holds every dataset; tests that change it copy it."""
    recipe = make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("tiny") / "tiny.h5", recipe)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of twelve episodes in every state; tests that change it copy it."""
    return make_run.write_mixed(tmp_path_factory.mktemp("runs") / "libero")


@pytest.fixture
def results(small: Path) -> Iterator[Results]:
    results = Results(small)
    yield results
    results.close()


@pytest.fixture
def session(app: QApplication, small: Path) -> Iterator[Session]:
    session = Session()
    session.open(Results(small))
    yield session
    session.open(None)


@pytest.fixture
def window(app: QApplication, small: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show(small, tmp_path)
    yield window
    close(window)
