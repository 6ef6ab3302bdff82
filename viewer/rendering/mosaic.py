"""Layout of tiles with the pictures' aspect: one block of rows and columns for each camera, whole or enlarged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRectF

from viewer.analysis.film import tile_thumbnails
from viewer.model import geometry
from viewer.rendering import drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from PySide6.QtGui import QImage

    from viewer.model.geometry import Affine, PatchGrid

BLOCK_GAP: Final = 12
"""Pixels between two blocks side by side."""
MIN_BLOCK: Final = 168
"""Minimum width in pixels of a block, for the camera's name below it."""
MIN_TILE: Final = 3
"""Minimum width and height of a tile with its gap, in screen pixels."""

Block = tuple[QRectF, float, float]
"""A block, and the width and height of its tiles with their gaps, in device-independent pixels."""


def lay_out_blocks(
    room: QRectF,
    rows: int,
    columns: int,
    shapes: Sequence[tuple[int, int]],
    ratio: float,
    *,
    side_by_side: bool,
    visible: QRectF,
) -> list[Block]:
    """Return the block of each camera, stacked or side by side, with tiles as large as fit into the room.

    Tiles of stacked blocks have one width, and those of blocks side by side one height, so that the columns, or the
    rows, of all cameras are aligned; pictures of different aspect have tiles of different height, or width.

    Args:
        room: Rectangle that the blocks share, in device-independent pixels.
        rows: Rows of tiles in a block.
        columns: Columns of tiles in a block.
        shapes: Height and width of each camera's picture, whose aspect its tiles have.
        ratio: Screen pixels per device-independent pixel; tiles are whole screen pixels wide and high.
        side_by_side: Whether the blocks are side by side.
        visible: Part of the room, in shares of it, that is enlarged to fill the room; it has the room's aspect.
    """
    blocks = (_lay_side_by_side if side_by_side else _stack_blocks)(room, rows, columns, shapes, ratio)
    scale = 1 / visible.width()
    if scale <= 1:
        return blocks
    enlarged = [
        _enlarge(block, room, visible, scale, shape, ratio) for block, shape in zip(blocks, shapes, strict=True)
    ]
    return _align_blocks(enlarged, shapes, ratio, side_by_side=side_by_side)


def _lay_side_by_side(
    room: QRectF, rows: int, columns: int, shapes: Sequence[tuple[int, int]], ratio: float
) -> list[Block]:
    """Share the room's width by the widths that the pictures have at one height."""
    total = sum(dots / lines for lines, dots in shapes)
    free = room.width() - BLOCK_GAP * (len(shapes) - 1)
    blocks = [
        (QRectF(0, room.top(), each, room.height()), *_fit_tile(room.height(), each, rows, columns, shape, ratio))
        for shape in shapes
        for each in (free * shape[1] / shape[0] / total,)
    ]
    blocks = _align_blocks(blocks, shapes, ratio, side_by_side=True)
    left = room.left()
    for box, across, _ in blocks:
        box.moveLeft(round(left))
        left += min(box.width(), max(across * columns, MIN_BLOCK)) + BLOCK_GAP
    return blocks


def _stack_blocks(
    room: QRectF, rows: int, columns: int, shapes: Sequence[tuple[int, int]], ratio: float
) -> list[Block]:
    """Share the room's height by the heights that the pictures have at one width."""
    total = sum(lines / dots for lines, dots in shapes)
    blocks = [
        (QRectF(room.left(), 0, room.width(), each), *_fit_tile(each, room.width(), rows, columns, shape, ratio))
        for shape in shapes
        for each in (room.height() * shape[0] / shape[1] / total,)
    ]
    blocks = _align_blocks(blocks, shapes, ratio, side_by_side=False)
    top = room.top()
    for box, _, tall in blocks:
        box.setRect(box.left(), top, box.width(), min(box.height(), tall * rows))
        top += box.height()
    return blocks


def _fit_tile(
    height: float, width: float, rows: int, columns: int, shape: tuple[int, int], ratio: float
) -> tuple[float, float]:
    """Return width and height of tiles that fill a block, in whole screen pixels and with the picture's aspect."""
    lines, dots = shape
    tall = max(int(height * ratio / rows), MIN_TILE)
    across = max(int(width * ratio / columns), MIN_TILE)
    tall = min(tall, max(round(across * lines / dots), MIN_TILE))
    across = min(across, max(round(tall * dots / lines), MIN_TILE))
    return across / ratio, tall / ratio


def _align_blocks(
    blocks: Sequence[Block], shapes: Sequence[tuple[int, int]], ratio: float, *, side_by_side: bool
) -> list[Block]:
    """Return the blocks with the least height of a tile for all where they are side by side, else the least width."""
    aligned = []
    for (box, across, tall), (lines, dots) in zip(blocks, shapes, strict=True):
        if side_by_side and tall > (least := min(other[2] for other in blocks)):
            across, tall = max(round(least * ratio * dots / lines), MIN_TILE) / ratio, least
        elif not side_by_side and across > (least := min(other[1] for other in blocks)):
            across, tall = least, max(round(least * ratio * lines / dots), MIN_TILE) / ratio
        aligned.append((box, across, tall))
    return aligned


def _enlarge(block: Block, room: QRectF, visible: QRectF, scale: float, shape: tuple[int, int], ratio: float) -> Block:
    """Return a block that is enlarged so that the visible part of the room fills it, in whole screen pixels."""
    box, width, _ = block
    left = room.left() + (box.left() - room.left() - visible.left() * room.width()) * scale
    top = room.top() + (box.top() - room.top() - visible.top() * room.height()) * scale
    across = max(int(width * scale * ratio), MIN_TILE)
    tall = max(round(across * shape[0] / shape[1]), MIN_TILE)
    corner = round(left * ratio) / ratio, round(top * ratio) / ratio
    return QRectF(*corner, box.width() * scale, box.height() * scale), across / ratio, tall / ratio


def visible_range(start: float, size: float, count: int, low: float, high: float, *, whole: bool = False) -> range:
    """Return which of `count` tiles of a size, from `start` on, lie between two ends; only `whole` ones if asked."""
    first, stop = (low - start) / size, (high - start) / size
    if whole:
        return range(max(math.ceil(first), 0), min(math.floor(stop), count))
    return range(max(math.floor(first + 1e-6), 0), min(math.ceil(stop - 1e-6), count))


def visible_tiles(
    block: QRectF, width: float, height: float, shape: tuple[int, int], room: QRectF
) -> tuple[range, range]:
    """Return the rows and columns of a block of `shape` tiles that are at least partly in the room."""
    rows = visible_range(block.top(), height, shape[0], room.top(), room.bottom())
    return rows, visible_range(block.left(), width, shape[1], room.left(), room.right())


def make_images(
    blocks: Sequence[Block],
    words: npt.NDArray[np.uint32],
    cameras: Sequence[tuple[Affine, tuple[int, int]]],
    grid: PatchGrid,
    room: QRectF,
    ratio: float,
    gap: float,
    background: int,
) -> list[tuple[QPointF, QImage]]:
    """Return one image of the visible tiles of each camera, and where its upper left corner lies.

    Args:
        blocks: Block of each camera.
        words: Tiles as 0xFFRRGGBB words, (rows, columns, cameras, patch rows, patch cols).
        cameras: Map to the model's picture, and height and width, of each camera's picture.
        grid: Patches of a tile.
        room: Rectangle outside of which nothing is visible.
        ratio: Screen pixels per device-independent pixel.
        gap: Distance of tiles in device-independent pixels.
        background: Colour of the gaps, 0xFFRRGGBB.
    """
    images = []
    dots = max(round(gap * ratio), 1)
    for camera, (block, width, height) in enumerate(blocks):
        rows, columns = visible_tiles(block, width, height, words.shape[:2], room)
        part = words[rows.start : rows.stop, columns.start : columns.stop, camera]
        if not part.size:
            continue
        size = max(round(height * ratio) - dots, 1), max(round(width * ratio) - dots, 1)
        index = geometry.map_pixels_to_patches(cameras[camera][0], *cameras[camera][1], *size, grid)
        image = drawing.create_word_image(tile_thumbnails(part, index, dots, background), blended=False)
        image.setDevicePixelRatio(ratio)
        images.append((QPointF(block.left() + columns.start * width, block.top() + rows.start * height), image))
    return images
