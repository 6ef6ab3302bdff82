"""What pi0-capture says while it runs: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Console:
    """Progress of one run, on standard error; bars only where that is a terminal. A context manager.

    `say`: prints a line that the user should see now. `quiet`: no bars, for one of several processes on a terminal.
    """

    def __init__(self, say: Callable[[str], None], *, quiet: bool = False) -> None:
        self._say = say
        self._off = True if quiet else None  # None leaves it to the terminal
        self._expected = 0
        self._loading: Any = None
        self._running: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in (self._loading, self._running):
            if bar is not None:
                bar.close()

    def loading(self, done: int, total: int) -> None:
        """Bytes of weights read so far."""
        if self._loading is None:
            self._loading = tqdm(
                total=total,
                desc="loading weights",
                unit="B",
                unit_scale=True,
                leave=False,
                disable=self._off,
                file=sys.stderr,
            )
        self._loading.update(done - self._loading.n)
        if done >= total:
            self._loading.close()

    def expect(self, frames: int) -> None:
        """So many more frames are to come."""
        self._expected += frames
        if self._running is not None:
            self._running.total = self._expected

    def step(self, frames: float) -> None:
        """Frames that were run so far, with fractions."""
        if self._running is None:
            self._running = tqdm(
                total=self._expected, desc="capturing", unit=" frames", leave=False, disable=self._off, file=sys.stderr,
                bar_format="{l_bar}{bar}| {n:.1f}/{total_fmt}{unit} [{elapsed}<{remaining}]",
            )  # fmt: skip
        self._running.update(frames - self._running.n)

    def tell(self, sentence: str) -> None:
        """Print a line above the bar."""
        with tqdm.external_write_mode(file=sys.stderr):
            self._say(sentence)
