"""Text that tells which view is being read, once that takes longer than a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis import caption
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS, NotLoadedError

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

MARK_MILLISECONDS: Final = 150
"""Time after which something that is being read is marked; a mark that flashes would disturb more than the wait."""


class LoadingNote(QObject):
    """The text of the mark on the pictures while another view is read: `loading layer 12…`; else empty."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.text = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(MARK_MILLISECONDS)
        self._timer.timeout.connect(self._show)
        session.requested.connect(self._on_requested)
        session.opened.connect(self._on_requested)

    def _on_requested(self) -> None:
        if not self.session.is_waiting:
            self._timer.stop()
            self._set("")
        elif self.text:
            self._show()
        elif not self._timer.isActive():
            self._timer.start()

    def _show(self) -> None:
        session = self.session
        if session.results is not None and session.is_waiting:
            self._set(describe_awaited(session.results, session.shown, session.requested_view))

    def _set(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self.changed.emit()


def describe_awaited(results: Results, shown: ViewState, requested: ViewState) -> str:
    """Return `loading layer 12…`: what distinguishes the view that is being read from the shown one."""
    names = differing(shown, requested)
    if "frame" in names:
        return f"loading frame {requested.frame}…"
    if "query" in names:
        try:
            return f"loading {caption.words_of(results, requested.frame, requested.query)[0].partition(' of ')[0]}…"
        except (*READ_ERRORS, NotLoadedError):
            return "loading…"
    if "layer" in names and requested.layer < len(results.layers):
        return f"loading layer {results.layers[requested.layer]}…"
    if "step" in names and requested.step < len(results.steps):
        return f"loading step {results.steps[requested.step]}…"
    if "heads" in names and len(requested.heads) == 1:
        return f"loading head {requested.heads[0]}…"
    return "loading…"
