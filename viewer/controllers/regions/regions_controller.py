"""Find, read and watch the regions file of the open results file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis.regions_process import RegionsReading
from viewer.errors import split_library_words
from viewer.regions.regions_file import default_path, read_stamp

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings
    from viewer.io.results import Results
    from viewer.regions.regions_file import Stamp

LOOK_MILLISECONDS: Final = 15
DELAY_MILLISECONDS: Final = 40
"""Delay before the regions are read, so that this does not compete with painting a file's first picture."""
WATCH_MILLISECONDS: Final = 1000
"""Interval of the checks whether another program has changed the file."""
ELSEWHERE: Final = (
    "This file lies on another machine, so its regions are not read here. Run pi0-regions there, or copy the file."
)


class RegionsController(QObject):
    """Reads the regions of the open file in another process, and again whenever their file has changed."""

    changed = Signal()
    """What is known of the regions, or `problem`, has changed."""

    def __init__(self, session: Session, settings: Settings, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.settings = session, settings
        self.path: Path | None = None
        """Where the regions of the open file are kept, whether there are some or not; None without a local file."""
        self.problem = ""
        """Why the regions cannot be shown, as a sentence; empty if they can, or if there are none."""
        self._results: Results | None = None
        self._stamp: Stamp | None = None
        """Of the regions file that was read last, or is being read; None for no file."""
        self._reading: RegionsReading | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self._look)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MILLISECONDS)
        self._watch.timeout.connect(self.look_for_changes)
        session.opened.connect(self._on_opened)

    @property
    def is_reading(self) -> bool:
        """Whether the regions are still being read."""
        return self._reading is not None

    def _on_opened(self) -> None:
        results = self.session.results
        if results is self._results:
            return
        self._stop_reading()
        self._results, self._stamp, self.problem = results, None, ""
        self.path = self._find_path(results)
        if results is not None and self.path is None:
            self.problem = ELSEWHERE
        if self.path is None:
            self._watch.stop()
        else:
            self._watch.start()
            QTimer.singleShot(DELAY_MILLISECONDS, self, self.look_for_changes)
        self.changed.emit()

    def _find_path(self, results: Results | None) -> Path | None:
        if results is None or not isinstance(results.path, Path):
            return None
        return default_path(results.path.absolute())

    # Reading

    def look_for_changes(self) -> None:
        """Read the regions file if it is another one than was read last, or was not read yet."""
        if self.path is None or self._reading is not None:
            return
        stamp = read_stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:
            self._take_none("")
        else:
            self._begin()

    def _begin(self) -> None:
        results = self.session.results
        assert results is not None
        assert self.path is not None
        assert isinstance(results.path, Path)
        self._reading = RegionsReading(self.path, results.path.absolute())
        self._timer.start()

    def _look(self) -> None:
        reading = self._reading
        answer = reading.poll() if reading is not None else None
        if reading is None or answer is None:
            return
        self._stop_reading()
        if answer:
            self._take_none(split_library_words(answer)[0])
            self.session.noticed.emit(self.problem)
        else:
            self.problem = ""
            self.session.take_regions(reading.regions)
        self.changed.emit()
        self.look_for_changes()

    def _take_none(self, problem: str) -> None:
        self.problem = problem
        self.session.take_regions(None)
        self.changed.emit()

    def _stop_reading(self) -> None:
        self._timer.stop()
        if self._reading is not None:
            self._reading.stop()
            self._reading = None

    def stop(self) -> None:
        """End what is still running, before the window ends."""
        self._watch.stop()
        self._stop_reading()
