"""The tiles of the wall of heads: each head's maps over the pictures of all cameras, names, the scale of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize

from viewer.analysis.scores import find_score
from viewer.model import geometry
from viewer.rendering import camera_image, colormaps, drawing, theme, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.heads_wall import HeadsWall
    from viewer.io.results import Pixels, Results
    from viewer.model.attention import Floats
    from viewer.model.geometry import Affine, PatchGrid
    from viewer.model.view_state import ViewState
    from viewer.model.wall_layout import Tile


@dataclass(frozen=True, eq=False)
class TilePicture:
    """One camera's picture, as it lies under every tile."""

    pixels: Pixels | None
    """(height, width, 3) uint8 RGB; None if the file has none."""
    size: tuple[int, int]
    """Height and width."""
    to_model: Affine


def paint_tiles(
    painter: QPainter,
    tiles: Sequence[Tile],
    pictures: Sequence[TilePicture],
    levels: Floats | None,
    titles: Sequence[tuple[str, str]],
    *,
    grid: PatchGrid,
    colours: str,
    opacity: float,
    offset: QPointF,
    ratio: float = 0.0,
) -> None:
    """Paint tiles with their titles.

    Args:
        painter: Painter of a widget or an image.
        tiles: Where they stand, relative to `offset`.
        pictures: The cameras' pictures.
        levels: Places in the colour table, 0 to 1: (tiles, cameras, rows, cols); None for pictures without heat.
        titles: Bold text at the left and number at the right of each tile; empty for none.
        grid: The patches.
        colours: Name of the colour map.
        opacity: Opacity of the heat, 0 to 1.
        offset: Upper left corner of the wall.
        ratio: Pixels of the pictures for each unit of the painter; 0 for the painter's own.
    """
    colors, ratio = theme.active(), ratio or drawing.find_pixel_ratio(painter)
    table = colormaps.heat(colours, round(opacity * 100))
    for camera, picture in enumerate(pictures):
        box = tiles[0].pictures[camera] if tiles else (0, 0, 1, 1)
        size = QSize(max(round(box[2] * ratio), 1), max(round(box[3] * ratio), 1))
        under = camera_image.scaled(picture.pixels, size) if picture.pixels is not None else None
        if under is not None:
            under.setDevicePixelRatio(ratio)
        index = geometry.map_pixels_to_patches(picture.to_model, *picture.size, size.height(), size.width(), grid)
        for place, tile in enumerate(tiles):
            left, top, width, height = tile.pictures[camera]
            corner = offset + QPointF(left, top)
            if under is None:
                painter.fillRect(QRectF(corner.x(), corner.y(), width, height), theme.color(colors.raised))
            else:
                painter.drawImage(corner, under)
            if levels is not None:
                at = np.rint(levels[place, camera].ravel() * 255).astype(np.intp)
                heat = drawing.create_word_image(table[at][index], blended=True)
                heat.setDevicePixelRatio(ratio)
                painter.drawImage(corner, heat)
    for tile, (name, number) in zip(tiles, titles, strict=bool(titles)):
        line = QRectF(offset.x() + tile.left, offset.y() + tile.top, tile.width, 17)
        used = drawing.write(painter, line.adjusted(1, 0, 0, 0), name, colors.text, 12, bold=True)
        drawing.write(painter, line.adjusted(used + 8, 0, -1, 0), number, colors.secondary, 12, align="right")


def describe_wall_scale(wall: HeadsWall, view: ViewState) -> str:
    """Return the one scale of all tiles in words."""
    if view.scale == "rank":
        return "colours by rank of each head’s own patches"
    unit = " ×" if view.unit == "uniform" else ""
    low, high, largest = (f"{ticks.format_number(value)}{unit}" for value in (wall.low, wall.high, wall.largest))
    start = f"1 × uniform ({low})" if view.range == "uniform" else low
    above = f" · {wall.above} patches above, up to {largest}" if wall.above else ""
    log = "log scale" if view.scale == "log" else "scale"
    return f"one {log} for all heads: {start} to {high}{above}"


def title_tiles(results: Results, wall: HeadsWall, view: ViewState, width: float) -> list[tuple[str, str]]:
    """Return the name and the score of each tile; all names are short where one of the long ones has no room.

    `width`: that of a tile in pixels.
    """
    score = find_score(view.score)
    numbers = [score.format_value(value) if np.isfinite(value) else "–" for value in wall.scores]
    places = [(results.layers[layer], head) for layer, head in wall.heads]
    names = [f"Layer {layer}, head {head}" for layer, head in places]
    widths = (drawing.width_of(name, 12, bold=True) for name in names)
    room = width - max((drawing.width_of(number, 12) for number in numbers), default=0) - 12
    if max(widths, default=0) > room:
        names = [f"L{layer} H{head}" for layer, head in places]
    return list(zip(names, numbers, strict=True))
