"""A program of this package in a child process: output, error messages, and a stop that it cannot ignore."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from viewer.controllers.python_process import create_python_process
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from pathlib import Path

KILL_MILLISECONDS: Final = 3000
"""Time that a stopped process has to end by itself."""
MOST_CHARACTERS: Final = 400
"""Of one line of its error output."""


def parse_progress(line: str) -> tuple[int, int] | None:
    """Return how much is done, and of how much, from a line of JSON with both; None for another line."""
    try:
        message = json.loads(line)
        return int(message["done"]), int(message["total"])
    except (ValueError, KeyError, TypeError):
        return None


class ChildCommand(QObject):
    """Runs one process at a time; one that was stopped is killed if it does not end."""

    line_read = Signal(str)
    """A line of the standard output."""
    errors_read = Signal()
    """`errors` has new lines."""
    ended = Signal(int)
    """The process has ended: its exit code; −1 if it could not be started."""

    def __init__(
        self, parent: QObject | None = None, *, kill_milliseconds: int = KILL_MILLISECONDS, most_lines: int = 5
    ) -> None:
        """Create a command that keeps the last `most_lines` lines of its error output."""
        super().__init__(parent)
        self.errors: list[str] = []
        """The last lines of the error output, as plain text."""
        self._most_lines = most_lines
        self._process: QProcess | None = None
        self._deadline = QTimer(self)
        self._deadline.setSingleShot(True)
        self._deadline.setInterval(kill_milliseconds)
        self._deadline.timeout.connect(self.kill)

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None

    def start(self, module: str, *arguments: str, folder: Path | None = None, is_single_threaded: bool = True) -> None:
        """Start a module of this package; `folder`: its current folder."""
        self.errors = []
        process = create_python_process(self, module, *arguments, is_single_threaded=is_single_threaded)
        if folder is not None:
            process.setWorkingDirectory(str(folder))
        process.readyReadStandardOutput.connect(self._read_lines)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        process.start()

    def stop(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self._process is not None:
            self._process.terminate()
            self._deadline.start()

    def kill(self) -> None:
        """Kill the process; `ended` follows."""
        if self._process is not None:
            self._process.kill()

    def end(self, patience_milliseconds: int = 0) -> None:
        """End the process before its owner ends, without `ended`; it has `patience_milliseconds` to do so itself."""
        process, self._process = self._process, None
        self._deadline.stop()
        if process is not None:
            process.finished.disconnect(self._on_finished)
            process.errorOccurred.disconnect(self._on_error)
            if patience_milliseconds:
                process.terminate()
            if not patience_milliseconds or not process.waitForFinished(patience_milliseconds):
                process.kill()
                process.waitForFinished(1000)
            process.deleteLater()

    def find_reason(self, program: str, code: int) -> str:
        """Return why a process failed: its last sentence, without the program's name, or else its exit code."""
        return self.errors[-1].strip().removeprefix(f"{program}: ") if self.errors else f"it ended with code {code}"

    def _read_lines(self) -> None:
        while self._process is not None and self._process.canReadLine():
            self.line_read.emit(bytes(self._process.readLine().data()).decode(errors="replace"))

    def _read_errors(self) -> None:
        if self._process is not None:
            text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
            lines = [clean_text(line.rstrip(), MOST_CHARACTERS) for line in text.splitlines() if line.strip()]
            if lines:
                self.errors = [*self.errors, *lines][-self._most_lines :]
                self.errors_read.emit()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others end in `finished`
            self._on_finished(-1)

    def _on_finished(self, code: int) -> None:
        if self._process is None:
            return
        self._read_lines()
        self._read_errors()
        process, self._process = self._process, None
        self._deadline.stop()
        process.deleteLater()
        self.ended.emit(code)
