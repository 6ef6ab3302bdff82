"""A process that reads files which may be damaged, and is ended by the clock: HDF5 can loop, sleep or crash on one.

Requests and answers are lines of JSON, an empty line from the process is progress; see `ProgressClock`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from capture.child_process import ignore_stop_signals, start_python
from capture.results.progress_clock import LONGEST_SECONDS, ProgressClock

CPU_SECONDS: Final = 1.5
"""Processor time of one step, in seconds, after which the system ends the process, also without its parent."""
MEMORY_BYTES: Final = 1 << 30
"""Bytes by which the process may grow, so that a forged file cannot fill the machine."""


class NoAnswerError(Exception):
    """The process crashed, or was ended because it made no progress: `is_overdue`."""

    def __init__(self, *, is_overdue: bool) -> None:
        super().__init__("no progress" if is_overdue else "the process ended")
        self.is_overdue = is_overdue


class WatchedProcess:
    """A Python process that answers requests one at a time; started by the first one, and again after one that failed.

    `code` must call `serve`. `longest_seconds`: longest time of one answer, with progress. Thread-safe.
    """

    def __init__(self, code: str, *, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._code, self._longest_seconds = code, longest_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def ask(self, request: object) -> Any:
        """Return the answer to a request, a value of JSON as the answer is. Raises NoAnswerError.

        A signal handler's exception, such as KeyboardInterrupt, ends the process and the wait.
        """
        with self._lock:
            try:
                return self._ask(request)
            except BaseException:
                self._end()
                raise

    def _ask(self, request: object) -> Any:
        is_started = self._process is not None
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise NoAnswerError(is_overdue=False) from error
        clock = ProgressClock(process.pid, is_started=is_started, longest_seconds=self._longest_seconds)
        while True:
            try:
                line = self._lines.get(timeout=0.02)
            except queue.Empty:
                if clock.is_over:
                    raise NoAnswerError(is_overdue=True) from None
                continue
            if not line:
                raise NoAnswerError(is_overdue=self._ends_itself(process))
            if line == b"\n":
                clock.note_progress()
                continue
            return json.loads(line)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = start_python(
            self._code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._lines = queue.SimpleQueue()
        threading.Thread(target=_queue_lines, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    @staticmethod
    def _ends_itself(process: subprocess.Popen[bytes]) -> bool:
        """Return whether the system ended a process that closed its output because of CPU_SECONDS."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return sys.platform != "win32" and process.wait(timeout=1) == -signal.SIGPROF
        return False

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._end()


def _queue_lines(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on each line, and an empty one at the end."""
    with contextlib.suppress(OSError, ValueError):  # closed meanwhile
        for line in stream:
            lines.put(line)
    lines.put(b"")


def serve(answer: Callable[[Any, Callable[[], None]], object]) -> None:
    """Answer each request on standard input by `answer(request, note_progress)` until it ends; for the child process.

    `answer` calls `note_progress` after each step; see CPU_SECONDS.
    """
    ignore_stop_signals()
    _limit_memory()

    def note_progress() -> None:
        _limit_time()
        sys.stdout.write("\n")
        sys.stdout.flush()

    for line in sys.stdin:
        note_progress()
        reply = json.dumps(answer(json.loads(line), note_progress))
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


def _limit_time() -> None:
    if sys.platform != "win32":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used_bytes + MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
