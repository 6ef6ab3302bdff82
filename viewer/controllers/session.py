"""The one mutable object: which file is open, what is looked at, what was looked at before."""

from __future__ import annotations

import logging
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis import scene as scenes
from viewer.analysis.scene import DATA_FIELDS, Scene
from viewer.errors import READ_ERRORS
from viewer.model.view_state import Cell, Dims, Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results

log = logging.getLogger("viewer")
MERGE_SECONDS: Final = 0.7
"""Changes of the same fields that follow each other this fast are one step of undo (a held key, a drag)."""
MAX_UNDO: Final = 500


_FIELDS: Final = tuple(field.name for field in fields(ViewState))
_compared: list[tuple[ViewState, ViewState, frozenset[str]]] = []


def differing(before: ViewState, after: ViewState) -> frozenset[str]:
    """Names of the fields in which two views differ."""
    # Every panel asks about the same two objects in turn; to hash them would take longer than to look.
    if _compared and _compared[0][0] is before and _compared[0][1] is after:
        return _compared[0][2]
    names = frozenset(name for name in _FIELDS if getattr(before, name) != getattr(after, name))
    _compared[:] = [(before, after, names)]
    return names


class Session(QObject):
    """Holds the open file and the view of it, and tells when they change.

    `update` is the only way to change the view. Changes are gathered until the event loop comes round and are told
    once, as `changed(before, after)`; setting what is already so tells nothing.
    """

    changed = Signal(object, object)
    """The shown view: ViewState before and after."""
    opened = Signal()
    """Another file, or another second file, took the place of the last."""
    grew = Signal()
    """The file has new frames."""
    pointed = Signal()
    """Another patch, or none, is under the pointer."""
    bared = Signal()
    """The heat was hidden or came back."""
    noticed = Signal(str)
    """A sentence for the user."""

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
        self._preview: Query | None = None
        self._past: list[ViewState] = []
        self._future: list[ViewState] = []
        self._gesture: ViewState | None = None
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)
        self._scenes: dict[tuple[object, ...], Scene] = {}
        self._pair: tuple[Scene, Scene, tuple[Scene, Scene]] | None = None
        self._latest: tuple[Results, ViewState, Scene] | None = None
        self.failure = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.flush)

    # The file

    def open(self, results: Results | None, state: ViewState | None = None) -> None:
        """Show another file; the last one is closed. `state` is fitted to it."""
        before = [self.results if self.results is not results else None, self.other]
        self.results, self.other = results, None
        self._timer.stop()
        self._preview = self._gesture = self.pointer = None
        self._past.clear()
        self._future.clear()
        self._scenes.clear()
        self._latest = None
        self.failure = ""
        self._goal = self._told = self._shown = self._fitted(state or ViewState())
        self.opened.emit()
        for gone in before:  # only now: whoever reads it beside the window has been told to stop
            if gone is not None:
                gone.close()

    def open_other(self, results: Results | None) -> None:
        """Compare with a second file; None ends that."""
        if self.other is not None:
            self.other.close()
        self.other = results
        self._scenes.clear()
        self._latest = None
        self.opened.emit()

    def follow(self) -> None:
        """Look for new frames."""
        if self.results is not None and self.results.grow():
            self._goal = self._fitted(self._goal)
            self.grew.emit()

    @property
    def dims(self) -> Dims:
        """Lengths of the axes at the frame that is shown."""
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
        if fitted.measure == "contribution" and not self._weighable(fitted):
            fitted = replace(fitted, measure="weight")
            self.noticed.emit(f"{self.results.path.name} has no value norms for this; raw weights are shown.")
        return fitted

    def _weighable(self, state: ViewState) -> bool:
        """Whether the file has value norms for a view; one that cannot be read says so where it is drawn."""
        try:
            return self.results is None or self.results.value_norms(state.frame, state.query.kind) is not None
        except READ_ERRORS:
            return True

    # The view

    @property
    def state(self) -> ViewState:
        """The view as it was last asked for."""
        return self._goal

    @property
    def shown(self) -> ViewState:
        """The view that panels draw: the state, or what a hovered chip previews."""
        return self._shown

    def update(self, **changes: Any) -> None:
        """Change fields of the view."""
        goal = replace(self._goal, **changes)
        if goal == self._goal:
            return
        if goal.frame != self._goal.frame and "query" not in changes:
            goal = self._carried(goal)
        goal = self._fitted(goal)
        if goal != self._goal:
            self._goal = goal
            self._timer.start()

    def _carried(self, goal: ViewState) -> ViewState:
        """The same words in a frame with another prompt."""
        results = self.results
        if results is None or goal.query.kind != "text" or not 0 <= goal.frame < results.done:
            return goal
        try:
            query = scenes.matched(goal.query, results, self._goal.frame, results, goal.frame)
        except READ_ERRORS:
            return goal
        return replace(goal, query=query)

    def preview(self, query: Query | None) -> None:
        """Show a query while the pointer rests on it; None goes back."""
        if query != self._preview:
            self._preview = query
            self._timer.start()

    def point(self, cell: Cell | None) -> None:
        """The patch under the pointer."""
        if cell != self.pointer:
            self.pointer = cell
            self.pointed.emit()

    def hide_heat(self, hidden: bool) -> None:
        """Show the bare picture while a key is held."""
        if hidden != self.bare:
            self.bare = hidden
            self.bared.emit()

    def blink(self, pinned: bool) -> None:
        """Show the pinned view instead of the current one while a key is held."""
        if pinned != self.blinking and (not pinned or self.pin is not None):
            self.blinking = pinned
            self.bared.emit()

    def begin(self) -> None:
        """A drag begins: everything until `end` is one step of undo."""
        self.flush()
        self._gesture = self._goal

    def end(self) -> None:
        """The drag is over."""
        self.flush()
        start, self._gesture = self._gesture, None
        if start is not None and start != self._goal:
            self._push(start)
        self._last = (frozenset(), 0.0)

    def flush(self) -> None:
        """Tell the gathered changes now."""
        self._timer.stop()
        told, goal = self._told, self._goal
        if told != goal:
            names, now = differing(told, goal), time.monotonic()
            if self._gesture is None:
                merge = names == self._last[0] and now - self._last[1] < MERGE_SECONDS
                if not merge:
                    self._push(told)
                self._future.clear()
            self._last = names, now
            self._told = goal
        before = self._shown
        after = goal if self._preview is None else self._fitted(replace(goal, query=self._preview))
        if before != after:
            self._shown = after
            self.changed.emit(before, after)

    def _push(self, state: ViewState) -> None:
        self._past.append(state)
        del self._past[:-MAX_UNDO]

    @property
    def can_undo(self) -> bool:
        """Whether there is a view to go back to."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a view to go forth to."""
        return bool(self._future)

    def undo(self) -> None:
        """Go back to the view before."""
        self.flush()
        self._travel(self._past, self._future)

    def redo(self) -> None:
        """Go forth again."""
        self.flush()
        self._travel(self._future, self._past)

    def _travel(self, source: list[ViewState], target: list[ViewState]) -> None:
        if source:
            target.append(self._goal)
            self._goal = self._told = self._fitted(source.pop())
            self._last = (frozenset(), 0.0)
            self.flush()

    # The numbers

    @property
    def pin(self) -> tuple[Results, ViewState] | None:
        """What is compared with: the same view of the second file, else the pinned view of this one."""
        if self.results is None:
            return None
        if self.other is not None:
            return self.other, scenes.aligned(self.shown, self.results, self.other)
        if self.shown.pinned is not None:
            return self.results, self.shown.pinned
        return None

    @property
    def seen(self) -> tuple[Results, ViewState] | None:
        """The file and view that the panes show: the pinned ones while they are blinked to."""
        if self.results is None:
            return None
        return (self.pin if self.blinking else None) or (self.results, self.shown)

    def scene(self) -> Scene | None:
        """The numbers of what the panes show, the difference to the pinned view included; None if unreadable."""
        if self.shown.compare == "side" and not self.blinking and (pair := self.side_by_side()) is not None:
            return pair[0]
        pin = self.pin if self.shown.compare == "difference" or self.blinking else None
        if self.blinking and pin is not None:
            return self.scene_of(*pin)
        one = self.plain_scene()
        if one is None or pin is None:
            return one
        two = self.scene_of(*pin)
        return one if two is None else scenes.compare(one, two, self.shown)

    def side_by_side(self) -> tuple[Scene, Scene] | None:
        """The shown and the pinned scene on one colour range, unless each map has its own; None without a pin."""
        pin, one = self.pin, self.plain_scene()
        two = self.scene_of(*pin) if pin is not None else None
        if one is None or two is None:
            return None
        if self._pair is None or self._pair[0] is not one or self._pair[1] is not two:
            both = scenes.on_one_range(one, two) if self.shown.range != "map" else (one, two)
            self._pair = one, two, both
        return self._pair[2]

    def plain_scene(self) -> Scene | None:
        """The numbers of the shown view by itself."""
        return None if self.results is None else self.scene_of(self.results, self.shown)

    def scene_of(self, results: Results, state: ViewState) -> Scene | None:
        """The numbers of any view; None, and `failure` says why, if they cannot be read."""
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
        """Keep and announce why something of the file cannot be read, once for each reason."""
        sentence = f"This frame cannot be read ({' '.join(str(error).split())[:160]}); the others may be."
        if sentence != self.failure:
            log.warning("%s", sentence, exc_info=error)
            self.failure = sentence
            self.noticed.emit(sentence)

    @property
    def path(self) -> Path | None:
        """The open file."""
        return None if self.results is None else self.results.path
