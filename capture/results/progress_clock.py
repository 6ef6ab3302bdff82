"""When to end a process that reads a file which may be torn: after two seconds of the clock without progress.

Work on a torn file can loop for ever, and a disk or a network drive can take many seconds to answer. Progress
distinguishes them: a step that the process reports, bytes that it has read, or a wait for the disk, as far as the
system tells. Standard library only.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

STALL_SECONDS: Final = 2.0
"""Longest time without progress; a step takes some 10 ms on an intact full-size file."""
START_SECONDS: Final = 20.0
"""Longest time until a new process reports its first step: Python and its imports, on a busy machine."""
LONGEST_SECONDS: Final = 60.0
"""Longest time in all, with progress."""


class ProgressClock:
    """Clock of one request to the process `pid`; it is read by asking `is_over` repeatedly.

    `is_started`: whether the process has finished its imports. `longest_seconds`: longest time in all, if it is not
    LONGEST_SECONDS.
    """

    def __init__(self, pid: int, *, is_started: bool, longest_seconds: float | None = None) -> None:
        self._pid, self._longest = pid, LONGEST_SECONDS if longest_seconds is None else longest_seconds
        self._begin = self._last = time.monotonic()
        self._stall = STALL_SECONDS if is_started else max(START_SECONDS, STALL_SECONDS)
        self._bytes_read = _bytes_read(pid)

    def note_progress(self) -> None:
        """Note that the process has reported a step."""
        self._last = time.monotonic()
        self._stall = STALL_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the process is to be ended."""
        now = time.monotonic()
        if now - self._begin > self._longest:
            return True
        if now - self._last <= self._stall:
            return False
        read = _bytes_read(self._pid)
        if read == self._bytes_read and not _is_waiting_for_disk(self._pid):
            return True
        self._bytes_read, self._last = read, now
        return False


def _bytes_read(pid: int) -> int:
    """Return the bytes that a process has read so far; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split("rchar:")[1].split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _is_waiting_for_disk(pid: int) -> bool:
    """Return whether a process is in a disk sleep; False where the system does not tell."""
    if sys.platform != "linux":
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"
    except (OSError, IndexError):
        return False
