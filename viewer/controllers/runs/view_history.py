"""The views of a run before and after the present one, for undo and redo. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from viewer.runs.run_view import RunView

MOST_PAST: Final = 100
"""Views that can be gone back to."""


class ViewHistory:
    """Two stacks of views."""

    def __init__(self) -> None:
        self._past: list[RunView] = []
        self._future: list[RunView] = []

    def push(self, view: RunView) -> None:
        """Add a view that undo returns to; what was undone before can no longer be redone."""
        self._past = [*self._past, view][-MOST_PAST:]
        self._future = []

    def travel(self, current: RunView, *, back: bool) -> RunView | None:
        """Return the view before (or after) `current`, and remember `current` for the way back; None at the end."""
        source, target = (self._past, self._future) if back else (self._future, self._past)
        if not source:
            return None
        target.append(current)
        return source.pop()
