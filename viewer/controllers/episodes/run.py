"""An open run: its episodes, the process that checks their files, and the prefetched neighbours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from viewer.controllers.episodes.episode_prefetch import EpisodePrefetch
from viewer.controllers.episodes.episode_summaries import EpisodeSummaries
from viewer.controllers.episodes.episodes import Episodes
from viewer.controllers.files.probe_worker import ProbeWorker
from viewer.errors import UserError
from viewer.io.run_index import find_episode_path

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.analysis.initial_view import CarriedView
    from viewer.analysis.probe import Probe
    from viewer.controllers.worker import Worker
    from viewer.io.run_index import Run


class OpenRun(QObject):
    """An open run; opens the requested episode from the prefetched files, or else after a check of its file."""

    about_to_open = Signal()
    """Another episode is about to be opened."""
    check_started = Signal(object)
    """A check of the requested episode's file has started: its ProbeRequest, or a Probe; an intact file opens."""
    ready = Signal(object)
    """The requested episode was prefetched: its Results."""
    nothing_yet = Signal(str)
    """No episode can be opened: the message to show."""
    noticed = Signal(str)
    """A message for the user: one sentence."""

    def __init__(self, run: Run, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.episodes = Episodes(run, worker, self)
        self.probe_worker = ProbeWorker(self)
        self.prefetch = EpisodePrefetch(self.probe_worker, worker, self)
        self.summaries = EpisodeSummaries(self.episodes, self.probe_worker, self) if run.index is None else None
        self._direction = 1
        self.episodes.open_requested.connect(self._open)
        self.episodes.noticed.connect(self.noticed)
        self.episodes.marked.connect(self._on_marked)

    @property
    def uuid(self) -> str:
        """The run's identifier; empty for a folder without an index."""
        return self.episodes.run.uuid

    @property
    def file(self) -> str:
        """The open episode's file, as named by the index; empty if none is open."""
        current = self.episodes.current
        return "" if current is None else self.episodes.run.episodes[current].file

    def begin(self, file: str, early: Probe | None) -> None:
        """Open the episode with this file, else the first; report if there is none.

        `early` is a check of an episode's file that is already running; it is used if it is of the right episode.
        """
        episodes = self.episodes
        number = episodes.find_newest_growing()
        number = episodes.place(file) if number is None else number
        number = episodes.first() if number is None else number
        if early is not None and number is not None and episodes.place_of(early.path) == number:
            episodes.cursor = number
            self.check_started.emit(early)
            return
        if early is not None:
            early.stop()
        if number is not None:
            episodes.go(number)
        elif not episodes.run.episodes:
            self.nothing_yet.emit("Its index names no episode.")
        elif episodes.complete:
            self.nothing_yet.emit("None of its episodes was captured; the list says why.")
        else:
            self.nothing_yet.emit("The capture has not finished its first frame. It opens here as soon as it has.")

    def _on_marked(self, _: object) -> None:
        """Open the first episode that becomes available, if none was open."""
        number = self.episodes.first()
        if self.episodes.cursor is None and number is not None:
            self.episodes.go(number)

    def _open(self, path: Location) -> None:
        episodes = self.episodes
        self.about_to_open.emit()
        if episodes.current is not None and episodes.cursor is not None:
            self._direction = -1 if episodes.cursor < episodes.current else 1
        results = self.prefetch.take(path)
        if results is not None:
            self.ready.emit(results)
        else:
            self.check_started.emit(self.probe_worker.request_check(path, urgent=True))

    def opened(self, path: Location, carried: CarriedView | None) -> bool:
        """Mark the episode of a file that was opened and prefetch its neighbours for the view.

        Returns False if the file does not belong to the run.
        """
        if not self.episodes.opened(path):
            return False
        if carried is not None:
            self.prefetch.set_files(self._list_neighbours(), carried)
        return True

    def _list_neighbours(self) -> list[Location]:
        """Return the files of the next and the previous episode, the one in the last direction of travel first."""
        paths = []
        for by in (self._direction, -self._direction):
            number = self.episodes.beside(by)
            if number is not None:
                with contextlib.suppress(UserError):
                    paths.append(find_episode_path(self.episodes.run, self.episodes.run.episodes[number]))
        return paths

    def stop(self) -> None:
        """Release all files and processes."""
        if self.summaries is not None:
            self.summaries.stop()
        self.episodes.stop()
        self.prefetch.stop()
        self.probe_worker.stop()
