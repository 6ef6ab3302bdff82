"""A run that is open: its episodes, the process that looks at their files, and what is read ahead."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from viewer.controllers.episode_prefetch import EpisodesAhead
from viewer.controllers.episode_summaries import EpisodeFacts
from viewer.controllers.episodes import Episodes
from viewer.controllers.probe_worker import Lookout
from viewer.errors import UserError
from viewer.io.run_index import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.analysis.initial_view import Carried
    from viewer.analysis.probe import Probe
    from viewer.controllers.worker import Worker
    from viewer.io.run_index import Run


class OpenRun(QObject):
    """Turns the episode that is asked for into an open file, as fast as it can without trusting it."""

    asked = Signal()
    """Another episode is about to be opened."""
    looking = Signal(object)
    """A Look at the file of the episode asked for; it is to be opened when the look ends well."""
    ready = Signal(object)
    """The Results of the episode asked for, which was read ahead."""
    nothing_yet = Signal(str)
    """No episode can be looked at: the sentence to show."""
    noticed = Signal(str)
    """A sentence for the user."""

    def __init__(self, run: Run, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.episodes = Episodes(run, worker, self)
        self.lookout = Lookout(self)
        self.ahead = EpisodesAhead(self.lookout, worker, self)
        self.facts = EpisodeFacts(self.episodes, self.lookout, self) if run.index is None else None
        self._direction = 1
        self.episodes.asked.connect(self._open)
        self.episodes.noticed.connect(self.noticed)
        self.episodes.marked.connect(self._marked)

    @property
    def uuid(self) -> str:
        """The run's own identity; empty for a plain folder."""
        return self.episodes.run.uuid

    @property
    def file(self) -> str:
        """The open episode's file, as the index names it; empty if none is open."""
        current = self.episodes.current
        return "" if current is None else self.episodes.run.episodes[current].file

    def begin(self, file: str, early: Probe | None) -> None:
        """Open the episode with this file, else the first; say so if there is none. `early` looks at one already."""
        episodes = self.episodes
        number = episodes.place(file)
        number = episodes.first() if number is None else number
        if early is not None and number is not None and episodes.place_of(early.path) == number:
            episodes.cursor = number
            self.looking.emit(early)
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

    def _marked(self, _: object) -> None:
        """Where there was nothing to look at, the first episode that comes is opened."""
        number = self.episodes.first()
        if self.episodes.cursor is None and number is not None:
            self.episodes.go(number)

    def _open(self, path: Path) -> None:
        episodes = self.episodes
        self.asked.emit()
        if episodes.current is not None and episodes.cursor is not None:
            self._direction = -1 if episodes.cursor < episodes.current else 1
        results = self.ahead.take(path)
        if results is not None:
            self.ready.emit(results)
        else:
            self.looking.emit(self.lookout.look(path, urgent=True))

    def opened(self, path: Path, carried: Carried | None) -> bool:
        """A file is open: whether it belongs to the run. Then what lies beside it is read ahead for the view."""
        if not self.episodes.opened(path):
            return False
        if carried is not None:
            self.ahead.want(self._beside(), carried)
        return True

    def _beside(self) -> list[Path]:
        """Files of the next and the previous episode, that first towards which the last step was."""
        paths = []
        for by in (self._direction, -self._direction):
            number = self.episodes.beside(by)
            if number is not None:
                with contextlib.suppress(UserError):
                    paths.append(path_of(self.episodes.run, self.episodes.run.episodes[number]))
        return paths

    def stop(self) -> None:
        """Give everything back."""
        if self.facts is not None:
            self.facts.stop()
        self.episodes.stop()
        self.ahead.stop()
        self.lookout.stop()
