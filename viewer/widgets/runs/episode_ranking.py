"""The episodes of a run by their value for the chosen head; one opens at its most typical or most extreme frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QContextMenuEvent, QFocusEvent, QHelpEvent, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
    QWidget,
)

from viewer.analysis.scores import find_score
from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme
from viewer.rendering.runs.group_colors import color_of_group
from viewer.runs.run_sentence import count_of, format_bare, format_number

if TYPE_CHECKING:
    from PySide6.QtCore import QEvent, QObject

    from viewer.analysis.scores import Score
    from viewer.controllers.runs.run_controller import RunController
    from viewer.runs.answers import EpisodeValue

    Index = QModelIndex | QPersistentModelIndex

ROW: Final = 28
VALUE_WIDTHS: Final = (56.0, 260.0)
"""Least and most pixels of a value with its bar."""
VALUE_SHARE: Final = 0.22
"""Part of a row that it takes between them."""
LINK_WIDTH: Final = 52
"""Pixels of each of the two links of a row."""
MARKS: Final = {"success": "✓", "failure": "✕", "": ""}
LINKS: Final = (("typical", "typical"), ("extreme", "extreme"))
"""The frames that a row leads to, from left to right, and what they are called."""
MOST_NAME: Final = 200


class RankingModel(QAbstractListModel):
    """Rows are episodes, the largest value first."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.values: tuple[EpisodeValue, ...] = ()
        self.score: Score | None = None
        self.ends = 0.0, 1.0
        """What the bars begin and end at."""

    def show_values(self, values: tuple[EpisodeValue, ...], score: Score | None) -> None:
        """Replace all rows."""
        self.beginResetModel()
        self.values, self.score = values, score
        numbers = np.array([episode.value for episode in values]) if values else np.zeros(1)
        low, high = min(float(numbers.min()), 0.0), max(float(numbers.max()), 0.0)
        self.ends = low, high if high > low else low + 1.0
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self.values)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid() or self.score is None:
            return None
        episode = self.values[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return clean_text(episode.name, MOST_NAME)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            value = format_number(episode.value, self.score)
            return clean_text(
                f"rank {index.row()}, {episode.name}, {episode.outcome or 'unknown outcome'}, {value}, "
                f"{count_of(episode.frames, 'frame')}; Enter opens its most typical frame, Shift+Enter the most extreme"
            )
        return None


class RankingDelegate(QStyledItemDelegate):
    """Paints name, outcome, value with a bar, and two links."""

    def __init__(self, model: RankingModel, view: RankingList) -> None:
        super().__init__(view)
        self.model, self.view = model, view

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(240, ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        colors, episode, score = theme.active(), self.model.values[index.row()], self.model.score
        if score is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box, state = QRectF(option.rect), option.state
        is_chosen = bool(state & QStyle.StateFlag.State_Selected)
        is_hot = bool(state & QStyle.StateFlag.State_MouseOver)
        if is_chosen or is_hot:
            drawing.fill(
                painter, box.adjusted(0, 1, 0, -1), theme.color(colors.hover if is_chosen else colors.raised), 5
            )
        if is_chosen and state & QStyle.StateFlag.State_HasFocus:
            drawing.ring(painter, box.adjusted(0, 1, 0, -1), theme.color(colors.accent), 2, 5)
        rank = QRectF(box.left() + 2, box.top(), 26, ROW)
        drawing.write(painter, rank, str(index.row()), colors.secondary, 11, align="right")
        mark = QRectF(box.left() + 34, box.top(), 14, ROW)
        color = color_of_group(episode.outcome)
        drawing.write(painter, mark, MARKS.get(episode.outcome, ""), color, 12)
        links = self.view.link_boxes(option.rect)
        width = min(max(VALUE_SHARE * box.width(), VALUE_WIDTHS[0]), VALUE_WIDTHS[1])
        value = QRectF(links[0].left() - width - 8, box.top(), width, ROW)
        name = QRectF(box.left() + 52, box.top(), value.left() - box.left() - 58, ROW)
        text = drawing.elide_middle(clean_text(episode.name, MOST_NAME), name.width(), 12)
        drawing.write(painter, name, text, colors.text, 12)
        self._paint_value(painter, value, episode, score, color)
        pointed = self.view.pointed_link
        for (which, text), link in zip(LINKS, links, strict=True):
            is_here = pointed == (index.row(), which)
            if is_here:
                drawing.fill(painter, link.adjusted(0, 4, 0, -4), theme.color(colors.faint), 4)
            ink = colors.text if is_here or is_chosen or is_hot else colors.secondary
            drawing.write(painter, link, text, ink, 11, align="centre")

    def _paint_value(self, painter: QPainter, box: QRectF, episode: EpisodeValue, score: Score, color: str) -> None:
        colors, (low, high) = theme.active(), self.model.ends
        track = QRectF(box.left(), box.bottom() - 6, box.width(), 3)
        drawing.fill(painter, track, theme.color(colors.line), 1.5)
        zero, end = (track.left() + (number - low) / (high - low) * track.width() for number in (0.0, episode.value))
        left, right = min(zero, end), max(zero, end)
        drawing.fill(painter, QRectF(left, track.top(), max(right - left, 1.5), 3), theme.color(color), 1.5)
        line = QRectF(box.left(), box.top() + 1, box.width(), ROW - 8)
        drawing.write(painter, line, format_bare(episode.value, score), colors.text, 12, align="right")


class RankingList(QListView):
    """Arrow keys move; Enter or a click opens the most typical frame, Shift with either the most extreme."""

    open_requested = Signal(str, str)
    """An episode is to be opened: its file, and `typical` or `extreme`."""
    pointed = Signal(object)
    """The episode under the pointer or chosen with the keys: its value; None for none."""

    def __init__(self, controller: RunController, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.pointed_link: tuple[int, str] | None = None
        """Row and kind of the link under the pointer."""
        self.values = RankingModel(self)
        self.setModel(self.values)
        self.setItemDelegate(RankingDelegate(self.values, self))
        self.setAccessibleName("Episodes by the chosen head")
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumHeight(3 * ROW)
        self.restyle()
        controller.cell_answered.connect(self._on_answered)

    def restyle(self) -> None:
        """Apply the theme's colours."""
        self.setStyleSheet(theme.sheet() + "QListView { background: transparent; border: none; outline: none; }")

    def _on_answered(self) -> None:
        answer, before = self.controller.cell, self._file_of(self.currentIndex()) if self.hasFocus() else ""
        self.pointed_link = None
        if answer is None:
            self.values.show_values((), None)
        else:
            self.values.show_values(answer.distribution.values, find_score(answer.distribution.query.score))
        if before:
            rows = (row for row, episode in enumerate(self.values.values) if episode.file == before)
            self.setCurrentIndex(self.values.index(next(rows, 0), 0))

    def _file_of(self, index: Index) -> str:
        """Return the file of the episode of a row; empty for none."""
        return self.values.values[index.row()].file if index.isValid() else ""

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.select_current_row()

    def select_current_row(self) -> None:
        """Show which row the keys act on: the current one, or the first."""
        if not self.selectionModel().hasSelection():  # Qt makes the first row current without showing it
            self.setCurrentIndex(self.values.index(max(self.currentIndex().row(), 0), 0))

    def link_boxes(self, row: QRect) -> tuple[QRectF, QRectF]:
        """Return where the two links of a row are; `row` is its rectangle."""
        box = QRectF(row)
        right = box.right() - 4
        return (
            QRectF(right - 2 * LINK_WIDTH, box.top(), LINK_WIDTH, ROW),
            QRectF(right - LINK_WIDTH, box.top(), LINK_WIDTH, ROW),
        )

    def link_at(self, point: QPoint) -> tuple[int, str] | None:
        """Return row and kind of the link at a point of the list; of the rest of a row, the most typical frame."""
        index = self.indexAt(point)
        if not index.isValid():
            return None
        boxes = self.link_boxes(self.visualRect(index))
        for (which, _), box in zip(LINKS, boxes, strict=True):
            if box.contains(point.toPointF()):
                return index.row(), which
        return index.row(), "typical"

    def open_row(self, row: int, which: str) -> None:
        """Ask for the episode of a row."""
        if 0 <= row < len(self.values.values):
            self.open_requested.emit(self.values.values[row].file, which)

    # Mouse and keyboard

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        link = self.link_at(event.position().toPoint())
        if link != self.pointed_link:
            self.pointed_link = link
            self.pointed.emit(self.values.values[link[0]].value if link is not None else None)
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.pointed_link = None
        self.pointed.emit(None)
        self.viewport().update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        link = self.link_at(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and link is not None:
            is_extreme = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.open_row(link[0], "extreme" if is_extreme else link[1])

    def currentChanged(self, current: Index, previous: Index) -> None:
        super().currentChanged(current, previous)
        self.pointed.emit(self.values.values[current.row()].value if current.isValid() else None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        walking = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End}
        walking |= {Qt.Key.Key_PageUp, Qt.Key.Key_PageDown}
        if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            is_extreme = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.open_row(self.currentIndex().row(), "extreme" if is_extreme else "typical")
        elif key in walking and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        else:
            event.ignore()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        index = self.indexAt(event.pos())
        if index.isValid():
            self.setCurrentIndex(index)
            self.menu(index.row()).popup(event.globalPos())

    def menu(self, row: int) -> QMenu:
        """Return the context menu of a row, which deletes itself when it is closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        for which, _ in LINKS:
            action = menu.addAction(f"Open at its most {which} frame")
            action.setData((row, which))
        menu.triggered.connect(self._on_triggered)
        return menu

    def _on_triggered(self, action: object) -> None:
        self.open_row(*action.data())  # type: ignore[attr-defined]

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == event.Type.ToolTip and isinstance(event, QHelpEvent):
            link = self.link_at(event.pos())
            QToolTip.showText(event.globalPos(), "" if link is None else self.explain(*link), self)
            return True
        return super().viewportEvent(event)

    def explain(self, row: int, which: str) -> str:
        """Return the tooltip of a link, as Qt is to get it."""
        episode, score = self.values.values[row], self.values.score
        if score is None:
            return ""
        where = "nearest to" if which == "typical" else "farthest from"
        text = f"{episode.name}: {format_number(episode.value, score)}, mean of {count_of(episode.frames, 'frame')}"
        prompts = f"\n{' · '.join(episode.prompts)}" if episode.prompts else ""
        return plain_tooltip(f"{text}{prompts}\nClick: open it at the frame {where} its mean")
