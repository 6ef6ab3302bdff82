"""Value types of a run: its jobs, its progress reports and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capture.datasets.base import Episode
from capture.provenance import Decision


class Progress(Protocol):
    """Receiver of progress reports."""

    def loading(self, done: int, total: int) -> None:
        """Report the bytes of weights read so far, and their total."""

    def expect(self, frames: int) -> None:
        """Report that `frames` more frames will be run."""

    def step(self, frames: float) -> None:
        """Report the frames run so far; a batch under way counts by its finished denoise steps."""

    def log(self, sentence: str) -> None:
        """Report a sentence for the user."""

    def decided(self, decision: Decision) -> None:
        """Report a decision about the input; the same one may be reported for many files."""


@dataclass
class FileOutcome:
    """The outcome of one results file."""

    path: Path
    frames: int = 0
    """Frames that this run wrote."""
    total: int = 0
    """Frames planned; 0 if planning failed."""
    kept: int = 0
    """Frames that an earlier run had written."""
    failure: str | None = None
    """Why the file is incomplete, in one sentence."""
    warnings: tuple[str, ...] = ()
    row_sum: float = 0.0
    masked_weight: float = 0.0
    action_difference: float | None = None

    @property
    def skipped(self) -> bool:
        """Whether the file was complete before this run."""
        return self.failure is None and self.kept == self.total and not self.frames


@dataclass
class RunOutcome:
    """The outcome of a run: its files and where its time went."""

    files: list[FileOutcome] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    """Seconds from the first call until the last frame was written."""
    busy_seconds: float = 0.0
    """Seconds in which the device worked at calls of the policy."""
    reader_wait_seconds: float = 0.0
    """Seconds in which no call could be started because no frames were ready; the device may still work."""
    writer_wait_seconds: float = 0.0
    """Seconds in which no call could be started because the writer had not freed its buffers."""
    recorded_seconds: list[float] = field(default_factory=list)
    """Duration of each recorded call, with --check."""
    plain_seconds: list[float] = field(default_factory=list)
    """Duration of the unrecorded call of the same frames, with --check."""

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds in which the device was idle, waiting for readers and waiting for writers."""
        waited = self.reader_wait_seconds + self.writer_wait_seconds
        part = min(1.0, max(0.0, self.seconds - self.busy_seconds) / waited) if waited else 0.0
        return part * self.reader_wait_seconds, part * self.writer_wait_seconds


@dataclass(frozen=True)
class Job:
    """An episode and the results file to write for it."""

    path: Path
    episode: Episode
