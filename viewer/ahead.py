"""What is likely to be looked at next, read beside the window while it rests: frames and tokens next to the shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from capture import schema
from viewer import caption, scene
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
        self._back = self._frames = False
        session.changed.connect(self._on_changed)
        session.opened.connect(self._reopened)

    def _reopened(self) -> None:
        self.worker.drop("ahead")

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if differing(before, after) & FIELDS:
            self._frames = before.frame != after.frame
            if self._frames:
                self._back = after.frame < before.frame
            self._timer.start()

    def _ask(self) -> None:
        results, shown = self.session.results, self.session.shown
        if results is None or results.done == 0:
            return
        views = next_frame(results, shown, back=self._back) if self._frames else next_tokens(results, shown)
        key = (id(results), shown.frame, shown.query, self._back, self._frames)
        self.worker.ask("ahead", key, lambda stale: read(results, views, stale), _nothing)


def next_frame(results: Results, shown: ViewState, *, back: bool) -> list[ViewState]:
    """The frame that comes next in the direction of travel, round the end."""
    frame = (shown.frame + (-1 if back else 1)) % results.done
    return [replace(shown, frame=frame)] if frame != shown.frame else []


def next_tokens(results: Results, shown: ViewState) -> list[ViewState]:
    """The tokens to either side of a single one."""
    count = results.horizon if shown.query.kind == "action" else len(results.chips(shown.frame))
    if len(shown.query.items) != 1 or count < 2:
        return []
    return [replace(shown, query=Query(shown.query.kind, ((shown.query.first + by) % count,))) for by in (1, -1)]


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
    caption.caption(results, view)
    for name in (schema.FRAMES_EPISODE, schema.FRAMES_PROMPT):
        results.string(name, view.frame)


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
