"""Layers down, heads across: every head's score for the shown query, ranked; a click goes there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer import attention, colourmaps, drawing, geometry, overview, scene, theme
from viewer.controls import Button, Choice
from viewer.panels.panel import READS, Panel

if TYPE_CHECKING:
    import numpy.typing as npt

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
        self._painted: Floats | None = None
        self._still = drawing.Layer()
        self._ringed: list[QRectF] = []
        self._coloured: tuple[object, ...] = ()

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
            shown.step if shown.score != "change" and shown.query.kind == "action" else 0,
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
        if not self.isVisible():
            return
        scores, before = self.scores(), self._painted
        self._painted = scores
        if scores is None or scores is not before or self._coloured != (shown.colours, shown.thumbnails, shown.step):
            self._coloured = (shown.colours, shown.thumbnails, shown.step)
            self.update(0, self.HEADING - 3, self.width(), self.height())  # not the buttons in the heading
        else:
            for box in (*self._ringed, *self._rings(scores)):
                self.update(box.toAlignedRect().adjusted(-1, -1, 1, 1))

    def reload(self) -> None:
        self._scores = None
        self._still.drop()
        self.refresh()
        self.update()

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
        t, results, scores, shown = theme.active(), self.session.results, self.scores(), self.session.shown
        if scores is None or results is None:
            self.heading(self.canvas(event), "Layers × heads")
            return

        def still(inner: QPainter) -> None:
            self.heading(inner, "Layers × heads")
            inner.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_cells(inner, scores)

        painter = QPainter(self)
        key = (id(scores), shown.colours, shown.thumbnails, shown.step if shown.thumbnails else 0)
        self._still.draw(painter, self, key, still, drawing.ground(self), scores)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._ringed = self._rings(scores)
        for box in self._ringed:
            drawing.ring(painter, box, theme.colour("#FFFFFF" if t.dark else t.text), 1.5, 3)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def _rings(self, scores: Floats) -> list[QRectF]:
        """Round the cells of the shown heads."""
        shown = self.session.shown
        heads = shown.heads if shown.heads else (scores.shape[1] - 1,)
        return [self.cell(scores, shown.layer, head).adjusted(-1, -1, 1, 1) for head in heads]

    def _paint_cells(self, painter: QPainter, scores: Floats) -> None:
        t, shown, results = theme.active(), self.session.shown, self.session.results
        assert results is not None
        words = self._words(scores)
        rows, columns = scores.shape
        _, width, height = self.grid(scores)
        thumbs = self._thumbnails() if shown.thumbnails else None
        for layer in range(rows):
            box = self.cell(scores, layer, 0)
            if height >= 10 or layer % 2 == 0:
                label = QRectF(0, box.top(), LABEL - 6, box.height())
                drawing.write(painter, label, str(results.layers[layer]), t.secondary, 11, align="right")
            for head in range(columns):
                box, word = self.cell(scores, layer, head), int(words[layer, head])
                if thumbs is not None:
                    painter.drawImage(box, thumbs[layer][head])
                    continue
                drawing.fill(painter, box, _cell_colour(word), 2.5)
                if width >= 27 and height >= 13:
                    text = self._short(float(scores[layer, head]))
                    drawing.write(painter, box, text, drawing.readable_on(word), 10, align="centre")
        foot = self.cell(scores, rows - 1, 0).bottom() + 1
        for head in range(columns):
            box = self.cell(scores, rows - 1, head)
            place = QRectF(box.left() - 6, foot, box.width() + 12, 15)
            drawing.write(painter, place, "mean" if head == columns - 1 else str(head), t.secondary, 11, align="centre")

    def _words(self, scores: Floats) -> npt.NDArray[np.uint32]:
        """The colour of every cell."""
        finite = scores[np.isfinite(scores)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if self.session.shown.score == "entropy":  # low entropy is what one looks for
            return colourmaps.painted(high - scores, high - low, self.session.shown.colours)
        return colourmaps.painted(scores.copy(), high, self.session.shown.colours)

    def _thumbnails(self) -> list[list[QImage]]:
        """One small picture a head: its map in every camera side by side, one colour range for all."""
        results, shown = self.session.results, self.session.shown
        assert results is not None
        rows = scene.rows_of(results, shown.frame, shown.query)
        step = min(shown.step, rows[0].image.shape[1] - 1)
        maps = np.mean([attention.widened(row.image[:, step]) for row in rows], axis=0, dtype=np.float32)
        maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)
        high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
        words = colourmaps.painted(maps, high, shown.colours)
        flat = words.reshape(*words.shape[:3], -1)
        index = [
            geometry.sampling(results.to_model(shown.frame, c), *results.picture_size(c), 9, 16)
            for c in range(flat.shape[2])
        ]
        side = np.concatenate([flat[:, :, c][..., at] for c, at in enumerate(index)], -1)
        return [[drawing.word_image(head, blended=False) for head in layer] for layer in side]

    def _short(self, value: float) -> str:
        if not np.isfinite(value):
            return "–"
        if self.session.shown.score == "entropy":
            return f"{value:.1f}"
        return f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"

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


@lru_cache(maxsize=1024)
def _cell_colour(word: int) -> QColor:
    """A colour 0xAARRGGBB, opaque; there are 256 of a map."""
    return QColor(word >> 16 & 255, word >> 8 & 255, word & 255)
