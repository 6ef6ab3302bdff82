"""Reads the film of the shown view: at once over layers and steps, in the background over frames."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, Signal

from viewer.analysis.effects.measured import list_mapped_frames
from viewer.analysis.film import (
    FILM_FIELDS,
    MAX_FRAMES,
    MAX_FRAMES_OF_LAYERS,
    choose_with_maps,
    read_film,
    read_film_over_frames,
    select_frames,
)
from viewer.errors import READ_ERRORS
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.analysis.film import Film
    from viewer.analysis.query_series import QuerySeries
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


_read_fields: Final = attrgetter(*FILM_FIELDS)
_read_all_but_frame: Final = attrgetter(*(name for name in FILM_FIELDS if name != "frame"))


def read_shown_film(results: Results, view: ViewState) -> None:
    """Read what the film of a view needs, unless it is one over frames, which the worker reads."""
    if "frames" not in view.film:
        read_film(results, view)


class FilmReader(QObject):
    """Keeps the last film that was read."""

    ready = Signal()
    """A film over frames has been read."""

    def __init__(self, session: Session, worker: Worker, frame_series: FrameSeries, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.worker, self.frame_series = session, worker, frame_series
        self._film: tuple[tuple[object, ...], Film] | None = None

    def film(self) -> Film | None:
        """Return the thumbnails; None while the worker computes them or if they cannot be read."""
        results, shown = self.session.results, self.session.shown
        if results is None or not results.done:
            return None
        step: tuple[object, ...] = () if shown.film == "steps" else (shown.step,)
        extra: tuple[object, ...] = (shown.layer,) if shown.film == "frames" else ()
        frames = self.frames()
        fields = _read_all_but_frame(shown) if frames else _read_fields(shown)
        key = (id(results), shown.film, results.done, *fields, *step, *extra, frames)
        if self._film is None or self._film[0] != key:
            if frames:
                self.worker.ask(
                    "film", key, lambda stale: read_film_over_frames(results, shown, frames, stale), self._take(key)
                )
                # Keep the last film of this mode until the next is ready, so that the row does not flash.
                before = self._film
                return before[1] if before is not None and before[0][:2] == key[:2] else None
            if "frames" in shown.film:  # none has a map
                return None
            try:
                self._film = key, read_film(results, shown)
            except READ_ERRORS:
                return None
        return self._film[1]

    def frames(self) -> tuple[int, ...]:
        """Return the frames of a film over frames; empty in another mode."""
        shown, series = self.session.shown, self._find_series()
        most = MAX_FRAMES if shown.film == "frames" else MAX_FRAMES_OF_LAYERS
        results = self.session.results
        if series is None or results is None:
            return ()
        return select_frames(self._choose(results, series.frames), most)

    def _choose(self, results: Results, frames: tuple[int, ...]) -> tuple[int, ...]:
        """Return those of the frames that have maps: of effects where the film shows them, else of attention."""
        shown = self.session.shown
        if self._shows_effects:
            measured = frozenset(list_mapped_frames(results, shown.measure))
            return tuple(frame for frame in frames if frame in measured)
        return choose_with_maps(results, frames)

    @property
    def _shows_effects(self) -> bool:
        return self.session.shown.film == "frames" and self.session.shown.measure in FROM_EFFECTS

    def _find_series(self) -> QuerySeries | None:
        """Return the frames whose prompts have the words; None in a mode without frames."""
        shown = self.session.shown
        return self.frame_series.find_series(shown) if "frames" in shown.film else None

    def describe_left_out(self, after: str) -> str:
        """Return how many frames a film over frames leaves out, and `after` behind that; empty for none."""
        results, series = self.session.results, self._find_series()
        text = series.describe_left_out() if series is not None else ""
        if results is not None and results.done:
            frames = series.frames if series is not None else (self.session.shown.frame,)
            without = len(frames) - len(self._choose(results, frames))
            noun = f"{self.session.shown.measure}s" if self._shows_effects else "maps"
            reason = f"{without} without {noun}" if series is not None else "this frame’s maps were not kept"
            text = "; ".join(part for part in (text, reason if without else "") if part)
        return f"{text}{after}" if text else ""

    def _take(self, key: tuple[object, ...]) -> Callable[[Film | None], None]:
        def take(answer: Film | None) -> None:
            if answer is not None:
                self._film = key, answer
                self.ready.emit()

        return take

    def drop(self) -> None:
        """Forget the film, of a file that is closed."""
        self._film = None
        self.worker.drop("film")
