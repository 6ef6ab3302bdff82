"""Change the regions file with `pi0-regions`, in a process of its own: OpenCV must not be loaded into the window's."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QObject, Signal

from viewer.controllers.child_command import ChildCommand, parse_progress
from viewer.controllers.regions.region_edit import RegionEdit, read_digest
from viewer.regions.file_versions import find_previous_path

if TYPE_CHECKING:
    from collections.abc import Callable

STOPPED: Final = 130


class RegionsJob(NamedTuple):
    """A change of a regions file that is to be made."""

    title: str
    """What is done, such as `Tracking duck`."""
    verb: str
    """Of pi0-regions."""
    words: tuple[str, ...]
    """What follows the verb and the options."""
    results: Path
    path: Path
    """The regions file."""
    name: str
    """The region that the view has afterwards; empty for none."""
    options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the arguments of pi0-regions."""
        options = ["--regions", str(self.path), *self.options, "--progress-lines"]
        return [self.verb, str(self.results), *options, "--", *self.words]


class RegionsProcess(QObject):
    """Makes changes one after another. Each is kept with copies of the file, for undo and redo."""

    changed = Signal()
    """A change has begun, gone on or ended."""
    done = Signal(object, object)
    """A change has ended, or was stopped and what it had made was kept: its RegionsJob and its RegionEdit."""
    failed = Signal(str)
    """A change was not made: why, as a sentence."""

    def __init__(self, note_done: Callable[[], None], parent: QObject) -> None:
        """`note_done` is called after a change was undone or redone."""
        super().__init__(parent)
        self._note_done = note_done
        self.job: RegionsJob | None = None
        """What is being done; None if nothing is."""
        self.progress = 0, 0
        """Frames that are done, and all of them; 0 before the first."""
        self._waiting: deque[RegionsJob] = deque()
        self._command = ChildCommand(self)
        self._command.line_read.connect(self._read_progress)
        self._command.ended.connect(self._finish)
        self._digest = ""
        self._is_stopping = False
        self._copies: Path | None = None
        self._count = 0

    @property
    def is_running(self) -> bool:
        """Whether a change is being made."""
        return self._command.is_running

    def start(self, job: RegionsJob) -> None:
        """Make a change, after those that were asked for before."""
        self._waiting.append(job)
        if not self._command.is_running:
            self._begin()

    def _begin(self) -> None:
        if not self._waiting:
            return
        self.job = job = self._waiting.popleft()
        self.progress, self._is_stopping = (0, 0), False
        self._digest = read_digest(job.path)
        self._command.start("viewer.export.masks", *job.arguments(), folder=job.path.parent, is_single_threaded=False)
        self.changed.emit()

    def _read_progress(self, line: str) -> None:
        self.progress = parse_progress(line) or self.progress
        self.changed.emit()

    def cancel(self) -> None:
        """Stop what is being done, and what waits; frames that were tracked so far are kept."""
        self._waiting.clear()
        if self._command.is_running:
            self._is_stopping = True
            self._command.stop()
            self.changed.emit()

    def _finish(self, code: int) -> None:
        job, self.job = self.job, None
        if job is not None:
            self._end(job, code)
        self.changed.emit()
        self._begin()

    def _end(self, job: RegionsJob, code: int) -> None:
        digest = read_digest(job.path)
        if code in {0, STOPPED} and digest and digest != self._digest:
            try:
                self.done.emit(job, self._keep(job))
            except OSError as error:
                self.failed.emit(f"{job.title} cannot be undone here: no copy of the file can be kept ({error}).")
        elif code not in {0, STOPPED} and not self._is_stopping:
            reason = self._command.find_reason("pi0-regions", code)
            self.failed.emit(f"{job.title} failed: {reason.rstrip('.')}.")

    def _keep(self, job: RegionsJob) -> RegionEdit:
        """Keep copies of the regions file before and after a change."""
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="pi0-regions-"))
        self._count += 1
        before = None
        if self._digest:
            before = self._copies / f"{self._count}.before.h5"
            shutil.copyfile(find_previous_path(job.path), before)
        after = self._copies / f"{self._count}.after.h5"
        return RegionEdit(job.title, job.path, before, after, self._note_done)

    def stop(self) -> None:
        """End the process at once, before the window ends, and forget the copies."""
        self.job = None
        self._waiting.clear()
        self._command.end()
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)
            self._copies = None
