"""What pi0-export says while it works: on a terminal one line that counts, in a log a line now and then. No Qt."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

PATIENCE: Final = 1.0
"""Seconds of work without a word."""
TERMINAL_SECONDS: Final = 0.1
LOG_SECONDS: Final = 10.0


class Console:
    """Progress on standard error; as lines of JSON where another program reads them."""

    def __init__(self, noun: str, *, lines: bool = False) -> None:
        self.noun, self.lines = noun, lines
        self._start = self._told = time.monotonic()
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def report(self, done: int, total: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if self.lines:
            if done == total or now - self._told > TERMINAL_SECONDS:
                self._told = now
                sys.stdout.write(json.dumps({"done": done, "total": total}) + "\n")
                sys.stdout.flush()
            return
        pause = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        if now - self._start < PATIENCE or (now - self._told < pause and done < total):
            return
        if done == total and not self._shown:
            return
        self._told, self._shown = now, True
        rate = done / (now - self._start)
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and done < total else ""
        text = f"{done} of {total} {self.noun}, {rate:.1f} a second{left}"
        sys.stderr.write(f"\r{text:<70}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Take the counting line away."""
        if self._shown and self._terminal:
            sys.stderr.write("\r" + " " * 70 + "\r")
            sys.stderr.flush()
