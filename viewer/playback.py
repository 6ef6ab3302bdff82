"""Play along one axis; where painting is slower than the beat, places are left out instead of queued."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.panels.axes import moved, position

if TYPE_CHECKING:
    from viewer.session import Session

PER_SECOND: Final = {"frame": 12.0, "layer": 6.0, "step": 5.0, "head": 3.0}


class Playback(QObject):
    """Runs round and round along an axis until it is stopped."""

    changed = Signal(str)
    """The axis that plays now; empty for none."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.axis = ""
        self.last = "frame"
        self._start = (0.0, 0)
        self._timer = QTimer(self)
        self._timer.setInterval(20)
        self._timer.timeout.connect(self._beat)
        session.opened.connect(self.stop)

    def length(self, axis: str) -> int:
        """How many places an axis has to play along."""
        dims, state = self.session.dims, self.session.state
        return {
            "frame": dims.frames,
            "layer": dims.layers,
            "step": dims.steps_of(state.query.kind),
            "head": dims.heads,
        }[axis]

    def toggle(self, axis: str = "") -> None:
        """Play an axis, or stop it; without a name the one that played last."""
        axis = axis or self.axis or self.last
        if self.axis == axis:
            self.stop()
            return
        if self.length(axis) < 2:
            self.session.noticed.emit(
                f"There is nothing to play: the file has one {axis}."
                if axis != "step"
                else "Words have one pass: no denoise steps to play."
            )
            return
        self.stop()
        self.axis = self.last = axis
        self._start = (
            time.monotonic(),
            min(position(self.session.state, axis, self.session.dims.heads), self.length(axis) - 1),
        )
        self.session.begin()
        self._timer.start()
        self.changed.emit(axis)

    def stop(self) -> None:
        """Stop playing; all that was played is one step of undo."""
        if self.axis:
            self.axis = ""
            self._timer.stop()
            self.session.end()
            self.changed.emit("")

    def _beat(self) -> None:
        length = self.length(self.axis) if self.axis else 0
        if length < 2:
            self.stop()
            return
        since, place = self._start
        at = (place + int((time.monotonic() - since) * PER_SECOND[self.axis])) % length
        self.session.update(**moved(self.axis, at, self.session.dims.heads))
