"""Application state: the open files, the current view of them, and the undo history."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis import comparison
from viewer.analysis.carried_query import carry_to_frame
from viewer.analysis.regions.carried_region import place_region
from viewer.controllers.history import EditLostError, FileEdit, History
from viewer.controllers.reading import view_plan
from viewer.controllers.reading.loading_note import LoadingNote
from viewer.controllers.reading.reader import Reader
from viewer.controllers.shown_scenes import ShownScenes
from viewer.errors import READ_ERRORS, NotLoadedError, UserError
from viewer.model.view_state import Cell, Dims, Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.io.results import Results
    from viewer.regions.known_patches import KnownPatches


class Session(ShownScenes):
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
    regions_changed = Signal()
    """The named regions of the open file have been read, or have changed."""
    effects_changed = Signal()
    """Effects of an open file have been read."""
    pointed = Signal()
    """The patch under the pointer has changed; None if there is none."""
    bared = Signal()
    """The heat map was hidden or shown again, or the pinned view is shown in place of the current one or no longer."""
    requested = Signal()
    """A view was asked for whose parts are being read; `requested_view` is it. Or that view is shown now."""
    command_requested = Signal(str)
    """A panel's context menu asks for a command of the window, by its id."""

    def __init__(self, parent: QObject | None = None, reader: Reader | None = None) -> None:
        super().__init__(parent)
        self.reader = reader or Reader(self)
        """Reads the parts of slow files."""
        self.loading = LoadingNote(self)
        """What is being read, in words."""
        self.pointer: Cell | None = None
        self.bare = False
        self._requested_state = ViewState()
        self._announced = ViewState()
        self._prompt_frame: int | None = None
        """Frame whose prompt the goal's query counts, while the words of the goal's own frame are being read."""
        self.is_slow = False
        """Whether reads of an open file may have to wait."""
        self._requested: ViewState | None = None
        """The view whose parts are being read; None if the shown view is the one that was asked for."""
        self._preview: dict[str, Any] = {}
        self.history = History()
        self._gesture: ViewState | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.flush)

    # The file

    def open(self, results: Results | None, state: ViewState | None = None) -> None:
        """Show another file (None: no file) and close the previous ones; `state` is clamped to the file's axes."""
        before = [self.results if self.results is not results else None, self.other]
        self.regions = self.regions if results is self.results else None
        self.results, self.other = results, None
        self._note_speed()
        self._timer.stop()
        self.reader.drop()
        self._requested = self._prompt_frame = None
        self._gesture = self.pointer = None
        self._preview = {}
        self.history.clear()
        self.drop_scenes()
        self.failure = ""
        self.blinking, self._blinked = False, None
        self._requested_state = self._announced = self._shown = self._current = self._fit_to_file(state or ViewState())
        self.opened.emit()
        for replaced in before:  # after `opened`, which makes the worker thread stop reading them
            if replaced is not None:
                replaced.close()

    def open_other(self, results: Results | None) -> None:
        """Set the second file to compare with; None ends the comparison. The previous second file is closed."""
        if self.other is not None:
            self.other.close()
        self.other = results
        self._note_speed()
        self.drop_scenes()
        self.opened.emit()

    def follow(self) -> None:
        """Check the file for new frames; emit `grew` if there are any."""
        if self.results is not None and self.results.grow():
            self.take_growth()

    def take_regions(self, regions: KnownPatches | None) -> None:
        """Set the named regions of the open file; None if there is no file of them. The view's follows its patches."""
        self.regions = regions
        self._requested_state, self._announced = (
            place_region(view, regions, view.frame) for view in (self._requested_state, self._announced)
        )
        self.flush()
        self.regions_changed.emit()

    def take_edit(self, edit: FileEdit, **changes: Any) -> None:
        """Make a change of a file a step of undo, together with a change of the view's fields."""
        self.flush()
        before, after = self._requested_state, self._fit_to_file(replace(self._requested_state, **changes))
        edit.views = before, after
        self.history.push(edit)
        self.history.future.clear()
        self.history.end_step()
        self._requested_state = self._announced = after
        self.flush()

    def take_growth(self) -> None:
        """Fit the view to the file, which has new frames, and emit `grew`."""
        self._requested_state = self._fit_to_file(self._requested_state)
        self.grew.emit()

    @property
    def dims(self) -> Dims:
        """Lengths of the axes at the current frame; all 0 if no file is open."""
        return self._dims(self._requested_state.frame)

    def _dims(self, frame: int) -> Dims:
        if self.results is None:
            return Dims(0, 0, 0, 0, 0, 0, 0, 0, 0)
        try:
            return self.results.dims(frame)
        except NotLoadedError:
            return self.results.dims_with(self.results.tokens)  # no word is clamped before the prompt is known
        except READ_ERRORS as error:
            self.report_failure(error)
            return self.results.dims_with(0)

    def _fit_to_file(self, state: ViewState) -> ViewState:
        if self.results is None:
            return state
        dims = self._dims(min(max(state.frame, 0), max(self.results.done - 1, 0)))
        fitted = place_region(state.clamped(dims), self.regions, state.frame)
        if state.pinned is not None:  # its words are those of its own frame
            frame = min(max(state.pinned.frame, 0), max(self.results.done - 1, 0))
            fitted = replace(fitted, pinned=state.pinned.bare().clamped(self._dims(frame)))
        if fitted.measure == "contribution" and not self._has_value_norms(fitted):
            fitted = replace(fitted, measure="weight")
            self.noticed.emit(f"{self.results.path.name} has no value norms for this; raw weights are shown.")
        return fitted

    def _has_value_norms(self, state: ViewState) -> bool:
        """Return whether the file has value norms for a view; True on a read error, which is reported on drawing."""
        try:
            if self.results is None or not self.results.has_maps(state.frame):
                return self.results is None or bool(self.results.frames_with_maps)
            return self.results.value_norms(state.frame, state.query.kind) is not None
        except (*READ_ERRORS, NotLoadedError):
            return True

    # The view

    @property
    def state(self) -> ViewState:
        """The view as last requested by `update`; panels draw `shown`."""
        return self._requested_state

    @property
    def requested_view(self) -> ViewState:
        """The view that controls show: the shown one, or the one whose parts are still being read.

        Its query counts the words of the prompt that is shown, as long as that of its own frame is not known.
        """
        requested = self._requested
        if requested is None:
            return self._shown
        is_counted_here = requested.query.kind == "action" or self._shown.frame in {requested.frame, self._prompt_frame}
        return requested if is_counted_here else replace(requested, query=self._shown.query)

    @property
    def is_waiting(self) -> bool:
        """Whether the view that was asked for is still being read."""
        return self._requested is not None

    def update(self, **changes: Any) -> None:
        """Change fields of the view, given as keywords of ViewState; values are clamped to the file's axes."""
        if "query" in changes:
            changes.setdefault("sought", ())
        if "region" in changes:
            changes.setdefault("region_name", "")
        goal = replace(self._requested_state, **changes)
        if "region" not in changes:
            goal = place_region(goal, self.regions, self._requested_state.frame)
        if goal == self._requested_state:
            return
        if "query" in changes:  # on a slow file, of the words that are shown
            self._prompt_frame = self._shown.frame if self._requested is not None and "frame" not in changes else None
        elif goal.frame != self._requested_state.frame and self._prompt_frame is None:
            self._prompt_frame = self._requested_state.frame
        with contextlib.suppress(NotLoadedError):
            goal = self._carry_words(goal)
        goal = self._fit_to_file(goal)
        if goal != self._requested_state:
            self._requested_state = goal
            self._timer.start()

    def _carry_words(self, goal: ViewState) -> ViewState:
        """Return a view with its words as its own frame has them. NotLoadedError until that frame's prompt is known."""
        if self._prompt_frame is not None and self.results is not None:
            goal = carry_to_frame(goal, self.results, self._prompt_frame)
            self._prompt_frame = None
        return goal

    def preview(self, query: Query | None) -> None:
        """Show a query without changing the state, while the pointer rests on it; None ends the preview."""
        self.preview_view(**({} if query is None else {"query": query}))

    def preview_view(self, **changes: Any) -> None:
        """Show a view with other fields without changing the state; without any the preview ends."""
        if "query" in changes:
            changes.setdefault("sought", ())
        if "region" in changes:
            changes.setdefault("region_name", "")
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
        self.reader.drop("blink")
        if pinned and view is None and self.pin is None:
            return
        if pinned and self.is_slow:
            self.reader.attempt("blink", lambda: self._blink_read(view), None, "view")
        else:
            self._blink(pinned, view)

    def _blink_read(self, view: ViewState | None) -> None:
        """Show a pinned view of a slow file. NotLoadedError where it is not in memory."""
        pin = (self.results, comparison.take_side(self._current, view)) if view is not None else self.pin
        if pin is not None and pin[0] is not None:
            view_plan.touch_view(pin[0], pin[1])
        self._blink(True, view)

    def _blink(self, pinned: bool, view: ViewState | None) -> None:
        view = view if pinned else None
        if pinned != self.blinking or view != self._blinked:
            self.blinking, self._blinked = pinned, view
            self.flush()
            self.bared.emit()

    def begin(self) -> None:
        """Begin a gesture, such as a drag or playback: all changes until `end` form one undo step."""
        self.flush()
        self._gesture = self._requested_state

    def end(self) -> None:
        """End the gesture and add it to the undo history."""
        self.flush()
        start, self._gesture = self._gesture, None
        if start is not None and start != self._requested_state:
            self.history.push(start)
            if self.is_slow:  # its end may still be read, and is then no step of its own
                self._announced = self._requested_state
        self.history.end_step()

    def flush(self) -> None:
        """Announce the collected changes now instead of from the event loop; of a slow file, once they are read."""
        self._timer.stop()
        if not self.is_slow:
            self._announce_changes()
            return
        requested = self._find_requested()
        if self._requested == requested[0] and self.reader.is_reading("view"):
            return
        if not self.reader.attempt("view", self._announce_read, self._make_plan(*requested), "view"):
            self._requested = requested[0]
            self.requested.emit()

    def _note_speed(self) -> None:
        self.is_slow = any(results is not None and results.access.is_slow for results in (self.results, self.other))

    def _find_requested(self) -> tuple[ViewState, ViewState]:
        """Return the view that was asked for, and that or the pinned one in its place."""
        current = self._requested_state
        if self._preview:
            current = self._fit_to_file(place_region(replace(current, **self._preview), self.regions, current.frame))
        pinned = self._pinned_in(current) if self.blinking else None
        return current, current if pinned is None else comparison.take_side(current, pinned)

    def _announce_read(self) -> None:
        """Announce the collected changes. NotLoadedError, and nothing changes, where a part is not in memory."""
        assert self.results is not None
        is_announced = self._announced == self._requested_state
        self._requested_state = self._fit_to_file(self._carry_words(self._requested_state))
        self._announced = self._requested_state if is_announced else self._announced
        before = self._current, self._shown
        self._current, self._shown = self._find_requested()
        try:
            view_plan.touch(self)
        finally:
            self._current, self._shown = before
        self._requested = None
        self._announce_changes()
        self.requested.emit()

    def _make_plan(self, current: ViewState, shown: ViewState) -> Callable[[], None]:
        """Return what reads the parts that the wanted views need; for another thread."""
        results, prompt_frame = self.results, self._prompt_frame
        views = [shown] if shown is current else [shown, current]

        def read() -> None:
            for view in views:
                if results is not None:
                    view_plan.read_view(results, view, prompt_frame)

        return read

    def _announce_changes(self) -> None:
        announced, goal = self._announced, self._requested_state
        if announced != goal:
            self.history.record(announced, goal, in_gesture=self._gesture is not None)
            self._announced = goal
        before = self._shown
        self._current, after = self._find_requested()
        if before != after:
            self._shown = after
            self.changed.emit(before, after)

    @property
    def can_undo(self) -> bool:
        """Whether there is a view to undo to."""
        return bool(self.history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a view to redo."""
        return bool(self.history.future)

    def undo(self) -> None:
        """Return to the previous view in the history."""
        self._travel(back=True)

    def redo(self) -> None:
        """Return to the view that was last undone."""
        self._travel(back=False)

    def _travel(self, *, back: bool) -> None:
        self.flush()
        step = self.history.travel(self._requested_state, back=back)
        if isinstance(step, FileEdit):
            try:
                step.apply(back=back)
                self.noticed.emit(f"{'Undone' if back else 'Done again'}: {step.title}.")
            except UserError as error:
                self.history.return_edit(back=back, is_lost=isinstance(error, EditLostError))
                self.noticed.emit(str(error))
                return
            step = step.views[0 if back else 1]
        if step is not None:
            self._requested_state = self._announced = self._fit_to_file(step)
            self.flush()
