"""Table of layers and heads over a run: means, or success minus failure; hovering explains, a click chooses a head."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis.scores import find_score
from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT, Axis
from viewer.rendering.loading_mark import paint_loading_mark
from viewer.rendering.runs.cell_table import SCALE_HEIGHT, draw_run_cells, draw_scale, lay_out_cells, measure_scale
from viewer.rendering.runs.group_colors import color_words, create_difference_table, create_heat_table, find_range
from viewer.rendering.score_table import draw_table_labels
from viewer.runs.run_sentence import (
    FALSE_RATE,
    describe_cell,
    find_factor,
    format_cell,
    label_scale,
)
from viewer.runs.run_table import list_atlas_rows
from viewer.widgets.hover_panel import HoverPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from viewer.controllers.runs.run_controller import RunController
    from viewer.controllers.session import Session
    from viewer.rendering.score_table import TableLayout
    from viewer.runs.answers import Doubles, RunAtlas
    from viewer.widgets.hover_panel import ReadOutContent

LABEL: Final = 26
"""Pixels for the numbers of the layers."""
FOOT: Final = 18
"""Pixels for the numbers of the heads."""
MOST_CELL: Final = (150.0, 64.0)
"""Width and height in pixels of the largest cell."""
ROOMY: Final = (44.0, 18.0)
"""Width and height in pixels of a cell with larger numbers."""
LEAST_SHARE: Final = 0.2
MIN_WIDTH, MIN_HEIGHT = 260, 180


class RunAtlasPanel(HoverPanel):
    """Rows are layers, columns are heads. The arrow keys move the chosen head, Enter goes to its episodes."""

    HAS_LOADING_MARK = False

    def __init__(self, session: Session, controller: RunController, parent: QWidget | None = None) -> None:
        super().__init__(session, "Layers and heads over the run", parent)
        self.controller = controller
        self.on_enter: Callable[[], None] | None = None
        """What Enter does."""
        self.on_hover: Callable[[tuple[int, int] | None, QPointF], None] | None = None
        """Told the row and column under the pointer, and the point of the panel beside which it is to be explained."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(MIN_WIDTH, MIN_HEIGHT)
        self.setToolTip("")
        self._layer = drawing.Layer()
        self._layout: tuple[object, TableLayout] | None = None
        controller.answered.connect(self._on_answered)
        controller.changed.connect(self._on_view_changed)
        controller.slow_mark.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(480, 480)

    # Content

    @property
    def atlas(self) -> RunAtlas | None:
        """What is shown; None for nothing."""
        return self.controller.atlas

    @property
    def is_contrast(self) -> bool:
        """Whether the cells are differences."""
        return self.atlas is not None and self.atlas.contrast is not None and self.controller.is_contrast_shown

    def values(self) -> Doubles | None:
        """Return what the cells show: (layers, heads)."""
        atlas = self.atlas
        if atlas is None:
            return None
        return atlas.contrast.difference if self.is_contrast and atlas.contrast is not None else atlas.all.mean

    def marks(self) -> npt.NDArray[np.bool_]:
        """Return which cells are marked as different: (layers, heads)."""
        atlas = self.atlas
        assert atlas is not None
        if not self.is_contrast or atlas.contrast is None:
            return np.zeros(atlas.all.mean.shape, np.bool_)
        with np.errstate(invalid="ignore"):
            return atlas.contrast.q <= FALSE_RATE

    def _read_now(self, act: Callable[[], None], before: object = None) -> bool:
        act()  # nothing here is read from the open file
        return True

    def _on_answered(self) -> None:
        self.hover(None)
        self._layout = None
        self.update_extent()
        self.schedule_description()
        self.update()

    def _on_view_changed(self) -> None:
        self.schedule_description()
        self.update()

    # Layout

    def content_box(self) -> QRectF:
        values = self.values()
        rows, columns = values.shape if values is not None and values.size else (1, 1)
        width = min(max(self.width() - LABEL - 2, 40), columns * MOST_CELL[0])
        height = min(max(self.height() - FOOT - SCALE_HEIGHT - 14, 20), rows * MOST_CELL[1])
        return QRectF(LABEL, 2, width, height)

    def content_extent(self) -> QRectF:
        return QRectF(0, 0, 1, 1)

    def least_visible(self) -> tuple[float, float]:
        return LEAST_SHARE, LEAST_SHARE

    def layout_of(self, shape: tuple[int, int]) -> TableLayout:
        """Return the places of the cells."""
        ratio, box, visible = self.devicePixelRatioF(), self.content_box(), self.visible_part()
        key = (shape, ratio, box.getRect(), visible.getRect())
        if self._layout is None or self._layout[0] != key:
            self._layout = key, lay_out_cells(box, shape, ratio, visible)
        return self._layout[1]

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, atlas, values = theme.active(), self.atlas, self.values()
        if atlas is None or values is None or not values.size:
            self.fill_background(painter, area)
            return
        layout = self.layout_of((values.shape[0], values.shape[1]))

        def draw_static(inner: QPainter) -> None:
            self._paint_table(inner, atlas, values, layout)

        key = (id(atlas), self.is_contrast, layout, list_session_colors(self.session))
        self._layer.draw(painter, self, key, draw_static, self.ground(), atlas)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setClipRect(layout.box.adjusted(-3, -3, 3, 3))
        for cell, ink in ((self.hovered, colors.secondary), (self.chosen(), colors.text)):
            if cell is not None and cell[0] < values.shape[0] and cell[1] < values.shape[1]:
                drawing.ring(painter, layout.cell(*cell).adjusted(-2, -2, 2, 2), theme.color(ink), 2, 4)
        painter.setClipping(False)
        if self.hasFocus():
            around = QRectF(0, 0, layout.box.right() + 4, layout.box.bottom() + FOOT + 2)
            drawing.ring(painter, around.intersected(QRectF(self.rect())), theme.color(colors.accent))
        if self.controller.slow_mark.is_shown:
            paint_loading_mark(painter, QRectF(self.rect()), "computing …")

    def _paint_table(self, painter: QPainter, atlas: RunAtlas, values: Doubles, layout: TableLayout) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        score, contrast = find_score(atlas.query.score), self.is_contrast
        ground = self.ground().rgb() & 0xFFFFFF
        ends = find_range(values, is_difference=contrast, starts_at_zero=not score.is_low_better)
        table = (
            create_difference_table(ground)
            if contrast
            else create_heat_table(list_session_colors(self.session), ground)
        )
        words = color_words(values, ends, table, ground)
        texts = [[format_cell(value, score, signed=contrast) for value in row] for row in values.tolist()]
        painter.setClipRect(layout.box.adjusted(0, 0, 1, 1))
        font = 12 if layout.cell(0, 0).width() >= ROOMY[0] and layout.cell(0, 0).height() >= ROOMY[1] else 10
        draw_run_cells(painter, layout, words, texts, self.marks(), font=font)
        painter.setClipping(False)
        draw_table_labels(painter, layout, atlas.layers, [str(head) for head in range(atlas.heads)], LABEL)
        axis = Axis(*ends, factor=find_factor(score))
        sides = ("more in failures", "more in successes") if contrast else ("", "")
        label = label_scale(atlas.query, is_contrast=contrast)
        least = measure_scale(label, sides, partial(drawing.width_of, pixels=FONT))
        width = min(max(min(layout.box.width(), 420), least), self.width() - LABEL - 2)
        box = QRectF(LABEL, layout.box.bottom() + FOOT + 12, width, SCALE_HEIGHT)
        draw_scale(painter, box, table, axis, label, sides)

    # Choosing a head

    def chosen(self) -> tuple[int, int] | None:
        """Return row and column of the chosen head; None for none."""
        cell, atlas = self.controller.view.cell, self.atlas
        if cell is None or atlas is None or cell[0] not in atlas.layers:
            return None
        return atlas.layers.index(cell[0]), cell[1]

    def choose(self, row: int, column: int) -> None:
        """Choose the head of a row and column."""
        if self.atlas is not None:
            self.controller.choose_cell(self.atlas.layers[row], column)

    def item_at(self, point: QPointF) -> tuple[int, int] | None:
        values = self.values()
        if values is None or not values.size:
            return None
        return self.layout_of((values.shape[0], values.shape[1])).cell_at(point)

    def select_at(self, point: QPointF) -> None:
        cell = self.item_at(point)
        if cell is not None:
            self.choose(*cell)

    def read_item(self, item: tuple[int, int]) -> ReadOutContent | None:
        return None  # the card of the page explains it

    def update_read_out(self) -> None:
        if self.on_hover is not None:
            values = self.values()
            if self.hovered is None or values is None:
                self.on_hover(None, QPointF())
            else:
                layout = self.layout_of((values.shape[0], values.shape[1]))
                self.on_hover(self.hovered, QPointF(layout.box.right(), layout.cell(*self.hovered).center().y()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus()
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, values = Qt.Key(event.key()), self.values()
        moves = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
        if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and self.on_enter is not None:
            self.on_enter()
        elif key in moves and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier and values is not None:
            row, column = self.chosen() or (0, 0)
            if self.chosen() is not None:
                row, column = row + moves[key][0], column + moves[key][1]
            self.choose(min(max(row, 0), values.shape[0] - 1), min(max(column, 0), values.shape[1] - 1))
        else:
            super().keyPressEvent(event)

    # Words and numbers

    def describe(self) -> None:
        cell, atlas = self.controller.view.cell, self.atlas
        if atlas is None or cell is None:
            self.setAccessibleDescription("no head is chosen")
            return
        lines = describe_cell(atlas, *cell, is_contrast=self.is_contrast)
        self.setAccessibleDescription("; ".join([f"layer {cell[0]}, head {cell[1]}", *lines]))

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        atlas = self.atlas
        return None if atlas is None else list_atlas_rows(atlas, is_contrast=self.is_contrast)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.atlas is not None:
            self.build_context_menu().popup(event.globalPos())
            event.accept()


def list_session_colors(session: Session) -> str:
    """Return the colour map of the shown view."""
    return session.state.colours
