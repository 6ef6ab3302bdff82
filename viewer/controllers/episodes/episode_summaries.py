"""Read prompts and frame counts of the files of a run without an index, in another process."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from viewer.analysis import probe
from viewer.errors import UserError
from viewer.io import run_index
from viewer.io.run_index import OPENABLE

if TYPE_CHECKING:
    from viewer.controllers.episodes.episodes import Episodes
    from viewer.controllers.files.probe_worker import ProbeRequest, ProbeWorker
    from viewer.io.run_index import Episode

REST_MILLISECONDS: Final = 400
"""Delay before the first file is read, so that the file to be opened comes first."""
GATHER_MILLISECONDS: Final = 500
"""Time for which results are collected, so that the list is not repainted for each."""
MOST_UNSEEN: Final = 5000
"""Number of files read before their rows are visible; further files are read when their rows become visible."""


class EpisodeSummaries(QObject):
    """Reads one file after another, those of visible rows first; each file once for each state that it had."""

    def __init__(self, episodes: Episodes, probe_worker: ProbeWorker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.episodes, self.probe_worker = episodes, probe_worker
        self._request: ProbeRequest | None = None
        self._episode: Episode | None = None
        self._read: set[tuple[str, str]] = set()
        """File names, each with the state in which the file was read."""
        self._unread: deque[int] = deque()
        self._summaries: dict[str, Episode] = {}
        self._pause_timer, self._gather_timer = QTimer(self), QTimer(self)
        for timer, wait, slot in (
            (self._pause_timer, REST_MILLISECONDS, self._read_next),
            (self._gather_timer, GATHER_MILLISECONDS, self._deliver),
        ):
            timer.setSingleShot(True)
            timer.setInterval(wait)
            timer.timeout.connect(slot)
        probe_worker.answered.connect(self._on_answered)
        episodes.listed.connect(self._on_listed)
        episodes.marked.connect(self._on_marked)
        episodes.sighted.connect(self._read_soon)
        self._on_listed()

    def _key(self, number: int) -> tuple[str, str]:
        return self.episodes.run.episodes[number].file, self.episodes.status(number).state

    def _on_listed(self) -> None:
        # All episodes, regardless of the filter: a prompt that is not known yet may match it.
        numbers = range(len(self.episodes.run.episodes))
        self._unread = deque(number for number in numbers if self._key(number) not in self._read)
        self._read_soon()

    def _on_marked(self, numbers: list[int]) -> None:
        fresh = [number for number in numbers if self._key(number) not in self._read]
        if fresh:
            self._unread.extendleft(fresh)
            self._read_soon()

    def _read_soon(self) -> None:
        if self._request is None and not self._pause_timer.isActive():
            self._pause_timer.start()

    def _find_next(self) -> int | None:
        """Return the index of the episode to read next: of a visible row, else the first unread; None if none."""
        episodes = self.episodes
        while episodes.recently_visible or (self._unread and len(self._read) < MOST_UNSEEN):
            number = episodes.recently_visible.pop() if episodes.recently_visible else self._unread.popleft()
            fits = number < len(episodes.run.episodes) and episodes.status(number).state in OPENABLE
            if fits and self._key(number) not in self._read:
                return number
        return None

    def _read_next(self) -> None:
        number = self._find_next()
        if number is None or self._request is not None:
            return
        self._episode = episode = self.episodes.run.episodes[number]
        self._read.add(self._key(number))
        try:
            self._request = self.probe_worker.request_check(
                run_index.find_episode_path(self.episodes.run, episode), about=True
            )
        except UserError:
            self._read_soon()  # the file is gone; the next poll of the folder reports it

    def _on_answered(self, request: ProbeRequest) -> None:
        if self._request is None or self._episode is None:
            return
        if request is self._request:
            # A check that took too long may only have been ended early for an urgent one.
            if request.answer and request.answer != probe.describe_timeout(request.path):
                self.episodes.failed(request.path, request.answer)
            elif not request.answer:
                episode = run_index.with_summary(
                    self._episode, request.summary.get("prompts"), request.summary.get("frames")
                )
                self._summaries[episode.file] = episode
                if not self._gather_timer.isActive():
                    self._gather_timer.start()
        elif self.probe_worker.waits(self._request):
            return
        else:  # cancelled for an urgent check
            self._read = {key for key in self._read if key[0] != self._episode.file}
            self._on_listed()
        self._request = None
        self._read_next()

    def _deliver(self) -> None:
        summaries, self._summaries = self._summaries, {}
        self.episodes.take_summaries(summaries)

    def stop(self) -> None:
        """Stop reading."""
        self.probe_worker.answered.disconnect(self._on_answered)
        self._pause_timer.stop()
        self._gather_timer.stop()
