"""The wall of heads as a figure: the overlays of all heads of a layer, or of the best of all, on one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage, QPainter

from viewer.analysis.effects.head_scores import describe_source
from viewer.analysis.heads_wall import read_heads_wall
from viewer.analysis.scores import find_score, find_unavailable_scores
from viewer.errors import UserError
from viewer.export.figures import text_layout
from viewer.export.figures.camera_painter import VECTOR_DENSITY
from viewer.export.figures.charts import describe_region
from viewer.export.figures.color_bar import ColorScale, measure_scale
from viewer.export.figures.figure import Figure, build_figure, describe_view
from viewer.model.wall_layout import Tile, tile_in_columns
from viewer.rendering import theme
from viewer.rendering.head_tiles import TilePicture, describe_wall_scale, paint_tiles, title_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.caption import Caption
    from viewer.analysis.heads_wall import HeadsWall
    from viewer.export.request import ExportRequest
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.geometry import Affine, PatchGrid
    from viewer.model.view_state import ViewState

GAP: Final = 12
TITLE: Final = 20
PAGE_SHAPE: Final = 1.6
"""Width / height that the columns of the wall come nearest to."""
IDENTITY: Final[Affine] = np.array([[1.0, 0, 0], [0, 1.0, 0]])


@dataclass(frozen=True)
class WallContent:
    """Tiles with their titles."""

    tiles: Sequence[Tile]
    pictures: Sequence[TilePicture]
    levels: Floats
    titles: Sequence[tuple[str, str]]
    grid: PatchGrid
    view: ViewState

    @property
    def width(self) -> float:
        """In px."""
        return float(max(tile.left + tile.width for tile in self.tiles))

    @property
    def height(self) -> float:
        """In px."""
        return float(max(tile.top + tile.height for tile in self.tiles))

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw the tiles; their titles are text in PDF and SVG, too."""
        colors, device = theme.active(), painter.device()
        ratio = device.devicePixelRatio() if isinstance(device, QImage) else VECTOR_DENSITY
        paint_tiles(
            painter, self.tiles, self.pictures, self.levels, (), grid=self.grid, colours=self.view.colours,
            opacity=self.view.opacity, offset=QPointF(left, top), ratio=ratio,
        )  # fmt: skip
        for tile, (name, number) in zip(self.tiles, self.titles, strict=True):
            line = QRectF(left + tile.left, top + tile.top, tile.width, TITLE - 4)
            text_layout.draw_line(painter, line, name, colors.text, 12, bold=True)
            text_layout.draw_line(painter, line, number, colors.secondary, 12, align="right")


def create_wall(source: ExportSource, view: ViewState, request: ExportRequest) -> Figure:
    """Return the heads of the view's layer, or the best of all, sorted by the view's score.

    Raises:
        UserError: The query cannot have the score.
    """
    results, score = source.results, find_score(view.score)
    reason = find_unavailable_scores(results, view).get(view.score, "")
    if reason:
        raise UserError(f"Heads cannot be sorted by {score.title}: {reason}; name another --score.")
    wall = read_heads_wall(results, view)
    pictures = _read_pictures(results, view)
    shapes = [picture.size[1] / picture.size[0] for picture in pictures]
    tiles = tile_in_columns(_count_columns(len(wall.heads), request.width, shapes), len(wall.heads), request.width,
                            shapes, GAP, TITLE)  # fmt: skip
    titles = title_tiles(results, wall, view, tiles[0].width)
    content = WallContent(tiles, pictures, wall.levels(view.scale), titles, results.grid, view)
    label = "weight" if view.measure == "weight" else "weight × value norm"
    label = f"{label}, times uniform" if view.unit == "uniform" else label
    scale = ColorScale(view.colours, wall.low, wall.high, view.scale, label)
    scales = (measure_scale(scale, wall.maps),)
    return build_figure(source, content, view, _create_caption(source, view, wall), scales, caption=request.caption)


def _create_caption(source: ExportSource, view: ViewState, wall: HeadsWall) -> Caption:
    """Return the caption: which heads, by what they are sorted, the measure and the scale."""
    results, score = source.results, find_score(view.score)
    count = len(wall.heads)
    layer = results.layers[view.layer]
    which = f"the best {count} heads of all layers" if view.wall == "best" else f"layer {layer}, its {count} heads"
    caption = describe_view(source, replace(view, compare="off"))
    details = [part for part in caption.details.split(" · ") if part.startswith(("raw", "weight", "times", "without"))]
    parts = [f"{which}, sorted by {score.title}", *details]
    if origin := describe_source(results, view.frame, view.query, view.score):
        parts.insert(1, origin)
    if score.needs_region:
        parts.append(describe_region(results, view.region))
    return replace(caption, details=" · ".join([*parts, describe_wall_scale(wall, view)]))


def _read_pictures(results: Results, view: ViewState) -> list[TilePicture]:
    is_source = view.picture == "source"
    return [
        TilePicture(
            results.picture(view.frame, camera, view.picture),
            results.picture_size(camera) if is_source else (results.grid.height, results.grid.width),
            results.to_model(view.frame, camera) if is_source else IDENTITY,
        )
        for camera in range(len(results.cameras))
    ]


def _count_columns(count: int, width: int, shapes: Sequence[float]) -> int:
    """Return how many tiles stand in a line so that the page comes nearest to `PAGE_SHAPE`."""
    across = len(shapes) * width
    down = TITLE + max(width / shape for shape in shapes)

    def distance(columns: int) -> float:
        shape = columns * (across + GAP) / (math.ceil(count / columns) * (down + GAP))
        return abs(math.log(shape / PAGE_SHAPE))

    return min(range(1, count + 1), key=distance)
