"""Row of tabs of which one panel, or none, is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from viewer.widgets.controls.segmented_control import SegmentedControl

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tabs(SegmentedControl):
    """Left-aligned tabs without a background."""

    KIND = "toggle"

    def __init__(self, name: str, options: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(name, options, parent)
        row = self.layout()
        assert isinstance(row, QHBoxLayout)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addStretch(1)
        for button in self.buttons.values():
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def add_at_end(self, widget: QWidget) -> None:
        """Add a widget at the right end of the row."""
        row = self.layout()
        assert isinstance(row, QHBoxLayout)
        row.addWidget(widget)

    def show_value(self, value: str) -> None:
        """Show `value` as the chosen tab; no tab is chosen if there is none of that name."""
        for name, button in self.buttons.items():
            button.setAutoExclusive(bool(value))  # an exclusive group would keep one button checked
            button.setChecked(name == value)

    def show_only(self, values: set[str]) -> None:
        """Hide the tabs that are not in `values`."""
        for value, button in self.buttons.items():
            button.setVisible(value in values)

    def paintEvent(self, event: QPaintEvent) -> None:
        return  # the window's background shows
