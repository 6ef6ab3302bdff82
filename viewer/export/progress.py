"""Progress of pi0-export: a bar on a terminal, a line now and then in a log, JSON for the window. No Qt."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, Final, TextIO

DELAY_SECONDS: Final = 1.0
"""Exports that take less show no bar."""
TERMINAL_SECONDS: Final = 0.1
LOG_SECONDS: Final = 10.0
BAR_FORMAT: Final = "{n_fmt} of {total_fmt}{unit}, {rate_fmt}, {remaining} left"


class ProgressReporter:
    """Reports how far an export is on standard error; or as lines of JSON on standard output.

    Without tqdm, which a table can be exported without, there is no bar.
    """

    def __init__(self, noun: str, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._last_line = time.monotonic()
        self._bar: Any = None if as_json else _create_bar(noun)

    def report(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._as_json:
            self._write_json(done, total)
            return
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def _write_json(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last_line > TERMINAL_SECONDS:
            self._last_line = now
            sys.stdout.write(json.dumps({"done": done, "total": total}) + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Remove the bar from a terminal."""
        if self._bar is not None:
            self._bar.close()


class _LogStream:
    """Writes each state of a bar as a line of its own, where a terminal would overwrite the last one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()


def _create_bar(noun: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # its thread would keep processes from being forked

    # The default lock is one of multiprocessing, which on some systems starts a process.
    Bar.set_lock(threading.RLock())
    is_terminal = sys.stderr.isatty()
    return Bar(
        unit=f" {noun}",
        delay=DELAY_SECONDS,
        miniters=1,
        mininterval=TERMINAL_SECONDS if is_terminal else LOG_SECONDS,
        leave=not is_terminal,
        file=sys.stderr if is_terminal else _LogStream(sys.stderr),
        bar_format=None if is_terminal else BAR_FORMAT,
    )
