"""The open run: what is there of each episode, which one is open, which come before and after it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from capture.results import schema
from viewer.errors import UserError
from viewer.io import run_index
from viewer.io.run_index import OPENABLE, Episode, Group, Run, RunStamp, Status

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.controllers.worker import Worker

POLL_MILLISECONDS: Final = 2000
MOST_SEEN: Final = 100


class Episodes(QObject):
    """Holds a run and a place in it; looks at the folder again while the run is not complete."""

    listed = Signal()
    """Other episodes, or others of them, are listed."""
    marked = Signal(object)
    """The states of these episodes, a list of their places in the run, have changed."""
    sighted = Signal()
    """Rows of which nothing but the name is known are in sight: their places are in `seen`."""
    moved = Signal()
    """Another episode is the open one."""
    asked = Signal(object)
    """The Path of an episode that is to be opened."""
    noticed = Signal(str)
    """A sentence for the user."""

    def __init__(self, run: Run, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run, self.worker = run, worker
        self.words = ""
        """What the list is narrowed down to."""
        self.current: int | None = None
        """The open episode."""
        self.cursor: int | None = None
        """The episode that was asked for last: the open one, unless that could not be opened."""
        self.damaged: dict[int, str] = {}
        self.seen: deque[int] = deque(maxlen=MOST_SEEN)
        """Places of the episodes whose rows came into sight last."""
        self._told: dict[str, Episode] = {}
        """What the files of a plain folder say of themselves."""
        self.statuses: tuple[Status, ...] = run_index.statuses(run)
        self.groups: tuple[Group, ...] = ()
        self.order: tuple[int, ...] = ()
        self._stamp = run_index.changes(run)
        self._looks = 0
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self.look)
        self._arrange()
        self._watch()

    def _arrange(self) -> None:
        self.groups = run_index.listed(self.run, self.statuses, self.words)
        self.order = tuple(number for group in self.groups for number in group.members)

    # What is there

    def status(self, number: int) -> Status:
        """What is there of an episode; failed, too, where it could not be opened here."""
        return Status("failed", self.damaged[number]) if number in self.damaged else self.statuses[number]

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return all(one.state in {"done", "failed"} for one in self.statuses) and self.run.index is not None

    def _watch(self) -> None:
        if self.complete:
            self._timer.stop()
        else:
            self._timer.start()

    def look(self) -> None:
        """Look at the folder again, beside the window."""
        run, stamp = self.run, self._stamp
        self._looks += 1
        self.worker.ask("episodes", self._looks, lambda _: look_again(run, stamp), self.take)

    def take(self, answer: tuple[Run, tuple[Status, ...], RunStamp] | None) -> None:
        """Take what a look at the folder found."""
        if answer is None:
            return
        run, statuses, self._stamp = answer
        run = self._with_told(run)
        if run.episodes != self.run.episodes:
            here = None if self.current is None else self.run.episodes[self.current].file
            files = {episode.file: number for number, episode in enumerate(run.episodes)}
            self.damaged = {
                files[self.run.episodes[number].file]: sentence
                for number, sentence in self.damaged.items()
                if self.run.episodes[number].file in files
            }
            self.run, self.statuses = run, statuses
            self.current = self.cursor = files.get(here) if here is not None else None
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
        self._watch()

    def saw(self, number: int) -> None:
        """A row without frames and prompts was painted."""
        self.seen.append(number)
        self.sighted.emit()

    def learn(self, told: dict[str, Episode]) -> None:
        """Take what some files of a plain folder say of themselves."""
        self._told |= told
        self.run = self._with_told(self.run)
        before = self.order
        self._arrange()  # a prompt that is known now may hold the words that are looked for
        if self.order != before:
            self.listed.emit()
        else:
            self.marked.emit([number for number, one in enumerate(self.run.episodes) if one.file in told])

    def _with_told(self, run: Run) -> Run:
        if not self._told:
            return run
        return replace(run, episodes=tuple(self._told.get(episode.file, episode) for episode in run.episodes))

    def place_of(self, path: Path) -> int | None:
        """Which episode a file belongs to, finished or partial; None if to none."""
        try:
            file = path.relative_to(self.run.folder).as_posix().removesuffix(schema.PARTIAL_SUFFIX)
        except ValueError:
            return None
        return next((number for number, episode in enumerate(self.run.episodes) if episode.file == file), None)

    # Going

    def narrow(self, words: str) -> None:
        """List only the episodes that hold these words."""
        if words != self.words:
            self.words = words
            self._arrange()
            self.listed.emit()

    def first(self) -> int | None:
        """The episode to begin with; None where none can be opened yet."""
        return run_index.first(self.groups, [self.status(number) for number in range(len(self.statuses))])

    def place(self, file: str) -> int | None:
        """Which episode has this file, if it can be opened."""
        return next(
            (n for n, one in enumerate(self.run.episodes) if one.file == file and self.status(n).state in OPENABLE),
            None,
        )

    def go(self, number: int) -> None:
        """Ask for an episode, or say why it cannot be opened."""
        self.cursor = number
        if number == self.current and number not in self.damaged:
            return  # it is open: two handles of a file that grows would spoil each other
        try:
            path = run_index.path_of(self.run, self.run.episodes[number])
        except UserError as error:
            self.noticed.emit(str(error))
            return
        self.asked.emit(path)

    def beside(self, by: int) -> int | None:
        """The next listed episode that can be opened, after (1) or before (-1) the one asked for last."""
        place = self.order.index(self.cursor) if self.cursor in self.order else (-1 if by > 0 else len(self.order))
        rest = self.order[place + 1 :] if by > 0 else self.order[: max(place, 0)][::-1]
        return next((number for number in rest if self.status(number).state in OPENABLE), None)

    def step(self, by: int) -> None:
        """Go to the next or previous episode; say so at the ends."""
        number = self.beside(by)
        if number is not None:
            self.go(number)
            return
        which = "last" if by > 0 else "first"
        among = " that matches the filter" if self.words else " that can be opened" if not self.complete else ""
        self.noticed.emit(f"This is the {which} episode{among}.")

    def opened(self, path: Path) -> bool:
        """A file was opened: whether it is one of this run, whose row is then marked."""
        number = self.place_of(path)
        if number is not None:
            before, self.current, self.cursor = self.current, number, number
            if self.damaged.pop(number, None) is not None:
                self.marked.emit([number])
            if before != number:
                self.moved.emit()
        return number is not None

    def failed(self, path: Path, sentence: str) -> None:
        """A file of the run could not be opened: its row says so."""
        number = self.place_of(path)
        if number is not None:
            self.damaged[number] = sentence
            self.marked.emit([number])

    def stop(self) -> None:
        """The run is closed."""
        self._timer.stop()
        self.worker.drop("episodes")


def look_again(run: Run, stamp: RunStamp) -> tuple[Run, tuple[Status, ...], RunStamp] | None:
    """The run as it is now, its states and their stamp; None where nothing has changed since `stamp`."""
    now = run_index.changes(run)
    if now == stamp:
        return None
    try:
        again = run_index.read_run(run.index or run.folder)
    except UserError:
        again = run  # an index in the middle of being written anew: the next look reads it
        now = (*now[:-1], None)
    return again, run_index.statuses(again), now
