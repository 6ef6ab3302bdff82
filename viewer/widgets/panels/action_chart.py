"""Chart of the predicted and true actions, and of one action's path over the denoise steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import QWidget

from capture.results import schema
from viewer.analysis.effects.measured import find_region_effects
from viewer.errors import READ_ERRORS
from viewer.model.view_state import Query
from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, LINE, Axis, label_places, make_value_axis
from viewer.rendering.line_chart import BAND_OPACITY, Band, LineChart, draw_axes, draw_content, draw_crosshair, place_x
from viewer.rendering.lines import Line
from viewer.rendering.ticks import Tick
from viewer.widgets.hover_panel import HoverPanel, ReadOutContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.effects import TargetEffect
    from viewer.model.view_state import ViewState

Values = npt.NDArray[np.float64]
LABEL: Final = 64
LABEL_WITH_REGION: Final = 92
"""Room for the legend in pixels, without and with the actions after an intervention on a region."""
MAX_DIMENSIONS: Final = 16
"""Number of dimensions that are drawn; robots have 7 to 14."""
AXIS_WIDTH: Final = 54
"""Room for the labels of a vertical axis in pixels."""
MIN_WIDTH: Final = 114
"""Width in pixels of the narrowest plot that has labels at its vertical axis."""
FEWEST_ACTIONS: Final = 4.0
"""Distances between actions that are visible at the highest zoom."""


WITHOUT: Final = {"occlude": "region covered"}
"""Line of the actions after the intervention on the region, by its mode; `region hidden` for others."""
RANDOM: Final = "random areas"
"""Band of the actions after the same intervention on each of the random regions."""
NOTE: Final = 12
"""Height of a line of the legend in pixels."""
SWATCH: Final = 10
"""Width of a sample of a line or band in the legend in pixels."""
WITHOUT_COLOR: Final = theme.GROUP_COLORS["prompt"]


class _Note(NamedTuple):
    """A line of the legend."""

    text: str
    color: str
    sample: str = ""
    """`line` or `band` for a sample in the colour; else the text has it."""


class Place(NamedTuple):
    """A point of one of the plots."""

    kind: str
    """`chunk` or `path`."""
    dimension: int
    point: int
    """Number of the action, or of the point of the path."""


def read_flows(results: Results, view: ViewState) -> None:
    """Read the actions of a frame into the file's cache."""
    for name in (schema.ACTION_PREDICTED, schema.ACTION_TRUTH, schema.ACTION_X):
        results.flow(name, view.frame)


class ActionChart(HoverPanel):
    """Top: each dimension over the chunk. Bottom: the selected action's path from noise (t = 1) to action (t = 0)."""

    watched_fields = frozenset({"frame", "query", "step", "region"})
    READ_ORDER = 4
    read_parts = staticmethod(read_flows)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Predicted actions", parent)
        self.setMinimumHeight(150)
        self._read: tuple[object, dict[str, Values | None]] | None = None
        self._content: dict[str, Values | None] = {}
        self.target: TargetEffect | None = None
        """What the actions do without the region, where that was measured."""
        self._cached_charts: tuple[object, dict[str, list[LineChart]]] | None = None
        self._static_layer = drawing.Layer()

    def sizeHint(self) -> QSize:
        return QSize(600, 190)

    # Content

    def values(self) -> dict[str, Values | None]:
        """Return `predicted` and `truth`, (H, A), and `path`, (steps + 1, H, 32), of the frame; None if absent."""
        results, frame = self.session.results, self.shown.frame
        names = {"predicted": schema.ACTION_PREDICTED, "truth": schema.ACTION_TRUTH, "path": schema.ACTION_X}
        if results is None or frame >= results.done:
            return dict.fromkeys(names)
        key = (id(results), frame)
        if self._read is None or self._read[0] != key:
            values: dict[str, Values | None] = {}
            for name, stored in names.items():
                try:
                    values[name] = results.flow(stored, frame)
                except READ_ERRORS:
                    values[name] = None
            self._read = key, values
        return self._read[1]

    def load(self) -> None:
        self._content = self.values()
        self.target = self._find_target()
        self.update_extent()
        if self.hovered is not None and self.hovered.dimension >= len(self._list_plots(self.hovered.kind)):
            self.hovered = None
        self.update_read_out()

    def _find_target(self) -> TargetEffect | None:
        """Return the measured effect of the region that has changes of the predicted actions; None if there is none."""
        results, shown, predicted = self.session.results, self.shown, self._content.get("predicted")
        if results is None or predicted is None or not shown.region:
            return None
        try:
            targets = find_region_effects(results, shown.frame, shown.region)
        except READ_ERRORS:
            return None
        return next(
            (target for target in targets if target.change is not None and target.change.shape == predicted.shape), None
        )

    def on_file_changed(self) -> None:
        self.hover(None)
        self._read, self._content, self._cached_charts, self.target = None, {}, None, None

    @property
    def action(self) -> int:
        """The action whose path is drawn."""
        query = self.shown.query
        return query.first if query.kind == "action" else 0

    def has_truth(self) -> bool:
        """Return whether the source has true actions of this frame."""
        predicted, truth = self._content.get("predicted"), self._content.get("truth")
        has_same_shape = predicted is not None and truth is not None and truth.shape == predicted.shape
        return has_same_shape and truth is not None and bool(np.isfinite(truth).any())

    def charts(self) -> dict[str, list[LineChart]]:
        """Return the chart of each dimension over the chunk, and over the path; empty lists if absent."""
        key = (id(self._content), self.action, theme.active(), id(self.target))
        if self._cached_charts is None or self._cached_charts[0] != key:
            self._cached_charts = key, {"chunk": self._make_chunk(), "path": self._make_path()}
        return self._cached_charts[1]

    def _make_chunk(self) -> list[LineChart]:
        predicted, truth, colors = self._content.get("predicted"), self._content.get("truth"), theme.active()
        if predicted is None or not predicted.size:
            return []
        charts = []
        for dim in range(min(predicted.shape[1], MAX_DIMENSIONS)):
            lines = [Line("predicted", colors.accent, predicted[:, dim])]
            if self.has_truth() and truth is not None:
                lines.append(Line("true", colors.secondary, truth[:, dim]))
            bands: list[Band] = []
            if self.target is not None and self.target.change is not None:
                changed = predicted[:, dim] + self.target.change[:, dim]
                lines.append(Line(_name_without(self.target), WITHOUT_COLOR, changed))
                bands = _make_bands(self.target, predicted, dim)
            charts.append(_make_chart(lines, bands))
        return charts

    def _make_path(self) -> list[LineChart]:
        path, count = self._content.get("path"), len(self._make_chunk())
        if path is None or self.action >= path.shape[1]:
            return []
        color = theme.GROUP_COLORS["action"]
        return [_make_chart([Line("path", color, path[:, self.action, n])]) for n in range(min(count, path.shape[2]))]

    # Layout

    def cells(self, count: int) -> tuple[list[QRectF], list[QRectF]]:
        """Return the rectangles of the lines of `count` dimensions, over the chunk and over the path."""
        label = self.label_width
        width = (self.width() - label) / max(count, 1)
        left = self.axis_width(count)
        height = max((self.height() - 2 * (LINE + 20)) / 2, 8)
        rows = (LINE + 2, LINE + 2 + height + 22)
        plot = max(width - left - 8, 4)
        upper, lower = ([QRectF(label + n * width + left, top, plot, height) for n in range(count)] for top in rows)
        return upper, lower

    @property
    def label_width(self) -> int:
        """The room for the legend in pixels."""
        return LABEL if self.target is None else LABEL_WITH_REGION

    def axis_width(self, count: int) -> float:
        """Return the room for the labels of each vertical axis; 0 where the plots are too narrow for labels."""
        return AXIS_WIDTH if (self.width() - self.label_width) / max(count, 1) >= MIN_WIDTH else 0.0

    def _count_dims(self) -> int:
        return len(self.charts()["chunk"])

    def content_box(self) -> QRectF:
        """Return the rectangle of the first dimension over the chunk, which stands for those of all."""
        return self.cells(max(self._count_dims(), 1))[0][0]

    def content_extent(self) -> QRectF:
        charts = self.charts()["chunk"]
        return QRectF(0, 0, max(len(charts[0].xs) - 1, 1) if charts else 1, 1)

    def least_visible(self) -> tuple[float, float]:
        return FEWEST_ACTIONS, 1.0

    def to_content_box(self, point: QPointF) -> QPointF | None:
        """Return the place in the first dimension's chunk of a point in any dimension's."""
        for box in self.cells(self._count_dims())[0]:
            if box.contains(point):
                return point - box.topLeft() + self.content_box().topLeft()
        return None

    def x_axis(self, kind: str, chart: LineChart) -> Axis:
        """Return the horizontal axis of a plot: the visible actions, or all points of the path."""
        visible = self.visible_part()
        return Axis(visible.left(), visible.right()) if kind == "chunk" else Axis(0, max(len(chart.xs) - 1, 1))

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, charts = theme.active(), self.charts()
        if not charts["chunk"]:
            self.fill_background(painter, area)
            sentence = "This file holds no predicted actions."
            drawing.write(painter, QRectF(0, 4, self.width(), 22), sentence, colors.secondary, 13)
            return
        visible = self.visible_part().getRect()
        self._static_layer.draw(painter, self, (id(charts), visible), self._paint_charts, self.ground(), charts)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        acting = self.shown.query.kind == "action"
        for kind, at in (("chunk", self.action if acting else None), ("path", self._find_point())):
            for box, chart in self._list_plots(kind):
                if at is not None:
                    x = place_x(box, self.x_axis(kind, chart), at)
                    if box.left() - 1 <= x <= box.right() + 1:
                        painter.fillRect(QRectF(round(x) - 0.5, box.top(), 1, box.height()), theme.color(colors.text))
        if self.hovered is not None:
            kind, n, point = self.hovered
            box, chart = self._list_plots(kind)[n]
            draw_crosshair(painter, box, place_x(box, self.x_axis(kind, chart), point), chart, point)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.color(colors.accent))

    def _list_plots(self, kind: str) -> list[tuple[QRectF, LineChart]]:
        """Return rectangle and chart of each dimension."""
        boxes = self.cells(self._count_dims())[("chunk", "path").index(kind)]
        return list(zip(boxes, self.charts()[kind], strict=False))

    def _paint_charts(self, painter: QPainter) -> None:
        """Paint everything but the cursors."""
        colors, (upper, lower) = theme.active(), self.cells(self._count_dims())
        notes = [_Note("robot units", colors.secondary), _Note("predicted", colors.accent, "line")]
        if self.target is not None:
            notes.append(_Note(_name_without(self.target), WITHOUT_COLOR, "line"))
            if self.charts()["chunk"][0].bands:
                notes.append(_Note(RANDOM, WITHOUT_COLOR, "band"))
        if self.has_truth():
            notes.append(_Note("true", colors.secondary, "line"))
        elif self.target is None:
            notes.append(_Note("no true ones", colors.secondary))
        room = max(int((lower[0].top() - upper[0].top() - 14) // NOTE), 1)
        self._label_row(painter, upper[0].top(), "Chunk", notes[-room:])
        path = _Note("model units" if self.charts()["path"] else "not in the file", colors.secondary)
        self._label_row(painter, lower[0].top(), f"Path {self.action}", [path])
        measure = partial(drawing.width_of, pixels=FONT)
        for kind in ("chunk", "path"):
            for n, (box, chart) in enumerate(self._list_plots(kind)):
                painter.fillRect(box, theme.color(colors.panel))
                axis = self.x_axis(kind, chart)
                ticks: tuple[Tick, ...]
                if kind == "path":
                    ticks = (Tick(0.0, "t = 1"), Tick(axis.high, "0"))
                else:
                    ticks = label_places(range(len(chart.xs)), axis, box.width(), measure)
                    name = QRectF(box.left(), 0, box.width(), LINE)
                    drawing.write(painter, name, f"a{n}", colors.secondary, FONT)
                draw_axes(painter, box, chart.y_axis, axis, ticks, self.axis_width(self._count_dims()))
                draw_content(painter, box, chart, axis)

    def _label_row(self, painter: QPainter, top: float, title: str, notes: Sequence[_Note]) -> None:
        """Write a title and the legend, in its colours, left of a row of plots."""
        drawing.write(painter, QRectF(0, top - 2, LABEL - 2, 16), title, theme.active().secondary, 13)
        for line, note in enumerate(notes):
            y, left = top + 14 + NOTE * line, 0
            if note.sample:
                left = SWATCH + 4
                thick, opacity = (2, 1.0) if note.sample == "line" else (NOTE - 4, BAND_OPACITY)
                sample = QRectF(0, y + (NOTE - thick) / 2, SWATCH, thick)
                painter.fillRect(sample, theme.color(note.color, opacity))
            box = QRectF(left, y, self.label_width - left, NOTE)
            drawing.write(painter, box, note.text, theme.active().secondary if note.sample else note.color, 10)

    def _find_point(self) -> int | None:
        """Return the point of the path at which the shown denoise step starts."""
        results, shown = self.session.results, self.shown
        acting = results is not None and results.steps and shown.query.kind == "action"
        return results.steps[shown.step] if acting and results is not None else None

    # Mouse and keyboard

    def place_at(self, point: QPointF) -> Place | None:
        """Return the plot under a point, and the nearest action or point of the path."""
        for kind in ("chunk", "path"):
            for n, (box, chart) in enumerate(self._list_plots(kind)):
                if box.adjusted(-4, -4, 4, 4).contains(point):
                    part = min(max((point.x() - box.left()) / max(box.width(), 1), 0.0), 1.0)
                    near = round(self.x_axis(kind, chart).value_at(part))
                    return Place(kind, n, min(max(near, 0), len(chart.xs) - 1))
        return None

    def item_at(self, point: QPointF) -> Place | None:
        return self.place_at(point)

    def read_item(self, item: Place) -> ReadOutContent:
        box, chart = self._list_plots(item.kind)[item.dimension]
        x = place_x(box, self.x_axis(item.kind, chart), item.point)
        return ReadOutContent(QPointF(x, box.top() - 4), *self.read_place(item))

    def read_place(self, place: Place) -> tuple[str, list[tuple[str, str, str]]]:
        """Return the name of a point, and colour, name and value of each of its lines."""
        kind, n, point = place
        title = f"a{n}, {'action' if kind == 'chunk' else 'point'} {point}"
        lines = self.charts()[kind][n].lines
        return title, [(line.color, line.name, f"{line.values[point]:.4g}".replace("-", "−")) for line in lines]

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return a row for each action and dimension: predicted, and true where the source has it."""
        charts = self.charts()["chunk"]
        if not charts:
            return None
        names = [line.name for line in charts[0].lines]
        rows: list[list[object]] = [
            [action, n, *(float(line.values[action]) for line in chart.lines)]
            for action in range(len(charts[0].xs))
            for n, chart in enumerate(charts)
        ]
        return ["action", "dimension", *names], rows

    def select_at(self, point: QPointF) -> None:
        """Select the action under a point, or the denoise step nearest to a point of the path."""
        place, results = self.place_at(point), self.session.results
        if place is None or results is None:
            return
        if place.kind == "chunk" and place.point < results.horizon:
            self.session.update(query=Query("action", (place.point,)))
        elif place.kind == "path" and results.steps:
            near = min(range(len(results.steps)), key=lambda n: abs(results.steps[n] - place.point))
            acting = self.session.state.query.kind == "action"
            query = self.session.state.query if acting else Query("action", (self.action,))
            self.session.update(query=query, step=near)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        results = self.session.results
        if Qt.Key(event.key()) not in moves or results is None or not results.horizon:
            super().keyPressEvent(event)
            return
        place = min(max(self.action + moves[Qt.Key(event.key())], 0), results.horizon - 1)
        self.session.update(query=Query("action", (place,)))


def _name_without(target: TargetEffect) -> str:
    return WITHOUT.get(target.method.mode, "region hidden")


def _make_chart(lines: list[Line], bands: Sequence[Band] = ()) -> LineChart:
    values = np.concatenate(
        [line.values for line in lines] + [ends for band in bands for ends in (band.low, band.high)]
    )
    xs = np.arange(len(lines[0].values), dtype=np.float64)
    return LineChart(xs, tuple(lines), make_value_axis(values), bands=tuple(bands))


def _make_bands(target: TargetEffect, predicted: Values, dimension: int) -> list[Band]:
    """Return the range of one dimension's actions without each random region; none where they are not measured."""
    changes = target.control_changes
    if changes is None or not len(changes) or changes.shape[1:] != predicted.shape:
        return []
    ends = (predicted[:, dimension] + changes[:, :, dimension]).astype(np.float64)
    return [Band(RANDOM, WITHOUT_COLOR, ends.min(0), ends.max(0))]
