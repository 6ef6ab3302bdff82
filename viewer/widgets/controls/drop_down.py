"""Button that opens a menu of options and shows the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QMenu, QWidget

from viewer.model.plain_text import plain_tooltip
from viewer.rendering import theme
from viewer.widgets.controls.button import Button

if TYPE_CHECKING:
    from collections.abc import Sequence


class DropDown(Button):
    """A quiet button with a menu of options, (value, label) pairs, of which one is chosen."""

    chosen = Signal(str)
    """The value that the user chose."""

    def __init__(
        self, name: str, options: Sequence[tuple[str, str]], *, prefix: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__("", kind="quiet", parent=parent)
        self._name, self._prefix = name, prefix
        self._labels = dict(options)
        self._reasons: dict[str, str] = {}
        self._tool_tips: dict[str, str] = {}
        self._value = ""
        self.show_value(options[0][0])
        self.clicked.connect(self._open_menu)

    def disable(self, reasons: dict[str, str]) -> None:
        """Disable the options that are keys of `reasons`; the menu shows each reason."""
        self._reasons = reasons

    def set_tool_tips(self, tool_tips: dict[str, str]) -> None:
        """Set a tooltip for each option: in the menu, and on the button for the chosen one."""
        self._tool_tips = tool_tips
        self.setToolTip(plain_tooltip(tool_tips.get(self._value, "")))

    def set_options(self, options: Sequence[tuple[str, str]]) -> None:
        """Replace the options; call `show_value` afterwards."""
        self._labels, self._value = dict(options), ""

    def show_value(self, value: str) -> None:
        """Show `value` as the chosen option, without a signal."""
        if value != self._value:
            self._value = value
            self.relabel(f"{self._prefix}{self._labels.get(value, value)} ▾")
            self.setAccessibleName(f"{self._name}: {self._labels.get(value, value)}")
            if self._tool_tips:
                self.setToolTip(plain_tooltip(self._tool_tips.get(value, "")))

    def menu(self) -> QMenu:
        """Return a new menu of the options that deletes itself when it is closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        menu.setToolTipsVisible(True)
        group = QActionGroup(menu)
        for value, label in self._labels.items():
            action = menu.addAction(label.replace("&", "&&"))
            action.setData(value)
            action.setToolTip(plain_tooltip(self._tool_tips.get(value, label)))
            action.setCheckable(True)
            action.setChecked(value == self._value)
            if value in self._reasons:
                action.setEnabled(False)
                action.setText(f"{label} – {self._reasons[value]}".replace("&", "&&"))
            group.addAction(action)
        group.triggered.connect(self._on_triggered)
        return menu

    def _open_menu(self) -> None:
        menu = self.menu()
        menu.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _on_triggered(self, action: object) -> None:
        self.chosen.emit(str(action.data()))  # type: ignore[attr-defined]
