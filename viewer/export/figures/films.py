"""Figures of many small maps on one colour range: films over layers, steps or frames, and the atlas in thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from viewer.analysis import scene
from viewer.analysis.caption import heading_of
from viewer.analysis.film import read_film, read_film_over_frames, tile_thumbnails
from viewer.export.figures import text_layout as words
from viewer.export.figures.charts import LABEL, score_sentence
from viewer.export.figures.color_bar import ColourScale
from viewer.export.figures.figure import Figure, frames_of, on_scale, sentence, titled
from viewer.export.figures.pane import VECTOR_DENSITY
from viewer.model import attention, geometry
from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from viewer.export.request import Options
    from viewer.export.scenes import Source
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

GAP: Final = 2
HEAD: Final = 20.0
FOOT: Final = 32.0


@dataclass(frozen=True)
class Mosaic:
    """Blocks of thumbnails, one a camera, under each other or side by side."""

    results: Results
    frame: int
    maps: Floats
    """(rows, columns, cameras, rows, cols)"""
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    scale: ColourScale
    size: int
    axes: tuple[str, str]
    """What columns and rows are."""

    @property
    def _cells(self) -> list[tuple[int, int]]:
        """Width and height of each camera's thumbnails, their gap counted in."""
        return [
            (self.size, max(round(self.size * tall / across), 4) + GAP)
            for tall, across in (self.results.picture_size(c) for c in range(len(self.results.cameras)))
        ]

    @property
    def _label(self) -> float:
        return LABEL if any(self.rows) else 0.0

    @property
    def width(self) -> float:
        """In px."""
        return float(self._label + self.maps.shape[1] * self.size)

    @property
    def height(self) -> float:
        """In px."""
        blocks = sum(HEAD + self.maps.shape[0] * tall for _, tall in self._cells)
        return float(blocks + 6.0 * (len(self._cells) - 1) + FOOT)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Each camera's block, columns named under the last."""
        t = theme.active()
        x, y = left + self._label, top
        for camera, (_, tall) in enumerate(self._cells):
            line = QRectF(x, y, self.width, HEAD - 4)
            words.write(painter, line, heading_of(self.results.cameras[camera]), t.text, 12, bold=True)
            y += HEAD
            box = QRectF(x, y, self.maps.shape[1] * self.size, self.maps.shape[0] * tall)
            painter.drawImage(box, self._image(painter, camera))
            for row, label in enumerate(self.rows):
                name = QRectF(left, y + row * tall, self._label - 8, tall - GAP)
                if tall >= 12 or row % 2 == 0:
                    words.write(painter, name, label, t.text, 11, align="right")
            y += box.height() + 6
        y -= 6
        room = max((words.width_of(label, 11) for label in self.columns), default=0) + 6
        skip = max(int(-(-room // self.size)), 1)
        for column, label in enumerate(self.columns):
            if column % skip == 0:
                name = QRectF(x + column * self.size - 20, y + 2, self.size - GAP + 40, 14)
                words.write(painter, name, label, t.text, 11, align="centre")
        words.write(painter, QRectF(x, y + 17, self.width - self._label, 14), self.axes[0], t.secondary, 11,
                    align="centre")  # fmt: skip
        if self._label and self.axes[1]:
            words.write(painter, QRectF(left, y + 2, self._label - 8, 14), self.axes[1], t.secondary, 11, align="right")

    def _image(self, painter: QPainter, camera: int) -> QImage:
        """The block in the painter's own pixels, as the window's film samples it."""
        device = painter.device()
        ratio = device.devicePixelRatio() if isinstance(device, QImage) else VECTOR_DENSITY
        width, tall = self._cells[camera]
        gap = max(round(GAP * ratio), 1)
        index = geometry.map_pixels_to_patches(
            self.results.to_model(self.frame, camera), *self.results.picture_size(camera),
            max(round(tall * ratio) - gap, 1), max(round(width * ratio) - gap, 1), self.results.grid,
        )  # fmt: skip
        coloured = colormaps.painted(self.maps[:, :, camera], self.scale.high, self.scale.colours)
        ground = 0xFF000000 | int(theme.active().window[1:], 16)
        return drawing.word_image(tile_thumbnails(coloured, index, gap, ground), blended=False)


def film(source: Source, view: ViewState, options: Options, axes: dict[str, tuple[int, ...]]) -> Figure:
    """Thumbnails of one query over one or two axes; `axes` are the chosen places on each."""
    results, along = source.results, options.along
    block, rows, columns = _thumbnails(results, view, axes)
    if view.range == "locked" and view.unit == "weight" and view.high > view.low:
        high = view.high
    else:
        high = attention.colour_range(block.reshape(1, -1), "shared", 0, 0)[0][1]
    label = "weight" if view.measure == "weight" else "weight × value norm"
    scale = ColourScale(view.colours, 0.0, high, label=label, beyond=float(block.max(initial=0)) > high * 1.001)
    across, down = {"layers": ("layer", ""), "steps": ("layer", "step"), "frames": ("frame", ""),
                    "layers-frames": ("frame", "layer")}[along]  # fmt: skip
    body = Mosaic(results, view.frame, block, columns, rows, scale, options.pixels, (across, down))
    # Thumbnails are of the whole row, linear in its weights, whatever the large panes are set to.
    made = sentence(source, replace(view, unit="weight", left_out=(), scale="linear", range="shared", compare="off"))
    details = [
        part for part in made.details.split(" · ") if "layers" not in options.axes or not part.startswith("layer ")
    ]
    about = on_scale(replace(made, details=" · ".join(details)), "one scale for all maps")
    if along == "steps":
        about = replace(about, place="(suffix, every denoise step) looks at …")
    frames = frames_of(results, axes["frame"]) if "frames" in options.axes else ""
    return titled(source, body, view, about, (scale,), words=options.caption, frames=frames)


def _thumbnails(
    results: Results, view: ViewState, axes: dict[str, tuple[int, ...]]
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """The maps (rows, columns, cameras, rows, cols) at the chosen places, what rows are called, and columns."""
    layers = tuple(str(results.layers[place]) for place in axes["layer"])
    if "frames" in view.film:
        made = read_film_over_frames(results, view, axes["frame"], lambda: False)
        assert made is not None
        columns = tuple(str(frame) for frame in made.columns)
        if view.film == "frames":
            return made.maps, ("",), columns
        return made.maps[list(axes["layer"])], layers, columns
    made = read_film(results, view)
    block = made.maps[:, list(axes["layer"])]
    if view.film == "layers":
        return block, ("",), layers
    return block[list(axes["step"])], tuple(str(results.steps[place]) for place in axes["step"]), layers


def atlas_thumbnails(source: Source, view: ViewState, options: Options) -> Figure:
    """Every head's map, layers down and heads across, the mean of heads last."""
    results = source.results
    rows = scene.measured(results, view)
    step = min(view.step, rows[0].image.shape[1] - 1)
    maps = np.mean(
        [attention.widened(np.ascontiguousarray(row.image[:, step])) for row in rows], axis=0, dtype=np.float32
    )
    maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)  # (layers, heads + 1, cameras, rows, cols)
    high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
    scale = ColourScale(view.colours, 0.0, high, beyond=float(maps.max(initial=0)) > high * 1.001)
    names = (*(str(head) for head in range(results.heads)), "mean")
    layers = tuple(str(layer) for layer in results.layers)
    body = Mosaic(results, view.frame, maps, names, layers, scale, options.pixels, ("head", "layer"))
    about = replace(score_sentence(source, view), details="every layer and head · one scale for all maps")
    return titled(source, body, view, about, (scale,), words=options.caption)
