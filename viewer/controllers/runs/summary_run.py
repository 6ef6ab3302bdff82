"""The process that makes or updates the summary of a run, as seen from the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.controllers.child_command import ChildCommand
from viewer.runs.summary_process import MODULE, BuildProgress, list_arguments, parse_progress

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.runs.query import Subject

KILL_MILLISECONDS: Final = 5000
"""Time that a stopped process has to keep what is done and end by itself."""
SILENCE_MILLISECONDS: Final = 120_000
"""After so long without a line the process is taken to hang, such as on a damaged file, and is ended."""
MOST_LINES: Final = 20
"""Of its error output, which are kept as details."""


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
        self._command = ChildCommand(self, kill_milliseconds=KILL_MILLISECONDS, most_lines=MOST_LINES)
        self._command.line_read.connect(self._read_progress)
        self._command.ended.connect(self._on_ended)
        self._hang_reason = ""
        """Why the process was killed, if it was taken to hang."""
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.setInterval(SILENCE_MILLISECONDS)
        self._silence.timeout.connect(self._on_silence)

    @property
    def is_running(self) -> bool:
        """Whether a summary is being made."""
        return self._command.is_running

    def start(self, run: Location, subject: Subject) -> None:
        """Begin to make or update the summary of a subject; one of another subject is ended first."""
        if self._command.is_running and self.subject == subject and not self.is_stopped:
            return
        self.end()
        self.subject, self.progress, self.is_stopped, self.details = subject, BuildProgress(), False, ""
        self._hang_reason = ""
        self._command.start(MODULE, *list_arguments(run, [subject]))
        self._silence.start()
        self.progressed.emit()

    def _read_progress(self, line: str) -> None:
        self._silence.start()
        progress = parse_progress(line)
        if progress is not None:
            self.progress = progress
            self.progressed.emit()
            if progress.is_written:
                self.written.emit()

    def stop(self) -> None:
        """Stop after the episode that is being read; what is done is kept."""
        if self._command.is_running:
            self.is_stopped = True
            self._command.stop()
            self.progressed.emit()

    def _on_silence(self) -> None:
        self._hang_reason = f"the process said nothing for {SILENCE_MILLISECONDS // 1000} s"
        self._command.kill()

    def _on_ended(self, code: int) -> None:
        self._silence.stop()
        self.details = "\n".join([*self._command.errors, *filter(None, [self._hang_reason])])
        if self.is_stopped or (code == 0 and not self.progress.error):
            self.ended.emit("")
            return
        reason = self._hang_reason or self._command.find_reason(MODULE, code)
        self.ended.emit(self.progress.error or f"The episodes could not be summarised: {reason}.")

    def end(self) -> None:
        """End the process at once, without a signal."""
        self._silence.stop()
        self._command.end()
