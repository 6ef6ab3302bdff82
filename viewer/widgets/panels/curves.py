"""Curves of the attention mass on each group of keys over denoise steps, layers or frames."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis import caption
from viewer.analysis.curves import Curves, read_curves
from viewer.errors import READ_ERRORS
from viewer.rendering import theme
from viewer.rendering.axes import Axis, label_places, make_share_axis, measure_label
from viewer.rendering.frame_axis import find_frame_ticks, mark_prompts, name_episodes
from viewer.rendering.line_chart import LineChart
from viewer.rendering.lines import Line
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.line_panel import LinePanel

if TYPE_CHECKING:
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session
    from viewer.rendering.ticks import Tick

AXES: Final = (("steps", "denoise steps"), ("layers", "layers"), ("frames", "frames"))
LEAST_SHARE: Final = 1e-3
"""A group whose mass exceeds this nowhere has no curve on a linear axis, where it would lie on the axis."""
LEAST_LOG_SHARE: Final = 1e-6
"""The same on a logarithmic axis."""


class CurvesPanel(LinePanel):
    """Curves of all groups over the chosen axis."""

    watched_fields = frozenset({"frame", "query", "layer", "step", "heads", "curve"})

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Masses over an axis", parent)
        self.frame_series = frame_series
        frame_series.ready.connect(self.update_content)
        frame_series.followed.connect(self.update_content)
        session.bared.connect(self.update_content)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(84)
        self.setMaximumHeight(240)
        self.choice = DropDown("Axis of the curves", AXES, prefix="over ", parent=self)
        self.choice.chosen.connect(self._set_axis)
        self._loaded_axis = ""
        self._curves: tuple[object, Curves] | None = None
        self._cached_chart: tuple[tuple[object, ...], LineChart] | None = None

    def sizeHint(self) -> QSize:
        return QSize(288, 120)

    def _set_axis(self, value: str) -> None:
        self.session.update(curve=value)

    def axis(self) -> str:
        """Return the field of the view along the horizontal axis."""
        shown = self.shown
        if shown.curve == "frames":
            return "frame"
        return "step" if shown.curve == "steps" and shown.query.kind == "action" else "layer"

    def curves(self) -> Curves | None:
        """Return the curves; None if there are none yet."""
        results, shown = self.displayed
        if results is None or not results.done:
            return None
        if shown.curve == "frames":
            return self.frame_series.curves
        other = shown.layer if self.axis() == "step" else shown.step
        key = (id(results), shown.frame, shown.query, shown.heads, self.axis(), other)
        if self._curves is None or self._curves[0] != key:
            try:
                self._curves = key, read_curves(results, shown)
            except READ_ERRORS:
                return None
        return self._curves[1]

    def points(self) -> tuple[int, ...]:
        """Return the place in the curves of each point: one frame of each moment, or all layers or steps."""
        curves = self.curves()
        if curves is None:
            return ()
        return self.frame_series.along(self.shown.frame) if self.axis() == "frame" else curves.at

    def make_chart(self) -> LineChart | None:
        curves, points, timeline = self.curves(), self.points(), self.frame_series.timeline
        if curves is None or not points or max(points) >= len(curves.values):
            return None
        over_frames = self.axis() == "frame"
        region = self.frame_series.region_curve if over_frames else None
        key = (curves, region, points, timeline if over_frames else None, self._is_log, theme.active())
        if self._cached_chart is None or any(
            one is not two for one, two in zip(self._cached_chart[0], key, strict=True)
        ):
            self._cached_chart = key, self._make_chart(curves, points, over_frames=over_frames)
        return self._cached_chart[1]

    def _make_chart(self, curves: Curves, points: tuple[int, ...], *, over_frames: bool) -> LineChart:
        values, timeline = curves.values.astype(np.float64), self.frame_series.timeline
        if points != tuple(range(len(values))):
            values = values[list(points)]
        most = np.fmax.reduce(values, 0, initial=0.0)  # NaN where there is no value
        least = LEAST_LOG_SHARE if self._is_log else LEAST_SHARE
        groups = [n for n in range(len(curves.names)) if most[n] > least]
        styles = self._style_lines(curves.names)
        lines = tuple(Line(*styles[n], values[:, n]) for n in groups)
        region = self.frame_series.region_line(points) if over_frames else None
        lines += () if region is None else (region,)
        shares = values[:, groups] if region is None else np.column_stack([values[:, groups], region.values])
        axis = make_share_axis(shares, is_log=self._is_log)
        xs = np.arange(len(points), dtype=np.float64)
        if not over_frames:
            return LineChart(xs, lines, axis)
        marks = mark_prompts(timeline.prompt_changes(points))
        return LineChart(xs, lines, axis, timeline.starts, marks, name_episodes(timeline))

    def _style_lines(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Return what the line of each group is called, and its colour."""
        results = self.displayed[0]
        return _style_groups(names, results.cameras if results is not None else ())

    def find_x_ticks(self, axis: Axis, room: float) -> tuple[Tick, ...]:
        if self.axis() == "frame":
            return find_frame_ticks(self.frame_series.timeline, axis, room)
        curves = self.curves()
        return () if curves is None else _find_ticks(curves.labels, axis, room)

    def position(self) -> int | None:
        at, points = getattr(self.displayed[1], self.axis()), self.points()
        if self.axis() == "frame":
            moments = self.frame_series.timeline.moment_of
            return moments[at] if at < len(moments) else None
        return points.index(at) if at in points else None

    def is_over_frames(self) -> bool:
        return self.axis() == "frame"

    def load(self) -> None:
        axis = self.axis()
        if axis != self._loaded_axis:  # a part of one axis means nothing on another
            self._loaded_axis, self._followed = axis, self.position()
            self.reset_plot()
        super().load()
        for other in self._linked:
            other.pass_range_to(self)

    def go_to(self, point: int) -> None:
        points = self.points()
        if point < len(points):
            self.session.update(**{self.axis(): points[point]})

    def point_title(self) -> str:
        return self.axis()

    def name_point(self, point: int) -> str:
        curves = self.curves()
        if self.axis() == "frame":
            return self.frame_series.name_moment(point)
        return "" if curves is None else f"{self.axis().capitalize()} {curves.labels[point]}"

    def refresh(self) -> None:
        shown = self.shown
        self.choice.show_value("layers" if self.axis() == "layer" else shown.curve)
        self.choice.disable({"steps": "words have one pass"} if shown.query.kind == "text" else {})
        self.place_right(self.choice)
        super().refresh()

    def on_file_changed(self) -> None:
        super().on_file_changed()
        self._curves = self._cached_chart = None

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.place_right(self.choice)

    def titles(self) -> tuple[str, str]:
        return "Masses", ""


@lru_cache(maxsize=16)
def _find_ticks(labels: tuple[int, ...], axis: Axis, room: float) -> tuple[Tick, ...]:
    """Return the ticks of layers or steps along `room` pixels."""
    return label_places(labels, axis, room, measure_label)


@lru_cache(maxsize=16)
def _style_groups(names: tuple[str, ...], cameras: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the written name and the colour of groups of keys."""
    return tuple(
        (
            caption.format_camera(name) if name in cameras else {"bos": "BOS"}.get(name, name),
            theme.group_color("exterior bars" if name == "bars" else name, cameras),
        )
        for name in names
    )
