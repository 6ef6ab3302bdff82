"""Check the files of a run one after another in one child process, which saves starting Python for each file."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from capture.results.progress_clock import ProgressClock
from viewer.analysis import probe
from viewer.controllers.python_process import create_python_process

if TYPE_CHECKING:
    from capture.remote.address import Location

PATIENCE: Final = 0.4
"""Seconds that an urgent check waits for a running check that is not urgent."""
CHECK_MILLISECONDS: Final = 100
"""Interval at which a running check is looked after."""


class ProbeRequest:
    """A requested check of one file."""

    def __init__(self, worker: ProbeWorker, path: Location, *, urgent: bool, about: bool) -> None:
        self.worker, self.path, self.urgent, self.about = worker, path, urgent, about
        self.answer: str | None = None
        self.summary: dict[str, Any] = {}
        """The file's `prompts` and `frames`, if `about` is set and the file can be read."""
        self.since = 0.0
        """Monotonic time at which the process began the check; 0 while the check is queued."""

    def poll(self) -> str | None:
        """Return None while the check is queued or running; then an error message, empty if the file is intact."""
        self.worker.check()
        return self.answer

    def stop(self) -> None:
        """Cancel the check."""
        self.worker.give_up(self)


class ProbeWorker(QObject):
    """Queue of file checks, run by one child process, so that HDF5 hanging or crashing does not affect the window."""

    answered = Signal(object)
    """A check has finished: its ProbeRequest."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: deque[ProbeRequest] = deque()
        self._process: QProcess | None = None
        self._is_started = False
        self._clock: ProgressClock | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(CHECK_MILLISECONDS)
        self._timer.timeout.connect(self.check)

    def request_check(self, path: Location, *, urgent: bool = False, about: bool = False) -> ProbeRequest:
        """Request a check; an urgent one runs next and cancels the queued ones.

        With `about`, only the prompts and the number of frames are read.
        """
        request = ProbeRequest(self, path, urgent=urgent, about=about)
        while urgent and self._waiting and not self._waiting[-1].since:
            self._waiting.pop()
        self._waiting.append(request)
        self._begin()
        return request

    def give_up(self, request: ProbeRequest) -> None:
        """Remove a check from the queue; a running one continues."""
        if request in self._waiting and not request.since:
            self._waiting.remove(request)

    def waits(self, request: ProbeRequest) -> bool:
        """Return whether a check is queued or running; False if it is finished or cancelled."""
        return request in self._waiting

    def _begin(self) -> None:
        """Send the next file to the process, unless a check is running."""
        if not self._waiting or self._waiting[0].since:
            return
        if self._process is None:
            self._process = self._start_process()
            self._is_started = False
            self._clock = None
        elif self._is_started:
            self._clock = ProgressClock(self._process.processId(), is_started=True)
        self._timer.start()
        request = self._waiting[0]
        request.since = time.monotonic()
        message = [str(request.path)] if request.about else str(request.path)
        self._process.write(f"{json.dumps(message)}\n".encode())

    def _start_process(self) -> QProcess:
        process = create_python_process(self, "viewer.analysis.probe")
        process.setStandardErrorFile(QProcess.nullDevice())
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._on_process_ended)
        process.errorOccurred.connect(self._failed)
        process.start()
        return process

    def _read(self) -> None:
        while self._process is not None and self._process.canReadLine():
            line = self._process.readLine().toStdString()
            self._is_started = True
            if self._clock is not None:
                self._clock.note_progress()
            if line == "\n":
                continue
            if self._waiting and self._waiting[0].since:
                try:
                    self._waiting[0].summary = json.loads(line)
                    answer = str(self._waiting[0].summary["error"])
                except (ValueError, KeyError, TypeError):
                    answer = probe.describe_crash(self._waiting[0].path, 0)
                self._finish(answer)

    def _finish(self, answer: str) -> None:
        request = self._waiting.popleft()
        request.answer = answer
        self._timer.stop()
        self._begin()
        self.answered.emit(request)

    def _on_process_ended(self, code: int) -> None:
        self._drop_process()
        if self._waiting and self._waiting[0].since:
            self._finish(probe.describe_crash(self._waiting[0].path, code))

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others end in `finished`
            self._on_process_ended(-1)

    def check(self) -> None:
        """End the running check if it makes no progress, or if an urgent one has waited for PATIENCE seconds."""
        if not self._waiting or not self._waiting[0].since:
            return
        first, waited = self._waiting[0], time.monotonic() - self._waiting[0].since
        if self._process is not None and self._clock is None and self._process.processId():
            self._clock = ProgressClock(self._process.processId(), is_started=self._is_started)
        is_over = self._clock is not None and self._clock.is_over
        is_delaying = not first.urgent and self._waiting[-1].urgent and waited > PATIENCE
        if is_over or is_delaying:
            self._drop_process()
            self._finish(probe.describe_timeout(first.path))

    def _drop_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect(self._on_process_ended)
            process.kill()
            process.waitForFinished(500)
            process.deleteLater()

    def stop(self) -> None:
        """Cancel all checks and kill the process."""
        self._waiting.clear()
        self._timer.stop()
        self._drop_process()
