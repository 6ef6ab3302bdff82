"""Open a results file without blocking the window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis.probe import Probe
from viewer.controllers.reading.reader import Reader
from viewer.errors import ConnectionLostError, NotLoadedError, UserError, split_library_words
from viewer.io.open_file import connect_ahead, find, find_source
from viewer.io.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.io.block_file import ByteSource

SLOW_MILLISECONDS: Final = 150
VERY_SLOW_MILLISECONDS: Final = 2000
"""Times after which opening a file counts as slow, and as slower than an intact file on a local disk."""
WAIT_SECONDS: Final = 0.5
"""Longest time for which the first paint of the window waits for a file."""


class FileCheck(Protocol):
    """Interface of a file check that runs in another process, such as `Probe`."""

    @property
    def path(self) -> Location:
        """The file that is checked."""

    def poll(self) -> str | None:
        """Return None while the check runs; then an error message, empty if the file is intact."""

    def stop(self) -> None:
        """Cancel the check."""


class Opening(QObject):
    """Opens a file in this process after checking it in another, since HDF5 can hang or crash on a damaged file."""

    opened = Signal(object, bool)
    """A file has been opened: its Results, and whether it is the second file of a comparison."""
    failed = Signal(str, str)
    """A file could not be opened: message and details."""
    slow = Signal(str, bool)
    """Opening this path takes long; True once it takes longer than an intact file on a local disk would."""

    def __init__(
        self,
        skip_if_open: Callable[[Location, bool], bool],
        reader: Reader | None = None,
        parent: QObject | None = None,
    ) -> None:
        """Create an idle opener.

        `skip_if_open(path, second)` is called just before an intact file is opened; True means that it is not opened.
        `reader` opens slow files.
        """
        super().__init__(parent)
        self._skip_if_open = skip_if_open
        self._reader = reader or Reader(self)
        self._probe: FileCheck | None = None
        self._is_second = False
        self.path: Location | None = None
        """The file that was checked last."""
        self._timer = QTimer(self)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._poll)
        self._slow_timer, self._very_slow_timer = QTimer(self), QTimer(self)
        for timer, wait, say in (
            (self._slow_timer, SLOW_MILLISECONDS, self._say_slow),
            (self._very_slow_timer, VERY_SLOW_MILLISECONDS, self._say_very_slow),
        ):
            timer.setSingleShot(True)
            timer.setInterval(wait)
            timer.timeout.connect(say)

    @property
    def busy(self) -> bool:
        """Whether a file is being checked, or a slow one opened."""
        return self._probe is not None or self._reader.is_reading("open")

    def start(self, path: Location, *, second: bool = False) -> None:
        """Check and open a file; a check that is still running is cancelled."""
        self.take(Probe(find(path)), second=second)

    def take(self, probe: FileCheck, *, second: bool = False) -> None:
        """Open the file of a check that is already running, for example one started before the window."""
        self.stop()
        self._probe, self._is_second, self.path = probe, second, probe.path
        connect_ahead(probe.path)  # while the other process looks
        for timer in self._timers():
            timer.start()

    def _timers(self) -> tuple[QTimer, ...]:
        return self._timer, self._slow_timer, self._very_slow_timer

    def stop(self) -> None:
        """Cancel the opening."""
        for timer in self._timers():
            timer.stop()
        if self._probe is not None:
            self._probe.stop()
            self._probe = None
        self._reader.drop("open")

    def wait(self) -> None:
        """Block for at most half a second until the file is open, so that the first paint can show its pictures."""
        end = time.monotonic() + WAIT_SECONDS
        self._poll()
        while self._probe is not None and time.monotonic() < end:
            time.sleep(0.002)
            self._poll()

    def _say_slow(self) -> None:
        if self.busy:
            self.slow.emit(str(self.path), False)

    def _say_very_slow(self) -> None:
        if self.busy:
            self.slow.emit(str(self.path), True)

    def _poll(self) -> None:
        probe = self._probe
        if probe is None:
            return
        answer = probe.poll()
        if answer is None:
            return
        self._probe = None
        self._timer.stop()
        source = None if answer else find_source(probe.path)
        if source is None:
            self._stop_timers()
        if answer:
            self._report(answer, probe.path)
        elif not self._skip_if_open(probe.path, self._is_second):
            if source is None:
                self._open(lambda: Results(probe.path))
            else:
                self._open_slow(probe.path, source)

    def _stop_timers(self) -> None:
        for timer in self._timers():
            timer.stop()

    def _open(self, open_results: Callable[[], Results]) -> None:
        assert self.path is not None
        try:
            results = open_results()
        except UserError as error:
            import traceback

            cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
            self._report(str(error), self.path, cause)
            return
        self.opened.emit(results, self._is_second)

    def _open_slow(self, path: Location, open_source: Callable[[], ByteSource]) -> None:
        """Open a slow file in another thread."""
        outcome: list[Results | UserError] = []

        def read() -> None:
            try:
                outcome.append(Results(path, open_source()))
            except ConnectionLostError:
                raise
            except UserError as error:
                outcome.append(error)
            except OSError as error:
                outcome.append(UserError(f"{path.name} cannot be read ({error}); check its address."))

        def take() -> Results:
            if not outcome:
                raise NotLoadedError(read)
            if isinstance(outcome[0], UserError):
                raise outcome[0]
            return outcome[0]

        def act() -> None:
            if not outcome:
                raise NotLoadedError(read)
            self._stop_timers()
            self._open(take)

        self._reader.attempt("open", act, lane="view")

    def _report(self, message: str, path: Location, cause: str = "") -> None:
        """Announce a failure in a plain sentence; HDF5's message is among the details."""
        sentence, words = split_library_words(message)
        details = f"File: {path}\n" + (f"HDF5 says: {words}\n" if words else "") + cause
        self.failed.emit(sentence, details.strip())
