"""Command palette: filters the commands by typed text; Enter runs one."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from viewer.controllers import commands
from viewer.rendering import drawing, theme
from viewer.rendering.theme import sheet as style
from viewer.widgets.overlays.overlay import Overlay


class CommandDelegate(QStyledItemDelegate):
    """Paints title, section or reason, and key of a command."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: object) -> None:
        colors = theme.active()
        command = commands.BY_ID[index.data(Qt.ItemDataRole.UserRole)]  # type: ignore[attr-defined]
        reason = index.data(Qt.ItemDataRole.UserRole + 1)  # type: ignore[attr-defined]
        box = QRectF(option.rect)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            drawing.fill(painter, box.adjusted(0, 1, 0, -1), theme.color(colors.hover), 5)
        inner = box.adjusted(10, 0, -10, 0)
        key = command.keys[0] if command.keys else ""
        right = drawing.write(painter, inner, key, colors.secondary, 12, align="right")
        x = drawing.write(
            painter,
            inner.adjusted(0, 0, -right - 12, 0),
            command.title,
            colors.secondary if reason else colors.text,
            13,
        )
        note = reason or command.section
        drawing.write(painter, inner.adjusted(x + 10, 0, -right - 12, 0), note, colors.secondary, 12)

    def sizeHint(self, option: QStyleOptionViewItem, index: object) -> QSize:
        return QSize(100, 30)


class CommandPalette(Overlay):
    """Sheet with a filter field and the list of matching commands."""

    chosen = Signal(str)

    def __init__(self, window: QWidget, reasons: dict[str, str]) -> None:
        super().__init__(window, 560, 420)
        self.reasons = reasons
        self.field, self.list = QLineEdit(), QListWidget()
        self.field.setPlaceholderText("Type a command")
        self.field.setAccessibleName("Command")
        self.field.setFont(theme.font(14))
        self.field.setMinimumHeight(34)
        self.field.setStyleSheet(style())
        self.list.setStyleSheet(style())
        self.list.setItemDelegate(CommandDelegate(self.list))
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setAccessibleName("Commands")
        self.column.addWidget(self.field)
        self.column.addWidget(self.list, 1)
        self.field.textChanged.connect(self._filter)
        self.list.itemClicked.connect(self._on_clicked)
        self.field.installEventFilter(self)
        self._filter("")

    def _filter(self, words: str) -> None:
        self.list.clear()
        for command in commands.matching(words):
            item = QListWidgetItem(command.title)
            item.setData(Qt.ItemDataRole.UserRole, command.id)
            item.setData(Qt.ItemDataRole.UserRole + 1, self.reasons.get(command.id, ""))
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self._choose(item)

    def _choose(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.close()
            self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            moves = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 8, Qt.Key.Key_PageUp: -8}
            if Qt.Key(event.key()) in moves:
                row = self.list.currentRow() + moves[Qt.Key(event.key())]
                self.list.setCurrentRow(min(max(row, 0), self.list.count() - 1))
                return True
            if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
                self._choose(self.list.currentItem())
                return True
        return False
