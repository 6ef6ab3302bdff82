"""`pi0-export` in a child process, as a sheet of the window runs it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal

from viewer.controllers.child_command import ChildCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtCore import QObject


class ExportRun(ChildCommand):
    """Runs one export at a time."""

    progressed = Signal()
    """`progress` has changed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.progress = 0, 0
        """What is done, and all of it."""
        self.written: dict[str, Any] = {}
        """The last export's message about the files that it wrote; empty before, and if it failed."""
        self.line_read.connect(self._take)

    def export(self, arguments: Sequence[str]) -> None:
        """Start pi0-export with these arguments."""
        self.written, self.progress = {}, (0, 0)
        self.start("viewer.export", "--progress-lines", *arguments)

    def describe_failure(self, code: int) -> str:
        """Return why the export failed, as a sentence, and forget what was written; empty where it did not fail."""
        if code == 0 and self.written:
            return ""
        self.written = {}
        reason = self.find_reason("pi0-export", code) if self.errors else "The export ended early."
        return reason[:1].upper() + reason[1:]

    def _take(self, line: str) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            message = json.loads(line)
            if "total" in message:
                self.progress = int(message["done"]), int(message["total"])
            else:
                self.written = message
        self.progressed.emit()
