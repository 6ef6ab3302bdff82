"""Figures of many small maps on one colour range: films over layers, steps or frames, and the atlas in thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from viewer import attention, colourmaps, drawing, geometry, overview, scene, theme
from viewer.export import lettering as words
from viewer.export.bar import ColourScale
from viewer.export.charts import LABEL, score_sentence
from viewer.export.figure import Figure, frames_of, name_of, on_scale, sentence, titled
from viewer.export.pane import VECTOR_DENSITY

if TYPE_CHECKING:
    from viewer.attention import Floats
    from viewer.export.options import Options
    from viewer.export.scenes import Source
    from viewer.results import Results
    from viewer.state import ViewState

GAP: Final = 2
HEAD: Final = 20.0
FOOT: Final = 32.0


@dataclass(frozen=True)
class Mosaic:
    """Blocks of thumbnails, one a camera, under each other or side by side."""

    results: Results
    frame: int
    maps: Floats
    """(rows, columns, cameras, 16, 16)"""
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
            words.write(painter, line, name_of(self.results.cameras[camera]), t.text, 12, bold=True)
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
        index = geometry.sampling(
            self.results.to_model(self.frame, camera), *self.results.picture_size(camera),
            max(round(tall * ratio) - gap, 1), max(round(width * ratio) - gap, 1),
        )  # fmt: skip
        coloured = colourmaps.painted(self.maps[:, :, camera], self.scale.high, self.scale.colours)
        ground = 0xFF000000 | int(theme.active().window[1:], 16)
        return drawing.word_image(overview.mosaic(coloured, index, gap, ground), blended=False)


def film(source: Source, view: ViewState, options: Options, places: tuple[int, ...]) -> Figure:
    """Thumbnails of one query over layers, layers x denoise steps, or frames; `places` are the chosen ones."""
    results, along = source.results, options.along
    rows: tuple[str, ...]
    if along == "frames":
        maps = []
        for frame in places:
            query = scene.matched(view.query, results, view.frame, results, frame)
            maps.append(overview.row_map(results, replace(view, frame=frame, query=query)))
        block = np.stack(maps)[None]
        columns, rows = tuple(str(frame + 1) for frame in places), ("",)
        axes = ("frame", "")
    else:
        made = overview.film(results, view)
        block = made.maps[:, list(places)] if along == "layers" else made.maps[list(places)]
        layers = [results.layers[place] for place in places] if along == "layers" else list(results.layers)
        columns = tuple(str(layer) for layer in layers)
        rows = tuple(str(results.steps[place]) for place in places) if along == "steps" else ("",)
        axes = ("layer", "step" if along == "steps" else "")
    if view.range == "locked" and view.high > view.low:
        high = view.high
    else:
        high = attention.colour_range(block.reshape(1, -1), "shared", 0, 0)[0][1]
    label = "weight" if view.measure == "weight" else "weight × value norm"
    scale = ColourScale(view.colours, 0.0, high, label=label, beyond=float(block.max(initial=0)) > high * 1.001)
    body = Mosaic(results, view.frame, block, columns, rows, scale, options.pixels, axes)
    made_sentence = sentence(source, view)
    gone = {"layers": "layer ", "steps": "layer ", "frames": "frame "}[along]
    details = [part for part in made_sentence.details.split(" · ") if not part.startswith(gone)]
    about = on_scale(replace(made_sentence, details=" · ".join(details)), "one scale for all maps")
    if along == "steps":
        about = replace(about, place="(suffix, every denoise step) looks at …")
    frames = frames_of(results, places) if along == "frames" else ""
    return titled(source, body, view, about, (scale,), words=options.caption, frames=frames)


def atlas_thumbnails(source: Source, view: ViewState, options: Options) -> Figure:
    """Every head's map, layers down and heads across, the mean of heads last."""
    results = source.results
    rows = scene.measured(results, view)
    step = min(view.step, rows[0].image.shape[1] - 1)
    maps = np.mean(
        [attention.widened(np.ascontiguousarray(row.image[:, step])) for row in rows], axis=0, dtype=np.float32
    )
    maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)  # (layers, heads + 1, cameras, 16, 16)
    high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1]
    scale = ColourScale(view.colours, 0.0, high, beyond=float(maps.max(initial=0)) > high * 1.001)
    names = (*(str(head) for head in range(results.heads)), "mean")
    layers = tuple(str(layer) for layer in results.layers)
    body = Mosaic(results, view.frame, maps, names, layers, scale, options.pixels, ("head", "layer"))
    about = replace(score_sentence(source, view), details="every layer and head · one scale for all maps")
    return titled(source, body, view, about, (scale,), words=options.caption)
