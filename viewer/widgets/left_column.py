"""Layout of the left column: it divides the height between pictures, chips, tab panels and timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QRect, QSize
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

from viewer.widgets.controls.split_handle import HEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SCROLL_FRACTION: Final = 0.85
"""Chips scroll before pictures get lower than this fraction of their height at the column's whole width."""
COLLAPSE_FRACTION: Final = 0.8
"""Below this fraction the timeline shrinks to its heading, and then one more line of chips is scrolled."""
MIN_CHIP_LINES: Final = 2
"""Lines of the prompt that are visible while the pictures are higher than COLLAPSE_FRACTION."""
MIN_CHIP_LINES_LOW: Final = 1
"""Lines of the prompt that are visible below it."""
MOST_OF_PICTURES: Final = 0.7
"""Part of the height beyond which pictures shrink for chips and panels as if they were lower: one wide picture."""
MIN_PICTURES: Final = 120
"""Least height in pixels that the user can give the pictures."""
MAX_TIMELINE: Final = 180
"""Pixels; a taller timeline shows no more, so the gaps between panels grow first."""
LEAST_ASIDE, ASIDE_GAP, ASIDE_FOOT = 150, 20, 6
"""Pixels beside the pictures from which something stands there and not under them; its distance from them; and what
the pictures leave under them then."""
MAX_EXTRA_GAP: Final = 16
"""Pixels by which a gap may grow."""


class PreferredHeights(NamedTuple):
    """Heights in pixels that pictures, chips, tab panels and timeline prefer."""

    pictures: int
    """Of the pictures at the column's whole width."""
    pictures_within: Callable[[int], int]
    """How much of a given height the pictures use."""
    chips: int
    line: int
    """One line of chips with its gap; chips are cut between lines."""
    tab: tuple[int, int]
    """Minimum and maximum of the tab panel; zeros while it is folded."""
    timeline: tuple[int, int, int]
    """Its heading alone, its minimum, and its preferred height; zeros while it is not in the column."""
    actions: int = 0
    """Of `chips`, the lines of actions, which are never scrolled."""


class ChosenHeights(NamedTuple):
    """What the user chose by dragging handles; None for what the layout decides."""

    pictures: float | None = None
    """Pictures, as a fraction of the height that is divided."""
    prompt_lines: int | None = None
    """Lines of the prompt that are visible."""


class AllottedHeights(NamedTuple):
    """Heights in pixels that pictures, chips, tab panels and timeline get."""

    pictures: int
    chips: int
    tab: int
    timeline: int
    extra: int = 0
    """Height that is left for wider gaps."""


def divide_height(
    height: int, heights: PreferredHeights, gaps: int = 0, chosen: ChosenHeights | None = None
) -> AllottedHeights:
    """Divide a height in pixels: first to the pictures, the rest to the tab panel, the timeline and `gaps` gaps."""
    chosen = chosen or ChosenHeights()
    heading, timeline, preferred = heights.timeline
    tab, most = heights.tab
    full = min(heights.pictures, round(MOST_OF_PICTURES * height)) if most else heights.pictures
    low = COLLAPSE_FRACTION * full
    fewest = min(heights.chips, heights.actions + MIN_CHIP_LINES * heights.line)
    least = min(heights.chips, heights.actions + MIN_CHIP_LINES_LOW * heights.line)
    if chosen.prompt_lines is not None:
        room = _round_to_lines(height - tab - heading - MIN_PICTURES, heights)
        lines = heights.actions + max(chosen.prompt_lines, 1) * heights.line
        fewest = least = min(heights.chips, max(min(lines, room), least))
    elif height - tab - timeline - fewest < low:
        fewest = least
    if height - tab - timeline - fewest < low:
        timeline = heading
    if not most and height - timeline - fewest < low:
        timeline = preferred = 0  # folded together with the tab panel
    if chosen.pictures is not None:
        timeline = 0 if not preferred else heading
        most_pictures = max(height - tab - timeline - least, min(MIN_PICTURES, height))
        pictures = heights.pictures_within(min(max(round(chosen.pictures * height), MIN_PICTURES), most_pictures))
        spare = height - tab - timeline - pictures
    else:
        spare = height - tab - timeline - round(SCROLL_FRACTION * full)
    if chosen.prompt_lines is not None:
        chips = fewest
    else:
        chips = heights.chips if spare >= heights.chips else max(_round_to_lines(spare, heights), fewest)
    if chosen.pictures is None:
        pictures = heights.pictures_within(max(height - tab - timeline - chips, 0))
    if chosen.prompt_lines is None:
        chips = min(heights.chips, max(chips, _round_to_lines(height - tab - timeline - pictures, heights)))
    remainder = max(height - pictures - chips, 0)
    if not preferred:
        return AllottedHeights(pictures, chips, remainder if most else 0, 0, 0 if most else remainder)
    tab = min(max(tab, remainder - preferred), max(most, tab), remainder)
    timeline = remainder - tab
    if most and heading <= timeline < heights.timeline[1]:  # a chart that is cut off is worse than none
        tab, timeline = remainder - heading, heading
    extra = max(timeline - MAX_TIMELINE, 0)
    extra = min(extra, gaps * MAX_EXTRA_GAP) if most else extra
    return AllottedHeights(pictures, chips, tab, timeline - extra, extra)


def _round_to_lines(height: int, heights: PreferredHeights) -> int:
    """Return the largest height within `height` that cuts no line of chips."""
    return height // heights.line * heights.line


class LeftColumnLayout(QLayout):
    """Vertical layout; `divide_height` sets the heights of the `flexible` widgets, the others have their size hint."""

    def __init__(self, parent: QWidget, find_heights: Callable[[int], PreferredHeights], spacing: int) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._preferred = find_heights
        self._gap = spacing
        self.flexible: tuple[QWidget, ...] = ()
        """Pictures, chips, tab panels and timeline."""
        self.is_centred = False
        """Whether spare height stands above and below all widgets, and not in the gaps."""
        self.chosen = ChosenHeights()
        self.divided = 0
        """Height in pixels that was divided between the flexible widgets."""
        self.handles: Mapping[QWidget, QWidget] = {}
        """Handles, each with the widget whose lower edge it moves."""
        self.find_aside: Callable[[], QWidget | None] = lambda: None
        """Returns the widget to place beside the pictures where they leave enough of the width, else under them."""
        self.width_within: Callable[[int, int], int] = lambda width, _height: width
        """Returns how much of a width the pictures use at a height, in pixels."""
        self.rules: Mapping[QWidget, QWidget] = {}
        """Hairlines, each with the widget below it: a hairline has no height when that widget has none."""

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def insert(self, index: int, widget: QWidget) -> None:
        """Insert a widget at a position."""
        self.addWidget(widget)
        self._items.insert(index, self._items.pop())
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
        aside, beside = self.find_aside(), 0
        if aside in widgets:
            others = [widget for widget in widgets if widget is not aside]
            heights, allotted = self._divide_column(inner, others)
            beside = self.width_within(inner.width(), allotted.pictures) + ASIDE_GAP
        if beside and inner.width() - beside >= LEAST_ASIDE:
            widgets = others
            heights[self.flexible[0]] -= ASIDE_FOOT
        else:
            aside = None
            heights, allotted = self._divide_column(inner, widgets)
        gaps = len(widgets) - 1
        top, extra = inner.top(), min(allotted.extra // max(gaps, 1), MAX_EXTRA_GAP)
        if self.is_centred:
            top, extra = top + allotted.extra // 2, 0
        for widget in widgets:
            widget.setGeometry(inner.left(), top, inner.width(), heights[widget])
            if aside is not None and widget is self.flexible[0]:
                aside.setGeometry(inner.left() + beside, top, inner.width() - beside, heights[widget])
                aside.raise_()
                top += ASIDE_FOOT
            top += heights[widget] + (self._gap + extra if heights[widget] else 0)
            if widget is self.flexible[1]:
                top += max(allotted.extra - extra * gaps, 0)  # more than wider gaps use, in place of the tabs
        for handle, upper in self.handles.items():
            handle.setVisible(upper in widgets)
            edge = upper.geometry().bottom() + 1 + self._gap // 2
            handle.setGeometry(inner.left(), edge - HEIGHT // 2, inner.width(), HEIGHT)
            handle.raise_()

    def _divide_column(self, inner: QRect, widgets: Sequence[QWidget]) -> tuple[dict[QWidget, int], AllottedHeights]:
        """Return the heights of widgets that stand below each other, and what the flexible ones were allotted."""
        fixed = {
            widget: max(widget.minimumHeight(), widget.sizeHint().height())
            for widget in widgets
            if widget not in self.flexible
        }
        fixed = {w: min(height, w.maximumHeight()) for w, height in fixed.items()}
        gaps = len(widgets) - 1
        self.divided = inner.height() - sum(fixed.values()) - self._gap * gaps
        allotted = divide_height(self.divided, self._preferred(inner.width()), gaps, self.chosen)
        heights = fixed | dict(zip(self.flexible, allotted, strict=False))
        for rule, under in self.rules.items():
            heights[rule] = min(fixed.get(rule, 0), heights[under])
        return heights, allotted
