"""Layers down, heads across: every head's score for the shown query, ranked; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer import attention, colourmaps, drawing, geometry, overview, scene, theme
from viewer.controls import Button, Choice
from viewer.panels.panel import READS, Panel

if TYPE_CHECKING:
    from viewer.attention import Floats
    from viewer.session import Session

SCORES: Final = (
    ("picture", "picture mass"), ("entropy", "entropy"), ("region", "mass in region"), ("change", "change over steps"),
)  # fmt: skip
LABEL: Final = 22
FIELDS: Final = ("frame", "query", "score", "thumbnails")


class Atlas(Panel):
    """The mean of all heads is the last column."""

    cares = frozenset({*FIELDS, "layer", "heads", "reduce", "step", "region", "colours"})

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Layers and heads", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(150)
        self.setMouseTracking(True)
        self.score = Choice("Score", SCORES, parent=self)
        self.score.chosen.connect(self._set_score)
        self.thumbs = Button("thumbnails", kind="quiet", parent=self)
        self.thumbs.setCheckable(True)
        self.thumbs.toggled.connect(self._set_thumbs)
        self._scores: tuple[object, Floats] | None = None
        self._cells: tuple[object, QPixmap] | None = None

    def _set_score(self, value: str) -> None:
        self.session.update(score=value)

    def _set_thumbs(self, on: bool) -> None:
        self.session.update(thumbnails=on)

    def sizeHint(self) -> QSize:
        return QSize(288, self.HEADING + 18 * 14 + 18)

    def scores(self) -> Floats | None:
        """The chosen score, (layers, heads + 1)."""
        results, shown = self.session.results, self.session.shown
        if results is None or not results.done:
            return None
        key = (
            id(results),
            shown.frame,
            shown.query,
            shown.score,
            shown.step,
            shown.region if shown.score == "region" else (),
        )
        if self._scores is None or self._scores[0] != key:
            try:
                self._scores = key, overview.atlas(results, shown)
            except READS:
                return None
        return self._scores[1]

    def ranked(self) -> list[tuple[int, int]]:
        """Layers and heads, the best score first."""
        scores = self.scores()
        return [] if scores is None else overview.ranking(scores, lowest=self.session.shown.score == "entropy")

    def refresh(self) -> None:
        shown = self.session.shown
        self.score.show_value(shown.score)
        reasons = {} if shown.region else {"region": "draw a region on a picture first"}
        if shown.query.kind == "text":
            reasons["change"] = "words have one pass"
        self.score.disable(reasons)
        self.thumbs.setChecked(shown.thumbnails)
        self._place()
        self.update(0, self.HEADING - 3, self.width(), self.height())  # not the buttons in the heading

    def reload(self) -> None:
        self._scores = self._cells = None
        self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place()

    def _place(self) -> None:
        size, other = self.score.sizeHint(), self.thumbs.sizeHint()
        self.score.setGeometry(self.width() - size.width(), -1, size.width(), size.height())
        self.thumbs.setGeometry(self.width() - size.width() - other.width() - 4, -1, other.width(), other.height())

    # Where cells lie

    def grid(self, scores: Floats) -> tuple[QRectF, float, float]:
        """The room of the cells, and one cell's width and height."""
        room = QRectF(LABEL, self.HEADING, self.width() - LABEL, self.height() - self.HEADING - 16)
        rows, columns = scores.shape
        height = min(room.height() / rows, 44.0)
        return room, (room.width() - 4) / columns, height

    def cell(self, scores: Floats, layer: int, head: int) -> QRectF:
        """Where a cell lies; the mean's column stands a little apart."""
        room, width, height = self.grid(scores)
        left = room.left() + head * width + (4 if head == scores.shape[1] - 1 else 0)
        return QRectF(left, room.top() + layer * height, width - 2, height - 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter, results = theme.active(), QPainter(self), self.session.results
        self.heading(painter, "Layers × heads")
        scores = self.scores()
        if scores is None or results is None:
            return
        painter.drawPixmap(0, 0, self._painted(scores))
        shown = self.session.shown
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        heads = shown.heads if shown.heads else (scores.shape[1] - 1,)
        for head in heads:
            box = self.cell(scores, shown.layer, head)
            drawing.ring(painter, box.adjusted(-1, -1, 1, 1), theme.colour("#FFFFFF" if t.dark else t.text), 1.5, 3)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def _painted(self, scores: Floats) -> QPixmap:
        shown, ratio = self.session.shown, self.devicePixelRatioF()
        extra = (shown.step,) if shown.thumbnails else ()
        key = (id(scores), shown.colours, shown.thumbnails, self.size().toTuple(), ratio, theme.active(), *extra)
        if self._cells is None or self._cells[0] != key:
            made = QPixmap(self.size() * ratio)
            made.setDevicePixelRatio(ratio)
            made.fill(Qt.GlobalColor.transparent)
            with QPainter(made) as painter:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                self._paint_cells(painter, scores)
            self._cells = key, made
        return self._cells[1]

    def _paint_cells(self, painter: QPainter, scores: Floats) -> None:
        t, shown, results = theme.active(), self.session.shown, self.session.results
        assert results is not None
        words = colourmaps.opaque(shown.colours)[np.rint(overview.placed(scores, shown.score) * 255).astype(np.intp)]
        rows, columns = scores.shape
        _, width, height = self.grid(scores)
        numbers = width >= 27 and height >= 13 and not shown.thumbnails
        thumbs = self._thumbnails(scores) if shown.thumbnails else None
        for layer in range(rows):
            box = self.cell(scores, layer, 0)
            if height >= 10 or layer % 2 == 0:
                drawing.write(
                    painter,
                    QRectF(0, box.top(), LABEL - 6, box.height()),
                    str(results.layers[layer]),
                    t.secondary,
                    11,
                    align="right",
                )
            for head in range(columns):
                box, word = self.cell(scores, layer, head), int(words[layer, head])
                if thumbs is not None:
                    painter.drawImage(box, thumbs[layer][head])
                    continue
                drawing.fill(painter, box, theme.colour(f"#{word & 0xFFFFFF:06X}"), 2.5)
                if numbers:
                    drawing.write(
                        painter,
                        box,
                        overview.in_short(float(scores[layer, head]), shown.score),
                        drawing.readable_on(word),
                        10,
                        align="centre",
                    )
        foot = self.cell(scores, rows - 1, 0).bottom() + 1
        for head in range(columns):
            box = self.cell(scores, rows - 1, head)
            label = "mean" if head == columns - 1 else str(head)
            drawing.write(
                painter, QRectF(box.left() - 6, foot, box.width() + 12, 15), label, t.secondary, 11, align="centre"
            )

    def _thumbnails(self, scores: Floats) -> list[list[QImage]]:
        """One small picture a head: its map in every camera side by side, one colour range for all."""
        results, shown = self.session.results, self.session.shown
        assert results is not None
        rows = scene.rows_of(results, shown.frame, shown.query)
        step = min(shown.step, rows[0].image.shape[1] - 1)
        maps = np.mean(
            [attention.widened(np.ascontiguousarray(row.image[:, step])) for row in rows], axis=0, dtype=np.float32
        )
        maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)
        high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
        words = colourmaps.opaque(shown.colours)[
            np.rint(attention.places(maps, 0, high, "linear") * 255).astype(np.intp)
        ]
        flat = words.reshape(*words.shape[:3], -1)
        index = [
            geometry.sampling(results.to_model(shown.frame, c), *results.picture_size(c), 9, 16)
            for c in range(flat.shape[2])
        ]
        return [
            [
                drawing.word_image(
                    np.concatenate([flat[layer, head, c][at] for c, at in enumerate(index)], 1), blended=False
                )
                for head in range(flat.shape[1])
            ]
            for layer in range(flat.shape[0])
        ]

    # What the hand does

    def cell_at(self, point: QPointF) -> tuple[int, int] | None:
        """Layer and head under a point; the mean counts as the head after the last."""
        scores = self.scores()
        if scores is None:
            return None
        room, width, height = self.grid(scores)
        layer, head = int((point.y() - room.top()) // height), int((point.x() - room.left()) // width)
        head = min(head, scores.shape[1] - 1)
        return (layer, head) if 0 <= layer < scores.shape[0] and head >= 0 else None

    def go(self, layer: int, head: int, *, add: bool = False) -> None:
        """Look at a head; `add` puts it to the chosen ones or takes it away."""
        heads = self.session.dims.heads
        if head >= heads:
            self.session.update(layer=layer, heads=(), reduce="mean")
        elif add:
            chosen = tuple(sorted(set(self.session.state.heads) ^ {head}))
            self.session.update(layer=layer, heads=chosen)
        else:
            self.session.update(layer=layer, heads=(head,), reduce="mean")

    def step_ranked(self, by: int) -> None:
        """Go to the head next in rank."""
        order, shown = self.ranked(), self.session.state
        if not order:
            return
        here = (shown.layer, shown.heads[0]) if len(shown.heads) == 1 else None
        place = order.index(here) + by if here in order else 0
        self.go(*order[min(max(place, 0), len(order) - 1)])

    def mousePressEvent(self, event: QMouseEvent) -> None:
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
            QToolTip.showText(event.globalPos(), self.explain(*cell) if cell else "", self)
            return True
        return super().event(event)

    def explain(self, layer: int, head: int) -> str:
        """A cell in words, with its rank."""
        scores, results = self.scores(), self.session.results
        if scores is None or results is None:
            return ""
        value, name = float(scores[layer, head]), dict(SCORES)[self.session.shown.score]
        text = f"{value:.2f} nats" if self.session.shown.score == "entropy" else drawing.per_cent(value)
        if head >= self.session.dims.heads:
            return f"Layer {results.layers[layer]}, mean of heads: {name} {text}"
        return (
            f"Layer {results.layers[layer]}, head {head}: {name} {text}, rank {self.ranked().index((layer, head)) + 1}"
        )
