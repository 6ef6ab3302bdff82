"""Chart of the predicted and true actions, and of one action's path over the denoise steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QToolTip, QWidget

from capture.results import schema
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.model.view_state import Query
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session

Values = npt.NDArray[np.float64]
LABEL: Final = 64
MAX_DIMENSIONS: Final = 16
"""Number of dimensions that are drawn; robots have 7 to 14."""


class ActionChart(Panel):
    """Top: each dimension over the chunk. Bottom: the selected action's path from noise (t = 1) to action (t = 0)."""

    watched_fields = frozenset({"frame", "query", "step"})

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Predicted actions", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumHeight(130)
        self._read: tuple[object, dict[str, Values | None]] | None = None
        self._content: dict[str, Values | None] = {}

    def sizeHint(self) -> QSize:
        return QSize(600, 170)

    def values(self) -> dict[str, Values | None]:
        """Return `predicted` and `truth`, (H, A), and `path`, (steps + 1, H, 32), of the frame; None if absent."""
        results, frame = self.session.results, self.session.shown.frame
        names = {"predicted": schema.ACTION_PREDICTED, "truth": schema.ACTION_TRUTH, "path": schema.ACTION_X}
        if results is None or frame >= results.done:
            return dict.fromkeys(names)
        key = (id(results), frame)
        if self._read is None or self._read[0] != key:
            found: dict[str, Values | None] = {}
            for name, stored in names.items():
                try:
                    found[name] = results.flow(stored, frame)
                except READ_ERRORS:
                    found[name] = None
            self._read = key, found
        return self._read[1]

    def load(self) -> None:
        self._content = self.values()

    def on_file_changed(self) -> None:
        self._read, self._content = None, {}

    @property
    def action(self) -> int:
        """The action whose path is drawn."""
        query = self.session.shown.query
        return query.first if query.kind == "action" else 0

    def cells(self, count: int) -> tuple[list[QRectF], list[QRectF]]:
        """Return the rectangles of the plots of both rows."""
        width = (self.width() - LABEL) / max(count, 1)
        half = (self.height() - 18) / 2
        upper = [QRectF(LABEL + n * width, 14, width - 8, half - 12) for n in range(count)]
        lower = [QRectF(LABEL + n * width, 18 + half, width - 8, half - 12) for n in range(count)]
        return upper, lower

    def paint(self, painter: QPainter, area: QRect) -> None:
        t = theme.active()
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        predicted, truth, path = (self._content.get(name) for name in ("predicted", "truth", "path"))
        if predicted is None or not predicted.size:
            drawing.write(
                painter, QRectF(0, 4, self.width(), 22), "This file holds no predicted actions.", t.secondary, 13
            )
            return
        count = min(predicted.shape[1], MAX_DIMENSIONS)
        upper, lower = self.cells(count)
        drawing.write(painter, QRectF(0, upper[0].top(), LABEL - 8, 18), "Chunk", t.secondary, 13)
        drawing.write(painter, QRectF(0, lower[0].top(), LABEL - 8, 18), f"Path {self.action}", t.secondary, 13)
        has_truth = truth is not None and truth.shape == predicted.shape and bool(np.isfinite(truth).any())
        legend = "predicted" + (" and true (grey)" if has_truth else "; the source has no true actions")
        drawing.write(painter, QRectF(LABEL, 0, self.width() - LABEL, 12), legend, t.secondary, 11, align="right")
        for n, box in enumerate(upper):
            lines = [(predicted[:, n], t.accent)]
            if has_truth and truth is not None:
                lines.insert(0, (truth[:, n], t.secondary))
            at = self.action if self.session.shown.query.kind == "action" else None
            self._paint_plot(painter, box, f"a{n}", lines, at)
            if path is not None and self.action < path.shape[1] and n < path.shape[2]:
                self._paint_plot(
                    painter, lower[n], "", [(path[:, self.action, n], theme.GROUP_COLOURS["action"])], self._point()
                )
        foot = "t = 1, noise, to t = 0, action; model units" if path is not None else "This file holds no path."
        drawing.write(
            painter, QRectF(LABEL, self.height() - 14, self.width() - LABEL, 14), foot, t.secondary, 11, align="right"
        )
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def _point(self) -> int | None:
        """Return the point of the path at which the shown denoise step starts."""
        results, shown = self.session.results, self.session.shown
        return (
            results.steps[shown.step]
            if results is not None and results.steps and shown.query.kind == "action"
            else None
        )

    def _paint_plot(
        self, painter: QPainter, box: QRectF, name: str, lines: list[tuple[Values, str]], at: int | None
    ) -> None:
        t = theme.active()
        drawing.fill(painter, box, theme.colour(t.panel), 4)
        every = np.concatenate([line for line, _ in lines])
        every = every[np.isfinite(every)]
        low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
        span = high - low if high > low else 1.0
        inner = box.adjusted(4, 5, -4, -5)
        for line, colour in lines:
            count = max(len(line) - 1, 1)
            points = [
                QPointF(
                    inner.left() + inner.width() * n / count, inner.bottom() - inner.height() * (float(v) - low) / span
                )
                for n, v in enumerate(line)
                if np.isfinite(v)
            ]
            painter.setPen(QPen(theme.colour(colour), 1.5))
            painter.drawPolyline(QPolygonF(points))
        if at is not None:
            x = inner.left() + inner.width() * at / max(len(lines[-1][0]) - 1, 1)
            painter.fillRect(QRectF(x - 0.5, box.top() + 2, 1, box.height() - 4), theme.colour(t.text))
        # The name is in the upper corner that the line does not reach.
        first, last = ((float(lines[-1][0][end]) - low) / span for end in (0, -1))
        corner = QRectF(box.left() + 4, box.top() + 1, box.width() - 8, 13)
        drawing.write(painter, corner, name, t.secondary, 11, align="right" if last < first else "left")

    def place_at(self, point: QPointF) -> tuple[str, int, int] | None:
        """Return the plot under a point, `chunk` or `path`, its dimension, and the action or point of the path."""
        values = self.values()
        predicted, path = values["predicted"], values["path"]
        if predicted is None or not predicted.size:
            return None
        for kind, boxes in zip(("chunk", "path"), self.cells(min(predicted.shape[1], MAX_DIMENSIONS)), strict=True):
            for n, box in enumerate(boxes):
                length = len(predicted) if kind == "chunk" else 0 if path is None else len(path)
                if box.contains(point) and length:
                    part = (point.x() - box.left() - 4) / max(box.width() - 8, 1)
                    return kind, n, round(min(max(part, 0.0), 1.0) * (length - 1))
        return None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        found, results = self.place_at(event.position()), self.session.results
        if found is None or results is None:
            return
        kind, _, place = found
        if kind == "chunk" and place < results.horizon:
            self.session.update(query=Query("action", (place,)))
        elif kind == "path" and results.steps:
            near = min(range(len(results.steps)), key=lambda n: abs(results.steps[n] - place))
            query = (
                self.session.state.query
                if self.session.state.query.kind == "action"
                else Query("action", (self.action,))
            )
            self.session.update(query=query, step=near)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        results = self.session.results
        if Qt.Key(event.key()) not in moves or results is None or not results.horizon:
            super().keyPressEvent(event)
            return
        place = min(max(self.action + moves[Qt.Key(event.key())], 0), results.horizon - 1)
        self.session.update(query=Query("action", (place,)))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), plain_tooltip(self.explain(event.pos())), self)
            return True
        return super().event(event)

    def explain(self, point: QPoint) -> str:
        """Return the tooltip of a point: the value of the predicted action, or of the path, and the true action."""
        found, values = self.place_at(QPointF(point)), self.values()
        if found is None:
            return ""
        kind, n, place = found
        if kind == "path":
            path = values["path"]
            return "" if path is None else f"a{n}, point {place}: {path[place, self.action, n]:.4g}"
        predicted, truth = values["predicted"], values["truth"]
        assert predicted is not None
        text = f"a{n}, action {place}: {predicted[place, n]:.4g}"
        if truth is not None and truth.shape == predicted.shape and np.isfinite(truth[place, n]):
            text += f", true {truth[place, n]:.4g}"
        return text
