"""Progress of pi0-capture on standard error: a transient line and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

from capture.provenance import Decision
from capture.terminal_text import escape_control_characters, replace_control_characters

TICK_SECONDS: Final = 1.0
"""Time between two updates of the elapsed seconds on a terminal."""


MAX_ALIKE: Final = 3
"""Number of decisions about one subject that are printed."""

ECHO: Final = "^C"
"""Echo of Ctrl-C, which a terminal itself writes behind the line."""


class Console:
    """Progress of one command, on standard error. A context manager; leaving it clears what is left on the terminal.

    On a terminal the current stage is one line with its elapsed seconds, and loading and capturing have bars; all of
    them are transient. Elsewhere, as in a log file, each stage is one line that stays. Warnings that any library logs
    are printed above them. Nothing heavy is imported before the first bar: a stage can be shown before torch is there.

    `print_line`: prints a line that stays. `quiet`: neither stages nor bars, for one of several processes that were
    started together. `verbose`: decisions that are certain are printed too.
    """

    def __init__(self, print_line: Callable[[str], None], *, quiet: bool = False, verbose: bool = False) -> None:
        self._print_line, self._quiet, self._verbose = print_line, quiet, verbose
        self._reported: set[Decision] = set()
        self._alike: Counter[str] = Counter()
        """Subject -> number of decisions about it that were printed, or would have been."""
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self.work = ""
        """What is captured, for a log file; the number of frames if left empty."""
        self.activity = "capturing"
        """Verb of the line and the bar, before the number of frames."""
        self._expected = 0
        self._loading: Any = None
        self._running: Any = None
        self._lock = threading.RLock()
        self._stage = ""
        self._since: float | None = None
        """When the stage began; None for a status, which has no elapsed seconds."""
        self._width = 0
        """Characters of the stage's line that are on the terminal."""
        self._clock: threading.Thread | None = None
        self._ended = threading.Event()
        self._warnings = _Warnings(self.log)

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._warnings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        logging.getLogger().removeHandler(self._warnings)

    def close(self) -> None:
        """Clear the stage and the bars; what is printed next begins on a line of its own."""
        self._ended.set()
        self._end_stage()
        for bar in (self._loading, self._running):
            if bar is not None:
                bar.close()
                self._width = _columns() if self._terminal and not self._quiet else 0
        self._erase()  # what the terminal wrote behind a bar
        if self._clock is not None:
            self._clock.join()

    def stage(self, text: str, *, keep: bool = False) -> None:
        """Show the stage that begins now, such as `loading PyTorch`.

        `keep`: the line stays on a terminal too, since other code draws bars of its own meanwhile.
        """
        if self._quiet:
            return
        self._end_stage()
        text = replace_control_characters(text)
        if keep or not self._terminal:
            self._print_line(text)
            return
        with self._lock:
            self._stage, self._since = text, time.monotonic()
            self._draw()
        if self._clock is None:
            self._clock = threading.Thread(target=self._tick, name="console", daemon=True)
            self._clock.start()

    def clear_stage(self) -> None:
        """Remove the stage from the terminal; no other one has begun."""
        self._end_stage()

    def status(self, text: str) -> None:
        """Show a line that is replaced by the next one; on a terminal alone."""
        if self._quiet or not self._terminal:
            return
        with self._lock:
            self._stage, self._since = replace_control_characters(text), None
            self._draw()

    def loading(self, loaded: int, total: int) -> None:
        """Show the bytes of weights that were read so far."""
        if self._loading is None:
            from capture.cli.units import format_bytes

            line = f"loading {format_bytes(total)} of weights"
            self._loading = self._bar(line, total, "loading weights", unit="B", unit_scale=True)
        self._loading.update(loaded - self._loading.n)
        if loaded >= total:
            self._loading.close()

    def expect(self, frames: int) -> None:
        """Add to the number of frames still to run."""
        self._expected += frames
        if self._running is not None:
            self._running.total = self._expected

    def step(self, frames: float) -> None:
        """Show the number of frames run so far, including fractions."""
        if self._running is None:
            work = self.work or f"{self._expected} frame{'s' * (self._expected != 1)}"
            layout = "{l_bar}{bar}| {n:.1f}/{total_fmt}{unit} [{elapsed}<{remaining}]"
            self._running = self._bar(
                f"{self.activity} {work}", self._expected, self.activity, unit=" frames", bar_format=layout
            )
        self._running.update(frames - self._running.n)

    def decided(self, decision: Decision) -> None:
        """Print a decision about the input once: one that is not certain, or any if `verbose`.

        The episodes of a data set may each decide the same question otherwise, in numbers of frames for example: of one
        subject only the first few are printed, unless `verbose`.
        """
        if decision in self._reported or (decision.is_certain and not self._verbose):
            return
        self._reported.add(decision)
        subject, is_of_episode, _ = decision.subject.partition(" camera of ")  # "exterior camera of episode_000003"
        subject += " camera" * bool(is_of_episode)
        self._alike[subject] += 1
        if self._verbose or self._alike[subject] <= MAX_ALIKE:
            self.log(f"{decision.label} {decision.sentence}")
        elif self._alike[subject] == MAX_ALIKE + 1:
            name = escape_control_characters(subject)
            self.log(
                f"assumed {name}: in other ways in more episodes (pi0-capture info FILE shows each; -v prints all)"
            )

    def skip(self, decisions: Iterable[Decision]) -> None:
        """Print none of these decisions, since another process does."""
        self._reported.update(decisions)

    def log(self, sentence: str) -> None:
        """Print a line that stays, above the stage or the bar."""
        with self._lock:
            self._erase()
            if self._loading is None and self._running is None:
                self._print_line(sentence)
            else:
                from tqdm import tqdm

                with tqdm.external_write_mode(file=sys.stderr):
                    self._print_line(sentence)
            if self._stage:
                self._draw()

    def _bar(self, line: str, total: int, name: str, **options: Any) -> Any:
        """Return a bar that replaces the stage; without a terminal, print `line` and return a bar that is not drawn."""
        from tqdm import tqdm

        self._end_stage()
        drawn = self._terminal and not self._quiet
        if not drawn and not self._quiet:
            self._print_line(line)
        shape = {"ncols": _columns(), "leave": False, "disable": not drawn}
        return tqdm(total=total, desc=name, file=sys.stderr, **shape, **options)

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            with self._lock:
                if self._stage:
                    self._draw()

    def _draw(self) -> None:
        seconds = 0 if self._since is None else int(time.monotonic() - self._since)
        text = f"{self._stage} ({seconds} s)" if seconds else self._stage
        text = text[: _columns()]
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def _erase(self) -> None:
        if self._width:
            self._write("\r" + " " * (self._width + len(ECHO)) + "\r")
            self._width = 0

    def _end_stage(self) -> None:
        with self._lock:
            self._stage = ""
            self._erase()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone
            sys.stderr.write(text)
            sys.stderr.flush()


class _Warnings(logging.Handler):
    """Log handler that passes warnings and errors to `log`, one sentence each."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._log_line = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log_line(f"{record.levelname.lower()}: {self.format(record)}")


def _columns() -> int:
    """Return the length that a line may have: one that wraps, if only by the echo of Ctrl-C, cannot be rewritten."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        columns = 80
    return max(1, columns - 1 - len(ECHO))
