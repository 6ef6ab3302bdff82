"""Qt model and delegate of the episodes of a run, grouped by prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPolygonF
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from viewer.io.run_index import outcome
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.episodes.episodes import Episodes
    from viewer.io.run_index import Group

ROW: Final = 42
STATES: Final = {"done": "", "writing": "recording", "to come": "to come", "failed": "failed"}
MARKS: Final = {"success": "✓ success", "failure": "✕ failure", "": ""}
BRANCH: Final = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
LEAF: Final = BRANCH | Qt.ItemFlag.ItemNeverHasChildren
"""Combined once, as the tree asks for the flags of every row."""
Index = QModelIndex | QPersistentModelIndex
NUMBER: Final = Qt.ItemDataRole.UserRole
"""Role of the index of an episode in the run; None for a prompt."""


class EpisodeModel(QAbstractItemModel):
    """Tree model over `Episodes`; keeps no data of its own."""

    def __init__(self, episodes: Episodes, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.episodes = episodes
        episodes.marked.connect(self._on_marked)

    @property
    def flat(self) -> bool:
        """Whether the episodes are listed without prompts."""
        groups = self.episodes.groups
        return not groups or not groups[0].title

    def reset(self) -> None:
        """Reset the model after a change of the listed episodes."""
        self.beginResetModel()
        self.endResetModel()

    # The internal id of an index is 0 at the top level and its group + 1 below

    def group(self, index: Index) -> Group:
        """Return the group of a prompt's index."""
        return self.episodes.groups[index.row()]

    def number(self, index: Index) -> int | None:
        """Return the episode of an index; None for a prompt."""
        if not index.isValid():
            return None
        if self.flat:
            return self.episodes.order[index.row()]
        inner = index.internalId()
        return self.episodes.groups[inner - 1].members[index.row()] if inner else None

    def index_of(self, number: int) -> QModelIndex:
        """Return the index of an episode; invalid if it is not listed."""
        for place, group in enumerate(self.episodes.groups):
            if number in group.members:
                return self.createIndex(group.members.index(number), 0, 0 if self.flat else place + 1)
        return QModelIndex()

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008 - Qt's own
        if parent.isValid():
            return self.createIndex(row, column, parent.row() + 1)
        return self.createIndex(row, column, 0)

    def parent(self, index: Index) -> QModelIndex:  # type: ignore[override]
        inner = index.internalId() if index.isValid() else 0
        return self.createIndex(inner - 1, 0, 0) if inner else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        if self.flat:
            return 0 if parent.isValid() else len(self.episodes.order)
        if not parent.isValid():
            return len(self.episodes.groups)
        return 0 if parent.internalId() else len(self.group(parent).members)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 1

    def hasChildren(self, parent: Index = QModelIndex()) -> bool:  # noqa: B008
        return not parent.isValid() or (not self.flat and not parent.internalId())

    def flags(self, index: Index) -> Qt.ItemFlag:
        return LEAF if index.internalId() or self.flat else BRANCH

    # What they are called

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        number = self.number(index)
        if role == NUMBER:
            return number
        if number is None:
            if role == Qt.ItemDataRole.DisplayRole:
                return self.group(index).title
            if role == Qt.ItemDataRole.ToolTipRole:
                return plain_tooltip(self.group(index).title)
            if role == Qt.ItemDataRole.AccessibleTextRole:
                words = self.tally(self.group(index)).replace("✓", "succeeded").replace("✕", "failed")
                return f"{self.group(index).title}, {words}"
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.episodes.run.episodes[number].name
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip("\n".join(self.words(number)))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(self.words(number))
        return None

    def words(self, number: int) -> list[str]:
        """Return all that is known of an episode, one text for each part."""
        episode, status = self.episodes.run.episodes[number], self.episodes.status(number)
        state = {
            "writing": "being written, or stopped before its end; opens as far as it goes",
            "to come": "still to come",
            "failed": status.sentence or "failed",
        }.get(status.state, "")
        parts = [episode.name, *episode.prompts, frames_of(episode.frames), outcome(episode), state]
        if number == self.episodes.current:
            parts.append("open")
        return [part for part in parts if part]

    def tally(self, group: Group) -> str:
        """Return how many episodes a group has, and how many of those with a known outcome succeeded and failed."""
        count = f"{len(group.members)} episode{'s' if len(group.members) != 1 else ''}"
        judged = outcomes(self.episodes, group.members)
        return f"{count} · {judged}" if judged else count

    def _on_marked(self, numbers: list[int]) -> None:
        """Tell views that the states of some episodes changed."""
        if len(numbers) > 50:  # most rows are out of sight, and one signal for all is cheaper
            self.layoutChanged.emit()
            return
        for number in numbers:
            index = self.index_of(number)
            if index.isValid():
                self.dataChanged.emit(index, index)


def outcomes(episodes: Episodes, members: Sequence[int]) -> str:
    """Return how many succeeded and failed, such as `3 ✓ 1 ✕`; empty where no outcome is known."""
    successes = [episodes.run.episodes[number].success for number in members]
    won, lost = successes.count(True), successes.count(False)
    return f"{won} ✓ {lost} ✕" if won or lost else ""


def frames_of(count: int | None) -> str:
    """Return a number of frames in words; empty where it is not known."""
    return "" if count is None else f"{count} frame{'s' if count != 1 else ''}"


class EpisodeDelegate(QStyledItemDelegate):
    """Paints a prompt, or an episode in two lines: its name and outcome, its prompt and frames."""

    def __init__(self, model: EpisodeModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = model

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(120, ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        colors, number = theme.active(), self.model.number(index)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(option.rect).adjusted(8, 1, -8, -1)
        state = option.state
        chosen = bool(state & QStyle.StateFlag.State_Selected)
        if number is not None and number == self.model.episodes.current:
            drawing.fill(painter, box, theme.color(colors.hover))
            painter.fillRect(QRectF(box.left(), box.top() + 8, 3, box.height() - 16), theme.color(colors.accent))
        elif chosen or state & QStyle.StateFlag.State_MouseOver:
            drawing.fill(painter, box, theme.color(colors.raised))
        if chosen and state & QStyle.StateFlag.State_HasFocus:
            drawing.ring(painter, box, theme.color(colors.accent))
        if number is None:
            self._paint_prompt(painter, box, index, unfolded=bool(state & QStyle.StateFlag.State_Open))
        else:
            self._paint_episode(painter, box, number)

    def _paint_prompt(self, painter: QPainter, box: QRectF, index: Index, *, unfolded: bool) -> None:
        colors, group = theme.active(), self.model.group(index)
        middle = QPointF(box.left() + 12, box.top() + 13)
        shape = [(-3.5, -2), (3.5, -2), (0, 2.5)] if unfolded else [(-2, -3.5), (2.5, 0), (-2, 3.5)]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(colors.secondary))
        painter.drawPolygon(QPolygonF([middle + QPointF(x, y) for x, y in shape]))
        inner = box.adjusted(24, 3, -8, -3)
        upper, lower = QRectF(inner.left(), inner.top(), inner.width(), 19), QRectF(0, 0, 0, 0)
        lower = upper.translated(0, 17)
        drawing.write(painter, upper, group.title, colors.text, 13, bold=True)
        drawing.write(painter, lower, self.model.tally(group), colors.secondary, 12)

    def _paint_episode(self, painter: QPainter, box: QRectF, number: int) -> None:
        colors, episodes = theme.active(), self.model.episodes
        episode, status = episodes.run.episodes[number], episodes.status(number)
        if episode.frames is None:
            episodes.note_unknown_row(number)
        is_readable = status.state in {"done", "writing"}
        mark(painter, QPointF(box.left() + 14, box.top() + 13), status.state)
        inner = box.adjusted(26, 3, -8, -3)
        upper = QRectF(inner.left(), inner.top(), inner.width(), 19)
        lower = upper.translated(0, 17)
        right = STATES[status.state] or MARKS[outcome(episode)]
        used = drawing.write(painter, upper, right, colors.secondary, 12, align="right")
        room = upper.adjusted(0, 0, -used - 8 if used else 0, 0)
        bold = number == episodes.current
        name = drawing.elide_middle(episode.name, room.width(), 13, bold=bold)
        drawing.write(painter, room, name, colors.text if is_readable else colors.secondary, 13, bold=bold)
        count = frames_of(episode.frames)
        if status.state == "failed" and status.sentence:
            drawing.write(painter, lower, status.sentence, colors.secondary, 12)
        elif self.model.flat and episode.prompts:
            used = drawing.write(painter, lower, count, colors.secondary, 12, align="right")
            room = lower.adjusted(0, 0, -used - 8 if used else 0, 0)
            drawing.write(painter, room, " · ".join(episode.prompts), colors.secondary, 12)
        else:
            drawing.write(painter, lower, count, colors.secondary, 12)


def mark(painter: QPainter, middle: QPointF, state: str) -> None:
    """Draw a state as a shape: a disc is done, half a disc is being written, a ring is to come, a cross failed."""
    colors = theme.active()
    radius = 3.5
    box = QRectF(middle.x() - radius, middle.y() - radius, 2 * radius, 2 * radius)
    ink = theme.color(colors.secondary)
    painter.setPen(ink)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if state == "failed":
        painter.drawLine(box.topLeft(), box.bottomRight())
        painter.drawLine(box.topRight(), box.bottomLeft())
        return
    if state == "done":
        painter.setBrush(ink)
    painter.drawEllipse(box)
    if state == "writing":
        painter.setBrush(ink)
        painter.drawPie(box, 90 * 16, 180 * 16)
