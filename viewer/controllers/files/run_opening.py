"""Open a run by its folder or index: at once on this machine, in the background on another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from viewer.errors import UserError

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.controllers.worker import Worker
    from viewer.io.run_index import Run


class RunOpening(QObject):
    """Reads runs."""

    is_read = Signal(object)
    """A run has been read."""
    is_file = Signal(object)
    """A folder without an index holds one results file, at this path, and is that file."""
    failed = Signal(str, str)
    """A run could not be read: message and details."""
    slow = Signal(str, bool)
    """A server is asked for the run at this address."""

    def __init__(self, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker

    def open(self, path: Location) -> None:
        """Read the run at a path."""
        if isinstance(path, Path):
            self._take(read_run(path))
            return
        self.slow.emit(str(path), True)
        self._worker.ask("run", path, lambda _: read_run(path), self._take)

    def _take(self, answer: Run | UserError | None) -> None:
        from viewer.io import run_index  # imported late: not needed for a single file

        self._worker.drop("run")
        if isinstance(answer, UserError):
            self.failed.emit(str(answer), "")
        elif answer is not None and answer.index is None and len(answer.episodes) == 1:
            try:
                self.is_file.emit(run_index.find_episode_path(answer, answer.episodes[0]))
            except UserError as error:
                self.failed.emit(str(error), "")
        elif answer is not None:
            self.is_read.emit(answer)


def read_run(path: Location) -> Run | UserError:
    """Return the run at a path, or why it cannot be read; may wait for a server."""
    from viewer.io import run_index

    try:
        return run_index.read_run(path)
    except UserError as error:
        return error
