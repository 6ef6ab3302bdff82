"""A local file whose bytes come late, or not before a test lets them, as those of another machine do."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from viewer.errors import ConnectionLostError
from viewer.io.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class SlowSource:
    """Bytes of a local file after a delay.

    `block()` holds all requests until `release()`; `lose()` lets them fail until `find_again()`.
    """

    block_bytes = 4096
    """Small, so that small files have many."""

    def __init__(self, path: Path, *, seconds: float = 0.0, bytes_a_second: float = 0.0) -> None:
        self.path, self.seconds, self.bytes_a_second = path, seconds, bytes_a_second
        self.size = path.stat().st_size
        self.requests: list[tuple[tuple[int, int], ...]] = []
        """The ranges (offset, size) of each request, in order."""
        self.waiting = 0
        """Requests that are held at the moment."""
        self.is_lost = False
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self.is_held: Callable[[Sequence[tuple[int, int]]], bool] = lambda ranges: True
        """Which requests `block` holds."""

    def block(self) -> None:
        """Hold all requests from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let all requests go on."""
        self._open.set()

    def lose(self) -> None:
        """Let all requests fail, those that are held too."""
        self.is_lost = True
        self._open.set()

    def find_again(self) -> None:
        """Let requests succeed again."""
        self.is_lost = False

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of some (offset, size)."""
        with self._lock:
            self.requests.append(tuple(ranges))
            self.waiting += 1
        try:
            if self.is_held(ranges):
                self._open.wait(60)
        finally:
            with self._lock:
                self.waiting -= 1
        if self.is_lost:
            raise ConnectionLostError("The connection to gpu was lost; check the network.")
        total = sum(size for _, size in ranges)
        time.sleep(self.seconds + (total / self.bytes_a_second if self.bytes_a_second else 0))
        with self.path.open("rb", buffering=0) as file:
            return [os.pread(file.fileno(), size, offset) for offset, size in ranges]

    def reopen(self) -> SlowSource:
        """Take the present size of the file."""
        self.size = self.path.stat().st_size
        return self

    def close(self) -> None:
        """Do nothing."""


def open_slow(path: Path, **options: float) -> tuple[Results, SlowSource]:
    """Return an open slow file, whose reads wait in this thread too, and its source."""
    source = SlowSource(path, **options)
    return Results(path, source), source
