"""One process that looks at a run's files one after another: a look costs milliseconds instead of a start of Python."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, QProcess, Signal

from viewer.analysis import probe
from viewer.controllers.python_process import create_python_process

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE: Final = 0.4
"""Seconds that an urgent look waits for one that is not."""


class Look:
    """A look at one file that was asked for."""

    def __init__(self, lookout: Lookout, path: Path, *, urgent: bool, about: bool) -> None:
        self.lookout, self.path, self.urgent, self.about = lookout, path, urgent, about
        self.answer: str | None = None
        self.facts: dict[str, Any] = {}
        """With `about`: the file's `prompts` and `frames`, if it can be read."""
        self.since = 0.0
        """When the process began with it; 0 while it waits."""

    def poll(self) -> str | None:
        """None while it waits or goes on; then the sentence that says what is wrong with the file, empty if nothing."""
        self.lookout.check()
        return self.answer

    def stop(self) -> None:
        """Give it up."""
        self.lookout.give_up(self)


class Lookout(QObject):
    """Looks at files in the order asked for. A file on which HDF5 hangs or dies takes only that process along."""

    answered = Signal(object)
    """A Look that has its answer."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: deque[Look] = deque()
        self._process: QProcess | None = None

    def look(self, path: Path, *, urgent: bool = False, about: bool = False) -> Look:
        """Ask for a look; an urgent one is next, and those that wait are given up for it.

        With `about` only the prompts and the number of frames are read.
        """
        made = Look(self, path, urgent=urgent, about=about)
        while urgent and self._waiting and not self._waiting[-1].since:
            self._waiting.pop()
        self._waiting.append(made)
        self._begin()
        return made

    def give_up(self, look: Look) -> None:
        """Want no answer to a look any more."""
        if look in self._waiting and not look.since:
            self._waiting.remove(look)

    def waits(self, look: Look) -> bool:
        """Whether a look is still to be answered; not if it was given up."""
        return look in self._waiting

    def _begin(self) -> None:
        """Hand the process its next file."""
        if not self._waiting or self._waiting[0].since:
            return
        if self._process is None:
            self._process = self._started()
        look = self._waiting[0]
        look.since = time.monotonic()
        asked = [str(look.path)] if look.about else str(look.path)
        self._process.write(f"{json.dumps(asked)}\n".encode())

    def _started(self) -> QProcess:
        process = create_python_process(self, "viewer.analysis.probe")
        process.setStandardErrorFile(QProcess.nullDevice())
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._died)
        process.errorOccurred.connect(self._failed)
        process.start()
        return process

    def _read(self) -> None:
        while self._process is not None and self._process.canReadLine():
            line = self._process.readLine().toStdString()
            if self._waiting and self._waiting[0].since:
                try:
                    self._waiting[0].facts = json.loads(line)
                    answer = str(self._waiting[0].facts["error"])
                except (ValueError, KeyError, TypeError):
                    answer = probe.fatal(self._waiting[0].path, 0)
                self._finish(answer)

    def _finish(self, answer: str) -> None:
        look = self._waiting.popleft()
        look.answer = answer
        self._begin()
        self.answered.emit(look)

    def _died(self, code: int) -> None:
        self._drop()
        if self._waiting and self._waiting[0].since:
            self._finish(probe.fatal(self._waiting[0].path, code))

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others end in `finished`
            self._died(-1)

    def check(self) -> None:
        """End a look that takes too long, or longer than an urgent one can wait for."""
        if self._waiting and self._waiting[0].since:
            first, waited = self._waiting[0], time.monotonic() - self._waiting[0].since
            if waited > (probe.SECONDS if first.urgent or not self._waiting[-1].urgent else PATIENCE):
                self._drop()
                self._finish(probe.too_long(first.path))

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect(self._died)
            process.kill()
            process.waitForFinished(500)
            process.deleteLater()

    def stop(self) -> None:
        """End it all."""
        self._waiting.clear()
        self._drop()
