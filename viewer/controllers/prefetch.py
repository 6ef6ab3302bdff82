"""Prefetch the neighbouring frames and tokens in the background while the window is idle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from viewer.analysis import scene
from viewer.analysis.carried_query import carry_query
from viewer.analysis.token_values import strips
from viewer.controllers.reading.view_plan import read_view, read_words
from viewer.controllers.session import Session
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.worker import Worker
    from viewer.io.results import Results

REST_MILLISECONDS: Final = 4
"""Delay after a change of the view before prefetching starts, so that panels are painted first."""
FIELDS: Final = frozenset({"frame", "query"})
"""Fields of the view whose change starts prefetching."""
MOST_BYTES: Final = 256 << 20
"""Larger extents of a file are not read in advance; a full-size frame has some 10 MB."""
VisitedParts = set[tuple[object, ...]]
"""Keys (frame, query, picture) of views whose bytes have been read."""


class Prefetch(QObject):
    """Prefetcher that fills the caches of the open file with what the panels are likely to need next.

    During playback the bytes of the next few frames are also read into the operating system's page cache, so that
    the window does not wait for the disk.
    """

    def __init__(
        self, session: Session, worker: Worker, frame_series: FrameSeries, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.worker, self.frame_series = session, worker, frame_series
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MILLISECONDS)
        self._timer.timeout.connect(self._request_next)
        self._is_backwards = self._frames = False
        self._upcoming: tuple[int, ...] = ()
        self.visited: VisitedParts = set()
        """Keys (frame, query, picture) whose bytes have been read."""
        session.changed.connect(self._on_changed)
        session.opened.connect(self._on_reopened)

    def _on_reopened(self) -> None:
        self.visited, self._upcoming = set(), ()
        self.worker.drop("ahead")

    def set_upcoming(self, frames: tuple[int, ...]) -> None:
        """Set the frames that follow the one about to be shown, in the order of playback."""
        self._upcoming = frames

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if differing(before, after) & FIELDS:
            self._frames = before.frame != after.frame
            if self._frames:
                self._is_backwards = after.frame < before.frame
            self._timer.start()

    def _request_next(self) -> None:
        results, shown = self.session.results, self.session.shown
        if results is None or results.done == 0:
            return
        coming, self._upcoming = self._upcoming, ()  # playback sets them again with each frame
        frames, visited = (coming, self.visited) if coming else (self._list_neighbours(shown.frame), None)
        tokens = () if self._frames else tuple(find_next_tokens(results, shown))
        if results.access.is_slow:  # every byte takes its time: only what is most likely
            frames = frames if coming else frames[:1]
            frames = () if tokens else frames
        key = (id(results), shown.frame, shown.query, frames)

        def work(stale: Callable[[], bool]) -> None:
            for view in tokens:
                read(results, view, stale)
            read_frames(results, shown, frames, stale, visited)

        self.worker.ask("ahead", key, work, _ignore)

    def _list_neighbours(self, frame: int) -> tuple[int, ...]:
        """Return the frames before and after with the same prompt, first the one in the last direction of travel."""
        timeline = self.frame_series.timeline
        if frame >= len(timeline.moment_of):
            return ()
        neighbours = (timeline.beside(frame, step) for step in ((-1, 1) if self._is_backwards else (1, -1)))
        return tuple(dict.fromkeys(beside for beside in neighbours if beside != frame))


def find_next_tokens(results: Results, shown: ViewState) -> list[ViewState]:
    """Return views of the next and the previous token, cyclically; empty unless exactly one is selected."""
    count = results.horizon if shown.query.kind == "action" else len(results.chips(shown.frame))
    if len(shown.query.items) != 1 or count < 2:
        return []
    return [replace(shown, query=Query(shown.query.kind, ((shown.query.first + by) % count,))) for by in (1, -1)]


def read_frames(
    results: Results,
    shown: ViewState,
    frames: tuple[int, ...],
    stale: Callable[[], bool],
    visited: VisitedParts | None,
) -> None:
    """Read the shown view of `frames` into the file's cache.

    If `visited` is given, during playback, only the first one is read into it; the bytes of all `frames` that are not
    in `visited` are read into the page cache, and their keys are added to `visited`.
    """
    for frame in frames:
        if stale():
            return
        try:
            view = carry_query(replace(shown, frame=frame), results.chips(shown.frame), results.chips(frame))
            note = (frame, view.query, shown.picture)
            is_slow = results.access.is_slow  # its bytes lie in no page cache
            if visited is not None and not is_slow and note not in visited and read_bytes(results, view, stale):
                visited.add(note)
        except READ_ERRORS:
            return  # reported when the frame is shown
        if visited is None or frame == frames[0]:
            read(results, view, stale)


def read_bytes(results: Results, view: ViewState, stale: Callable[[], bool]) -> int:
    """Read the bytes of a view and return how many; 0 if stopped early.

    Reads the file directly instead of through HDF5, because the window needs HDF5's global lock at the same time.
    """
    total = 0
    if not isinstance(results.path, Path):
        return 0  # blocks of a file on another machine are kept by its reader
    with results.path.open("rb", buffering=0) as file:
        tokens = scene.find_query_tokens(results, view.frame, view.query)
        for offset, size in results.extents(view.frame, view.query.kind, tokens, view.picture):
            if stale() or size > MOST_BYTES:
                return 0
            file.seek(offset)
            total += len(file.read(size))
    return total


def read(results: Results, view: ViewState, stale: Callable[[], bool]) -> None:
    """Read a view's tokens, weights and pictures into the file's cache, and what the panels derive from them.

    Read errors are ignored.
    """
    if results.access.is_slow and not stale():
        read_view(results, view)  # in few requests
    for part in (read_words, _read_rows, _read_summaries, _read_strips, scene.compose, _read_pictures):
        if stale():
            return
        try:
            part(results, view)
        except READ_ERRORS:
            return


def _read_rows(results: Results, view: ViewState) -> None:
    scene.rows_of(results, view.frame, view.query)


def _read_summaries(results: Results, view: ViewState) -> None:
    scene.masses(results, view.frame, view.query)
    for kind in ("text", "action"):
        results.mass(view.frame, kind)


def _read_strips(results: Results, view: ViewState) -> None:
    strips(results, replace(view, region=()), None)  # those of a region may need the weights of all tokens


def _read_pictures(results: Results, view: ViewState) -> None:
    for camera in range(len(results.cameras)):
        results.to_model(view.frame, camera)
        results.picture(view.frame, camera, view.picture)


def _ignore(_: None) -> None:
    """Ignore the result, which is in the cache."""
