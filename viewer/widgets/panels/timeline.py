"""Timeline of an episode: the query's attention mass on each camera over time, and where named regions are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis import caption
from viewer.analysis.regions.region_lanes import build_lane, describe_place
from viewer.controllers.playback import SPEEDS, describe_speed
from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, Axis, make_share_axis
from viewer.rendering.frame_axis import find_frame_ticks, mark_prompts, name_episodes
from viewer.rendering.line_chart import LineChart
from viewer.rendering.lines import Line
from viewer.rendering.regions.region_lanes import LANE, STRIP, draw_lane, draw_lanes
from viewer.rendering.ticks import format_share
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.line_panel import LinePanel

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.analysis.regions.region_lanes import Lane
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session
    from viewer.rendering.ticks import Tick


LEAST_CHART: Final = 22.0
"""Pixels of the chart that lanes leave to it."""
MOST_STRIPS: Final = 2
"""Regions that are shown as strips under the heading where there is no room for lanes."""
MOST_LANES: Final = 4
"""Lanes that are shown at a time; the wheel shows the others."""


class Timeline(LinePanel):
    """Shows moments from left to right; a click or drag selects one, and hovering shows time and values.

    Under the chart is a lane for each named region, as many as there is room for; without room, thin strips under the
    heading show the chosen region and another one. A click on a lane chooses its region.
    """

    watched_fields = frozenset({"frame", "region_name"})
    MIN_HEIGHT = 66
    """Pixels; a lower timeline shows its heading only."""
    LABELS: ClassVar[float] = 64.0
    """As for chips and thumbnails."""

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Timeline", parent)
        self.frame_series = frame_series
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.speed = DropDown("Speed of frames", [(speed, describe_speed(speed)) for speed in SPEEDS], parent=self)
        tip = "Playback speed: multiples of the data set’s rate, or moments a second ( , and . )"
        self.speed.setToolTip(plain_tooltip(tip))
        self.speed.show_value("1x")
        self._cached_chart: tuple[tuple[object, ...], LineChart] | None = None
        self.lanes: tuple[Lane, ...] = ()
        """Of all named regions, in their order."""
        self.first_lane = 0
        """The lane that is shown at the top."""
        self._hovered_lane: int | None = None
        session.regions_changed.connect(self._on_regions_changed)
        frame_series.ready.connect(self.reload_and_update)
        frame_series.followed.connect(self._on_followed)

    def sizeHint(self) -> QSize:
        return QSize(600, 92 + round(LANE * min(len(self.lanes), MOST_LANES)))

    def heights(self) -> tuple[int, int, int]:
        """Return the height of the heading alone, the least with a chart, and the preferred one, in pixels."""
        return self.HEADING, self.MIN_HEIGHT, self.sizeHint().height()

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
        self._cached_chart = None

    def show_requested(self) -> None:
        self.refresh()

    # Lanes of the named regions

    def load(self) -> None:
        results, regions = self.session.results, self.session.regions
        if results is None or regions is None:
            self.lanes = ()
        else:
            along = self.along()
            self.lanes = tuple(build_lane(region, results.cameras, along) for region in regions.regions.values())
        self._show_chosen_lane()
        super().load()

    def _on_regions_changed(self) -> None:
        before = len(self.lanes)
        self.reload_and_update()
        if len(self.lanes) != before:
            self.updateGeometry()

    @property
    def lane_count(self) -> int:
        """How many lanes are shown at a time."""
        room = self.height() - self.HEADING - 2 - self.FOOT - LEAST_CHART
        return max(min(len(self.lanes), MOST_LANES, int(room // LANE)), 0) if self.height() >= self.MIN_HEIGHT else 0

    def content_box(self) -> QRectF:
        return super().content_box().adjusted(0, self._strip_count * (STRIP + 1), 0, -LANE * self.lane_count)

    @property
    def _strip_count(self) -> int:
        """How many regions are shown as strips between the heading and the chart."""
        return 0 if self.lane_count or self.height() < self.MIN_HEIGHT else min(len(self.lanes), MOST_STRIPS)

    def find_lanes_box(self) -> QRectF:
        """Return the rectangle of the lanes that are shown, without their names."""
        box, height = self.content_box(), LANE * self.lane_count
        return QRectF(box.left(), self.height() - height, box.width(), height)

    def _show_chosen_lane(self) -> None:
        """Scroll so that the lane of the chosen region is among those that are shown."""
        count, first = self.lane_count, self.first_lane
        place = next((n for n, lane in enumerate(self.lanes) if lane.name == self.shown.region_name), None)
        if place is not None and count and not first <= place < first + count:
            first = place - count + 1 if place >= first + count else place
        self.first_lane = min(max(first, 0), max(len(self.lanes) - count, 0))

    def lane_at(self, point: QPointF) -> int | None:
        """Return the number of the lane at a point, its name included; None if there is none."""
        box = self.find_lanes_box()
        if not self.lane_count or not box.top() <= point.y() < box.bottom():
            return None
        return self.first_lane + int((point.y() - box.top()) // LANE)

    def _paint_lanes(self, painter: QPainter) -> None:
        chosen, axis = self.shown.region_name, self.x_axis()
        if self.lane_count:
            shown = self.lanes[self.first_lane : self.first_lane + self.lane_count]
            draw_lanes(painter, self.find_lanes_box(), shown, axis, self.LABELS, chosen)
            hidden = len(self.lanes) - len(shown)
            if hidden:
                box = QRectF(0, self.height() - self.FOOT - LANE * self.lane_count, self.LABELS - 8, self.FOOT)
                drawing.write(painter, box, f"{hidden} more", theme.active().secondary, FONT)
            return
        box = super().content_box()
        for place, lane in enumerate(sorted(self.lanes, key=lambda lane: lane.name != chosen)[: self._strip_count]):
            strip = QRectF(box.left(), self.HEADING - 5 + place * (STRIP + 1), box.width(), STRIP)
            draw_lane(painter, strip, lane, axis)

    def make_chart(self) -> LineChart | None:
        results = self.session.results
        if results is None:
            return None
        key = (
            results,
            self.frame_series.curves,
            self.frame_series.region_curve,
            self.timeline,
            self.along(),
            self._is_log,
            theme.active(),
        )
        if self._cached_chart is None or any(
            one is not two for one, two in zip(self._cached_chart[0], key, strict=True)
        ):
            self._cached_chart = key, self._make_chart(results.cameras)
        return self._cached_chart[1]

    def _make_chart(self, cameras: tuple[str, ...]) -> LineChart:
        values, along, timeline = self.values(), self.along(), self.timeline
        marks = mark_prompts(timeline.prompt_changes(along))
        xs = np.arange(len(along), dtype=np.float64)
        lines: tuple[Line, ...] = ()
        if values is not None:
            lines = tuple(
                Line(caption.format_camera(camera), theme.group_color(camera, cameras), values[:, column])
                for column, camera in enumerate(cameras)
            )
        region = self.frame_series.region_line(along)
        lines += () if region is None else (region,)
        shares = np.concatenate([line.values for line in lines]) if lines else np.zeros(0)
        axis = make_share_axis(shares, is_log=self._is_log)
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
        lane, regions = self._hovered_lane, self.session.regions
        if lane is not None and lane < len(self.lanes) and regions is not None and self.session.results is not None:
            region = regions.regions.get(self.lanes[lane].name)
            place = describe_place(region, self.session.results.cameras, along[moment]) if region is not None else ""
            return f"{parts[0]} · {place}"
        if chart is None:
            return parts[0]
        shares = [(line.name, float(line.values[moment])) for line in chart.lines]
        parts += [f"{name} {format_share(share)}" for name, share in shares if np.isfinite(share)]
        parts += self._describe_known(along)
        if any(mark.place == moment - 0.5 for mark in chart.marks):
            parts.append(f"“{self.timeline.prompts[along[moment]]}”")
        return " · ".join(parts)

    def _describe_known(self, along: tuple[int, ...]) -> list[str]:
        """Return in how many of the moments the named region of the view is known; nothing without one."""
        known_patches, name = self.session.regions, self.shown.region_name
        region = known_patches.regions.get(name) if known_patches is not None else None
        if region is None:
            return []
        count = sum(region.find_cells(frame) is not None for frame in along)
        return [f"{clean_text(name)} known in {count} of {len(along)}"]

    def titles(self) -> tuple[str, str]:
        return "Timeline", ""

    # Painting

    def refresh(self) -> None:
        super().refresh()
        self.update(0, 0, self.speed.x(), self.HEADING)

    def paint(self, painter: QPainter, area: QRect) -> None:
        super().paint(painter, area)
        moment = self.position() if self.hovered is None else self.hovered
        if moment is not None and self._chart is not None:
            left = drawing.width_of("Timeline", 12, bold=True) + 12
            room = QRectF(left, 0, self.speed.x() - left - 12, self.HEADING - 6)
            drawing.write(painter, room, self.describe_moment(moment), theme.active().secondary, 12)

    def paint_over(self, painter: QPainter, box: QRectF) -> None:
        self._paint_lanes(painter)
        if self.height() >= self.MIN_HEIGHT:  # else only the heading fits
            super().paint_over(painter, box)

    def read_out_rows(self, point: int) -> list[tuple[str, str, str]]:
        return []

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        lane = self.lane_at(event.position())
        if event.button() != Qt.MouseButton.LeftButton or lane is None:
            super().mousePressEvent(event)
            return
        self.session.update(region_name=self.lanes[lane].name)
        if event.position().x() >= self.find_lanes_box().left():
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        lane = self.lane_at(event.position())
        if lane != self._hovered_lane:
            self._hovered_lane = lane
            self.update()
        super().mouseMoveEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered_lane = None
        super().leaveEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.lane_at(event.position()) is None or len(self.lanes) <= self.lane_count:
            super().wheelEvent(event)
            return
        by = -1 if event.angleDelta().y() > 0 else 1
        self.first_lane = min(max(self.first_lane + by, 0), len(self.lanes) - self.lane_count)
        self.update()
        event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._show_chosen_lane()
        super().resizeEvent(event)
        self.place_right(self.speed)
