"""The history of views for undo and redo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from viewer.controllers.view_changes import differing

if TYPE_CHECKING:
    from viewer.model.view_state import ViewState

MERGE_SECONDS: Final = 0.7
"""Consecutive changes of the same fields within this time form one undo step (a held key, a drag)."""
MAX_UNDO: Final = 500


class History:
    """The views before and after the present one."""

    def __init__(self) -> None:
        self.past: list[ViewState] = []
        self.future: list[ViewState] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def clear(self) -> None:
        """Forget all views."""
        self.past.clear()
        self.future.clear()

    def push(self, view: ViewState) -> None:
        """Add a view that undo returns to."""
        self.past.append(view)
        del self.past[:-MAX_UNDO]

    def record(self, before: ViewState, after: ViewState, *, in_gesture: bool) -> None:
        """Record a change of the view; of one within a gesture, nothing but when it was."""
        names, now = differing(before, after), time.monotonic()
        if not in_gesture:
            merge = names == self._last[0] and now - self._last[1] < MERGE_SECONDS
            if not merge:
                self.push(before)
            elif self.past and self.past[-1] == after:  # a double click takes back its first click
                self.past.pop()
                names = frozenset()
            self.future.clear()
        self._last = names, now

    def end_step(self) -> None:
        """Let the next change be an undo step of its own."""
        self._last = (frozenset(), 0.0)

    def travel(self, here: ViewState, *, back: bool) -> ViewState | None:
        """Return the view before (or after) `here`, and remember `here` for the way back; None at the end."""
        source, target = (self.past, self.future) if back else (self.future, self.past)
        if not source:
            return None
        target.append(here)
        self.end_step()
        return source.pop()
