"""Table of the heads, words and actions with the most attention mass on the region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy

from viewer.analysis import caption
from viewer.analysis.region_ranking import group_by_head, rank_by_region
from viewer.analysis.regions.carried_region import describe_region
from viewer.errors import READ_ERRORS
from viewer.rendering import drawing, theme, ticks
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.line_scroll_bar import SCROLL_WIDTH, LineScrollBar
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.analysis.region_ranking import RankedHead
    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker
    from viewer.model.view_state import Query

LINE: Final = 20
LEAST_LINES: Final = 4
"""Lines that the panel always has room for: no more than the film needs, so that a new region leaves the pictures
where they are under the pointer."""
PREFERRED_LINES: Final = 10
GROUP_LINES: Final = 3
"""Lines of a head while its group is folded."""
HINT: Final = "Drag a box on a picture to ask who looks there."
COMPUTING: Final = "Computing the ranking of all words, actions, layers, steps and heads …"
COLUMNS: Final = ((0.22, "head"), (0.34, "who"), (0.12, "step"), (0.32, "weight on the region"))


class Line(NamedTuple):
    """A line of the table."""

    row: RankedHead
    is_first: bool = True
    """Whether it is the first of its head, whose name it then has."""
    more: int = 0
    """For a line that unfolds a group: how many lines of the head are hidden; `row` is the heaviest of them."""


class RegionRanking(Panel):
    """Shows the ranking by head, or in one order; a click on a line selects its query, layer, head and step."""

    watched_fields = frozenset({"frame", "region", "region_name", "query", "layer", "step", "heads"})
    HEADING = 22

    def __init__(self, session: Session, worker: Worker, parent: QWidget | None = None) -> None:
        super().__init__(session, "Who looks here", parent)
        self.worker = worker
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumHeight(self.HEADING + LEAST_LINES * LINE)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.rows: list[RankedHead] = []
        """Heaviest first."""
        self.lines: list[Line] = []
        """As they are shown, from the first one to the last."""
        self._unfolded: set[tuple[int, int]] = set()
        """Layer and head of the groups that are shown whole."""
        self._names: dict[Query, str] = {}
        self._key: object = None
        self.top = 0
        self.at = 0
        self.grouped = Button("by head", kind="quiet", parent=self)
        self.grouped.setCheckable(True)
        self.grouped.setChecked(True)
        self.grouped.setToolTip("Keep the words and actions of a head together, or list all in one order")
        self.grouped.toggled.connect(self._on_grouped)
        self.scroll_bar = LineScrollBar("Lines of the ranking", self)
        self.scroll_bar.valueChanged.connect(self.scroll_to)
        self.restyle()

    def sizeHint(self) -> QSize:
        return QSize(600, self.HEADING + PREFERRED_LINES * LINE)

    def restyle(self) -> None:
        """Apply the theme's colours to the scroll bar."""
        self.scroll_bar.setStyleSheet(theme.sheet())

    def refresh(self) -> None:
        results, shown = self.session.results, self.shown
        key = (id(results), shown.frame, shown.region)
        if results is None or not results.done or not shown.region:
            if self._key is not None:
                self._show_rows([])
                self._key = None
                self.worker.drop("region ranking")
        elif key != self._key:
            self._key = key
            self._show_rows([])
            self.worker.ask("region ranking", key, lambda stale: rank_by_region(results, shown, stale), self._take)
        self.update()

    def load(self) -> None:
        self._names = {row.query: self.name_query(row.query) for row in self.rows}

    def on_file_changed(self) -> None:
        self._key = None
        self._names = {}
        self._show_rows([])
        self.worker.drop("region ranking")

    def _take(self, answer: list[RankedHead] | None) -> None:
        self._show_rows(answer or [])
        self.setAccessibleDescription("; ".join(self.words(row) for row in self.rows[:5]))
        self.reload_and_update()

    # Lines

    def _show_rows(self, rows: list[RankedHead]) -> None:
        self.rows, self.top, self.at = rows, 0, 0
        self._unfolded.clear()
        self._make_lines()

    def _on_grouped(self) -> None:
        self.top = self.at = 0
        self._make_lines()

    def _make_lines(self) -> None:
        if not self.grouped.isChecked():
            self.lines = [Line(row) for row in self.rows]
        else:
            self.lines = []
            for group in group_by_head(self.rows):
                count = len(group.rows)
                # A line that hides one line would be as long as that line.
                whole = (group.layer, group.head) in self._unfolded or count <= GROUP_LINES + 1
                shown = group.rows if whole else group.rows[:GROUP_LINES]
                self.lines += [Line(row, place == 0) for place, row in enumerate(shown)]
                if not whole:
                    self.lines.append(Line(group.rows[GROUP_LINES], False, count - GROUP_LINES))
        self.scroll_to(self.top)

    def visible(self) -> int:
        """Return how many lines fit."""
        return max((self.height() - self.HEADING) // LINE, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.place_right(self.grouped)
        self.scroll_to(self.top)

    def scroll_to(self, top: int) -> None:
        """Scroll so that a line is the first."""
        self.top = self.scroll_bar.show_lines(top, len(self.lines), self.visible())
        self.scroll_bar.place(self.width(), self.HEADING, self.height())
        self.update()

    # Texts

    def name_query(self, query: Query) -> str:
        """Return the name of a query; `?` if it cannot be read."""
        results = self.session.results
        assert results is not None
        try:
            return caption.words_of(results, self.shown.frame, query)[0]
        except READ_ERRORS:
            return "?"

    def words(self, row: RankedHead) -> str:
        """Return a row as text."""
        results = self.session.results
        assert results is not None
        step = f", step {results.steps[row.step]}" if row.query.kind == "action" else ""
        place = f"layer {results.layers[row.layer]}, head {row.head}{step}"
        return f"{self.name_query(row.query)}, {place}: {ticks.format_share(row.mass)}"

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, results, shown = theme.active(), self.session.results, self.shown
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.grouped.setVisible(bool(self.lines))
        if results is None or not shown.region or not self.lines:
            sentence = COMPUTING if results is not None and shown.region else self._describe_hint()
            drawing.write(painter, QRectF(0, 4, self.width(), 22), sentence, colors.secondary, 13)
            return
        edges, left, room = [], 0.0, self.width() - SCROLL_WIDTH
        for part, title in COLUMNS:
            edges.append((left, part * room))
            drawing.write(painter, QRectF(left, 0, part * room - 8, 20), title, colors.secondary, 12)
            left += part * room
        for number in range(self.top, min(self.top + self.visible(), len(self.lines))):
            self._paint_line(painter, number, edges, room)

    def _describe_hint(self) -> str:
        description = describe_region(self.shown)
        return f"{description[:1].upper()}{description[1:]}." if description else HINT

    def _paint_line(self, painter: QPainter, number: int, edges: list[tuple[float, float]], room: int) -> None:
        colors, results, line = theme.active(), self.session.results, self.lines[number]
        assert results is not None
        y, row = self.HEADING - 2 + (number - self.top) * LINE, line.row
        current = not line.more and self._is_current(row)
        if current or (self.hasFocus() and number == self.at):
            drawing.fill(painter, QRectF(-4, y, room + 4, LINE - 1), theme.color(colors.hover), 4)
        boxes = [QRectF(x, y, width - 8, LINE) for x, width in edges]
        if line.more:
            drawing.write(painter, boxes[1], f"{line.more} more of this head…", colors.secondary, 12)
            drawing.write(painter, boxes[3], f"up to {ticks.format_share(row.mass)}", colors.secondary, 12)
            return
        if line.is_first:
            place = f"layer {results.layers[row.layer]} · head {row.head}"
            drawing.write(painter, boxes[0], place, colors.text, 13, bold=self.grouped.isChecked())
        step = str(results.steps[row.step]) if row.query.kind == "action" else "prefix"
        drawing.write(
            painter, boxes[1], self._names.get(row.query, ""), colors.accent_text if current else colors.text, 13
        )
        drawing.write(painter, boxes[2], step, colors.text, 13)
        drawing.write(painter, boxes[3], ticks.format_share(row.mass), colors.text, 13)
        x, width = edges[3]
        most = max(self.rows[0].mass, 1e-9)
        bar = QRectF(x + 64, y + LINE / 2 - 3, max((width - 72) * row.mass / most, 1), 6)
        drawing.fill(painter, bar, theme.color(colors.accent), 2)

    def _is_current(self, row: RankedHead) -> bool:
        shown = self.session.shown
        same = (row.query, row.layer) == (shown.query, shown.layer) and shown.heads == (row.head,)
        return same and (row.query.kind == "text" or row.step == shown.step)

    # Mouse and keyboard

    def go(self, number: int) -> None:
        """Select the query, layer, head and step of a line, or unfold a head's lines."""
        if not 0 <= number < len(self.lines):
            return
        self.at = number
        line = self.lines[number]
        row = line.row
        if line.more:
            self._unfolded.add((row.layer, row.head))
            self._make_lines()
            return
        step = {"step": row.step} if row.query.kind == "action" else {}
        self.session.update(query=row.query, layer=row.layer, heads=(row.head,), reduce="mean", **step)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.position().y() >= self.HEADING - 2:
            self.go(self.top + int((event.position().y() - self.HEADING + 2) // LINE))

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.scroll_to(self.top + (-2 if event.angleDelta().y() > 0 else 2))
        event.accept()

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
