"""Figures of many small maps on one colour range: films over layers, steps or frames, and the atlas of thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from viewer.analysis import scene
from viewer.analysis.caption import LOOK, LOOKS, create_effects_caption, describe_heading
from viewer.analysis.film import read_film, read_film_over_frames, tile_thumbnails
from viewer.export.figures import text_layout
from viewer.export.figures.camera_painter import VECTOR_DENSITY
from viewer.export.figures.charts import LABEL_WIDTH, describe_scores
from viewer.export.figures.color_bar import MEASURE_LABELS, ColorScale, measure_scale
from viewer.export.figures.figure import Figure, build_figure, describe_view, set_scale_text
from viewer.model import attention, geometry
from viewer.model.view_state import FROM_EFFECTS
from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from viewer.analysis.query_series import QuerySeries
    from viewer.export.request import ExportRequest
    from viewer.export.scenes import ExportSource
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

GAP: Final = 2
TITLE_HEIGHT: Final = 20.0
LABELS_HEIGHT: Final = 32.0


@dataclass(frozen=True)
class ThumbnailGrid:
    """A block of thumbnails for each camera, below each other."""

    results: Results
    frame: int
    maps: Floats
    """(rows, columns, cameras, rows, cols)"""
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    scale: ColorScale
    thumbnail_width: int
    axes: tuple[str, str]
    """What columns and rows stand for."""

    @property
    def _cells(self) -> list[tuple[int, int]]:
        """Width and height of each camera's thumbnails in px, with their gap."""
        return [
            (self.thumbnail_width, max(round(self.thumbnail_width * height / across), 4) + GAP)
            for height, across in (self.results.picture_size(camera) for camera in range(len(self.results.cameras)))
        ]

    @property
    def _label_width(self) -> float:
        return LABEL_WIDTH if any(self.rows) else 0.0

    @property
    def width(self) -> float:
        """In px."""
        return float(self._label_width + self.maps.shape[1] * self.thumbnail_width)

    @property
    def height(self) -> float:
        """In px."""
        blocks = sum(TITLE_HEIGHT + self.maps.shape[0] * height for _, height in self._cells)
        return float(blocks + 6.0 * (len(self._cells) - 1) + LABELS_HEIGHT)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw each camera's block, and the labels of columns below the last."""
        colors = theme.active()
        x, y = left + self._label_width, top
        for camera, (_, height) in enumerate(self._cells):
            line = QRectF(x, y, self.width, TITLE_HEIGHT - 4)
            text_layout.draw_line(
                painter, line, describe_heading(self.results.cameras[camera]), colors.text, 12, bold=True
            )
            y += TITLE_HEIGHT
            box = QRectF(x, y, self.maps.shape[1] * self.thumbnail_width, self.maps.shape[0] * height)
            painter.drawImage(box, self._render_block(painter, camera))
            for row, label in enumerate(self.rows):
                name = QRectF(left, y + row * height, self._label_width - 8, height - GAP)
                if height >= 12 or row % 2 == 0:
                    text_layout.draw_line(painter, name, label, colors.text, 11, align="right")
            y += box.height() + 6
        y -= 6
        room = max((text_layout.measure_text_width(label, 11) for label in self.columns), default=0) + 6
        skip = max(int(-(-room // self.thumbnail_width)), 1)
        for column, label in enumerate(self.columns):
            if column % skip == 0:
                name = QRectF(x + column * self.thumbnail_width - 20, y + 2, self.thumbnail_width - GAP + 40, 14)
                text_layout.draw_line(painter, name, label, colors.text, 11, align="centre")
        box = QRectF(x, y + 17, self.width - self._label_width, 14)
        text_layout.draw_line(painter, box, self.axes[0], colors.secondary, 11, align="centre")
        if self._label_width and self.axes[1]:
            box = QRectF(left, y + 2, self._label_width - 8, 14)
            text_layout.draw_line(painter, box, self.axes[1], colors.secondary, 11, align="right")

    def _render_block(self, painter: QPainter, camera: int) -> QImage:
        """Return a camera's block in the painter's own pixels, sampled as the window's film is."""
        device = painter.device()
        ratio = device.devicePixelRatio() if isinstance(device, QImage) else VECTOR_DENSITY
        width, height = self._cells[camera]
        gap = max(round(GAP * ratio), 1)
        index = geometry.map_pixels_to_patches(
            self.results.to_model(self.frame, camera), *self.results.picture_size(camera),
            max(round(height * ratio) - gap, 1), max(round(width * ratio) - gap, 1), self.results.grid,
        )  # fmt: skip
        colored = colormaps.painted(self.maps[:, :, camera], self.scale.high, self.scale.colours)
        ground = 0xFF000000 | int(theme.active().window[1:], 16)
        return drawing.create_word_image(tile_thumbnails(colored, index, gap, ground), blended=False)


def create_film(
    source: ExportSource, view: ViewState, request: ExportRequest, series: QuerySeries | None = None
) -> Figure:
    """Return thumbnails of one query over one or two axes; over the frames of `series`."""
    results, over = source.results, request.over
    maps, rows, columns = _read_thumbnails(results, view, request, series)
    if view.range == "locked" and view.unit == "weight" and view.high > view.low:
        high = view.high
    else:
        high = attention.color_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
    label = MEASURE_LABELS[view.measure]
    scale = measure_scale(ColorScale(view.colours, 0.0, high, label=label), maps)
    across, down = {"layers": ("layer", ""), "steps": ("layer", "step"), "frames": ("frame", ""),
                    "layers-frames": ("frame", "layer")}[over]  # fmt: skip
    content = ThumbnailGrid(results, view.frame, maps, columns, rows, scale, request.width, (across, down))
    # Thumbnails are on a linear scale, whatever the view has for the large pictures.
    plain = replace(view, unit="weight", scale="linear", range="shared", compare="off")
    is_of_effects = series is not None and view.measure in FROM_EFFECTS
    caption = create_effects_caption(results, plain) if is_of_effects else describe_view(source, plain)
    details = [
        part
        for part in caption.details.split(" · ")
        if "layer" not in request.figure_axes or not part.startswith("layer ")
    ]
    caption = set_scale_text(replace(caption, details=" · ".join(details)), "one scale for all maps")
    if over == "steps":
        caption = replace(caption, place=f"(suffix, every denoise step) {LOOK if len(view.query.items) > 1 else LOOKS}")
    return build_figure(source, content, view, caption, (scale,), caption=request.caption, series=series)


def _read_thumbnails(
    results: Results, view: ViewState, request: ExportRequest, series: QuerySeries | None
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Return the chosen maps (rows, columns, cameras, rows, cols), and the labels of rows and columns."""
    layers, steps = list(request.layers), list(request.steps)
    layer_labels = tuple(str(results.layers[layer]) for layer in layers)
    if series is not None:
        film = read_film_over_frames(results, view, series.frames, lambda: False)
        assert film is not None
        columns = tuple(str(frame) for frame in film.columns)
        if request.over == "frames":
            return film.maps, ("",), columns
        return film.maps[layers], layer_labels, columns
    maps = read_film(results, view).maps[:, layers]
    if request.over == "layers":
        return maps, ("",), layer_labels
    return maps[steps], tuple(str(results.steps[step]) for step in steps), layer_labels


def create_thumbnail_atlas(source: ExportSource, view: ViewState, request: ExportRequest) -> Figure:
    """Return every head's map: layers down, heads across, the mean of heads last."""
    results = source.results
    rows = scene.measured(results, view)
    step = min(view.step, rows[0].image.shape[1] - 1)
    maps = np.mean(
        [attention.to_float32(np.ascontiguousarray(row.image[:, step])) for row in rows],
        axis=0,
        dtype=np.float32,
    )
    maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)  # (layers, heads + 1, cameras, rows, cols)
    high = attention.color_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
    scale = measure_scale(ColorScale(view.colours, 0.0, high), maps)
    names = (*(str(head) for head in range(results.heads)), "mean")
    layers = tuple(str(layer) for layer in results.layers)
    content = ThumbnailGrid(results, view.frame, maps, names, layers, scale, request.width, ("head", "layer"))
    caption = replace(describe_scores(source, view), details="every layer and head · one scale for all maps")
    return build_figure(source, content, view, caption, (scale,), caption=request.caption)
