"""Table of the heads, words and actions with the most attention mass on the region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QWheelEvent

from viewer.analysis import caption
from viewer.analysis.region_ranking import rank_by_region
from viewer.errors import READ_ERRORS
from viewer.rendering import drawing, theme, ticks
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.analysis.region_ranking import RankedHead
    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker
    from viewer.model.view_state import Query

LINE: Final = 24
HINT: Final = "Drag a box on a picture to ask who looks there."
COMPUTING: Final = "Computing the ranking of all words, actions, layers, steps and heads …"
COLUMNS: Final = ((0.30, "who"), (0.14, "layer"), (0.14, "head"), (0.14, "step"), (0.28, "weight on the region"))


class RegionRanking(Panel):
    """Shows the ranking; a click on a line selects its query, layer, head and step."""

    watched_fields = frozenset({"frame", "region", "query", "layer", "step", "heads"})

    def __init__(self, session: Session, worker: Worker, parent: QWidget | None = None) -> None:
        super().__init__(session, "Who looks here", parent)
        self.worker = worker
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumHeight(76)
        self.lines: list[RankedHead] = []
        self._names: dict[Query, str] = {}
        self._key: object = None
        self.top = 0
        self.at = 0

    def sizeHint(self) -> QSize:
        return QSize(600, 140)

    def refresh(self) -> None:
        results, shown = self.session.results, self.session.shown
        key = (id(results), shown.frame, shown.region)
        if results is None or not results.done or not shown.region:
            self.lines, self._key = [], None
            self.worker.drop("lookers")
        elif key != self._key:
            self._key = key
            self.lines, self.top, self.at = [], 0, 0
            self.worker.ask("lookers", key, lambda stale: rank_by_region(results, shown, stale), self._take)
        self.update()

    def load(self) -> None:
        self._names = {line.query: self.who(line.query) for line in self.lines}

    def on_file_changed(self) -> None:
        self._key = None
        self.lines, self._names = [], {}
        self.worker.drop("lookers")

    def _take(self, answer: list[RankedHead] | None) -> None:
        self.lines = answer or []
        self.setAccessibleDescription("; ".join(self.words(line) for line in self.lines[:5]))
        self.reload_and_update()

    def who(self, query: Query) -> str:
        """Return the name of a query; `?` if it cannot be read."""
        results = self.session.results
        assert results is not None
        try:
            return caption.words_of(results, self.session.shown.frame, query)[0]
        except READ_ERRORS:
            return "?"

    def words(self, line: RankedHead) -> str:
        """Return a line as text."""
        results = self.session.results
        assert results is not None
        step = f", step {results.steps[line.step]}" if line.query.kind == "action" else ""
        place = f"layer {results.layers[line.layer]}, head {line.head}{step}"
        return f"{self.who(line.query)}, {place}: {ticks.format_share(line.mass)}"

    def visible(self) -> int:
        """Return how many lines fit."""
        return max((self.height() - self.HEADING) // LINE, 1)

    def paint(self, painter: QPainter, area: QRect) -> None:
        t, results, shown = theme.active(), self.session.results, self.session.shown
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if results is None or not shown.region or not self.lines:
            sentence = COMPUTING if results is not None and shown.region else HINT
            drawing.write(painter, QRectF(0, 4, self.width(), 22), sentence, t.secondary, 13)
            return
        left = 0.0
        edges = []
        for part, title in COLUMNS:
            width = part * self.width()
            edges.append((left, width))
            drawing.write(painter, QRectF(left, 0, width - 8, 20), title, t.secondary, 12)
            left += width
        most = max(self.lines[0].mass, 1e-9)
        for number in range(self.top, min(self.top + self.visible(), len(self.lines))):
            line = self.lines[number]
            y = self.HEADING - 4 + (number - self.top) * LINE
            current = (line.query, line.layer) == (shown.query, shown.layer) and shown.heads == (line.head,)
            current = current and (line.query.kind == "text" or line.step == shown.step)
            if current or (self.hasFocus() and number == self.at):
                drawing.fill(painter, QRectF(-4, y, self.width() + 4, LINE - 1), theme.colour(t.hover), 4)
            step = str(results.steps[line.step]) if line.query.kind == "action" else "prefix"
            cells = (self._names.get(line.query, ""), str(results.layers[line.layer]), str(line.head), step)
            for (x, width), text in zip(edges, cells, strict=False):
                drawing.write(
                    painter, QRectF(x, y, width - 8, LINE), text, t.accent_text if x == 0 and current else t.text, 13
                )
            x, width = edges[-1]
            drawing.write(painter, QRectF(x, y, 60, LINE), ticks.format_share(line.mass), t.text, 13)
            bar = QRectF(x + 64, y + LINE / 2 - 3, max((width - 72) * line.mass / most, 1), 6)
            drawing.fill(painter, bar, theme.colour(t.accent), 2)

    def go(self, number: int) -> None:
        """Select the query, layer, head and step of a line."""
        if 0 <= number < len(self.lines):
            self.at = number
            line = self.lines[number]
            step = {"step": line.step} if line.query.kind == "action" else {}
            self.session.update(query=line.query, layer=line.layer, heads=(line.head,), reduce="mean", **step)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        number = self.top + int((event.position().y() - self.HEADING + 4) // LINE)
        if event.position().y() >= self.HEADING - 4:
            self.go(number)

    def wheelEvent(self, event: QWheelEvent) -> None:
        lines = -1 if event.angleDelta().y() > 0 else 1
        self.scroll_to(self.top + 2 * lines)
        event.accept()

    def scroll_to(self, top: int) -> None:
        """Scroll so that a line is the first."""
        self.top = min(max(top, 0), max(len(self.lines) - self.visible(), 0))
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -10, Qt.Key.Key_PageDown: 10}
        if Qt.Key(event.key()) in moves and self.lines:
            self.at = min(max(self.at + moves[Qt.Key(event.key())], 0), len(self.lines) - 1)
            if not self.top <= self.at < self.top + self.visible():
                self.scroll_to(self.at - self.visible() // 2)
            self.update()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.go(self.at)
        else:
            super().keyPressEvent(event)
