"""Figures of numbers: the atlas of layers and heads, and curves of where the weight goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from viewer.analysis import scores
from viewer.analysis.atlas import score_heads
from viewer.analysis.caption import Caption, spoken
from viewer.analysis.curves import Curves, merge_bars, read_curves, read_frame_masses
from viewer.errors import UserError
from viewer.export import selection
from viewer.export.figures import text_layout as words
from viewer.export.figures.color_bar import ColourScale
from viewer.export.figures.figure import Figure, frames_of, on_scale, sentence, titled
from viewer.model.number_ranges import format_range
from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from viewer.export.request import Options
    from viewer.export.scenes import Source
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, ViewState

LABEL: Final = 44.0
MOST_BOXES: Final = 2
"""A region of more boxes is told by how many patches it has."""
TALL: Final = 0.5
"""Height of an atlas cell to its width."""


@dataclass(frozen=True)
class AtlasBody:
    """Layers down, heads across, the mean of all heads a little apart."""

    scores: Floats
    layers: tuple[int, ...]
    score: str
    colours: str
    cell: int

    @property
    def width(self) -> float:
        """In px."""
        return float(LABEL + self.scores.shape[1] * self.cell + 6.0)

    @property
    def height(self) -> float:
        """In px."""
        return float(36.0 + self.scores.shape[0] * self._tall)

    @property
    def _tall(self) -> float:
        return max(round(self.cell * TALL), 14)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Cells with their scores."""
        t = theme.active()
        rows, columns = self.scores.shape
        score = scores.find_score(self.score)
        table = colormaps.score_words(self.scores, self.colours, lowest=score.is_low_better)
        heads = QRectF(left + LABEL, top, self.width - LABEL, 16)
        words.write(painter, heads, "head", t.secondary, 11)
        words.write(painter, QRectF(left, top + 17, LABEL - 8, 16), "layer", t.secondary, 11, align="right")
        for head in range(columns):
            x = self._x(left, head, columns)
            label = "mean" if head == columns - 1 else str(head)
            words.write(painter, QRectF(x - 8, top + 17, self.cell + 14, 16), label, t.text, 11, align="centre")
        for layer in range(rows):
            y = top + 36 + layer * self._tall
            line = QRectF(left, y, LABEL - 8, self._tall - 2)
            words.write(painter, line, str(self.layers[layer]), t.text, 11, align="right")
            for head in range(columns):
                box = QRectF(self._x(left, head, columns), y, self.cell - 2, self._tall - 2)
                word = int(table[layer, head])
                painter.fillRect(box, theme.colour(f"#{word & 0xFFFFFF:06X}"))
                text = score.format_cell(float(self.scores[layer, head]))
                if self.cell >= 30:
                    words.write(painter, box, text, drawing.readable_on(word), 11, align="centre")

    def _x(self, left: float, head: int, columns: int) -> float:
        return left + LABEL + head * self.cell + (6 if head == columns - 1 else 0)


def score_scale(values: Floats, view: ViewState) -> ColourScale:
    """The colour bar of an atlas."""
    finite = values[np.isfinite(values)]
    score = scores.find_score(view.score)
    if score.is_low_better:
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        return ColourScale(view.colours, low, max(high, low + 1e-6), label=score.axis_label, upside_down=True)
    high = float(finite.max(initial=0)) * score.factor
    return ColourScale(view.colours, 0.0, high if high > 0 else 1.0, label=score.axis_label)


def score_sentence(source: Source, view: ViewState) -> Caption:
    """The sentence of an atlas: no layer and no head, for it shows them all."""
    score = scores.find_score(view.score)
    made, details = sentence(source, view), ["every layer and head", score.phrase]
    if score.needs_region:
        details.append(region_words(source.results, view.region))
    return replace(made, details=" · ".join(details))


def region_words(results: Results, region: tuple[Cell, ...]) -> str:
    """Which patches a region has, where it is a box or two; else how many."""
    boxes = selection.boxes(results, region)
    if len(boxes) > MOST_BOXES:
        cameras = {spoken(results.cameras[camera]): None for camera, _, _ in region}
        return f"region of {len(region)} patches of {' and '.join(cameras)}"
    told = [
        f"{spoken(box.camera)} row{'s' * (box.rows[0] < box.rows[1])} {format_range(box.rows)}, "
        f"column{'s' * (box.columns[0] < box.columns[1])} {format_range(box.columns)}"
        for box in boxes
    ]
    return f"region {' and '.join(told)}"


def atlas(source: Source, view: ViewState, options: Options) -> Figure:
    """Every layer and head with its score."""
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
            f"The region lies in the letterbox’s bars in frame {view.frame + 1}, which have no {view.score}; take "
            "another region, or the score “region”."
        )
    values = score_heads(source.results, view)
    body = AtlasBody(values, source.results.layers, view.score, view.colours, options.pixels)
    scales = (score_scale(values, view),) if score.axis else ()
    return titled(source, body, view, score_sentence(source, view), scales, words=options.caption)


@dataclass(frozen=True)
class CurvesBody:
    """Lines over an axis, named at their right ends in the order in which they end."""

    curves: Curves
    axis: str
    cameras: tuple[str, ...]
    size: int
    NAMES = 120.0
    LEFT = 46.0
    BOTTOM = 38.0
    TOP = 8.0

    @property
    def width(self) -> float:
        """In px."""
        return float(self.size)

    @property
    def height(self) -> float:
        """In px."""
        return max(round(self.size * 0.5), 180)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Axes, lines, names."""
        box = QRectF(left + self.LEFT, top + self.TOP, self.width - self.LEFT - self.NAMES,
                     self.height - self.TOP - self.BOTTOM)  # fmt: skip
        values = np.nan_to_num(self.curves.values)
        kept = [n for n in range(len(self.curves.names)) if values[:, n].max(initial=0) > 1e-3]
        high = _round_up(float(values.max(initial=0.01)))
        self._axes(painter, box, high)
        ends = []
        for n in reversed(kept):
            name = self.curves.names[n]
            ink = theme.colour(theme.group_colour("exterior bars" if name == "bars" else name, self.cameras))
            points = [QPointF(self._x(box, at), box.bottom() - float(value) / high * box.height())
                      for at, value in enumerate(values[:, n])]  # fmt: skip
            painter.setPen(QPen(ink, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if len(points) > 1:
                painter.drawPolyline(QPolygonF(points))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ink)
            if len(points) <= 40:
                for point in points:
                    painter.drawEllipse(point, 2.5, 2.5)
            ends.append((points[-1].y(), n, ink))
        self._names(painter, box, ends)

    def _x(self, box: QRectF, at: int) -> float:
        count = len(self.curves.labels)
        return box.left() + (box.width() * at / (count - 1) if count > 1 else box.width() / 2)

    def _axes(self, painter: QPainter, box: QRectF, high: float) -> None:
        t = theme.active()
        for tick in range(5):
            y = box.bottom() - box.height() * tick / 4
            painter.fillRect(QRectF(box.left(), y - 0.5, box.width(), 1), theme.colour(t.line if tick else t.faint))
            text = f"{100 * high * tick / 4:.3g} %"
            words.write(painter, QRectF(box.left() - 60, y - 8, 54, 16), text, t.text, 11, align="right")
        labels = self.curves.labels
        room = max(words.width_of(str(label), 11) for label in labels) + 10
        skip = next(
            n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6)
            if room * len(labels) / n <= box.width() or n == 10**6
        )  # fmt: skip
        for at, label in enumerate(labels):
            if at % skip == 0:
                x = self._x(box, at)
                painter.fillRect(QRectF(x - 0.5, box.bottom(), 1, 4), theme.colour(t.faint))
                words.write(painter, QRectF(x - 40, box.bottom() + 5, 80, 14), str(label), t.text, 11, align="centre")
        name = QRectF(box.left(), box.bottom() + 21, box.width(), 14)
        words.write(painter, name, {"steps": "denoise step"}.get(self.axis, self.axis.removesuffix("s")), t.secondary,
                    11, align="centre")  # fmt: skip

    def _names(self, painter: QPainter, box: QRectF, ends: list[tuple[float, int, QColor]]) -> None:
        t = theme.active()
        ys = spread([y for y, _, _ in sorted(ends, key=lambda end: end[0])], 15, box.top() + 4, box.bottom() - 4)
        for y, (end, n, ink) in zip(ys, sorted(ends, key=lambda end: end[0]), strict=True):
            painter.setPen(QPen(ink, 1))
            painter.drawLine(QPointF(box.right() + 5, end), QPointF(box.right() + 13, y))
            share = drawing.per_cent(float(np.nan_to_num(self.curves.values)[-1, n]))
            name = {"bos": "BOS"}.get(self.curves.names[n], self.curves.names[n])
            line = QRectF(box.right() + 17, y - 8, self.NAMES - 17, 16)
            used = words.write(painter, line, name, t.text, 12)
            words.write(painter, line.adjusted(used + 6, 0, 0, 0), share, t.secondary, 11)


def spread(ys: list[float], apart: float, top: float, bottom: float) -> list[float]:
    """Places in ascending order moved so that neighbours are `apart`, within top and bottom where they fit."""
    made: list[float] = []
    for y in ys:
        made.append(max(y, made[-1] + apart if made else top))
    over = made[-1] - bottom if made else 0.0
    if over > 0:
        limit = bottom
        for place in range(len(made) - 1, -1, -1):
            made[place] = min(made[place], limit)
            limit = made[place] - apart
    return made


def _round_up(value: float) -> float:
    """A round number for the top of an axis whose quarters are round too."""
    return next((top for top in (0.004, 0.01, 0.02, 0.04, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if value <= top), 1.0)


def curves(source: Source, view: ViewState, options: Options, places: tuple[int, ...]) -> Figure:
    """Masses of all groups of keys along an axis; `places` are the chosen ones on it."""
    results, along = source.results, options.along
    if along == "frames":
        values = np.stack([read_frame_masses(results, view, frame) for frame in places])
        names, masses = merge_bars(values, results)
        made = Curves(names, masses, tuple(place + 1 for place in places), places)
    else:
        whole = read_curves(results, view)
        kept = list(places)
        made = Curves(whole.names, whole.values[kept], tuple(whole.labels[place] for place in kept), places)
    body = CurvesBody(made, along, results.cameras, options.pixels)
    plain = on_scale(sentence(source, replace(view, reduce="mean")), "")
    gone = ("raw weights", "weight × value norm", "times uniform", "log colours", "colours by rank")
    details = [part for part in plain.details.split(" · ") if part not in gone]
    if along == "layers":
        details = [part for part in details if not part.startswith("layer ")]
    place = plain.place.removesuffix(" looks at …")
    if along == "steps":
        place = "(suffix, every denoise step)"
    axis = "denoise steps" if along == "steps" else along
    about = replace(plain, place=place, details=" · ".join([f"where its weight goes over {axis}", *details]))
    frames = frames_of(results, places) if along == "frames" else ""
    return titled(source, body, view, about, (), words=options.caption, frames=frames)
