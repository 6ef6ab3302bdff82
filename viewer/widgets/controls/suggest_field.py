"""Field for a short text, with a menu of suggestions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.number_field import NumberField

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT: Final = 24
MENU_WIDTH: Final = 20
LEAST_WIDTH, MOST_WIDTH = 70, 260
MOST_CHARACTERS: Final = 60
"""Of a suggestion in the menu."""


class SuggestField(QWidget):
    """Shows a text after its name; the user types another one and presses Enter, or takes one from the menu."""

    chosen = Signal(str)
    """The text that the user typed or took."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._suggestions: tuple[tuple[str, str], ...] = ()
        self._shown = ""
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HEIGHT)
        self.label = _Label(title, self)
        self.field = NumberField(name, parent=self)
        self.field.editingFinished.connect(self._on_edited)
        self.menu_button = Button("▾", kind="quiet", parent=self)
        self.menu_button.setAccessibleName(f"{name}: suggestions")
        self.menu_button.clicked.connect(self._open_menu)

    def set_tool_tip(self, text: str) -> None:
        """Explain what can be typed."""
        self.field.setToolTip(plain_tooltip(text))
        self.menu_button.setToolTip(plain_tooltip(text))

    def set_suggestions(self, suggestions: Sequence[tuple[str, str]]) -> None:
        """Set the entries of the menu: the text that each stands for, and what it is called there."""
        self._suggestions = tuple(suggestions)
        self.menu_button.setVisible(bool(suggestions))

    def show_value(self, text: str) -> None:
        """Show a text, without a signal."""
        self._shown = text
        if text != self.field.text():
            self.field.setText(text)
            self.field.setCursorPosition(0)
        self.updateGeometry()
        self._place_children()

    def sizeHint(self) -> QSize:
        text = round(drawing.width_of(self._shown, 12)) + 16
        width = min(max(text, LEAST_WIDTH), MOST_WIDTH)
        return QSize(self.label.width() + width + MENU_WIDTH, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(self.label.width() + LEAST_WIDTH + MENU_WIDTH, HEIGHT)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_children()

    def _place_children(self) -> None:
        left = self.label.width()
        self.label.move(0, 0)
        self.field.setGeometry(left, 0, max(self.width() - left - MENU_WIDTH, 20), HEIGHT)
        self.menu_button.setGeometry(self.width() - MENU_WIDTH, 1, MENU_WIDTH, HEIGHT - 2)

    def _on_edited(self) -> None:
        text = self.field.text().strip()
        if text != self._shown:
            self.chosen.emit(text)

    def menu(self) -> QMenu:
        """Return a new menu of the suggestions that deletes itself when it is closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        for text, title in self._suggestions:
            action = menu.addAction(clean_text(title, MOST_CHARACTERS).replace("&", "&&"))
            action.setData(text)
            action.setCheckable(True)
            action.setChecked(text == self._shown)
        menu.triggered.connect(self._on_triggered)
        return menu

    def _open_menu(self) -> None:
        self.menu().popup(self.mapToGlobal(QPoint(self.label.width(), HEIGHT)))

    def _on_triggered(self, action: object) -> None:
        text = str(action.data())  # type: ignore[attr-defined]
        if text != self._shown:
            self.chosen.emit(text)


class _Label(QWidget):
    """The name before the field."""

    def __init__(self, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._text = text
        self.setFixedSize(round(drawing.width_of(text, 12)) + 6 if text else 0, HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        drawing.write(QPainter(self), QRectF(self.rect()), self._text, theme.active().secondary, 12)
