"""The process that makes or updates the summary of a run, as seen from the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from viewer.controllers.python_process import create_python_process
from viewer.model.plain_text import clean_text
from viewer.runs.summary_process import MODULE, BuildProgress, list_arguments, parse_progress

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.runs.query import Subject

KILL_MILLISECONDS: Final = 5000
"""Time that a stopped process has to keep what is done and end by itself."""
SILENCE_MILLISECONDS: Final = 120_000
"""After so long without a line the process is taken to hang, such as on a damaged file, and is ended."""
MOST_LINES: Final = 20
MOST_CHARACTERS: Final = 400
"""Of one line of its error output."""


class SummaryRun(QObject):
    """Makes one summary at a time."""

    progressed = Signal()
    """`progress` has changed."""
    written = Signal()
    """The summary on the disk has changed."""
    ended = Signal(str)
    """The process has ended: why, as a sentence, where it failed; empty where all is done or it was stopped."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.progress = BuildProgress()
        self.subject: Subject | None = None
        """What is being summarised; None if nothing is."""
        self.is_stopped = False
        """Whether the user stopped the last one."""
        self.details = ""
        """What the process wrote to its error output."""
        self._process: QProcess | None = None
        self._errors: list[str] = []
        self._deadline = QTimer(self)
        self._deadline.setSingleShot(True)
        self._deadline.setInterval(KILL_MILLISECONDS)
        self._deadline.timeout.connect(self._kill)
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.setInterval(SILENCE_MILLISECONDS)
        self._silence.timeout.connect(self._on_silence)

    @property
    def is_running(self) -> bool:
        """Whether a summary is being made."""
        return self._process is not None

    def start(self, run: Location, subject: Subject) -> None:
        """Begin to make or update the summary of a subject; one of another subject is ended first."""
        if self._process is not None and self.subject == subject and not self.is_stopped:
            return
        self.end()
        self.subject, self.progress, self.is_stopped, self.details = subject, BuildProgress(), False, ""
        self._errors = []
        process = create_python_process(self, MODULE, *list_arguments(run, [subject]))
        process.readyReadStandardOutput.connect(self._read_progress)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        process.start()
        self._silence.start()
        self.progressed.emit()

    def _read_progress(self) -> None:
        has_written = False
        self._silence.start()
        while self._process is not None and self._process.canReadLine():
            found = parse_progress(bytes(self._process.readLine().data()).decode(errors="replace"))
            if found is not None:
                self.progress = found
                has_written |= found.is_written
        self.progressed.emit()
        if has_written:
            self.written.emit()

    def _read_errors(self) -> None:
        if self._process is not None:
            text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
            lines = [clean_text(line.rstrip(), MOST_CHARACTERS) for line in text.splitlines() if line.strip()]
            self._errors = [*self._errors, *lines][-MOST_LINES:]

    def stop(self) -> None:
        """Stop after the episode that is being read; what is done is kept."""
        if self._process is not None:
            self.is_stopped = True
            self._process.terminate()
            self._deadline.start()
            self.progressed.emit()

    def _on_silence(self) -> None:
        self._errors = [*self._errors, f"the process said nothing for {SILENCE_MILLISECONDS // 1000} s"]
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others end in `finished`
            self._on_finished(-1)

    def _on_finished(self, code: int) -> None:
        if self._process is None:
            return
        self._read_progress()
        self._read_errors()
        process, self._process = self._process, None
        self._stop_timers()
        process.deleteLater()
        self.details = "\n".join(self._errors)
        if self.is_stopped or (code == 0 and not self.progress.error):
            self.ended.emit("")
            return
        last = self._errors[-1] if self._errors else ""
        self.ended.emit(
            self.progress.error or f"The episodes could not be summarised: {last or f'the process ended with {code}'}."
        )

    def _stop_timers(self) -> None:
        self._deadline.stop()
        self._silence.stop()

    def end(self) -> None:
        """End the process at once, without a signal."""
        process, self._process = self._process, None
        self._stop_timers()
        if process is not None:
            process.finished.disconnect(self._on_finished)
            process.kill()
            process.waitForFinished(1000)
            process.deleteLater()
