"""Atlas: a table of layers and heads with each head's score or thumbnail for the shown query."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer.analysis.atlas import RankWalk, find_rank, rank_heads, score_heads
from viewer.analysis.scores import SCORES, Score, describe_value, find_score, find_unavailable_scores
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import colormaps, drawing, theme
from viewer.rendering.score_table import TableLayout, draw_cells, draw_table_labels, lay_out_table
from viewer.rendering.thumbnail_colors import COLOR_FIELDS, describe_thumbnail_scale, render_head_thumbnails
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.zoom_panel import ZoomPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from viewer.controllers.session import Session
    from viewer.model.attention import Floats

LABEL: Final = 22
FOOT: Final = 16
MAX_CELL_HEIGHT: Final = 44.0
"""Pixels; a taller cell shows no more."""
CELL_OPACITY: Final = 60
"""Opacity of the colour of the best cell, in per cent: the pictures are louder."""
_read_color_fields: Final = attrgetter("step", "measure", "left_out", *COLOR_FIELDS)
"""Returns the fields of a view that the thumbnails depend on, beside frame and query."""
LEAST_SHARE: Final = 0.2
"""Smallest part of the table, along each side, that the user can zoom to."""
FIELDS: Final = ("frame", "query", "score", "thumbnails")


class Atlas(ZoomPanel):
    """Rows are layers, columns are heads, the last column is the mean of all heads; a click selects a head."""

    watched_fields = frozenset(
        {*FIELDS, "layer", "heads", "reduce", "step", "region", "measure", "left_out", *COLOR_FIELDS}
    )
    READ_ORDER, read_parts = 2, staticmethod(score_heads)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Layers and heads", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(134)
        self.setMouseTracking(True)
        self.score = DropDown("Score", [(score.name, score.title) for score in SCORES.values()], parent=self)
        self.score.set_tool_tips({score.name: score.description for score in SCORES.values()})
        self.score.chosen.connect(self._set_score)
        self.thumbs = Button("thumbnails", kind="quiet", parent=self)
        self.thumbs.setCheckable(True)
        self.thumbs.toggled.connect(self._set_thumbs)
        self._scores: tuple[object, Floats] | None = None
        self._reasons: tuple[object, dict[str, str]] | None = None
        self._content: Floats | None = None
        self._content_reason = ""
        self._thumbnails: tuple[object, npt.NDArray[np.uint32]] | None = None
        self._before: Floats | None = None
        self._frame, self._static_layer = drawing.Layer(), drawing.Layer()
        self._layout: tuple[object, TableLayout] | None = None
        self._painted_rings: list[QRectF] = []
        self._colored: tuple[object, ...] = ()
        self._was_unavailable = False
        self._walk = RankWalk()
        self._painted_title = ""
        session.bared.connect(self.reload_and_update)

    def _set_score(self, value: str) -> None:
        self.session.update(score=value)

    def _set_thumbs(self, on: bool) -> None:
        self.session.update(thumbnails=on)

    def sizeHint(self) -> QSize:
        return QSize(288, self.HEADING + 18 * 14 + 18)

    def scores(self) -> Floats | None:
        """Return the chosen score, (layers, heads + 1) float32; None if it cannot be read."""
        results, shown = self.displayed
        if results is None or not results.done:
            return None
        score = self._shown_score
        step = shown.step if "steps" not in score.needs and shown.query.kind == "action" else 0
        region = shown.region if score.needs_region else ()
        key = (id(results), shown.frame, shown.query, shown.score, step, region)
        if self._scores is None or self._scores[0] != key:
            try:
                self._scores = key, score_heads(results, shown)
            except READ_ERRORS:
                return None
        return self._scores[1]

    def reasons(self) -> dict[str, str]:
        """Return the scores that the shown query cannot have, and why."""
        results, shown = self.displayed
        if results is None or not results.done:
            return {}
        key = (id(results), results.effects, shown.frame, shown.query.kind, shown.region)
        if self._reasons is None or self._reasons[0] != key:
            try:
                self._reasons = key, find_unavailable_scores(results, shown)
            except READ_ERRORS:
                return {}
        return self._reasons[1]

    @property
    def unavailable_reason(self) -> str:
        """Why the shown query cannot have the chosen score; empty if it can."""
        return self.reasons().get(self.shown.score, "")

    @property
    def _shown_score(self) -> Score:
        return find_score(self.shown.score)

    def ranked(self) -> list[tuple[int, int]]:
        """Return (layer, head) pairs, the best score first; empty if the score is not available."""
        scores = self.scores()
        if scores is None or self.unavailable_reason:
            return []
        return rank_heads(scores, lowest=self._shown_score.is_low_better)

    def load(self) -> None:
        self._content_reason, self._content = self.unavailable_reason, self.scores()
        if self.shown.thumbnails and self._content is not None:
            self._load_thumbnails()
        self.update_extent()

    def refresh(self) -> None:
        shown = self.shown
        self.score.show_value(shown.score)
        self.score.disable(self.reasons())
        self.thumbs.setChecked(shown.thumbnails)
        tip = f"The map of every head instead of its score, {describe_thumbnail_scale(shown)}"
        self.thumbs.setToolTip(plain_tooltip(tip))
        self._place_buttons()
        if not self.isVisible():
            return
        self.schedule_description()
        if self._was_unavailable != self._is_unavailable():
            self._was_unavailable = not self._was_unavailable
            self.update()
        scores, before = self._content, self._before
        self._before = scores
        if self._painted_title != self._fit_title():
            self._painted_title = self._fit_title()
            self.update(0, 0, self.thumbs.x(), self.HEADING)
        if scores is None or scores is not before or self._colored != self._cell_settings():
            self._colored = self._cell_settings()
            self.update(0, self.HEADING - 3, self.width(), self.height())  # without the buttons in the heading
        else:
            for box in (*self._painted_rings, *self._find_rings(scores)):
                self.update(box.toAlignedRect().adjusted(-1, -1, 1, 1))

    def _cell_settings(self) -> tuple[object, ...]:
        """Return the settings that the cells' colours depend on, beside the scores."""
        shown = self.shown
        return (True, *_read_color_fields(shown)) if shown.thumbnails else (False, shown.colours)

    def on_file_changed(self) -> None:
        results = self.session.results
        if results is not None:
            self.setMaximumHeight(
                max(round(self.HEADING + len(results.layers) * MAX_CELL_HEIGHT + FOOT), self.minimumHeight())
            )
        self._scores = self._content = self._thumbnails = self._reasons = None
        self._frame.drop()
        self._static_layer.drop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_buttons()

    def _place_buttons(self) -> None:
        self.place_right(self.score, self.thumbs)

    def _fit_title(self) -> str:
        """Return the title that fits before the buttons; empty where none does."""
        room, titles = self.thumbs.x() - 6, ("Layers × heads", "Heads")
        return next((title for title in titles if drawing.width_of(title, 12, bold=True) < room), "")

    def content_box(self) -> QRectF:
        """Return the rectangle of the cells."""
        height: float = max(self.height() - self.HEADING - FOOT, 4)
        if self._content is not None:
            height = min(height, len(self._content) * MAX_CELL_HEIGHT)
        return QRectF(LABEL, self.HEADING, max(self.width() - LABEL, 40), height)

    def content_extent(self) -> QRectF:
        return QRectF(0, 0, 1, 1)  # shares of the box

    def least_visible(self) -> tuple[float, float]:
        return LEAST_SHARE, LEAST_SHARE

    def layout_of(self, scores: Floats) -> TableLayout:
        """Return the places of the cells."""
        ratio, box, visible = self.devicePixelRatioF(), self.content_box(), self.visible_part()
        key = (scores.shape, ratio, box.getRect(), visible.getRect())
        if self._layout is None or self._layout[0] != key:
            self._layout = key, lay_out_table(box, (len(scores), scores.shape[1]), ratio, visible)
        return self._layout[1]

    def cell(self, scores: Floats, layer: int, head: int) -> QRectF:
        """Return the rectangle of a cell."""
        return self.layout_of(scores).cell(layer, head)

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, scores, (results, shown) = theme.active(), self._content, self.displayed
        if scores is None or results is None or self._is_unavailable():
            self.fill_background(painter, area)
            self._paint_unavailable(painter)
            return

        def frame(inner: QPainter) -> None:
            self.paint_heading(inner, self._fit_title())
            self._paint_frame(inner, scores)

        def draw_static(inner: QPainter) -> None:
            inner.setClipRect(self.content_box())
            if shown.thumbnails:
                self._paint_thumbnails(inner, scores)
            else:
                words, score = self._color_cells(scores), self._shown_score
                draw_cells(inner, layout, words, scores.tolist(), score.format_cell, self.ground())
            inner.setClipping(False)
            key = (layout, results.layers, shown.thumbnails, self._fit_title())
            self._frame.draw(inner, self, key, frame)

        # Two layers, as scores change more often than row and column labels, and rings more often than scores.
        layout = self.layout_of(scores)
        key = (id(scores), layout, *self._cell_settings(), self._fit_title())
        self._static_layer.draw(painter, self, key, draw_static, self.ground(), scores)
        if self.is_zoomed():
            painter.setClipRect(self.content_box().adjusted(-2, -2, 2, 2))
        self._painted_rings = self._find_rings(scores)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for box in self._painted_rings:
            drawing.ring(painter, box, theme.color(colors.accent), 2, 3)
        painter.setClipping(False)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.color(colors.accent))

    def _is_unavailable(self) -> bool:
        """Return whether a sentence replaces the cells because the score is not available."""
        return not self.shown.thumbnails and bool(self._content_reason)

    def _paint_unavailable(self, painter: QPainter) -> None:
        """Paint why the score is not available and what to do."""
        self.paint_heading(painter, self._fit_title())
        if self._is_unavailable():
            reason, ink = self._content_reason, theme.active().secondary
            for line, text in enumerate((f"{reason[:1].upper()}{reason[1:]},", "or choose another score.")):
                drawing.write(painter, QRectF(0, self.HEADING + 20 * line, self.width(), 20), text, ink, 13)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.color(theme.active().accent))

    def _paint_frame(self, painter: QPainter, scores: Floats) -> None:
        """Paint what does not depend on the scores: labels of layers and heads, and the cells' round corners."""
        results, layout = self.displayed[0], self.layout_of(scores)
        assert results is not None
        heads = scores.shape[1] - 1
        if not self.shown.thumbnails:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setClipRect(self.content_box())
            for layer, head in np.ndindex(scores.shape):
                drawing.round_off(painter, layout.cell(layer, head), self.ground(), 2.5)
            painter.setClipping(False)
        draw_table_labels(painter, layout, results.layers, [*map(str, range(heads)), "mean"], LABEL)

    def _find_rings(self, scores: Floats) -> list[QRectF]:
        """Return the rectangles around the cells of the shown heads."""
        marked = self.marked
        heads = marked.heads if marked.heads else (scores.shape[1] - 1,)
        return [self.cell(scores, marked.layer, head).adjusted(-1, -1, 1, 1) for head in heads]

    def _color_cells(self, scores: Floats) -> npt.NDArray[np.uint32]:
        """Return the colour of each cell, 0xAARRGGBB."""
        name, ground = self.shown.colours, self.ground().rgb() & 0xFFFFFF
        table = colormaps.blend_heat(name, CELL_OPACITY, ground)
        return colormaps.color_scores(scores, name, lowest=self._shown_score.is_low_better, table=table)

    def _load_thumbnails(self) -> None:
        results, shown = self.displayed
        key = (id(results), shown.frame, shown.query, *self._cell_settings())
        if results is not None and (self._thumbnails is None or self._thumbnails[0] != key):
            self._thumbnails = key, render_head_thumbnails(results, shown)

    def _paint_thumbnails(self, painter: QPainter, scores: Floats) -> None:
        for layer, line in enumerate(self._thumbnails[1] if self._thumbnails is not None else ()):
            for head, thumbnail in enumerate(line):
                painter.drawImage(self.cell(scores, layer, head), drawing.create_word_image(thumbnail, blended=False))

    # Mouse and keyboard

    def cell_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return layer and head under a point; the mean is the head after the last."""
        scores = self.scores()
        if scores is None or self._is_unavailable():
            return None
        return self.layout_of(scores).cell_at(point)

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return the score of each layer and head, the mean of the heads last."""
        scores, results = self._content, self.displayed[0]
        if scores is None or results is None or self._content_reason:
            return None
        heads = [*range(scores.shape[1] - 1), "mean"]
        rows = [
            [results.layers[layer], head, value]
            for layer, values in enumerate(scores.tolist())
            for head, value in zip(heads, values, strict=True)
        ]
        return ["layer", "head", self._shown_score.name], rows

    def go(self, layer: int, head: int, *, add: bool = False) -> None:
        """Select a head; `add` adds it to the selected heads or removes it."""
        heads = self.session.dims.heads
        if head >= heads:
            self.session.update(layer=layer, heads=(), reduce="mean")
        elif add:
            chosen = tuple(sorted(set(self.session.state.heads) ^ {head}))
            self.session.update(layer=layer, heads=chosen)
        else:
            self.session.update(layer=layer, heads=(head,), reduce="mean")

    def step_ranked(self, by: int) -> None:
        """Select the best head, and from there the one that is `by` ranks further."""
        order, shown = self.ranked(), self.session.state
        if not order:
            reason = self.unavailable_reason or "no head has weight to tell"
            self.session.noticed.emit(f"Heads cannot be ranked by {self._shown_score.title}: {reason}.")
            return
        current = (shown.layer, shown.heads[0]) if len(shown.heads) == 1 else None
        ranking = (id(self.session.results), shown.frame, shown.query, shown.score, shown.region, shown.step)
        self.go(*self._walk.step(ranking, order, current, by))

    def next_score(self) -> None:
        """Select the next available score."""
        names, unavailable = list(SCORES), self.reasons()
        after = names.index(self.session.state.score) + 1
        self.session.update(score=next(name for name in names[after:] + names[:after] if name not in unavailable))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        cell = self.cell_at(event.position())
        if cell is not None and event.button() == Qt.MouseButton.LeftButton:
            add = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
            self.go(*cell, add=bool(add))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
        if Qt.Key(event.key()) not in moves:
            super().keyPressEvent(event)
            return
        shown, dims = self.session.state, self.session.dims
        head = shown.heads[0] if shown.heads else dims.heads
        down, right = moves[Qt.Key(event.key())]
        self.go(min(max(shown.layer + down, 0), dims.layers - 1), min(max(head + right, 0), dims.heads))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            cell = self.cell_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), plain_tooltip(self.explain(*cell)) if cell else "", self)
            return True
        return super().event(event)

    def explain(self, layer: int, head: int) -> str:
        """Return the tooltip of a cell: score and rank."""
        scores, results = self.scores(), self.displayed[0]
        if scores is None or results is None or layer >= len(scores) or head >= scores.shape[1]:
            return ""
        score, mean = self._shown_score, head == scores.shape[1] - 1
        reason, value = self.unavailable_reason, float(scores[layer, head])
        text = f"none, {reason}" if reason else describe_value(results, self.shown.frame, score, value, is_mean=mean)
        who = "mean of heads" if mean else f"head {head}"
        text_of_cell = f"Layer {results.layers[layer]}, {who}: {score.title} {text}"
        if reason or mean or not np.isfinite(value):
            return text_of_cell
        rank, others = find_rank(scores, layer, head, lowest=score.is_low_better)
        alike = f", shared with {others} other{'s' if others > 1 else ''}" if others else ""
        return f"{text_of_cell}, rank {rank}{alike}"

    def describe(self) -> None:
        shown, dims = self.shown, self.session.dims
        texts = [self.explain(shown.layer, head) for head in shown.heads or (dims.heads,)]
        self.setAccessibleDescription("; ".join(texts))
