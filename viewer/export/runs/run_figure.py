"""Figure of an answer over a run: the table of layers and heads, and what is known of one head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF

from viewer.analysis.scores import find_score
from viewer.export.figures import text_layout
from viewer.export.figures.figure import Figure
from viewer.export.figures.text_layout import Paragraph, TextRun, wrap_runs
from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, Axis, draw_place_axis, draw_value_axis, label_places
from viewer.rendering.line_chart import LineChart, draw_bands
from viewer.rendering.lines import draw_lines, place_lines
from viewer.rendering.runs.cell_table import (
    SCALE_HEIGHT,
    draw_cell_labels,
    draw_run_cells,
    draw_scale,
    lay_out_cells,
    measure_scale,
)
from viewer.rendering.runs.curve_chart import find_points, make_curve_chart, name_times
from viewer.rendering.runs.group_colors import color_words, create_difference_table, create_heat_table, find_range
from viewer.rendering.runs.strip_plot import FOOT, draw_strips
from viewer.rendering.runs.strips import make_strip_axis, make_strips
from viewer.runs.run_sentence import (
    FALSE_RATE,
    attach_punctuation,
    describe_atlas,
    describe_cell,
    find_factor,
    format_cell,
    join_phrases,
    label_scale,
)

if TYPE_CHECKING:
    from PySide6.QtGui import QPainter

    from viewer.runs.answers import Distribution, RunAtlas, RunCurve
    from viewer.runs.run_sentence import Phrase
    from viewer.runs.run_view import RunView

CELL_HEIGHTS: Final = (24.0, 44.0)
"""Least and most pixels of a cell's height: with few layers the table is as high as the panels beside it."""
LABEL: Final = 26.0
HEADS: Final = 18.0
"""Pixels of the numbers of the heads."""
GAP: Final = 36.0
SIDE: Final = 380.0
"""Width of what is known of the chosen head."""
LINE: Final = 16.0
STRIP: Final = 48.0
CURVE: Final = 190.0
LABELS: Final = 96.0
CURVE_LABELS: Final = 44.0
SWATCH: Final = 14.0
"""Pixels of a line of the legend."""
COLORS: Final = "inferno"


@dataclass(frozen=True, eq=False)
class RunAnswer:
    """An answer over a run with the chosen head."""

    view: RunView
    atlas: RunAtlas
    distribution: Distribution | None = None
    curve: RunCurve | None = None

    @property
    def is_contrast(self) -> bool:
        """Whether success is compared with failure."""
        return self.view.is_contrast and self.atlas.contrast is not None


@dataclass(frozen=True, eq=False)
class RunContent:
    """What the figure shows above its caption."""

    answer: RunAnswer
    cell_width: float

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.answer.atlas.layers), self.answer.atlas.heads

    @property
    def _scale_texts(self) -> tuple[str, tuple[str, str]]:
        """The label of the colour bar, and what lies at its ends."""
        is_contrast = self.answer.is_contrast
        sides = ("more in failures", "more in successes") if is_contrast else ("", "")
        return label_scale(self.answer.atlas.query, is_contrast=is_contrast), sides

    @property
    def _scale_width(self) -> float:
        return max(self._shape[1] * self.cell_width, measure_scale(*self._scale_texts, _measure))

    @property
    def _table_width(self) -> float:
        return LABEL + self._scale_width

    @property
    def _cell_height(self) -> float:
        least, most = CELL_HEIGHTS
        room = self._side_height() - HEADS - 10 - SCALE_HEIGHT if self._has_head else 0.0
        return min(max(float(room // max(self._shape[0], 1)), least), most)

    @property
    def _has_head(self) -> bool:
        return self.answer.distribution is not None

    @property
    def width(self) -> float:
        """In px."""
        return self._table_width + (GAP + SIDE if self._has_head else 0)

    @property
    def height(self) -> float:
        """In px."""
        table = self._shape[0] * self._cell_height + HEADS + 10 + SCALE_HEIGHT
        return max(table, self._side_height()) if self._has_head else table

    def _lines(self) -> list[str]:
        cell, answer = self.answer.view.cell, self.answer
        return [] if cell is None else describe_cell(answer.atlas, *cell, is_contrast=answer.is_contrast)

    def _side_height(self) -> float:
        rows = max(len(self.answer.atlas.groups), 1)
        return 20 + len(self._lines()) * LINE + 10 + rows * STRIP + FOOT + 14 + 20 + LINE + CURVE + 20

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw it from its upper left corner."""
        self._paint_table(painter, left, top)
        if self._has_head:
            self._paint_head(painter, left + self._table_width + GAP, top)

    def _paint_table(self, painter: QPainter, left: float, top: float) -> None:
        atlas, is_contrast = self.answer.atlas, self.answer.is_contrast
        rows, columns = self._shape
        values, marks = atlas.all.mean, np.zeros(self._shape, np.bool_)
        if is_contrast and atlas.contrast is not None:
            values = atlas.contrast.difference
            with np.errstate(invalid="ignore"):
                marks = atlas.contrast.q <= FALSE_RATE
        score = find_score(atlas.query.score)
        ground = theme.color(theme.active().window).rgb() & 0xFFFFFF
        ends = find_range(values, is_difference=is_contrast, starts_at_zero=not score.is_low_better)
        table = create_difference_table(ground) if is_contrast else create_heat_table(COLORS, ground)
        box = QRectF(left + LABEL, top, columns * self.cell_width, rows * self._cell_height)
        layout = lay_out_cells(box, self._shape, 1.0, QRectF(0, 0, 1, 1))
        texts = [[format_cell(value, score, signed=is_contrast) for value in row] for row in values.tolist()]
        words = color_words(values, ends, table, ground)
        draw_run_cells(painter, layout, words, texts, marks, write=_write, font=FONT)
        if self._has_head:
            layer, head = self.answer.view.cell or (0, 0)
            chosen = layout.cell(atlas.layers.index(layer), head).adjusted(-2, -2, 2, 2)
            drawing.ring(painter, chosen, theme.color(theme.active().text), 2, 4)
        draw_cell_labels(painter, layout, atlas.layers, range(columns), LABEL, write=_write)
        scale = QRectF(box.left(), box.bottom() + HEADS + 10, self._scale_width, SCALE_HEIGHT)
        axis = Axis(*ends, factor=find_factor(score))
        draw_scale(painter, scale, table, axis, *self._scale_texts, write=_write, width_of=_measure)

    def _paint_head(self, painter: QPainter, left: float, top: float) -> None:
        colors, answer, cell = theme.active(), self.answer, self.answer.view.cell
        assert cell is not None
        assert answer.distribution is not None
        line = QRectF(left, top, SIDE, 18)
        text_layout.draw_line(painter, line, f"Layer {cell[0]}, head {cell[1]}", colors.text, 12, bold=True)
        y = top + 20
        for text in self._lines():
            text_layout.draw_line(painter, QRectF(left, y, SIDE, LINE), text, colors.secondary, FONT)
            y += LINE
        strips = make_strips(answer.atlas, answer.distribution)
        height = len(strips) * STRIP + FOOT
        axis = make_strip_axis(answer.atlas, strips)
        box = QRectF(left, y + 10, SIDE, height)
        draw_strips(painter, box, strips, axis, LABELS, write=_write, width_of=_measure)
        if answer.curve is not None and len(find_points(answer.curve)):
            title = QRectF(left, box.bottom() + 14, SIDE, 18)
            text_layout.draw_line(painter, title, "Over the time of an episode", colors.text, 12, bold=True)
            legend = QRectF(left, title.bottom() + 2, SIDE, LINE)
            _draw_legend(painter, legend, answer.curve)
            _draw_curves(painter, QRectF(left, legend.bottom() + 4, SIDE, CURVE), answer.curve)


def _draw_legend(painter: QPainter, box: QRectF, curve: RunCurve) -> None:
    """Write what a line and its band are, after the colour and the name of each group where there are several."""
    colors, x = theme.active(), box.left()
    for line in make_curve_chart(curve).lines if len(curve.groups) > 1 else ():
        drawing.fill(painter, QRectF(x, box.center().y() - 1, SWATCH, 3), theme.color(line.color), 1.5)
        name = QRectF(x + SWATCH + 5, box.top(), box.right() - x - SWATCH - 5, box.height())
        x = name.left() + text_layout.draw_line(painter, name, line.name, colors.text, FONT) + 14
    has_band = any(np.isfinite(group.low).any() for group in curve.groups)
    text = "mean and 95 % interval over episodes" if has_band else "mean over episodes"
    text_layout.draw_line(painter, QRectF(x, box.top(), box.right() - x, box.height()), text, colors.secondary, FONT)


def _draw_curves(painter: QPainter, area: QRectF, curve: RunCurve) -> None:
    """Draw a line with its band for each group."""
    chart: LineChart = make_curve_chart(curve)
    box = QRectF(area.left() + CURVE_LABELS, area.top() + 4, area.width() - CURVE_LABELS - 4, area.height() - 24)
    draw_value_axis(painter, box, chart.y_axis, CURVE_LABELS, write=_write)
    x_axis = Axis(0, max(len(chart.xs) - 1, 1)) if len(chart.xs) > 1 else Axis(0, 0)
    ticks = label_places(name_times(curve), x_axis, box.width(), _measure)
    draw_place_axis(painter, box, x_axis, ticks, write=_write, width_of=_measure)
    draw_bands(painter, box, chart, x_axis)
    draw_lines(painter, place_lines(box, x_axis, chart.y_axis, chart.xs, chart.lines), box)


def _write(painter: QPainter, box: QRectF, text: str, color: str, pixels: float, /, *, align: str = "left") -> float:
    return text_layout.draw_line(painter, box, text, color, round(pixels), align=align)


_measure = partial(text_layout.measure_text_width, pixels=FONT)


def build_run_figure(answer: RunAnswer, run_name: str, *, caption: bool = True, cell_width: float = 46.0) -> Figure:
    """Return the figure of an answer; its caption names the question, how many episodes and frames, and the run."""
    content = RunContent(answer, cell_width)
    phrases = attach_punctuation(describe_atlas(answer.atlas, is_contrast=answer.is_contrast))
    title = join_phrases(phrases)
    paragraphs: tuple[Paragraph, ...] = ()
    if caption:
        main = [phrase for phrase in phrases if not phrase.is_note]
        notes = " ".join(phrase.text.strip() for phrase in phrases if phrase.is_note)
        description = f"{notes} Rows are layers and columns heads, from 0. Run {run_name}."
        paragraphs = (
            wrap_runs([_as_run(phrase) for phrase in main], content.width),
            wrap_runs([TextRun(description, theme.active().secondary, FONT)], content.width),
        )
    return Figure(content, answer.view, title, paragraphs)


def _as_run(phrase: Phrase) -> TextRun:
    colors = theme.active()
    return TextRun(phrase.text, colors.accent_text if phrase.is_subject else colors.text, 13, phrase.is_subject)
