"""What is likely to be looked at next, read beside the window while it rests: frames and tokens next to the shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from viewer import scene
from viewer.errors import UserError
from viewer.session import Session, differing
from viewer.state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.results import Results
    from viewer.worker import Worker

REST_MILLISECONDS: Final = 4
FIELDS: Final = frozenset({"frame", "query"})


class Ahead(QObject):
    """Fills the file's caches; what it reads is what the panels will ask for, and nothing waits for it."""

    def __init__(self, session: Session, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.worker = session, worker
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MILLISECONDS)
        self._timer.timeout.connect(self._ask)
        self._back = False
        session.changed.connect(self._on_changed)
        session.opened.connect(self._reopened)

    def _reopened(self) -> None:
        self.worker.drop("ahead")

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if differing(before, after) & FIELDS:
            if before.frame != after.frame:
                self._back = after.frame < before.frame
            self._timer.start()

    def _ask(self) -> None:
        results, shown = self.session.results, self.session.shown
        if results is None or results.done == 0:
            return
        views = neighbours(results, shown, back=self._back)
        key = (id(results), shown.frame, shown.query, self._back)
        self.worker.ask("ahead", key, lambda stale: read(results, views, stale), _nothing)


def neighbours(results: Results, shown: ViewState, *, back: bool) -> list[ViewState]:
    """The views one step away: first the next frame in the direction of travel, then the tokens to either side."""
    turn = -1 if back else 1
    views = []
    frame = (shown.frame + turn) % results.done
    if frame != shown.frame:
        views.append(replace(shown, frame=frame))
    count = results.horizon if shown.query.kind == "action" else len(results.chips(shown.frame))
    if len(shown.query.items) == 1 and count > 1:
        first = shown.query.first
        views += [replace(shown, query=Query(shown.query.kind, ((first + by) % count,))) for by in (1, -1)]
    return views


def read(results: Results, views: list[ViewState], stale: Callable[[], bool]) -> None:
    """Have each view's numbers, words and pictures in the file's cache."""
    for view in views:
        for part in (_words, _rows, _summaries, _pictures):
            if stale():
                return
            try:
                part(results, view)
            except (UserError, OSError, ValueError, IndexError, KeyError, RuntimeError):
                return  # whoever really asks for it says so


def _words(results: Results, view: ViewState) -> None:
    results.chips(view.frame)
    scene.group_matrix(results, view.frame)


def _rows(results: Results, view: ViewState) -> None:
    scene.rows_of(results, view.frame, view.query)


def _summaries(results: Results, view: ViewState) -> None:
    scene.masses(results, view.frame, view.query)
    for kind in ("text", "action"):
        results.mass(view.frame, kind)


def _pictures(results: Results, view: ViewState) -> None:
    for camera in range(len(results.cameras)):
        results.picture(view.frame, camera, view.picture)


def _nothing(_: None) -> None:
    """The answer is in the cache."""
