"""Persistent settings: window geometry, theme, recent files, the last view of each file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QByteArray, QSettings

from viewer.analysis.initial_view import parse_view
from viewer.errors import UserError
from viewer.file_argument import locate
from viewer.model.view_state import ViewState

if TYPE_CHECKING:
    from capture.remote.address import Location

MOST_RECENT: Final = 8
"""Number of recent files kept."""
MOST_VIEWS: Final = 60
"""Number of files whose view, and of runs whose open episode, is kept."""


class Settings:
    """Settings in an INI file: `path`, by default in the user's configuration folder."""

    def __init__(self, path: Path | None = None) -> None:
        kind = QSettings.Format.IniFormat
        self._store = (
            QSettings(str(path), kind)
            if path is not None
            else QSettings(kind, QSettings.Scope.UserScope, "pi0-attention", "pi0-viewer")
        )

    @property
    def folder(self) -> Path:
        """The folder that holds the settings."""
        return Path(self._store.fileName()).parent

    def text(self, name: str, default: str = "") -> str:
        """Return a stored text; `default` if there is none."""
        return str(self._store.value(name, default))

    def set_text(self, name: str, value: str) -> None:
        """Store a text."""
        self._store.setValue(name, value)

    def bytes(self, name: str) -> QByteArray:
        """Return stored bytes, such as a window geometry; empty if there are none."""
        value = self._store.value(name)
        return value if isinstance(value, QByteArray) else QByteArray()

    def set_bytes(self, name: str, value: QByteArray) -> None:
        """Store bytes."""
        self._store.setValue(name, value)

    def recent(self) -> list[Location]:
        """Return the recently opened files that still exist, and addresses, the most recent first."""
        paths = []
        for line in self.text("recent").split("\n"):
            with contextlib.suppress(UserError):
                path = locate(line)
                if line and (not isinstance(path, Path) or path.exists()):  # no server is asked for a list
                    paths.append(path)
        return paths

    def remember_file(self, path: Location) -> None:
        """Add a file to the top of the recent files, unless its address may hold a signature."""
        if not isinstance(path, Path) and path.is_secret:
            return
        path = path.absolute()
        paths = [path, *(other for other in self.recent() if other != path)][:MOST_RECENT]
        self.set_text("recent", "\n".join(str(path) for path in paths))

    def forget_files(self) -> None:
        """Clear the list of recent files."""
        self.set_text("recent", "")

    def view(self, uuid: str) -> ViewState | None:
        """Return the last view of a file; None if none is stored or it is invalid."""
        text = self.text(f"views/{_key(uuid)}")
        with contextlib.suppress(UserError):
            return parse_view(text) if text else None
        return None

    def remember_view(self, uuid: str, state: ViewState) -> None:
        """Store the view of a file; the oldest of more than MOST_VIEWS views is removed."""
        if not uuid:
            return
        key = _key(uuid)
        order = [name for name in self.text("view_order").split(" ") if name and name != key]
        order.append(key)
        for old in order[:-MOST_VIEWS]:
            self._store.remove(f"views/{old}")
        self.set_text("view_order", " ".join(order[-MOST_VIEWS:]))
        self.set_text(f"views/{key}", state.to_json())

    def place(self, uuid: str) -> str:
        """Return the file of the episode of a run that was open last; empty if there is none."""
        entries = [line.partition(" ") for line in self.text("places").split("\n")]
        return next((file for key, _, file in entries if uuid and key == _key(uuid)), "")

    def remember_place(self, uuid: str, file: str) -> None:
        """Store which episode of a run is open."""
        if uuid:
            key = _key(uuid)
            other_lines = [line for line in self.text("places").split("\n") if line and line.partition(" ")[0] != key]
            self.set_text("places", "\n".join([f"{key} {file}", *other_lines][:MOST_VIEWS]))

    def run_view(self, uuid: str) -> str:
        """Return the last view of the Run page of a run, as JSON; empty if none is stored."""
        return self.text(f"run_views/{_key(uuid)}") if uuid else ""

    def remember_run_view(self, uuid: str, view: str) -> None:
        """Store the view of the Run page of a run; the oldest of more than MOST_VIEWS is removed."""
        if not uuid:
            return
        key = _key(uuid)
        order = [name for name in self.text("run_view_order").split(" ") if name and name != key] + [key]
        for old in order[:-MOST_VIEWS]:
            self._store.remove(f"run_views/{old}")
        self.set_text("run_view_order", " ".join(order[-MOST_VIEWS:]))
        self.set_text(f"run_views/{key}", view)

    def sync(self) -> None:
        """Write the settings to disk now."""
        self._store.sync()


def _key(uuid: str) -> str:
    return "".join(letter for letter in uuid if letter.isalnum())[:40] or "none"
