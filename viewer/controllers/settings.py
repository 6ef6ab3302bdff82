"""What is remembered between two starts: window, theme, recent files, the last view of each file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from PySide6.QtCore import QByteArray, QSettings

from viewer.analysis.initial_view import parse_view
from viewer.errors import UserError
from viewer.model.view_state import ViewState

MOST_RECENT: Final = 8
MOST_VIEWS: Final = 60


class Settings:
    """A small file in the user's configuration folder."""

    def __init__(self, path: Path | None = None) -> None:
        kind = QSettings.Format.IniFormat
        self._store = (
            QSettings(str(path), kind)
            if path is not None
            else QSettings(kind, QSettings.Scope.UserScope, "pi0-attention", "pi0-viewer")
        )

    def text(self, name: str, default: str = "") -> str:
        """A remembered word."""
        return str(self._store.value(name, default))

    def set_text(self, name: str, value: str) -> None:
        """Remember a word."""
        self._store.setValue(name, value)

    def bytes(self, name: str) -> QByteArray:
        """A remembered geometry; empty if there is none."""
        value = self._store.value(name)
        return value if isinstance(value, QByteArray) else QByteArray()

    def set_bytes(self, name: str, value: QByteArray) -> None:
        """Remember a geometry."""
        self._store.setValue(name, value)

    def recent(self) -> list[Path]:
        """Files that were open, the last first, that are still there."""
        found = [Path(line) for line in self.text("recent").split("\n") if line]
        return [path for path in found if path.exists()]

    def remember_file(self, path: Path) -> None:
        """Put a file on top of the recent ones."""
        path = path.absolute()
        kept = [path, *(other for other in self.recent() if other != path)][:MOST_RECENT]
        self.set_text("recent", "\n".join(str(one) for one in kept))

    def forget_files(self) -> None:
        """Empty the list of recent files."""
        self.set_text("recent", "")

    def view(self, uuid: str) -> ViewState | None:
        """The last view of a file."""
        text = self.text(f"views/{_key(uuid)}")
        with contextlib.suppress(UserError):
            return parse_view(text) if text else None
        return None

    def remember_view(self, uuid: str, state: ViewState) -> None:
        """Keep the view of a file for the next time."""
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
        """The file of a run's episode that was open last; empty if there is none."""
        found = [line.partition(" ") for line in self.text("places").split("\n")]
        return next((file for key, _, file in found if uuid and key == _key(uuid)), "")

    def remember_place(self, uuid: str, file: str) -> None:
        """Keep which episode of a run is open for the next time."""
        if uuid:
            key = _key(uuid)
            rest = [line for line in self.text("places").split("\n") if line and line.partition(" ")[0] != key]
            self.set_text("places", "\n".join([f"{key} {file}", *rest][:MOST_VIEWS]))

    def sync(self) -> None:
        """Write to disk now."""
        self._store.sync()


def _key(uuid: str) -> str:
    return "".join(letter for letter in uuid if letter.isalnum())[:40] or "none"
