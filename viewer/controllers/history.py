"""The history of views, and of changes of files between them, for undo and redo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from viewer.controllers.view_changes import differing
from viewer.errors import UserError

if TYPE_CHECKING:
    from viewer.model.view_state import ViewState

MERGE_SECONDS: Final = 0.7
"""Consecutive changes of the same fields within this time form one undo step (a held key, a drag)."""
MAX_UNDO: Final = 500


class FileEdit:
    """A change of a file, which undo and redo go through like a view."""

    title: str
    """What was done, such as `Tracking duck`."""
    views: tuple[ViewState, ViewState]
    """The view before and after it."""

    def apply(self, *, back: bool) -> None:
        """Undo the change (`back`) or make it again.

        Raises:
            EditLostError: That can no longer be done.
            UserError: It cannot be done now.
        """
        raise NotImplementedError


class EditLostError(UserError):
    """A change of a file can be neither undone nor made again, as the file is another one now."""


class History:
    """The views and changes of files before and after the present view."""

    def __init__(self) -> None:
        self.past: list[ViewState | FileEdit] = []
        self.future: list[ViewState | FileEdit] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def clear(self) -> None:
        """Forget everything."""
        self.past.clear()
        self.future.clear()

    def push(self, step: ViewState | FileEdit) -> None:
        """Add a view that undo returns to, or a change of a file that it takes back."""
        self.past.append(step)
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

    def travel(self, current: ViewState, *, back: bool) -> ViewState | FileEdit | None:
        """Return the view or change before (or after) `current`, and remember the way back; None at the end.

        A change of a file lies between two views that are the same: it is its own way back.
        """
        source, target = (self.past, self.future) if back else (self.future, self.past)
        if not source:
            return None
        step = source.pop()
        target.append(step if isinstance(step, FileEdit) else current)
        self.end_step()
        return step

    def return_edit(self, *, back: bool, is_lost: bool) -> None:
        """Put the change that `travel` returned last back where it was, or forget it if it is lost."""
        source, target = (self.past, self.future) if back else (self.future, self.past)
        edit = target.pop()
        if not is_lost:
            source.append(edit)
