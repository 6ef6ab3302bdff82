"""The query's masses over all frames, computed beside the window and shared by the panels that draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from viewer import overview
from viewer.session import Session, differing

if TYPE_CHECKING:
    from viewer.overview import Curves
    from viewer.state import ViewState
    from viewer.worker import Worker

FIELDS = frozenset({"query", "layer", "step", "heads", "reduce"})
WAIT_MILLISECONDS = 60
"""Rest before reading all frames, so that scrubbing a slider does not start it at every value."""


class OverFrames(QObject):
    """Holds the last answer; `ready` tells of a new one."""

    ready = Signal()

    def __init__(self, session: Session, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.worker = session, worker
        self.curves: Curves | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MILLISECONDS)
        self._timer.timeout.connect(self._ask)
        session.changed.connect(self._on_changed)
        session.opened.connect(self._reopened)
        session.grew.connect(self._timer.start)

    def _reopened(self) -> None:
        self.worker.drop("over frames")
        self.curves = None
        self.ready.emit()
        self._timer.start()

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if differing(before, after) & FIELDS:
            self._timer.start()

    def _ask(self) -> None:
        results, state = self.session.results, self.session.shown
        if results is None or results.done == 0:
            return
        key = (id(results), results.done, *(getattr(state, name) for name in sorted(FIELDS)))
        self.worker.ask(
            "over frames", key, lambda stale: overview.curves_over_frames(results, state, stale), self._take
        )

    def _take(self, answer: Curves | None) -> None:
        if answer is not None:
            self.curves = answer
            self.ready.emit()
