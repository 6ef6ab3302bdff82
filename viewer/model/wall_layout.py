"""Layout of the wall of heads: equal tiles, each with the pictures of all cameras, as large as they can be. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

INNER_GAP: Final = 2
"""Pixels between the pictures of a tile."""


class Tile(NamedTuple):
    """A tile with its title, in pixels; `pictures` are left, top, width and height of each camera's picture."""

    left: int
    top: int
    width: int
    height: int
    pictures: tuple[tuple[int, int, int, int], ...]


def arrange_tiles(
    width: int, height: int, count: int, shapes: Sequence[float], gap: int, title: int
) -> tuple[list[Tile], int]:
    """Return `count` tiles in reading order that fill `width` x `height` pixels, and how many there are in a line.

    `shapes` are width / height of each camera's picture; `gap` is between tiles, `title` the height of a tile's title.
    The pictures of a tile are side by side or below each other, whichever makes them larger.
    """
    if not count or not shapes:
        return [], 0
    best: tuple[float, float, int, bool] = (0.0, 0.0, 1, True)  # area of a tile's pictures, side, columns, arrangement
    for columns in range(1, count + 1):
        lines = -(-count // columns)
        across = (width - gap * (columns - 1)) / columns
        down = (height - gap * (lines - 1)) / lines - title
        for beside in (True, False):
            side = _common_side(across, down, shapes, beside=beside)
            area = side * abs(side) * sum(shape if beside else 1 / shape for shape in shapes)
            if area > best[0]:
                best = area, side, columns, beside
    unit, columns, beside = max(best[1], 1.0), best[2], best[3]
    sizes = [(max(int(unit * shape), 1), max(int(unit), 1)) for shape in shapes]
    if not beside:  # equally wide below each other
        sizes = [(max(int(unit), 1), max(int(unit / shape), 1)) for shape in shapes]
    inner = INNER_GAP * (len(shapes) - 1)
    wide = sum(size[0] for size in sizes) + inner if beside else max(size[0] for size in sizes)
    tall = title + (max(size[1] for size in sizes) if beside else sum(size[1] for size in sizes) + inner)
    tiles = []
    for place in range(count):
        left, top = place % columns * (wide + gap), place // columns * (tall + gap)
        x, y, pictures = left, top + title, []
        for size in sizes:
            pictures.append((x, y, *size))
            x, y = (x + size[0] + INNER_GAP, y) if beside else (x, y + size[1] + INNER_GAP)
        tiles.append(Tile(left, top, wide, tall, tuple(pictures)))
    return tiles, columns


def tile_in_columns(columns: int, count: int, width: int, shapes: Sequence[float], gap: int, title: int) -> list[Tile]:
    """Return `count` tiles with so many in a line, and the pictures of each, all `width` pixels wide, side by side."""
    sizes = [(width, max(round(width / shape), 1)) for shape in shapes]
    wide = sum(size[0] for size in sizes) + INNER_GAP * (len(sizes) - 1)
    tall = title + max(size[1] for size in sizes)
    tiles = []
    for place in range(count):
        left, top = place % columns * (wide + gap), place // columns * (tall + gap)
        pictures = tuple((left + number * (width + INNER_GAP), top + title, *size) for number, size in enumerate(sizes))
        tiles.append(Tile(left, top, wide, tall, pictures))
    return tiles


def _common_side(across: float, down: float, shapes: Sequence[float], *, beside: bool) -> float:
    """Return the common height of pictures beside each other, or the common width of those below each other."""
    inner = INNER_GAP * (len(shapes) - 1)
    if beside:
        return min((across - inner) / sum(shapes), down)
    return min(across, (down - inner) / sum(1 / shape for shape in shapes))
