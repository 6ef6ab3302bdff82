"""Windows with a run: show one, and read its list of episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from window_driver import settle, until

from viewer.controllers.settings import Settings
from viewer.widgets.main_window import MainWindow
from viewer.widgets.panels.episodes.episode_panel import EpisodePanel

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.controllers.episodes.episodes import Episodes


def show_run(path: Path, folder: Path, size: tuple[int, int] = (1280, 800)) -> MainWindow:
    """Return a visible window with an open run or file."""
    settings = Settings(folder / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(*size)
    window.show()
    window.open(path)
    until(lambda: window.session.results is not None)
    settle(window)
    return window


def episode_panel(window: MainWindow) -> EpisodePanel:
    """Return the list of episodes."""
    assert window.episodes is not None
    return window.episodes


def open_episodes(window: MainWindow) -> Episodes:
    """Return the open run's episodes."""
    return episode_panel(window).episodes


def list_rows(window: MainWindow) -> list[str]:
    """Return the rows as a screen reader says them, prompts flush, episodes after a dash."""
    model, tree = episode_panel(window).model, episode_panel(window).tree
    rows = []
    for index in range(model.rowCount()):
        top = model.index(index, 0)
        rows.append(str(top.data(Qt.ItemDataRole.AccessibleTextRole)))
        rows += [
            f"- {model.index(row, 0, top).data(Qt.ItemDataRole.AccessibleTextRole)}"
            for row in range(model.rowCount(top))
            if tree.isExpanded(top)
        ]
    return rows


def file_name(window: MainWindow) -> str:
    """Return the name of the shown file."""
    assert window.session.path is not None
    return window.session.path.name
