"""Timeline of an episode: the query's attention mass on each camera over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PySide6.QtCore import QRect, QRectF, QSize
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis import caption
from viewer.controllers.playback import SPEEDS, speed_words
from viewer.rendering import drawing, theme
from viewer.rendering.axes import Axis, make_share_axis
from viewer.rendering.frame_axis import find_frame_ticks, mark_prompts, name_episodes
from viewer.rendering.line_chart import LineChart
from viewer.rendering.lines import Line
from viewer.rendering.ticks import format_share
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.line_panel import LinePanel

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session
    from viewer.rendering.ticks import Tick


class Timeline(LinePanel):
    """Shows moments from left to right; a click or drag selects one, and hovering shows time and values."""

    watched_fields = frozenset({"frame"})
    MIN_HEIGHT = 66
    """Pixels; a lower timeline shows its heading only."""
    LABELS: ClassVar[float] = 64.0
    """As for chips and thumbnails."""

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Timeline", parent)
        self.frame_series = frame_series
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.speed = DropDown("Speed of frames", [(one, speed_words(one)) for one in SPEEDS], parent=self)
        self.speed.setToolTip("Playback speed: multiples of the data set’s rate, or moments a second ( , and . )")
        self.speed.show_value("1x")
        self._made: tuple[tuple[object, ...], LineChart] | None = None
        frame_series.ready.connect(self.reload_and_update)
        frame_series.followed.connect(self._on_followed)

    def sizeHint(self) -> QSize:
        return QSize(600, 92)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, self.MIN_HEIGHT)

    # Content

    @property
    def timeline(self) -> FrameTimeline:
        """The frames as moments in time."""
        return self.frame_series.timeline

    def along(self) -> tuple[int, ...]:
        """Return the frame of each moment that has the prompt of the shown frame."""
        return self.frame_series.along(self.shown.frame)

    def values(self) -> npt.NDArray[np.float32] | None:
        """Return the query's mass on each camera at each moment, (moments, cameras); None while it is being read."""
        results, curves, along = self.session.results, self.frame_series.curves, self.along()
        if results is None or curves is None or not along or len(curves.at) <= max(along):
            return None
        shown: npt.NDArray[np.float32] = curves.values[list(along), : len(results.cameras)]
        return shown

    def _on_followed(self) -> None:
        self.hover(None)
        self.reload_and_update()

    def on_file_changed(self) -> None:
        super().on_file_changed()
        self._made = None

    def show_requested(self) -> None:
        self.refresh()

    def make_chart(self) -> LineChart | None:
        results = self.session.results
        if results is None:
            return None
        key = (results, self.frame_series.curves, self.timeline, self.along(), self._is_log, theme.active())
        if self._made is None or any(one is not two for one, two in zip(self._made[0], key, strict=True)):
            self._made = key, self._make_chart(results.cameras)
        return self._made[1]

    def _make_chart(self, cameras: tuple[str, ...]) -> LineChart:
        values, along, timeline = self.values(), self.along(), self.timeline
        marks = mark_prompts(timeline.prompt_changes(along))
        xs = np.arange(len(along), dtype=np.float64)
        lines: tuple[Line, ...] = ()
        if values is not None:
            lines = tuple(
                Line(caption.spoken(camera), theme.group_colour(camera, cameras), values[:, column])
                for column, camera in enumerate(cameras)
            )
        axis = make_share_axis(np.zeros(0) if values is None else values, is_log=self._is_log)
        return LineChart(xs, lines, axis, timeline.starts, marks, name_episodes(timeline))

    def find_x_ticks(self, axis: Axis, room: float) -> tuple[Tick, ...]:
        return find_frame_ticks(self.timeline, axis, room)

    def position(self) -> int | None:
        shown = self.marked.frame
        return self.timeline.moment_of[shown] if shown < len(self.timeline.moment_of) else None

    def is_over_frames(self) -> bool:
        return True

    def go_to(self, point: int) -> None:
        along = self.along()
        if point < len(along):
            self.session.update(frame=along[point])

    def point_title(self) -> str:
        return "moment"

    def name_point(self, point: int) -> str:
        return self.frame_series.name_moment(point)

    def describe_moment(self, moment: int) -> str:
        """Return the text for a moment: episode, number, time, mass on each camera."""
        along, chart = self.along(), self._chart
        parts = [self.name_point(moment)]
        if chart is None:
            return parts[0]
        shares = [(line.name, float(line.values[moment])) for line in chart.lines]
        parts += [f"{name} {format_share(share)}" for name, share in shares if np.isfinite(share)]
        if any(mark.place == moment - 0.5 for mark in chart.marks):
            parts.append(f"“{self.timeline.prompts[along[moment]]}”")
        return " · ".join(parts)

    def titles(self) -> tuple[str, str]:
        return "Timeline", ""

    # Painting

    def refresh(self) -> None:
        super().refresh()
        self.update(0, 0, self.speed.x(), self.HEADING)

    def paint(self, painter: QPainter, area: QRect) -> None:
        super().paint(painter, area)
        here = self.position() if self.hovered is None else self.hovered
        if here is not None and self._chart is not None:
            left = drawing.width_of("Timeline", 12, bold=True) + 12
            room = QRectF(left, 0, self.speed.x() - left - 12, self.HEADING - 6)
            drawing.write(painter, room, self.describe_moment(here), theme.active().secondary, 12)

    def paint_over(self, painter: QPainter, box: QRectF) -> None:
        if self.height() >= self.MIN_HEIGHT:  # else only the heading fits
            super().paint_over(painter, box)

    def read_out_rows(self, point: int) -> list[tuple[str, str, str]]:
        return []

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.place_right(self.speed)
