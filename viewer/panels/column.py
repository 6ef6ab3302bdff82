"""The left column: pictures, sentence, chips, tabs, deck, timeline and axes, each as tall as its turn lets it be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QRect, QSize
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_PICTURES: Final = 0.85
"""Of the height that pictures have at the column's whole width: before they get lower than that, chips scroll."""
LOW_PICTURES: Final = 0.8
"""Before they get lower than that, the timeline keeps its heading alone, and then one more line of chips goes."""
FEW_LINES: Final = 3
"""Lines of chips that are seen where the pictures are not low."""
FEWEST_LINES: Final = 2


class Wanted(NamedTuple):
    """Heights in pixels that the four which give and take would like."""

    pictures: int
    """At the column's whole width."""
    chips: int
    line: int
    """One line of chips with its gap: they are cut between lines."""
    deck: tuple[int, int]
    """At least, at most."""
    timeline: tuple[int, int, int]
    """Its heading alone, at least, and as it likes to be; zeros where it has no place in the column."""


class Shares(NamedTuple):
    """Heights in pixels that they get."""

    pictures: int
    chips: int
    deck: int
    timeline: int


def shares(room: int, wanted: Wanted) -> Shares:
    """Divide a height: the pictures come first, and what they do not need goes to the deck, then to the timeline."""
    heading, timeline, liked = wanted.timeline
    deck, most = wanted.deck
    low, fewest = LOW_PICTURES * wanted.pictures, min(wanted.chips, FEW_LINES * wanted.line)
    if room - deck - timeline - fewest < low:
        timeline = heading
    if room - deck - timeline - fewest < low:
        fewest = min(wanted.chips, FEWEST_LINES * wanted.line)
    spare = room - deck - timeline - round(LEAST_PICTURES * wanted.pictures)
    chips = wanted.chips if spare >= wanted.chips else max(spare // wanted.line * wanted.line, fewest)
    pictures = max(min(wanted.pictures, room - deck - timeline - chips), 0)
    rest = max(room - pictures - chips, 0)
    if not liked:
        return Shares(pictures, chips, rest, 0)
    deck = min(max(deck, rest - liked), max(most, deck), rest)
    return Shares(pictures, chips, deck, rest - deck)


class Column(QLayout):
    """Stacks its widgets; `giving` names those whose height `shares` decides, the others have the height they ask."""

    def __init__(self, parent: QWidget, wanted: Callable[[int], Wanted], spacing: int) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._wanted = wanted
        self._gap = spacing
        self.giving: tuple[QWidget, ...] = ()
        """Pictures, chips, deck and timeline."""

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def insert(self, place: int, widget: QWidget) -> None:
        """Put a widget at a place among the others."""
        self.addWidget(widget)
        self._items.insert(place, self._items.pop())
        self.invalidate()

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def sizeHint(self) -> QSize:
        return QSize(1000, 700)

    def minimumSize(self) -> QSize:
        return QSize(380, 400)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        inner = rect.marginsRemoved(self.contentsMargins())
        widgets = [widget for item in self._items if not item.isEmpty() and (widget := item.widget()) is not None]
        still = {w: max(w.minimumHeight(), w.sizeHint().height()) for w in widgets if w not in self.giving}
        still = {w: min(height, w.maximumHeight()) for w, height in still.items()}
        room = inner.height() - sum(still.values()) - self._gap * (len(widgets) - 1)
        given = dict(zip(self.giving, shares(room, self._wanted(inner.width())), strict=True))
        top = inner.top()
        for widget in widgets:
            height = given[widget] if widget in given else still[widget]
            widget.setGeometry(inner.left(), top, inner.width(), height)
            top += height + self._gap
