"""Playback along one axis in real time; where painting is too slow, places are skipped instead of queued."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from viewer.model.view_state import moved, position

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session

PER_SECOND: Final = {"layer": 6.0, "step": 5.0, "head": 3.0}
"""Places shown a second on each axis except frames."""
AHEAD: Final = 4
"""Number of frames to prefetch."""
SPEEDS: Final = ("0.25x", "0.5x", "1x", "2x", "4x", "2 fps", "5 fps", "10 fps", "30 fps")
"""Speeds of frame playback: multiples of the data set's own rate, or fixed numbers of moments a second."""


def describe_speed(speed: str) -> str:
    """Return the label of a speed, such as `2×` or `5 a second`."""
    return f"{speed[:-1]}×" if speed.endswith("x") else f"{speed.removesuffix(' fps')} a second"


class Playback(QObject):
    """Plays along an axis in a loop until stopped; frames keep the prompt and follow the data set's rate."""

    changed = Signal(str)
    """The axis that is now playing; empty if playback stopped."""
    paced = Signal(str)
    """The speed of frame playback has changed: one of SPEEDS."""
    coming = Signal(object)
    """The next frames to be shown: a tuple of int."""

    def __init__(
        self,
        session: Session,
        frame_series: FrameSeries,
        parent: QObject | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self.session, self.frame_series, self.clock = session, frame_series, clock
        self.axis = ""
        self.last = "frame"
        self.speed = "1x"
        self._started_at = 0.0
        self._places: tuple[int, ...] = ()
        self._ends = np.zeros(0)
        self._offset = 0.0
        self._place = -1
        self._timer = QTimer(self)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self.show_current_place)
        self._interrupted = ""
        session.opened.connect(self._on_opened)
        frame_series.followed.connect(self._restart)
        session.grew.connect(self._restart)

    def length(self, axis: str) -> int:
        """Return the number of places along an axis: `frame`, `layer`, `step` or `head`."""
        dims, state = self.session.dims, self.session.state
        return {
            "frame": len(self.frame_series.timeline.moments),
            "layer": dims.layers,
            "step": dims.find_steps(state.query.kind),
            "head": dims.heads,
        }[axis]

    def toggle(self, axis: str = "") -> None:
        """Start or stop playing an axis; by default the one that played last."""
        axis = axis or self.axis or self.last
        if self.axis == axis:
            self.stop()
            return
        if self.length(axis) < 2:
            unit = {"frame": "moment" if self.session.dims.frames > 1 else axis, "step": "denoise step"}.get(axis, axis)
            self.session.noticed.emit(
                "Words have one pass: no denoise steps to play."
                if axis == "step" and self.session.state.query.kind == "text"
                else f"There is nothing to play: the file has one {unit}."
            )
            return
        self.stop()
        self.axis = self.last = axis
        self._begin()
        self.session.begin()
        self._timer.start()
        self.changed.emit(axis)

    def _begin(self) -> None:
        """Start the clock at the current place; compute the places of one loop and when each ends, in seconds."""
        state, axis = self.session.state, self.axis
        if axis == "frame":
            timeline = self.frame_series.timeline
            frame = min(state.frame, len(timeline.moment_of) - 1)
            self._places, current = timeline.along(frame), timeline.moment_of[frame]
            lasting = np.full(len(self._places), 1.0) if self.speed.endswith("fps") else timeline.lasting
            factor = float(self.speed.rstrip("xfps "))
            self._ends = np.cumsum(lasting / factor)
        else:
            current = min(position(state, axis, self.session.dims.heads), self.length(axis) - 1)
            self._places = tuple(range(self.length(axis)))
            self._ends = np.arange(1, len(self._places) + 1) / PER_SECOND[axis]
        self._offset = float(self._ends[current - 1]) if current else 0.0
        self._started_at = self.clock()

    def _restart(self) -> None:
        if self.axis:
            if self.length(self.axis) < 2:
                self.stop()
            else:
                self._begin()

    def set_speed(self, speed: str) -> None:
        """Set the speed of frame playback; a value outside SPEEDS is ignored."""
        if speed in SPEEDS and speed != self.speed:
            self.speed = speed
            if self.axis:
                self._begin()
            self.paced.emit(speed)

    def change_speed(self, by: int) -> None:
        """Select the next faster (1) or slower (-1) speed among multiples of the rate, or among fixed rates."""
        kind = [speed for speed in SPEEDS if speed.endswith(self.speed[-1])]
        place = min(max(kind.index(self.speed) + by, 0), len(kind) - 1)
        self.set_speed(kind[place])
        self.session.noticed.emit(f"Frames play at {describe_speed(self.speed)}.")

    def _on_opened(self) -> None:
        self._interrupted = self.axis
        self.stop()

    def resume(self) -> None:
        """Resume playback in a file that was just opened, if the file before it was playing (episodes of a run)."""
        axis, self._interrupted = self._interrupted, ""
        if axis and self.length(axis) > 1:
            self.toggle(axis)

    def stop(self) -> None:
        """Stop playback; everything played forms one undo step."""
        if self.axis:
            self.axis = ""
            self._timer.stop()
            self.session.end()
            self.changed.emit("")

    def show_current_place(self) -> None:
        """Go to the place for the current time; places passed since the last call are skipped."""
        if not self.axis or len(self._places) < 2:
            self.stop()
            return
        if self.session.is_waiting:  # places that pass while one is being read are left out
            return
        elapsed = (self._offset + self.clock() - self._started_at) % float(self._ends[-1])
        place = min(int(np.searchsorted(self._ends, elapsed, "right")), len(self._places) - 1)
        if self.axis == "frame" and place != self._place:
            self._place = place
            following = (self._places[(place + step) % len(self._places)] for step in range(1, AHEAD + 1))
            self.coming.emit(tuple(following))
        self.session.update(**moved(self.axis, self._places[place], self.session.dims.heads))
