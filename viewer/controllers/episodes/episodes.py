"""The episodes of the open run: their order, states, filter, and which one is open."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from capture.results import schema
from viewer.errors import UserError
from viewer.io import run_index
from viewer.io.run_index import OPENABLE, Episode, Group, Run, RunStamp, Status

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.controllers.worker import Worker

POLL_MILLISECONDS: Final = 2000
"""Interval of the checks of the folder."""
LIVE_MILLISECONDS: Final = 250
"""The same of a run of rollouts, whose next episode is to be shown as soon as it begins."""
LIVE_SECONDS: Final = 60.0
"""Age of the last change from which an unfinished file is that of a recording that was killed."""
MOST_SEEN: Final = 100
"""Number of visible rows remembered in `seen`."""


class Episodes(QObject):
    """The list of episodes and the current one; polls the folder while the run is not complete.

    Episodes are identified by their index in `run.episodes`.
    """

    listed = Signal()
    """The listed episodes or their order have changed."""
    marked = Signal(object)
    """The states of some episodes have changed: a list of their indices."""
    folder_changed = Signal()
    """Files of the run may have appeared, vanished or been replaced: also without a change of states."""
    sighted = Signal()
    """Rows whose prompts and frames are not yet known have become visible: their indices are in `seen`."""
    moved = Signal()
    """Another episode is open."""
    open_requested = Signal(object)
    """An episode is to be opened: the Path of its file."""
    noticed = Signal(str)
    """A message for the user: one sentence."""

    def __init__(self, run: Run, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run, self.worker = run, worker
        self.words = ""
        """The words that filter the list; empty for no filter."""
        self.current: int | None = None
        """Index of the open episode; None if none is open."""
        self.cursor: int | None = None
        """Index of the episode requested last, which is not `current` if it could not be opened."""
        self.damaged: dict[int, str] = {}
        self.recently_visible: deque[int] = deque(maxlen=MOST_SEEN)
        """Indices of the episodes whose rows became visible last."""
        self._summaries: dict[str, Episode] = {}
        """Episodes as described by their own files, by file name, for a folder without an index."""
        self.statuses: tuple[Status, ...] = run_index.statuses(run)
        self.groups: tuple[Group, ...] = ()
        self.order: tuple[int, ...] = ()
        self._stamp = run_index.changes(run) if run.stamp is None else run.stamp
        self._looks = 0
        self._timer = QTimer(self)
        self._timer.setInterval(LIVE_MILLISECONDS if run.is_rollouts else POLL_MILLISECONDS)
        self._timer.timeout.connect(self.check_folder)
        self._arrange()
        self._watch()

    def _arrange(self) -> None:
        self.groups = run_index.listed(self.run, self.statuses, self.words)
        self.order = tuple(number for group in self.groups for number in group.members)

    # States of the episodes

    def status(self, number: int) -> Status:
        """Return the status of an episode; `failed` also if its file could not be opened here."""
        return Status("failed", self.damaged[number]) if number in self.damaged else self.statuses[number]

    @property
    def complete(self) -> bool:
        """Whether all episodes are finished; never for a folder without an index, nor for a run of rollouts."""
        is_listed = self.run.index is not None and not self.run.is_rollouts
        return is_listed and all(status.state in {"done", "failed"} for status in self.statuses)

    def find_newest_growing(self) -> int | None:
        """Return the last episode of a run of rollouts that is being recorded now; None if there is none."""
        if not self.run.is_rollouts:
            return None
        for number in reversed(range(len(self.statuses))):
            if self.statuses[number].state == "writing":
                with contextlib.suppress(UserError, OSError):
                    path = run_index.find_episode_path(self.run, self.run.episodes[number])
                    if not isinstance(path, Path):
                        return number  # its server would take its time to tell the age
                    age = time.time() - path.stat().st_mtime
                    return number if age < LIVE_SECONDS else None
        return None

    def _watch(self) -> None:
        if self.complete:
            self._timer.stop()
        else:
            self._timer.start()

    def check_folder(self) -> None:
        """Check the folder for changes in the background."""
        run, stamp = self.run, self._stamp
        self._looks += 1
        self.worker.ask("episodes", self._looks, lambda _: read_changed_run(run, stamp), self.take)

    def take(self, answer: tuple[Run, tuple[Status, ...], RunStamp] | None) -> None:
        """Apply the result of `read_changed_run`; None for no change."""
        if answer is None:
            return
        run, statuses, self._stamp = answer
        run = self._with_summaries(run)
        if run.episodes != self.run.episodes:
            current_file = None if self.current is None else self.run.episodes[self.current].file
            files = {episode.file: number for number, episode in enumerate(run.episodes)}
            self.damaged = {
                files[self.run.episodes[number].file]: sentence
                for number, sentence in self.damaged.items()
                if self.run.episodes[number].file in files
            }
            self.run, self.statuses = run, statuses
            self.current = self.cursor = files.get(current_file) if current_file is not None else None
            self._arrange()
            self.listed.emit()
        else:
            pairs = enumerate(zip(self.statuses, statuses, strict=True))
            changed = [number for number, (before, after) in pairs if before != after]
            self.run, self.statuses = run, statuses
            if changed:
                for number in changed:
                    self.damaged.pop(number, None)
                self.marked.emit(changed)
        self.folder_changed.emit()
        self._watch()

    def note_unknown_row(self, number: int) -> None:
        """Note that a row without known frames and prompts was painted."""
        self.recently_visible.append(number)
        self.sighted.emit()

    def take_summaries(self, summaries: dict[str, Episode]) -> None:
        """Add the descriptions read from some files, by file name, of a folder without an index."""
        self._summaries |= summaries
        self.run = self._with_summaries(self.run)
        before = self.order
        self._arrange()  # a new prompt may match the filter
        if self.order != before:
            self.listed.emit()
        else:
            self.marked.emit([number for number, episode in enumerate(self.run.episodes) if episode.file in summaries])

    def _with_summaries(self, run: Run) -> Run:
        if not self._summaries:
            return run
        return replace(run, episodes=tuple(self._summaries.get(episode.file, episode) for episode in run.episodes))

    def place_of(self, path: Location) -> int | None:
        """Return the index of the episode of a finished or partial file; None if it does not belong to the run."""
        inner = self.run.place_of(path)
        if inner is None:
            return None
        file = inner.removesuffix(schema.PARTIAL_SUFFIX)
        return next((number for number, episode in enumerate(self.run.episodes) if episode.file == file), None)

    # Navigation

    def narrow(self, words: str) -> None:
        """Filter the list to the episodes that contain these words; empty for all."""
        if words != self.words:
            self.words = words
            self._arrange()
            self.listed.emit()

    def first(self) -> int | None:
        """Return the index of the first episode to open; None if none can be opened yet."""
        return run_index.first(self.groups, [self.status(number) for number in range(len(self.statuses))])

    def place(self, file: str) -> int | None:
        """Return the index of the episode with this file name; None if there is none or it cannot be opened."""
        return next(
            (
                n
                for n, episode in enumerate(self.run.episodes)
                if episode.file == file and self.status(n).state in OPENABLE
            ),
            None,
        )

    def go(self, number: int) -> None:
        """Request an episode, or report why it cannot be opened."""
        self.cursor = number
        if number == self.current and number not in self.damaged:
            return  # already open: two HDF5 handles of a file that is being written corrupt each other
        try:
            path = run_index.find_episode_path(self.run, self.run.episodes[number])
        except UserError as error:
            self.noticed.emit(str(error))
            return
        self.open_requested.emit(path)

    def beside(self, by: int) -> int | None:
        """Return the next listed episode that can be opened, after (1) or before (-1) the cursor; None at the end."""
        place = self.order.index(self.cursor) if self.cursor in self.order else (-1 if by > 0 else len(self.order))
        candidates = self.order[place + 1 :] if by > 0 else self.order[: max(place, 0)][::-1]
        return next((number for number in candidates if self.status(number).state in OPENABLE), None)

    def step(self, by: int) -> None:
        """Open the next (1) or previous (-1) episode; report if there is none."""
        number = self.beside(by)
        if number is not None:
            self.go(number)
            return
        which = "last" if by > 0 else "first"
        among = " that matches the filter" if self.words else " that can be opened" if not self.complete else ""
        self.noticed.emit(f"This is the {which} episode{among}.")

    def opened(self, path: Location) -> bool:
        """Make the episode of an opened file the current one; return False if it does not belong to the run."""
        number = self.place_of(path)
        if number is not None:
            before, self.current, self.cursor = self.current, number, number
            if self.damaged.pop(number, None) is not None:
                self.marked.emit([number])
            if before != number:
                self.moved.emit()
        return number is not None

    def failed(self, path: Location, sentence: str) -> None:
        """Mark the episode of a file as failed, with the error message `sentence`."""
        number = self.place_of(path)
        if number is not None:
            self.damaged[number] = sentence
            self.marked.emit([number])

    def stop(self) -> None:
        """Stop polling when the run is closed."""
        self._timer.stop()
        self.worker.drop("episodes")


def read_changed_run(run: Run, stamp: RunStamp) -> tuple[Run, tuple[Status, ...], RunStamp] | None:
    """Return the run read again, its episodes' statuses and the new stamp; None if unchanged since `stamp`."""
    now = run_index.changes(run)
    if now == stamp:
        return None
    try:
        again = run_index.read_run(run.index or run.folder)
    except UserError:
        again = run  # the index is being rewritten: try again at the next poll
        now = (*now[:-1], None)
    return again, run_index.statuses(again), now
