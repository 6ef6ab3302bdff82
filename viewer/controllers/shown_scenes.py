"""The numbers that panels draw: scenes of the shown view, of the view that it is compared with, and of both."""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, Signal

from viewer.analysis import comparison
from viewer.analysis import scene as scenes
from viewer.analysis.carried_query import Counterpart, describe_not_aligned
from viewer.analysis.regions.carried_region import place_region
from viewer.analysis.scene import DATA_FIELDS, Scene
from viewer.errors import READ_ERRORS, NoMapsError, describe_unreadable_frame
from viewer.model.view_state import ViewState

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.io.results import Results
    from viewer.regions.known_patches import KnownPatches

log = logging.getLogger("viewer")
_read_fields: Final = attrgetter(*DATA_FIELDS)


class ShownScenes(QObject):
    """The open files, the shown view of them, and its scenes, each made once."""

    noticed = Signal(str)
    """A message for the user: one sentence."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.results: Results | None = None
        self.other: Results | None = None
        self.regions: KnownPatches | None = None
        """The named regions of the open file; None while they are not known, or where there is no file of them."""
        self.blinking = False
        self._blinked: ViewState | None = None
        self._shown = ViewState()
        self._current = ViewState()
        """The goal or the preview, also while the pinned view is shown."""
        self._scenes: dict[tuple[object, ...], Scene] = {}
        self._pair: tuple[Scene, Scene, bool, tuple[Scene, Scene]] | None = None
        self._counterpart = Counterpart()
        self._latest: tuple[object, ViewState, Scene] | None = None
        self.failure = ""

    def drop_scenes(self) -> None:
        """Forget all scenes, as another file is open."""
        self._scenes.clear()
        self._latest = None

    @property
    def shown(self) -> ViewState:
        """The view that panels draw: the state as last announced, or with the query of a hovered token as a preview."""
        return self._shown

    @property
    def current(self) -> ViewState:
        """The shown view, also while the pinned one is shown in its place."""
        return self._current

    @property
    def pin(self) -> tuple[Results, ViewState] | None:
        """The file and view to compare with: the same view of the second file, else the pinned view of this one.

        None without either, and where the prompt of the second file lacks the words; see `not_compared`.
        """
        if self.results is None:
            return None
        if self._pinned is not None:
            side = comparison.take_side(self._current, self._pinned)
            if self._current.compare == "difference" and not self.blinking and self._blinked is None:
                side = comparison.in_measure_of(self._current, side)
            return self.results, place_region(side, self.regions, self._current.frame)
        if self.other is None:
            return None
        aligned = self._counterpart.find(self._current, self.results, self.other)
        return None if aligned is None else (self.other, place_region(aligned, None, None))

    @property
    def _pinned(self) -> ViewState | None:
        """The pinned view of the open file that is compared with; None if there is none, or if it is a second file."""
        return self._pinned_in(self._current)

    def _pinned_in(self, view: ViewState) -> ViewState | None:
        if self._blinked is not None:
            return self._blinked
        return view.pinned if self.other is None else None

    @property
    def pin_name(self) -> str:
        """What is compared with, in a word: a second file's name, the name of a pin; empty if there is nothing."""
        pinned = self._pinned
        if pinned is None:
            return self.other.path.name if self.other is not None else ""
        name = next((pin.name for pin in self._current.pins if pin.view == pinned), "")
        return name or comparison.name_measure(self._current, pinned) or "Pinned"

    @property
    def not_compared(self) -> str:
        """Why the shown view cannot be compared with the second file; empty if it can, or without such a file."""
        if self.results is None or self.other is None or self.pin is not None:
            return ""
        return describe_not_aligned(self._current, self.results, self.other)

    @property
    def displayed(self) -> tuple[Results, ViewState] | None:
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
        pin, plain = self.pin, self.plain_scene()
        second = self.scene_of(*pin) if pin is not None else None
        return plain if plain is None or second is None else scenes.compare(plain, second, self._current)

    def side_by_side(self) -> tuple[Scene, Scene] | None:
        """Return the current and the pinned scene; None without a pinned view or if one cannot be read.

        Both have one colour range where they can have one, whichever of them is shown and however they are compared:
        what is compared by eye must not be on two scales.
        """
        pin, current = self.pin, self._current
        if pin is None or self.results is None:
            return None
        first, second = self.scene_of(self.results, current), self.scene_of(*pin)
        if first is None or second is None:
            return None
        joined = comparison.has_one_range(current, pin[1])
        if self._pair is None or (self._pair[0], self._pair[1], self._pair[2]) != (first, second, joined):
            self._pair = first, second, joined, comparison.put_on_one_range(first, second, current, pin[1])
        return self._pair[3]

    def plain_scene(self) -> Scene | None:
        """Return the scene that the window shows, on its own colour range; None if it cannot be read."""
        return None if self.displayed is None else self.scene_of(*self.displayed)

    def scene_of(self, results: Results, state: ViewState) -> Scene | None:
        """Return the scene of any view, from a small cache; None if it cannot be read, with the reason in `failure`."""
        if self._latest is not None and self._latest[0] == (results, results.effects) and self._latest[1] is state:
            return self._latest[2]
        key = (id(results), results.effects, *_read_fields(state))
        if key not in self._scenes:
            if results.done == 0:
                return None
            try:
                composed = scenes.compose(results, state)
            except READ_ERRORS as error:
                self.report_failure(error)
                return None
            self.failure = ""
            while len(self._scenes) > 8:
                del self._scenes[next(iter(self._scenes))]
            self._scenes[key] = composed
        self._latest = (results, results.effects), state, self._scenes[key]
        return self._scenes[key]

    def report_failure(self, error: Exception) -> None:
        """Store in `failure` and announce that a frame cannot be read, once; the log has the reason in HDF5's words.

        That the maps of a frame were not kept is no failure: the caption mentions it.
        """
        if isinstance(error, NoMapsError):
            return
        sentence = describe_unreadable_frame(error)
        if sentence != self.failure:
            log.warning("%s", sentence, exc_info=error)
            self.failure = sentence
            self.noticed.emit(sentence)

    @property
    def path(self) -> Location | None:
        """The path of the open file; None if no file is open."""
        return None if self.results is None else self.results.path
