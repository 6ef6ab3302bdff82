"""Row of buttons of which exactly one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import QRectF, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button

if TYPE_CHECKING:
    from collections.abc import Sequence


class SegmentedControl(QWidget):
    """A row of options, (value, label) pairs, of which one is chosen; arrow keys move the choice."""

    chosen = Signal(str)
    """The value that the user chose."""
    KIND: ClassVar[str] = "segment"

    def __init__(self, name: str, options: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.buttons: dict[str, Button] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(0)
        for value, label in options:
            button = Button(label, kind=self.KIND)
            button.setAccessibleName(f"{name}: {label}")
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setProperty("value", value)
            button.clicked.connect(self._on_clicked)
            self.buttons[value] = button
            row.addWidget(button)

    def show_value(self, value: str) -> None:
        """Show `value` as the chosen option, without a signal."""
        if value in self.buttons and not self.buttons[value].isChecked():
            self.buttons[value].setChecked(True)

    def set_tool_tips(self, tool_tips: dict[str, str]) -> None:
        """Explain each option."""
        for value, text in tool_tips.items():
            self.buttons[value].setToolTip(plain_tooltip(text))

    def _on_clicked(self) -> None:
        self.chosen.emit(str(self.sender().property("value")))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        drawing.fill(painter, QRectF(self.rect()), theme.color(theme.active().raised))
