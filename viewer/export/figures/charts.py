"""Figures of numbers: the atlas of layers and heads, and curves of attention mass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from viewer.analysis import scores
from viewer.analysis.atlas import score_heads
from viewer.analysis.caption import LOOK, LOOKS, Caption, format_camera
from viewer.analysis.curves import Curves, add_up_bars, read_curves, read_frame_masses
from viewer.analysis.effects.head_scores import describe_source
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.query_series import find_line_starts
from viewer.analysis.region_boxes import find_boxes
from viewer.errors import UserError
from viewer.export.figures import text_layout
from viewer.export.figures.color_bar import ColorScale
from viewer.export.figures.figure import Figure, build_figure, describe_view, set_scale_text
from viewer.model.number_ranges import format_range
from viewer.model.plain_text import clean_text
from viewer.rendering import colormaps, drawing, theme, ticks
from viewer.rendering.axes import FONT, Axis, draw_place_axis, draw_value_axis, label_places, make_share_axis
from viewer.rendering.frame_axis import find_number_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.query_series import QuerySeries
    from viewer.export.request import ExportRequest
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, ViewState
    from viewer.rendering.ticks import Tick

LABEL_WIDTH: Final = 44.0
LEAST_SHARE: Final = 1e-3
"""A group whose mass exceeds this nowhere has no curve, as in the window."""
MOST_BOXES: Final = 2
"""A region of more boxes is described by its number of patches."""
CELL_ASPECT: Final = 0.5
"""Height / width of a cell of the atlas."""


@dataclass(frozen=True)
class AtlasChart:
    """Scores of layers (down) and heads (across); the mean of all heads is a little apart."""

    scores: Floats
    """(layers, heads + 1), the mean of heads last"""
    layers: tuple[int, ...]
    score: str
    colours: str
    cell_width: int

    @property
    def width(self) -> float:
        """In px."""
        return float(LABEL_WIDTH + self.scores.shape[1] * self.cell_width + 6.0)

    @property
    def height(self) -> float:
        """In px."""
        return float(36.0 + self.scores.shape[0] * self._cell_height)

    @property
    def _cell_height(self) -> float:
        return max(round(self.cell_width * CELL_ASPECT), 14)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw the cells with their scores."""
        colors = theme.active()
        rows, columns = self.scores.shape
        score = scores.find_score(self.score)
        table = colormaps.color_scores(self.scores, self.colours, lowest=score.is_low_better)
        heads = QRectF(left + LABEL_WIDTH, top, self.width - LABEL_WIDTH, 16)
        text_layout.draw_line(painter, heads, "head", colors.secondary, 11)
        text_layout.draw_line(
            painter, QRectF(left, top + 17, LABEL_WIDTH - 8, 16), "layer", colors.secondary, 11, align="right"
        )
        for head in range(columns):
            x = self._find_x(left, head, columns)
            label = "mean" if head == columns - 1 else str(head)
            text_layout.draw_line(
                painter, QRectF(x - 8, top + 17, self.cell_width + 14, 16), label, colors.text, 11, align="centre"
            )
        for layer in range(rows):
            y = top + 36 + layer * self._cell_height
            line = QRectF(left, y, LABEL_WIDTH - 8, self._cell_height - 2)
            text_layout.draw_line(painter, line, str(self.layers[layer]), colors.text, 11, align="right")
            for head in range(columns):
                box = QRectF(self._find_x(left, head, columns), y, self.cell_width - 2, self._cell_height - 2)
                word = int(table[layer, head])
                painter.fillRect(box, theme.color(f"#{word & 0xFFFFFF:06X}"))
                text = score.format_cell(float(self.scores[layer, head]))
                if self.cell_width >= 30:
                    text_layout.draw_line(painter, box, text, drawing.readable_on(word), 11, align="centre")

    def _find_x(self, left: float, head: int, columns: int) -> float:
        return left + LABEL_WIDTH + head * self.cell_width + (6 if head == columns - 1 else 0)


def create_score_scale(values: Floats, view: ViewState) -> ColorScale:
    """Return the colour scale of an atlas."""
    finite = values[np.isfinite(values)]
    score = scores.find_score(view.score)
    if score.is_low_better:
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        end = max(high, low + 1e-6)
        return ColorScale(view.colours, low, end, label=score.axis_label, reversed=True, largest=high)
    high = float(finite.max(initial=0)) * score.factor
    return ColorScale(view.colours, 0.0, high if high > 0 else 1.0, label=score.axis_label, largest=high)


def describe_scores(source: ExportSource, view: ViewState) -> Caption:
    """Return the caption of an atlas, which shows every layer and head."""
    score = scores.find_score(view.score)
    caption, details = describe_view(source, view), ["every layer and head", score.phrase]
    if score.needs_region:
        name = f"{clean_text(view.region_name)}: " if view.region_name else ""
        details.append(name + describe_region(source.results, view.region))
    origin = describe_source(source.results, view.frame, view.query, view.score)
    return replace(caption, details=" · ".join([*details, origin] if origin else details))


def describe_region(results: Results, region: tuple[Cell, ...]) -> str:
    """Return which patches a region has, where it is a box or two; else how many."""
    boxes = find_boxes(results, region)
    if len(boxes) > MOST_BOXES:
        cameras = {format_camera(results.cameras[camera]): None for camera, _, _ in region}
        return f"region of {len(region)} patches of {' and '.join(cameras)}"
    texts = [
        f"{format_camera(box.camera)} row{'s' * (box.rows[0] < box.rows[1])} {format_range(box.rows)}, "
        f"column{'s' * (box.columns[0] < box.columns[1])} {format_range(box.columns)}"
        for box in boxes
    ]
    return f"region {' and '.join(texts)}"


def create_atlas(source: ExportSource, view: ViewState, request: ExportRequest) -> Figure:
    """Return every layer and head with its score.

    Raises:
        UserError: The query or the region of the view does not have this score.
    """
    score = scores.find_score(view.score)
    if score.needs_region and not view.region:
        raise UserError(
            f"The score “{view.score}” needs a region; add --region exterior:4-7,8-11 (camera, rows and columns of "
            "patches), or draw one in the window and pass --view."
        )
    if "steps" in score.needs and view.query.kind == "text":
        raise UserError(f"Words have one pass and so no {score.title}; take --phase suffix or another --score.")
    if scores.find_unavailable_reason(view.score, view.query.kind, view.region, source.results.bars(view.frame)):
        raise UserError(
            f"The region lies in the letterbox’s bars in frame {view.frame}, which have no {view.score}; take "
            "another region, or the score “region”."
        )
    if score.find_missing is not None:
        reason = score.find_missing(source.results, view.frame, view.query.kind)
        if reason:
            raise UserError(f"There is no score “{view.score}” of frame {view.frame}: {reason}.")
    values = score_heads(source.results, view)
    content = AtlasChart(values, source.results.layers, view.score, view.colours, request.width)
    scales = (create_score_scale(values, view),) if score.axis else ()
    return build_figure(source, content, view, describe_scores(source, view), scales, caption=request.caption)


@dataclass(frozen=True)
class CurveChart:
    """Lines over an axis, labelled at their right ends."""

    curves: Curves
    axis: str
    cameras: tuple[str, ...]
    plot_width: int
    NAMES_WIDTH = 120.0
    LEFT = 46.0
    BOTTOM = 38.0
    TOP = 8.0

    @property
    def width(self) -> float:
        """In px."""
        return float(self.plot_width)

    @property
    def height(self) -> float:
        """In px."""
        return max(round(self.plot_width * 0.5), 180)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw axes, lines and their names."""
        box = QRectF(left + self.LEFT, top + self.TOP, self.width - self.LEFT - self.NAMES_WIDTH,
                     self.height - self.TOP - self.BOTTOM)  # fmt: skip
        values = np.nan_to_num(self.curves.values)
        starts = [*self.curves.starts, len(values)]
        groups = self._find_drawn_groups()
        y_axis, x_axis = self.find_axes()
        self._paint_axes(painter, box, y_axis, x_axis)
        ends = []
        for group in reversed(groups):
            name = self.curves.names[group]
            ink = theme.color(theme.group_color("exterior bars" if name == "bars" else name, self.cameras))
            across, down = x_axis.place(self._find_places()), y_axis.place(values[:, group])
            points = [QPointF(box.left() + x * box.width(), box.bottom() - y * box.height())
                      for x, y in zip(across.tolist(), down.tolist(), strict=True)]  # fmt: skip
            painter.setPen(QPen(ink, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for start, stop in pairwise(starts):
                painter.drawPolyline(QPolygonF(points[start:stop]))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ink)
            alone = {start for start, stop in pairwise(starts) if stop - start == 1}
            for number, point in enumerate(points):
                if len(points) <= 40 or number in alone:
                    painter.drawEllipse(point, 2.5, 2.5)
            ends.append((points[-1].y(), group, ink))
        self._paint_names(painter, box, ends)

    def _find_drawn_groups(self) -> list[int]:
        values = np.nan_to_num(self.curves.values)
        return [n for n in range(len(self.curves.names)) if values[:, n].max(initial=0) > LEAST_SHARE]

    def _find_places(self) -> Sequence[int]:
        """Return where the points lie: frames at their numbers, layers and steps at equal distances."""
        return self.curves.at if self.axis == "frames" else range(len(self.curves.at))

    def find_axes(self) -> tuple[Axis, Axis]:
        """Return the axis of the masses, which is the window's, and the horizontal one."""
        places = self._find_places()
        shares = make_share_axis(np.nan_to_num(self.curves.values)[:, self._find_drawn_groups()])
        return shares, Axis(places[0], places[-1])

    def find_x_ticks(self, room: float) -> tuple[Tick, ...]:
        """Return the ticks of the horizontal axis, `room` px long, as the window has them: frames by their numbers."""
        labels, axis = self.curves.labels, self.find_axes()[1]
        if self.axis == "frames":
            return find_number_ticks(labels[0], labels[-1], room, _measure_label)
        return label_places(labels, axis, room, _measure_label)

    def _paint_axes(self, painter: QPainter, box: QRectF, y_axis: Axis, x_axis: Axis) -> None:
        colors = theme.active()
        draw_value_axis(painter, box, y_axis, self.LEFT, write=_write, ink=colors.text)
        ticks = self.find_x_ticks(box.width())
        draw_place_axis(painter, box, x_axis, ticks, write=_write, width_of=_measure_label, ink=colors.text)
        name = QRectF(box.left(), box.bottom() + 21, box.width(), 14)
        axis = "denoise step" if self.axis == "steps" else self.axis.removesuffix("s")
        text_layout.draw_line(painter, name, axis, colors.secondary, 11, align="centre")

    def _paint_names(self, painter: QPainter, box: QRectF, ends: list[tuple[float, int, QColor]]) -> None:
        colors = theme.active()
        ys = spread([y for y, _, _ in sorted(ends, key=lambda end: end[0])], 15, box.top() + 4, box.bottom() - 4)
        for y, (end, n, ink) in zip(ys, sorted(ends, key=lambda end: end[0]), strict=True):
            painter.setPen(QPen(ink, 1))
            painter.drawLine(QPointF(box.right() + 5, end), QPointF(box.right() + 13, y))
            share = ticks.format_share(float(np.nan_to_num(self.curves.values)[-1, n]))
            name = {"bos": "BOS"}.get(self.curves.names[n], self.curves.names[n])
            line = QRectF(box.right() + 17, y - 8, self.NAMES_WIDTH - 17, 16)
            used = text_layout.draw_line(painter, line, name, colors.text, 12)
            text_layout.draw_line(painter, line.adjusted(used + 6, 0, 0, 0), share, colors.secondary, 11)


def _write(painter: QPainter, box: QRectF, text: str, color: str, pixels: float, /, *, align: str = "left") -> float:
    """Draw a label of an axis in the figures' font."""
    return text_layout.draw_line(painter, box, text, color, round(pixels), align=align)


def _measure_label(text: str) -> float:
    """Return the width of a label of an axis in px."""
    return text_layout.measure_text_width(text, FONT)


def spread(ys: list[float], distance: float, top: float, bottom: float) -> list[float]:
    """Return ascending positions moved so that neighbours keep a distance, within top and bottom where they fit."""
    moved: list[float] = []
    for y in ys:
        moved.append(max(y, moved[-1] + distance if moved else top))
    if moved and moved[-1] > bottom:
        limit = bottom
        for number in reversed(range(len(moved))):
            moved[number] = min(moved[number], limit)
            limit = moved[number] - distance
    return moved


def create_curves(
    source: ExportSource, view: ViewState, request: ExportRequest, series: QuerySeries | None = None
) -> Figure:
    """Return the attention mass of all groups of keys along an axis; over the frames of `series`."""
    results, over = source.results, request.over
    if series is not None:
        positions = tuple(sorted(series.frames))
        values = np.stack([read_frame_masses(results, view, frame) for frame in positions])
        names, masses = add_up_bars(values, results)
        starts = find_line_starts(positions, build_frame_timeline(results))
        curves = Curves(names, masses, positions, positions, starts)
    else:
        positions = request.layers if over == "layers" else request.steps
        whole = read_curves(results, view)
        labels = tuple(whole.labels[position] for position in positions)
        curves = Curves(whole.names, whole.values[list(positions)], labels, positions)
    content = CurveChart(curves, over, results.cameras, request.width)
    text = _describe_curves(source, view, over)
    return build_figure(source, content, view, text, (), caption=request.caption, series=series)


def _describe_curves(source: ExportSource, view: ViewState, over: str) -> Caption:
    """Return the caption of curves, which are means of heads and have neither colours nor a unit."""
    caption = set_scale_text(describe_view(source, replace(view, reduce="mean")), "")
    left_out = ("raw weights", "weight × value norm", "times uniform", "log colours", "colours by rank")
    details = [part for part in caption.details.split(" · ") if part not in left_out]
    if over == "layers":
        details = [part for part in details if not part.startswith("layer ")]
    place = caption.place.removesuffix(LOOKS).removesuffix(LOOK).rstrip()
    if over == "steps":
        place = "(suffix, every denoise step)"
    axis = "denoise steps" if over == "steps" else over
    return replace(caption, place=place, details=" · ".join([f"where its weight goes over {axis}", *details]))
