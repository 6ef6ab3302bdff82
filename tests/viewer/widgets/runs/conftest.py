"""A real window over a real small run in which one head was planted, and its Run page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from planted_run import write_planted_run
from PySide6.QtWidgets import QApplication
from run_page_driver import QUESTION, get_run_page, has_answer
from run_window import show_run
from window_driver import close, settle, until

from viewer.runs.run_view import RunView
from viewer.widgets.runs.run_page import RunPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted_run(tmp_path_factory.mktemp("planted") / "planted")


@pytest.fixture(scope="module")
def shared_window(app: QApplication, planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainWindow]:
    window = show_run(planted, tmp_path_factory.mktemp("settings"))
    window.runs.show_page()
    yield window
    close(window)


@pytest.fixture
def window(shared_window: MainWindow) -> MainWindow:
    """A window with the run, which shows the episode that was open last."""
    shared_window.runs.leave_page()
    return shared_window


@pytest.fixture
def page(window: MainWindow) -> RunPage:
    """The Run page with the answer to QUESTION."""
    window.runs.show_page()
    page = get_run_page(window)
    page.controller.open_view(RunView(QUESTION))
    until(lambda: has_answer(page.controller), 60)
    settle(window)
    return page
