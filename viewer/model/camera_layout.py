"""Layout of the pictures of several cameras in an area of a given size. No Qt.

Pictures stand in one line, a pinned view's in a second line below. Where another layout makes them larger, they stand
below each other, all in one line, or the first one large with the others beside it.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGER: Final = 1.1
"""How many times wider all pictures together must become before another layout is taken."""
SMALLER: Final = 0.9
"""How much smaller, as a factor, the smallest picture may become by it."""


class Box(NamedTuple):
    """A picture and the title above it, in pixels."""

    left: int
    top: int
    width: int
    height: int


Lines = tuple[tuple[int, ...], ...]
"""Numbers of pictures from left to right, line by line; all lines are equally long."""


def plain(width: int, height: float, shapes: Sequence[float], gap: int, title: int, *, pairs: bool) -> list[Box]:
    """Return one box for each picture in the usual lines, as large as they can be in `width` x `height` pixels.

    `shapes` are width / height of each picture; with `pairs` their second half are the pinned view's. `gap` is between
    boxes, `title` the height of the line over each picture.
    """
    half = len(shapes) // 2 if pairs else len(shapes)
    lines = (tuple(range(half)), *((tuple(range(half, len(shapes))),) if pairs else ()))
    return _place_in_table(width, height, shapes, lines, gap, title) if shapes else []


def arrange_pictures(
    width: int, height: float, shapes: Sequence[float], gap: int, title: int, *, pairs: bool
) -> list[Box]:
    """Return boxes as `plain` does, or in another layout where pictures become clearly larger."""
    count = len(shapes)
    usual = best = plain(width, height, shapes, gap, title, pairs=pairs)
    if not usual:
        return []
    others: list[list[Box]] = []
    if pairs:
        beside = tuple((place, count // 2 + place) for place in range(count // 2))
        others += [
            _place_in_table(width, height, shapes, lines, gap, title) for lines in ((tuple(range(count)),), beside)
        ]
    elif count > 1:
        others.append(_place_in_table(width, height, shapes, tuple((place,) for place in range(count)), gap, title))
    if not pairs and count > 2:
        others.append(_place_beside_large(width, height, shapes, gap, title))
    for other in others:
        fine = min(box.width for box in other) >= SMALLER * min(box.width for box in usual)
        if fine and _sum_widths(other) > max(_sum_widths(usual) * LARGER, _sum_widths(best)):
            best = other
    return best


def bottom(boxes: Sequence[Box]) -> int:
    """Return the height of all boxes together."""
    return max((box.top + box.height for box in boxes), default=0)


def _sum_widths(boxes: list[Box]) -> int:
    return sum(box.width for box in boxes)


def _place_in_table(
    width: int, height: float, shapes: Sequence[float], lines: Lines, gap: int, title: int
) -> list[Box]:
    """Return boxes in lines and columns that fill the area's width or height."""
    each = max((width - gap * (len(lines[0]) - 1)) / len(lines[0]), 1.0)  # an area narrower than its gaps
    tall = [max(each / shapes[place] for place in line) for line in lines]
    room = height - gap * (len(lines) - 1) - title * len(lines)
    part = min(max(room / sum(tall), 0.0), 1.0)
    highs = [ceil(high) for high in tall]  # so that the pictures reach the edge
    if part < 1 or sum(highs) > room:
        highs = [int(high * part) for high in tall]
    columns = [max(min(each, high * shapes[line[c]]) for line, high in zip(lines, highs, strict=True))
               for c in range(len(lines[0]))]  # fmt: skip
    boxes, top = [Box(0, 0, 0, 0)] * len(shapes), 0
    for line, high in zip(lines, highs, strict=True):
        left = 0.0
        for place, across in zip(line, columns, strict=True):
            boxes[place] = _create_box(left, top, left + across, top + title + high)
            left += across + gap
        top += title + high + gap
    return boxes


def _place_beside_large(width: int, height: float, shapes: Sequence[float], gap: int, title: int) -> list[Box]:
    """Return boxes with the first picture as tall as the area and the others below each other beside it."""
    other_shapes = shapes[1:]
    # Height h of all: (h - title) * shapes[0] + gap + (h - gaps - titles) / tall == width, the others being one wide.
    tall, lost = sum(1 / shape for shape in other_shapes), gap * (len(other_shapes) - 1) + title * len(other_shapes)
    natural = (width - gap + title * shapes[0] + lost / tall) / (shapes[0] + 1 / tall)
    high = min(height, natural)
    first, second = max((high - title) * shapes[0], 0.0), max((high - lost) / tall, 0.0)
    boxes, top = [_create_box(0, 0, first, high)], 0.0
    for shape in other_shapes:
        stop = top + title + second / shape
        boxes.append(_create_box(first + gap, top, first + gap + second, stop))
        top = stop + gap
    return boxes


def _create_box(left: float, top: float, right: float, stop: float) -> Box:
    """Return a box on whole pixels, so that neighbours keep their gap."""
    return Box(round(left), round(top), round(right) - round(left), round(stop) - round(top))
