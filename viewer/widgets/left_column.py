"""The left column: pictures, sentence, chips, tabs, deck, timeline and axes, each as tall as its turn lets it be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QRect, QSize
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEAST_PICTURES: Final = 0.85
"""Of the height that pictures have at the column's whole width: before they get lower than that, chips scroll."""
LOW_PICTURES: Final = 0.8
"""Before they get lower than that, the timeline keeps its heading alone, and then one more line of chips goes."""
FEW_LINES: Final = 3
"""Lines of chips that are seen where the pictures are not low."""
FEWEST_LINES: Final = 2


TALL_TIMELINE: Final = 180
"""Taller than that its curves say no more; the gaps widen first."""
AIR: Final = 16
"""How much wider than usual a gap may get."""


class PreferredHeights(NamedTuple):
    """Heights in pixels that the four which give and take would like."""

    pictures: int
    """At the column's whole width."""
    within: Callable[[int], int]
    """How much of a height the pictures use when they stand as they are largest in it."""
    chips: int
    line: int
    """One line of chips with its gap: they are cut between lines."""
    deck: tuple[int, int]
    """At least, at most; zeros where it is folded away."""
    timeline: tuple[int, int, int]
    """Its heading alone, at least, and as it likes to be; zeros where it has no place in the column."""


class AllottedHeights(NamedTuple):
    """Heights in pixels that they get."""

    pictures: int
    chips: int
    deck: int
    timeline: int
    air: int = 0
    """What is left for wider gaps."""


def shares(room: int, wanted: PreferredHeights, gaps: int = 0) -> AllottedHeights:
    """Divide a height: the pictures come first; what they do not use goes to the deck, the timeline and `gaps` gaps."""
    heading, timeline, liked = wanted.timeline
    deck, most = wanted.deck
    low, fewest = LOW_PICTURES * wanted.pictures, min(wanted.chips, FEW_LINES * wanted.line)
    if room - deck - timeline - fewest < low:
        timeline = heading
    if not most and room - timeline - fewest < low:
        timeline = liked = 0  # it is folded away with the deck
    if room - deck - timeline - fewest < low:
        fewest = min(wanted.chips, FEWEST_LINES * wanted.line)
    spare = room - deck - timeline - round(LEAST_PICTURES * wanted.pictures)
    chips = wanted.chips if spare >= wanted.chips else max(spare // wanted.line * wanted.line, fewest)
    pictures = wanted.within(max(room - deck - timeline - chips, 0))
    chips = min(wanted.chips, max(chips, (room - deck - timeline - pictures) // wanted.line * wanted.line))
    rest = max(room - pictures - chips, 0)
    if not liked:
        return AllottedHeights(pictures, chips, rest if most else 0, 0, 0 if most else rest)
    deck = min(max(deck, rest - liked), max(most, deck), rest)
    timeline = rest - deck
    air = max(timeline - TALL_TIMELINE, 0)
    air = min(air, gaps * AIR) if most else air
    return AllottedHeights(pictures, chips, deck, timeline - air, air)


class LeftColumnLayout(QLayout):
    """Stacks its widgets; `giving` names those whose height `shares` decides, the others have the height they ask."""

    def __init__(self, parent: QWidget, wanted: Callable[[int], PreferredHeights], spacing: int) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._wanted = wanted
        self._gap = spacing
        self.giving: tuple[QWidget, ...] = ()
        """Pictures, chips, deck and timeline."""
        self.rules: Mapping[QWidget, QWidget] = {}
        """Hairlines, each with what stands under it: without that it goes too."""

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
        gaps = len(widgets) - 1
        room = inner.height() - sum(still.values()) - self._gap * gaps
        given = shares(room, self._wanted(inner.width()), gaps)
        heights = still | dict(zip(self.giving, given, strict=False))
        for rule, under in self.rules.items():
            heights[rule] = min(still.get(rule, 0), heights[under])
        top, air = inner.top(), min(given.air // max(gaps, 1), AIR)
        for widget in widgets:
            widget.setGeometry(inner.left(), top, inner.width(), heights[widget])
            top += heights[widget] + (self._gap + air if heights[widget] else 0)
            if widget is self.giving[1]:
                top += max(given.air - air * gaps, 0)  # what even wide gaps do not use, where the deck has been
