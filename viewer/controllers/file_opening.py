"""From a path to an open file without waiting in the window; the bundled demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis.probe import Probe
from viewer.errors import UserError
from viewer.io.open_file import find
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_MILLISECONDS: Final = 150
VERY_SLOW_MILLISECONDS: Final = 2000
WAIT_SECONDS: Final = 0.5


class Looking(Protocol):
    """A look at a file that goes on elsewhere, such as a Probe."""

    @property
    def path(self) -> Path:
        """The file."""

    def poll(self) -> str | None:
        """None while it goes on; then the sentence that says what is wrong with the file, empty if nothing is."""

    def stop(self) -> None:
        """Give it up."""


class Opening(QObject):
    """Looks at a file in another process, then opens it here."""

    opened = Signal(object, bool)
    """The Results, and whether they are the second file of a comparison."""
    failed = Signal(str, str)
    """A sentence, and details."""
    slow = Signal(str, bool)
    """It takes long enough to say so; and whether it takes longer than a sound file on a disk at hand."""

    def __init__(self, needless: Callable[[Path, bool], bool], parent: QObject | None = None) -> None:
        """`needless` is asked of a file that is sound, and whether it is the second, just before it is opened."""
        super().__init__(parent)
        self._needless = needless
        self._probe: Looking | None = None
        self._second = False
        self.path: Path | None = None
        """The file that was looked at last."""
        self._timer = QTimer(self)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._look)
        self._late, self._very_late = QTimer(self), QTimer(self)
        for timer, wait, say in (
            (self._late, SLOW_MILLISECONDS, self._say_slow),
            (self._very_late, VERY_SLOW_MILLISECONDS, self._say_very_slow),
        ):
            timer.setSingleShot(True)
            timer.setInterval(wait)
            timer.timeout.connect(say)

    @property
    def busy(self) -> bool:
        """Whether a file is being looked at."""
        return self._probe is not None

    def start(self, path: Path, *, second: bool = False) -> None:
        """Open a file; one that is still being looked at is given up."""
        self.take(Probe(find(path)), second=second)

    def take(self, probe: Looking, *, second: bool = False) -> None:
        """Open the file that a probe, started before the window, looks at."""
        self.stop()
        self._probe, self._second, self.path = probe, second, probe.path
        for timer in self._timers():
            timer.start()

    def _timers(self) -> tuple[QTimer, ...]:
        return self._timer, self._late, self._very_late

    def stop(self) -> None:
        """Give up."""
        for timer in self._timers():
            timer.stop()
        if self._probe is not None:
            self._probe.stop()
            self._probe = None

    def wait(self) -> None:
        """Give the file half a second before the window is first painted, so that it opens with its pictures."""
        end = time.monotonic() + WAIT_SECONDS
        self._look()
        while self._probe is not None and time.monotonic() < end:
            time.sleep(0.002)
            self._look()

    def _say_slow(self) -> None:
        if self._probe is not None:
            self.slow.emit(str(self._probe.path), False)

    def _say_very_slow(self) -> None:
        if self._probe is not None:
            self.slow.emit(str(self._probe.path), True)

    def _look(self) -> None:
        probe = self._probe
        if probe is None:
            return
        answer = probe.poll()
        if answer is None:
            return
        self._probe = None
        for timer in self._timers():
            timer.stop()
        if answer:
            self.failed.emit(answer, f"File: {probe.path}")
            return
        if self._needless(probe.path, self._second):
            return
        try:
            results = Results(probe.path)
        except UserError as error:
            import traceback

            cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
            self.failed.emit(str(error), f"File: {probe.path}\n{cause}".strip())
            return
        self.opened.emit(results, self._second)


def demo_path() -> Path | None:
    """The bundled demo; None where it is not installed."""
    import importlib.resources  # it loads much, and most starts need it not

    try:
        found = importlib.resources.files("resources") / "demo" / "results.h5"
    except ModuleNotFoundError:
        return None
    path = Path(str(found))
    return path if path.is_file() else None


def demo_view(path: Path) -> ViewState | None:
    """For the bundled demo a view that shows the point at once: the noun, through the head taught to point."""
    if path.parts[-2:] != ("demo", "results.h5"):
        return None
    demo = demo_path()
    if demo is None or path.resolve() != demo.resolve():
        return None
    return ViewState(
        query=Query("text", (5,)), layer=1, heads=(0,), range="shared", colours="magma", opacity=0.9, smooth=True
    )
