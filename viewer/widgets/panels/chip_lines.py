"""Chips of words and actions in lines; the lines of the prompt are scrolled where there is no room for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF

from viewer.rendering import drawing
from viewer.widgets.panels.chip_painting import CHIP, ChipBox

if TYPE_CHECKING:
    from viewer.model.view_state import Kind

SPACE: Final = 5
LINE: Final = CHIP + SPACE
"""Height of a line of chips with its gap, in pixels."""
ACTION_GAP: Final = 2
"""Additional pixels between prompt and actions."""
MAX_PROMPT_LINES: Final = 5
"""Lines of the prompt that are asked for: 60 words at 1280 pixels; more are scrolled."""
MOST_LETTERS: Final = 40
"""A longer label is cut."""


class ChipLines:
    """Chips flowed into lines, and the places of the visible ones."""

    def __init__(self) -> None:
        self.count: dict[Kind, int] = {"text": 0, "action": 0}
        """Number of lines of each strip."""
        self.first = 0
        """The first visible line of the prompt."""
        self.places: list[ChipBox] = []
        """All chips; the boxes of those that are scrolled out of sight are empty."""
        self.in_sight: list[int] = []
        """Indices in `places` of the visible chips."""
        self._all_chips: list[ChipBox] = []
        """The chips with the x and width that they have."""
        self._line_of: list[int] = []
        """The line of each chip within its strip."""

    def flow(self, chips: list[tuple[str, str]], actions: int, left: float, right: float) -> None:
        """Divide chips, as (label, role), and actions into lines between two x in pixels."""
        self._all_chips, self._line_of = [], []
        self._add_kind("text", chips, left, right)
        self._add_kind("action", [(str(number), "action") for number in range(actions)], left, right)

    def _add_kind(self, kind: Kind, chips: list[tuple[str, str]], left: float, right: float) -> None:
        x, line, least = left, 0, 30.0 if kind == "action" else 0.0
        for item, (label, role) in enumerate(chips):
            label = label if len(label) < MOST_LETTERS else label[: MOST_LETTERS - 2] + "…"
            width = max(round(drawing.width_of(label, 13, bold=role == "prompt")) + 16, least)
            if x + width > right and x > left:
                x, line = left, line + 1
            self._all_chips.append(ChipBox(kind, item, QRectF(x, 0, width, CHIP), label, role))
            self._line_of.append(line)
            x += width + (SPACE if kind == "text" else 3)
        self.count[kind] = line + 1 if chips else 0

    def height(self) -> int:
        """Return the height in pixels of all lines."""
        gap = ACTION_GAP if all(self.count.values()) else 0
        return max(sum(self.count.values()) * LINE - SPACE + gap, CHIP) + 2

    def preferred_height(self) -> int:
        """Return the height in pixels of all actions and of at most `MAX_PROMPT_LINES` lines of the prompt."""
        return self.height() - max(self.count["text"] - MAX_PROMPT_LINES, 0) * LINE

    def visible(self, height: int) -> int:
        """Return how many lines of the prompt a height in pixels shows: what the actions leave, and at least one."""
        return min(max((height + 1) // LINE - self.count["action"], 1), self.count["text"])

    def place(self, height: int) -> None:
        """Move the chips to where they are shown in a height in pixels."""
        visible = self.visible(height)
        self.first = min(max(self.first, 0), self.count["text"] - visible)
        under = visible * LINE + (ACTION_GAP if visible else 0)
        self.places, self.in_sight = [], []
        for number, ((kind, item, box, label, role), line) in enumerate(
            zip(self._all_chips, self._line_of, strict=True)
        ):
            row = line - self.first if kind == "text" else line
            if kind == "text" and not 0 <= row < visible:
                self.places.append(ChipBox(kind, item, QRectF(), label, role))
                continue
            top = row * LINE + (under if kind == "action" else 0)
            self.places.append(ChipBox(kind, item, box.translated(0, top), label, role))
            self.in_sight.append(number)

    def shown(self) -> list[ChipBox]:
        """Return the visible chips."""
        return [self.places[number] for number in self.in_sight]

    def line_of_word(self, item: int) -> int | None:
        """Return the line of a word of the prompt; None if there is no such word."""
        chips = zip(self._all_chips, self._line_of, strict=True)
        return next((line for chip, line in chips if chip.kind == "text" and chip.item == item), None)

    def neighbour(self, index: int, *, down: bool) -> int:
        """Return the index of the chip above or below a chip, visible or not; the chip itself where there is none."""
        rows = [
            line + (self.count["text"] if chip.kind == "action" else 0)
            for chip, line in zip(self._all_chips, self._line_of, strict=True)
        ]
        row, middle = rows[index] + (1 if down else -1), self._all_chips[index].box.center().x()
        near = [(abs(self._all_chips[n].box.center().x() - middle), n) for n, other in enumerate(rows) if other == row]
        return min(near)[1] if near else index
