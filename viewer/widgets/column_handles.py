"""Handles between pictures, chips and the panels below them, and the heights that the user chose with them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from viewer.widgets.controls.split_handle import SplitHandle
from viewer.widgets.left_column import ChosenHeights
from viewer.widgets.panels.chip_lines import LINE

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.widgets.left_column import LeftColumnLayout
    from viewer.widgets.panels.token_strips import TokenStrips


class ColumnHandles(QObject):
    """Two handles of a left column: below the pictures, and below the chips."""

    def __init__(self, column: LeftColumnLayout, pictures: QWidget, strips: TokenStrips, parent: QWidget) -> None:
        super().__init__(parent)
        self._column, self._pictures, self._strips = column, pictures, strips
        self._start = 0
        self.under_pictures = SplitHandle("Height of the pictures", parent)
        self.under_chips = SplitHandle("Lines of the prompt", parent)
        column.handles = {self.under_pictures: pictures, self.under_chips: strips}
        self.under_pictures.drag_started.connect(self._begin_pictures)
        self.under_pictures.dragged.connect(self._drag_pictures)
        self.under_pictures.reset.connect(self._reset_pictures)
        self.under_chips.drag_started.connect(self._begin_chips)
        self.under_chips.dragged.connect(self._drag_chips)
        self.under_chips.reset.connect(self._reset_chips)

    def _choose(self, chosen: ChosenHeights) -> None:
        if chosen != self._column.chosen:
            self._column.chosen = chosen
            self._column.invalidate()

    def _begin_pictures(self) -> None:
        self._start = self._pictures.height()

    def _drag_pictures(self, by: int) -> None:
        share = max(self._start + by, 0) / max(self._column.divided, 1)
        self._choose(self._column.chosen._replace(pictures=round(min(share, 1.0), 4)))

    def _reset_pictures(self) -> None:
        self._choose(self._column.chosen._replace(pictures=None))

    def _begin_chips(self) -> None:
        self._start = self._strips.lines.visible(self._strips.height())

    def _drag_chips(self, by: int) -> None:
        lines = min(max(self._start + round(by / LINE), 1), max(self._strips.lines.count["text"], 1))
        self._choose(self._column.chosen._replace(prompt_lines=lines))

    def _reset_chips(self) -> None:
        self._choose(self._column.chosen._replace(prompt_lines=None))

    def reset(self) -> None:
        """Let the layout decide about all heights again."""
        self._choose(ChosenHeights())

    def to_text(self) -> str:
        """Return the chosen heights for the settings, such as `0.45 3`; `-` stands for what was not chosen."""
        return " ".join("-" if size is None else str(size) for size in self._column.chosen)

    def restore(self, text: str) -> None:
        """Apply what `to_text` returned; anything else chooses nothing."""
        parts = text.split()
        if len(parts) != 2:
            return
        chosen = ChosenHeights()
        with contextlib.suppress(ValueError):
            share = None if parts[0] == "-" else float(parts[0])
            lines = None if parts[1] == "-" else int(parts[1])
            if (share is None or 0 < share <= 1) and (lines is None or 0 < lines <= 100):
                chosen = ChosenHeights(share, lines)
        self._choose(chosen)
