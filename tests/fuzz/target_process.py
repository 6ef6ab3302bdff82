"""A process that opens damaged files, one after another, and the limits of its time."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from paths import ROOT

CPU_LIMIT: Final = 2.0
"""Processor seconds of one step of a target, which an intact file needs a tenth of."""
CLOCK_LIMIT: Final = 60.0
"""Seconds of the clock for one step: far more on a busy machine, so that only a process that sleeps reaches it."""
START_SECONDS: Final = 60.0
"""Time for a target to start."""


class TargetProcess:
    """One target in another process, which answers each path on standard input with a line.

    An empty line is the end of a step. `is_watched`: it is ended as the program ends its own watched process, and says
    nothing when it has started; else its first line is "ready". `counts_children`: whether the processor time of its
    ended children counts as its own; not where it starts some that have limits of their own.
    """

    def __init__(self, command: Sequence[str], *, is_watched: bool = False, counts_children: bool = True) -> None:
        self.is_watched = is_watched
        self._times = slice(11, 15 if counts_children else 13)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        self.is_started = not is_watched and self.lines.get(timeout=START_SECONDS) == b"ready\n"

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put(b"")

    def open(self, path: Path) -> tuple[str, float]:
        """Return the answer, `hang` or `crash`, and the processor seconds of its slowest step."""
        from capture.results.progress_clock import ProgressClock

        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return f"crash {self.process.wait()} after the last file", 0.0
        clock = ProgressClock(self.process.pid, is_started=self.is_started)
        begin, cpu, slowest = time.monotonic(), self.cpu_seconds(), 0.0
        while True:
            try:
                line = self.lines.get(timeout=0.02)
            except queue.Empty:
                if self.is_watched and clock.is_over:  # as the program does
                    return "ended", slowest
                used = self.cpu_seconds() - cpu
                patience = 1 if self.is_started else START_SECONDS
                if time.monotonic() - begin > CLOCK_LIMIT * patience or used > CPU_LIMIT * patience:
                    return "hang", max(used, slowest)
                continue
            clock.note_progress()
            used, cpu, begin = self.cpu_seconds() - cpu, self.cpu_seconds(), time.monotonic()
            slowest = max(slowest, used if self.is_started else 0.0)
            self.is_started = True
            if line == b"\n":
                continue
            if not line:
                return "ended" if self.is_watched else f"crash {self.process.wait()}", slowest
            answer = json.loads(line)
            return ("refused" if answer["error"] else "opened") if isinstance(answer, dict) else answer, slowest

    def cpu_seconds(self) -> float:
        """Return the processor time of the process, and of its children that have ended where they count."""
        try:
            times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[self._times]
        except OSError:
            return 0.0
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return the most memory that the process has had; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            return 0.0

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
