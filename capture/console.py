"""What pi0-capture says while it runs: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Console:
    """Progress of one run, on standard error; bars only where that is a terminal. A context manager."""

    def __init__(self, frames: int, steps: int) -> None:
        self._frames, self._steps = frames, steps
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
                disable=None,
                file=sys.stderr,
            )
        self._loading.update(done - self._loading.n)
        if done >= total:
            self._loading.close()

    def step(self, frame: int, step: int) -> None:
        """A denoise step of a frame is done; the bar counts whole frames."""
        if self._running is None:
            self._running = tqdm(
                total=self._frames, desc="capturing", unit=" frames", leave=False, disable=None, file=sys.stderr,
                bar_format="{l_bar}{bar}| {n:.1f}/{total_fmt}{unit} [{elapsed}<{remaining}]",
            )  # fmt: skip
        self._running.update(frame + (step + 1) / self._steps - self._running.n)
