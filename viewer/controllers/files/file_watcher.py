"""Detect that an open file was truncated, deleted, replaced or rewritten on disk."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker
    from viewer.io.results import Results
    from viewer.io.results_file import FileChange

MILLISECONDS: Final = 2000
"""Interval of the checks."""
SENTENCES: Final = {
    "cut short": "{} was cut short after it was opened: what is missing is shown as zeros. F5 opens it again.",
    "gone": "{} was deleted, moved or unmounted after it was opened; it is shown as long as it can be read.",
    "replaced": "Another file took the place of {}; the one that was opened is still shown. F5 opens the new one.",
    "rewritten": "{} was written to after it was opened, so what is shown may be wrong. F5 opens it again.",
}


class FileWatcher(QObject):
    """Checks the open files periodically and announces each change once.

    A file that is gone may reappear, for example on a network drive, and is checked further.
    """

    def __init__(self, session: Session, worker: Worker, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._worker = session, worker
        self._announced: dict[Results, str] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(MILLISECONDS)
        self._timer.timeout.connect(self.check_files)
        session.opened.connect(self._on_opened)

    def _on_opened(self) -> None:
        opened = self._open_files()
        self._announced = {results: change for results, change in self._announced.items() if results in opened}
        if not opened:
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()

    def _open_files(self) -> list[Results]:
        return [results for results in (self._session.results, self._session.other) if results is not None]

    def check_files(self) -> None:
        """Check the open files now."""
        for results in self._open_files():
            if results.access.is_slow:
                key = (results, time.monotonic())
                self._worker.ask("fate", key, partial(_read_file_change, results), partial(self._announce, results))
            else:
                self._announce(results, results.file_change)

    def _announce(self, results: Results, change: str | None) -> None:
        if change and self._announced.get(results, "gone") == "gone" and self._announced.get(results) != change:
            self._announced[results] = change
            self._session.noticed.emit(SENTENCES[change].format(results.path.name))


def _read_file_change(results: Results, _: Callable[[], bool]) -> FileChange:
    return results.file_change
