"""What a run is asked to do, what it says meanwhile, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capture.datasets.base import Episode


class Progress(Protocol):
    """Where a run says how far it is."""

    def loading(self, done: int, total: int) -> None:
        """Bytes of weights read so far."""

    def expect(self, frames: int) -> None:
        """So many more frames are to come."""

    def step(self, frames: float) -> None:
        """Frames that were run so far; a batch counts by its denoise steps."""

    def tell(self, sentence: str) -> None:
        """Something that the user should know now."""


@dataclass
class FileOutcome:
    """What became of one results file."""

    path: Path
    frames: int = 0
    """Frames that this run added."""
    total: int = 0
    """Frames planned; 0 where it came to no plan."""
    kept: int = 0
    """Frames that an earlier run had finished."""
    failure: str | None = None
    """Why it is not whole, in one sentence."""
    warnings: tuple[str, ...] = ()
    row_sum: float = 0.0
    masked_weight: float = 0.0
    action_difference: float | None = None

    @property
    def skipped(self) -> bool:
        """Whether it was whole before."""
        return self.failure is None and self.kept == self.total and not self.frames


@dataclass
class RunOutcome:
    """What a run found out about itself."""

    files: list[FileOutcome] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    """From the first call to the last frame in its file."""
    busy: float = 0.0
    """Seconds in which a call of the policy was under way on its device."""
    starved: float = 0.0
    """Seconds in which no call could be asked for, for want of pictures; the device may have had earlier ones to do."""
    held_up: float = 0.0
    """The same, for want of room for what was recorded: the writer was behind."""
    recorded_seconds: list[float] = field(default_factory=list)
    """Of each recorded call, with --check."""
    plain_seconds: list[float] = field(default_factory=list)
    """Of each unrecorded call of the same frames, with --check."""

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds in which the device had nothing to do, for want of pictures and because of the writer."""
        waited = self.starved + self.held_up
        part = min(1.0, max(0.0, self.seconds - self.busy) / waited) if waited else 0.0
        return part * self.starved, part * self.held_up


@dataclass(frozen=True)
class Job:
    """A results file that is to be made of an episode."""

    path: Path
    episode: Episode
