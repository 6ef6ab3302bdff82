"""Timeline of the frames, and curves of the query over all frames; computed in the background, shared by panels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.analysis.curves import read_curves_over_frames
from viewer.analysis.frame_timeline import FrameTimeline, build_frame_timeline, plain
from viewer.analysis.query_series import find_query_series
from viewer.controllers.session import Session
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS, NotLoadedError
from viewer.model.number_ranges import format_place
from viewer.model.plain_text import clean_text
from viewer.rendering import theme
from viewer.rendering.lines import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.curves import Curves
    from viewer.analysis.query_series import QuerySeries
    from viewer.analysis.regions.region_curve import RegionCurve
    from viewer.controllers.worker import Worker
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

FIELDS = frozenset({"query", "layer", "step", "heads", "reduce"})
"""Fields of the view on which the curves depend."""
REGION_FIELDS = FIELDS | {"region", "region_name"}
"""Fields on which the curve of the region depends."""
WAIT_MILLISECONDS = 60
"""Delay before all frames are read, so that dragging a slider does not start a read at every value."""
TIMELINE_MILLISECONDS = 40
"""Delay before the timeline is read, so that this does not compete with painting a file's first picture."""


class FrameSeries(QObject):
    """The last computed timeline and curves of the open file, with signals for new ones."""

    ready = Signal()
    """The curves have been computed or discarded."""
    followed = Signal()
    """The timeline, `timeline`, has changed."""

    def __init__(self, session: Session, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.worker = session, worker
        self.curves: Curves | None = None
        self.region_curve: RegionCurve | None = None
        """The weight on the region over the frames; None without one, and while it is being read."""
        self.timeline: FrameTimeline = plain(0)
        self._along: tuple[tuple[FrameTimeline, str, int], tuple[int, ...]] | None = None
        self._followed: Results | None = None
        self._series: tuple[object, QuerySeries] | None = None
        self.rate: float | None = None
        """The data set's moments a second, if a run's index gives it."""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MILLISECONDS)
        self._timer.timeout.connect(self._request_curves)
        self._timeline_timer = QTimer(self)
        self._timeline_timer.setSingleShot(True)
        self._timeline_timer.setInterval(TIMELINE_MILLISECONDS)
        self._timeline_timer.timeout.connect(self._request_timeline)
        self._region_timer = QTimer(self)
        self._region_timer.setSingleShot(True)
        self._region_timer.setInterval(WAIT_MILLISECONDS)
        self._region_timer.timeout.connect(self._request_region_curve)
        session.regions_changed.connect(self._region_timer.start)
        session.changed.connect(self._on_changed)
        session.opened.connect(self._on_reopened)
        session.grew.connect(self._on_grown)
        session.reader.found.connect(self._ask_again)

    def along(self, frame: int) -> tuple[int, ...]:
        """Return the frame of each moment that has the prompt of `frame`; empty if there is no such frame yet.

        The same object as before if it has the same frames.
        """
        timeline = self.timeline
        if frame >= len(timeline.moment_of):
            return ()
        place = timeline.moments[timeline.moment_of[frame]].index(frame)
        key = (timeline, timeline.prompts[frame], place)
        if self._along is None or self._along[0] != key:
            before, frames = self._along, timeline.along(frame)
            self._along = key, before[1] if before is not None and before[1] == frames else frames
        return self._along[1]

    def name_moment(self, moment: int) -> str:
        """Return what a moment is called: episode if there are several, number and time."""
        timeline = self.timeline
        word = "moment" if len(timeline.moment_of) > len(timeline.moments) else "frame"
        parts = [f"{word} {format_place(moment, range(len(timeline.moments)))}"]
        if timeline.timed:
            parts.append(f"{timeline.seconds[moment]:.2f} s")
        name = timeline.names[timeline.episode_of(moment)]
        if len(timeline.starts) > 1 and name:
            parts.insert(0, name)
        return " · ".join(parts)

    def find_series(self, view: ViewState) -> QuerySeries | None:
        """Return the moments' frames whose prompts have the words of a view; None if they cannot be read yet."""
        results, timeline = self.session.results, self.timeline
        if results is None or view.frame >= len(timeline.moment_of):
            return None
        key = (id(results), id(timeline), view.query, view.frame)
        if self._series is None or self._series[0] != key:
            try:
                along = self.along(view.frame)
                series = find_query_series(results, view.query, view.frame, along, timeline.prompts)
            except READ_ERRORS:
                return None
            except NotLoadedError:
                self._read_series(results, view, key)
                return None
            self._series = key, series
        return self._series[1]

    def _read_series(self, results: Results, view: ViewState, key: tuple[object, ...]) -> None:
        """Read the prompts of a slow file in another thread, and announce the series."""
        find = partial(
            find_query_series, results, view.query, view.frame, self.along(view.frame), self.timeline.prompts
        )

        def take() -> None:
            self._series = key, find()
            self.followed.emit()

        self.session.reader.attempt_part(self, take, find, part="series", key=key, order=6)

    def _on_reopened(self) -> None:
        for purpose in ("over frames", "timeline", "region"):
            self.worker.drop(purpose)
        self.curves = self.region_curve = None
        self.ready.emit()
        self._follow()
        self._timer.start()
        self._region_timer.start()

    def _ask_again(self) -> None:
        """Read again what may have failed while the file could not be reached."""
        for purpose in ("timeline", "over frames"):
            self.worker.drop(purpose)
        self._on_grown()

    def _on_grown(self) -> None:
        self._follow()
        self._timer.start()
        self._region_timer.start()

    def _follow(self) -> None:
        """Assume one moment a frame at first, and read the file's own timeline in the background."""
        results, rate = self.session.results, self.rate
        count = results.done if results is not None else 0
        if len(self.timeline.moment_of) != count or self._followed is not results:
            self.timeline = plain(count, rate)
            self.followed.emit()
        self._followed = results
        self._timeline_timer.start()

    def _request_timeline(self) -> None:
        results, rate = self.session.results, self.rate
        if results is not None and results.done:
            self.worker.ask(
                "timeline",
                (id(results), results.done),
                lambda _: build_frame_timeline(results, rate),
                self._take_timeline,
            )

    def set_rate(self, rate: float | None) -> None:
        """Set the data set's moments a second; None if unknown."""
        if rate != self.rate:
            self.rate = rate
            self.worker.drop("timeline")
            self._followed = None
            self._follow()

    def _take_timeline(self, answer: FrameTimeline | None) -> None:
        results = self.session.results
        if answer is not None and results is not None and len(answer.moment_of) == results.done:
            self.timeline = answer
            self.followed.emit()

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        changed = differing(before, after)
        if changed & FIELDS:
            self._timer.start()
        if changed & REGION_FIELDS:
            self._region_timer.start()

    def _request_curves(self) -> None:
        results, state = self.session.results, self.session.shown
        if results is None or results.done == 0:
            return
        key = (id(results), results.done, *(getattr(state, name) for name in sorted(FIELDS)))
        self.worker.ask("over frames", key, lambda stale: read_curves_over_frames(results, state, stale), self._take)

    def _take(self, answer: Curves | None) -> None:
        if answer is not None:
            self.curves = answer
            self.ready.emit()

    def _request_region_curve(self) -> None:
        results, view, regions = self.session.results, self.session.shown, self.session.regions
        named = None if regions is None else regions.regions.get(view.region_name)
        is_marked = bool(view.region) and not view.region_name
        if results is None or not results.done or results.access.is_slow or (named is None and not is_marked):
            self.worker.drop("region")
            self._take_region_curve(None)
            return
        from viewer.analysis.regions.region_curve import read_region_curve  # imported late: few views have a region

        where, cells = named if named is not None else view.region, view.region
        key = (id(results), results.done, where, *(getattr(view, name) for name in sorted(FIELDS)))
        find_cells = named.find_cells if named is not None else lambda _: cells
        color = named.color if named is not None else theme.ACCENT
        self.worker.ask(
            "region",
            key,
            lambda stale: read_region_curve(results, view, color, find_cells, stale),
            self._take_region_curve,
        )

    def _take_region_curve(self, answer: RegionCurve | None) -> None:
        if answer is not self.region_curve:
            self.region_curve = answer
            self.ready.emit()

    def region_line(self, frames: Sequence[int]) -> Line | None:
        """Return the line of the weight on the region in some frames; None if it is not known."""
        curve = self.region_curve
        if curve is None or not frames or max(frames) >= len(curve.values):
            return None
        return Line(clean_text(curve.name) or "region", curve.color, curve.values[list(frames)])
