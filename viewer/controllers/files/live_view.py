"""Show the newest frame of a policy that is acting, until the user chooses another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QObject, Signal

from capture.results import schema
from viewer.errors import READ_ERRORS, NotLoadedError

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.model.view_state import ViewState

LIVE_MILLISECONDS: Final = 200
"""Interval of the checks for new frames of a rollout: a frame is to be seen within a second of its answer."""
RATE_FRAMES: Final = 10
"""Last frames over which the rate of calls is counted."""
IDLE_SECONDS: Final = 3.0
"""Time without a frame, or three times that between two frames, after which the last call's age is shown instead."""


class LiveView(QObject):
    """Follows the file of a rollout that is being recorded; captures of data sets are followed on request only.

    `following` is whether each new frame is shown as it comes. It is set when such a file is opened, cleared when
    another frame is shown, and set again at the newest one.
    """

    noticed = Signal(str, str)
    """What is to be shown about it: a short text, empty for nothing, and a sentence that explains it."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self.following = False
        self.is_waiting = False
        """Whether the file that was followed has ended, so that the next episode is to be shown once it begins."""
        self._is_rollout = False
        self._shown_frame: int | None = None
        """The frame that this object showed last."""
        self._rate: float | None = None
        """Calls a second."""
        self._period = 0.0
        """Seconds between the last two frames."""
        self._grew_at = 0.0
        self._text = "", ""
        session.opened.connect(self._on_opened)
        session.changed.connect(self._on_changed)

    @property
    def is_live(self) -> bool:
        """Whether the open file is that of a rollout that is being recorded."""
        results = self._session.results
        return self._is_rollout and results is not None and results.growing

    def _on_opened(self) -> None:
        results = self._session.results
        self._shown_frame = self._rate = None
        self.is_waiting = False
        self._is_rollout = results is not None and results.is_rollout
        self._grew_at = time.monotonic()
        self.announce()

    def start(self) -> None:
        """Follow a file that was opened, if it is live."""
        if self.is_live:
            self.following, self.is_waiting = True, False
            self.show_newest()
            self._measure()
        self.announce()

    def grow(self, *, has_next: bool) -> None:
        """Take in new frames of the open file: show the newest one if it is followed.

        `has_next`: whether another episode may begin once this file is complete.
        """
        self._grew_at = time.monotonic()
        if self.following:
            self.show_newest()
        if self._is_rollout:
            self._measure()
        results = self._session.results
        if self._is_rollout and results is not None and not results.growing:
            self.is_waiting, self.following = self.following and has_next, False
        self.announce()

    def show_newest(self) -> None:
        """Show the newest frame of the open file."""
        results = self._session.results
        if results is not None and results.done:
            self._shown_frame = results.done - 1
            self._session.update(frame=self._shown_frame)

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if after.frame in (before.frame, self._shown_frame):
            return
        self._shown_frame, self.is_waiting = None, False
        results = self._session.results
        if self.is_live and results is not None:
            self.following = after.frame == results.done - 1
        else:
            self.following = False
        self.announce()

    def _measure(self) -> None:
        """Read the rate of calls and the time between frames from the last frames."""
        results = self._session.results
        try:
            clock = None if results is None else results.column_of(schema.FRAMES_CLOCK)
            index = None if results is None else results.column_of(schema.FRAMES_INDEX)
        except (*READ_ERRORS, NotLoadedError):  # of a slow file, not worth a read of their own
            return
        if clock is None or index is None or len(clock) < 2:
            return
        last, count = np.asarray(clock[-RATE_FRAMES:], np.float64), np.asarray(index[-RATE_FRAMES:], np.float64)
        span = float(last[-1] - last[0])
        self._rate = float(count[-1] - count[0]) / span if span > 0 else None
        self._period = max(float(last[-1] - last[-2]), 0.0)

    def announce(self) -> None:
        """Emit what is to be shown about the file, if that has changed."""
        text = self._describe()
        if text != self._text:
            self._text = text
            self.noticed.emit(*text)

    def _describe(self) -> tuple[str, str]:
        results = self._session.results
        if not self.is_live or results is None:
            return (
                ("Live · waiting for the next episode", "It is shown once it begins.") if self.is_waiting else ("", "")
            )
        newer = results.done - 1 - self._session.state.frame
        if not self.following:
            count = f"{newer} newer frame{'s' * (newer != 1)}" if newer > 0 else "staying"
            return f"Live · {count}", "The policy is acting. Click to go to the newest frame and to stay on it."
        silent = time.monotonic() - self._grew_at
        if silent > max(IDLE_SECONDS, 3 * self._period):
            pace = f"last call {round(silent)} s ago"
        else:
            pace = "" if self._rate is None else f"{self._rate:.1f} calls a second"
        return " · ".join(("Live", *([pace] if pace else []))), (
            "The policy is acting: the newest frame is shown. Look at another frame to stay there."
        )
