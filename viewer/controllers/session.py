"""Application state: the open files, the current view of them, and the undo history."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis import comparison
from viewer.analysis import scene as scenes
from viewer.analysis.carried_query import Counterpart, carry_to_frame, describe_not_aligned
from viewer.analysis.scene import DATA_FIELDS, Scene
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS, describe_unreadable_frame
from viewer.model.view_state import Cell, Dims, Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results

log = logging.getLogger("viewer")
MERGE_SECONDS: Final = 0.7
"""Consecutive changes of the same fields within this time form one undo step (a held key, a drag)."""
MAX_UNDO: Final = 500


class Session(QObject):
    """The open files and the view of them, with signals for every change.

    `update` is the only way to change the view. Changes are collected until control returns to the event loop and are
    then announced by one `changed(before, after)`; setting a field to its present value emits nothing.
    """

    changed = Signal(object, object)
    """The shown view has changed: ViewState before, ViewState after."""
    opened = Signal()
    """Another file, or another second file to compare with, has been opened or closed."""
    grew = Signal()
    """The file has new frames."""
    pointed = Signal()
    """The patch under the pointer has changed; None if there is none."""
    bared = Signal()
    """The heat map was hidden or shown again, or the pinned view is shown in place of the current one or no longer."""
    noticed = Signal(str)
    """A message for the user: one sentence."""
    command_asked = Signal(str)
    """A panel's context menu asks for a command of the window, by its id."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.results: Results | None = None
        self.other: Results | None = None
        self.pointer: Cell | None = None
        self.bare = False
        self.blinking = False
        self._goal = ViewState()
        self._told = ViewState()
        self._shown = ViewState()
        self._current = ViewState()
        """The goal or the preview, also while the pinned view is shown."""
        self._preview: dict[str, Any] = {}
        self._past: list[ViewState] = []
        self._future: list[ViewState] = []
        self._gesture: ViewState | None = None
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)
        self._scenes: dict[tuple[object, ...], Scene] = {}
        self._pair: tuple[Scene, Scene, bool, tuple[Scene, Scene]] | None = None
        self._blinked: ViewState | None = None
        self._counterpart = Counterpart()
        self._latest: tuple[Results, ViewState, Scene] | None = None
        self.failure = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.flush)

    # The file

    def open(self, results: Results | None, state: ViewState | None = None) -> None:
        """Show another file (None: no file) and close the previous ones; `state` is clamped to the file's axes."""
        before = [self.results if self.results is not results else None, self.other]
        self.results, self.other = results, None
        self._timer.stop()
        self._gesture = self.pointer = None
        self._preview = {}
        self._past.clear()
        self._future.clear()
        self._scenes.clear()
        self._latest = None
        self.failure = ""
        self.blinking, self._blinked = False, None
        self._goal = self._told = self._shown = self._current = self._fitted(state or ViewState())
        self.opened.emit()
        for gone in before:  # after `opened`, which makes the worker thread stop reading them
            if gone is not None:
                gone.close()

    def open_other(self, results: Results | None) -> None:
        """Set the second file to compare with; None ends the comparison. The previous second file is closed."""
        if self.other is not None:
            self.other.close()
        self.other = results
        self._scenes.clear()
        self._latest = None
        self.opened.emit()

    def follow(self) -> None:
        """Check the file for new frames; emit `grew` if there are any."""
        if self.results is not None and self.results.grow():
            self._goal = self._fitted(self._goal)
            self.grew.emit()

    @property
    def dims(self) -> Dims:
        """Lengths of the axes at the current frame; all 0 if no file is open."""
        return self._dims(self._goal.frame)

    def _dims(self, frame: int) -> Dims:
        if self.results is None:
            return Dims(0, 0, 0, 0, 0, 0, 0, 0, 0)
        try:
            return self.results.dims(frame)
        except READ_ERRORS as error:
            self.report_failure(error)
            r = self.results
            return Dims(r.done, len(r.layers), r.heads, len(r.steps), r.horizon, 0, len(r.cameras), *r.grid.shape)

    def _fitted(self, state: ViewState) -> ViewState:
        if self.results is None:
            return state
        dims = self._dims(min(max(state.frame, 0), max(self.results.done - 1, 0)))
        fitted = state.clamped(dims)
        if state.pinned is not None:  # its words are those of its own frame
            frame = min(max(state.pinned.frame, 0), max(self.results.done - 1, 0))
            fitted = replace(fitted, pinned=state.pinned.bare().clamped(self._dims(frame)))
        if fitted.measure == "contribution" and not self._weighable(fitted):
            fitted = replace(fitted, measure="weight")
            self.noticed.emit(f"{self.results.path.name} has no value norms for this; raw weights are shown.")
        return fitted

    def _weighable(self, state: ViewState) -> bool:
        """Return whether the file has value norms for a view; True on a read error, which is reported on drawing."""
        try:
            return self.results is None or self.results.value_norms(state.frame, state.query.kind) is not None
        except READ_ERRORS:
            return True

    # The view

    @property
    def state(self) -> ViewState:
        """The view as last requested by `update`; panels draw `shown`."""
        return self._goal

    @property
    def shown(self) -> ViewState:
        """The view that panels draw: the state as last announced, or with the query of a hovered token as a preview."""
        return self._shown

    @property
    def current(self) -> ViewState:
        """The shown view, also while the pinned one is shown in its place."""
        return self._current

    def update(self, **changes: Any) -> None:
        """Change fields of the view, given as keywords of ViewState; values are clamped to the file's axes."""
        if "query" in changes:
            changes.setdefault("sought", ())
        goal = replace(self._goal, **changes)
        if goal == self._goal:
            return
        if goal.frame != self._goal.frame and "query" not in changes and self.results is not None:
            goal = carry_to_frame(goal, self.results, self._goal.frame)
        goal = self._fitted(goal)
        if goal != self._goal:
            self._goal = goal
            self._timer.start()

    def preview(self, query: Query | None) -> None:
        """Show a query without changing the state, while the pointer rests on it; None ends the preview."""
        self.preview_view(**({} if query is None else {"query": query}))

    def preview_view(self, **changes: Any) -> None:
        """Show a view with other fields without changing the state; without any the preview ends."""
        if "query" in changes:
            changes.setdefault("sought", ())
        if changes != self._preview:
            self._preview = changes
            self._timer.start()

    def point(self, cell: Cell | None) -> None:
        """Set the patch under the pointer; None for no patch."""
        if cell != self.pointer:
            self.pointer = cell
            self.pointed.emit()

    def hide_heat(self, hidden: bool) -> None:
        """Hide the heat map while a key is held, or show it again."""
        if hidden != self.bare:
            self.bare = hidden
            self.bared.emit()

    def blink(self, pinned: bool, view: ViewState | None = None) -> None:
        """Show a pinned view instead of the current one, while a key is held or the pointer rests on it.

        `view`: the one to show; None for the one that is compared with. Without one there is no effect.
        """
        if pinned and view is None and self.pin is None:
            return
        view = view if pinned else None
        if pinned != self.blinking or view != self._blinked:
            self.blinking, self._blinked = pinned, view
            self.flush()
            self.bared.emit()

    def begin(self) -> None:
        """Begin a gesture, such as a drag or playback: all changes until `end` form one undo step."""
        self.flush()
        self._gesture = self._goal

    def end(self) -> None:
        """End the gesture and add it to the undo history."""
        self.flush()
        start, self._gesture = self._gesture, None
        if start is not None and start != self._goal:
            self._push(start)
        self._last = (frozenset(), 0.0)

    def flush(self) -> None:
        """Announce the collected changes now instead of from the event loop."""
        self._timer.stop()
        told, goal = self._told, self._goal
        if told != goal:
            names, now = differing(told, goal), time.monotonic()
            if self._gesture is None:
                merge = names == self._last[0] and now - self._last[1] < MERGE_SECONDS
                if not merge:
                    self._push(told)
                elif self._past and self._past[-1] == goal:  # a double click takes back its first click
                    self._past.pop()
                    names = frozenset()
                self._future.clear()
            self._last = names, now
            self._told = goal
        before = self._shown
        self._current = goal if not self._preview else self._fitted(replace(goal, **self._preview))
        after = self._current
        if self.blinking and (pinned := self._pinned) is not None:
            after = comparison.take_side(after, pinned)
        if before != after:
            self._shown = after
            self.changed.emit(before, after)

    def _push(self, state: ViewState) -> None:
        self._past.append(state)
        del self._past[:-MAX_UNDO]

    @property
    def can_undo(self) -> bool:
        """Whether there is a view to undo to."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a view to redo."""
        return bool(self._future)

    def undo(self) -> None:
        """Return to the previous view in the history."""
        self.flush()
        self._travel(self._past, self._future)

    def redo(self) -> None:
        """Return to the view that was last undone."""
        self.flush()
        self._travel(self._future, self._past)

    def _travel(self, source: list[ViewState], target: list[ViewState]) -> None:
        if source:
            target.append(self._goal)
            self._goal = self._told = self._fitted(source.pop())
            self._last = (frozenset(), 0.0)
            self.flush()

    # Scenes: the numbers that panels draw

    @property
    def pin(self) -> tuple[Results, ViewState] | None:
        """The file and view to compare with: the same view of the second file, else the pinned view of this one.

        None without either, and where the prompt of the second file lacks the words; see `not_compared`.
        """
        if self.results is None:
            return None
        if self._pinned is not None:
            return self.results, comparison.take_side(self._current, self._pinned)
        if self.other is None:
            return None
        aligned = self._counterpart.find(self._current, self.results, self.other)
        return None if aligned is None else (self.other, aligned)

    @property
    def _pinned(self) -> ViewState | None:
        """The pinned view of the open file that is compared with; None if there is none, or if it is a second file."""
        if self._blinked is not None:
            return self._blinked
        return self._current.pinned if self.other is None else None

    @property
    def name_of_pin(self) -> str:
        """What is compared with, in a word: a second file's name, the name of a pin; empty if there is nothing."""
        pinned = self._pinned
        if pinned is None:
            return self.other.path.name if self.other is not None else ""
        return next((pin.name for pin in self._current.pins if pin.view == pinned), "") or "Pinned"

    @property
    def not_compared(self) -> str:
        """Why the shown view cannot be compared with the second file; empty if it can, or without such a file."""
        if self.results is None or self.other is None or self.pin is not None:
            return ""
        return describe_not_aligned(self._current, self.results, self.other)

    @property
    def seen(self) -> tuple[Results, ViewState] | None:
        """The file and view that the window shows: the pinned ones while `blinking`."""
        if self.results is None:
            return None
        return (self.pin if self.blinking else None) or (self.results, self.shown)

    def scene(self) -> Scene | None:
        """Return the scene that the camera panes show, which may be a difference; None if it cannot be read."""
        pair = self.side_by_side()
        if pair is None:
            return self.plain_scene()
        if self.blinking or self._current.compare != "difference":
            return pair[1] if self.blinking else pair[0]
        pin, one = self.pin, self.plain_scene()
        # A difference is of one measure, the shown one.
        two = self.scene_of(pin[0], replace(pin[1], measure=self._current.measure)) if pin is not None else None
        return one if one is None or two is None else scenes.compare(one, two, self._current)

    def side_by_side(self) -> tuple[Scene, Scene] | None:
        """Return the current and the pinned scene; None without a pinned view or if one cannot be read.

        Both have one colour range where they can have one, whichever of them is shown and however they are compared:
        what is compared by eye must not be on two scales.
        """
        pin, current = self.pin, self._current
        if pin is None or self.results is None:
            return None
        one, two = self.scene_of(self.results, current), self.scene_of(*pin)
        if one is None or two is None:
            return None
        joined = comparison.has_one_range(current, pin[1])
        if self._pair is None or (self._pair[0], self._pair[1], self._pair[2]) != (one, two, joined):
            self._pair = one, two, joined, comparison.put_on_one_range(one, two, current, pin[1])
        return self._pair[3]

    def plain_scene(self) -> Scene | None:
        """Return the scene that the window shows, on its own colour range; None if it cannot be read."""
        return None if self.seen is None else self.scene_of(*self.seen)

    def scene_of(self, results: Results, state: ViewState) -> Scene | None:
        """Return the scene of any view, from a small cache; None if it cannot be read, with the reason in `failure`."""
        if self._latest is not None and self._latest[0] is results and self._latest[1] is state:
            return self._latest[2]
        key = (id(results), *(getattr(state, name) for name in DATA_FIELDS))
        if key not in self._scenes:
            if results.done == 0:
                return None
            try:
                made = scenes.compose(results, state)
            except READ_ERRORS as error:
                self.report_failure(error)
                return None
            self.failure = ""
            while len(self._scenes) > 8:
                del self._scenes[next(iter(self._scenes))]
            self._scenes[key] = made
        self._latest = results, state, self._scenes[key]
        return self._scenes[key]

    def report_failure(self, error: Exception) -> None:
        """Store in `failure` and announce that a frame cannot be read, once; the log has the reason in HDF5's words."""
        sentence = describe_unreadable_frame(error)
        if sentence != self.failure:
            log.warning("%s", sentence, exc_info=error)
            self.failure = sentence
            self.noticed.emit(sentence)

    @property
    def path(self) -> Path | None:
        """The path of the open file; None if no file is open."""
        return None if self.results is None else self.results.path
