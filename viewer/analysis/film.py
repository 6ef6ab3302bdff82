"""Films: small maps of one query along one or two axes. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis import scene
from viewer.model import attention

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.geometry import PatchGrid
    from viewer.model.view_state import ViewState

MAX_FRAMES: Final = 24
"""Frames of a film of one layer over frames."""
MAX_FRAMES_OF_LAYERS: Final = 16
"""Frames of a film of all layers over frames: fewer, so that its thumbnails can still be read."""
FILM_FIELDS: Final = ("frame", "query", "heads", "reduce", "measure", "film")
"""Fields of a view that every film depends on."""


@dataclass(frozen=True, eq=False)
class Film:
    """Thumbnails of one query along one or two axes."""

    maps: Floats
    """(rows of thumbnails, columns of thumbnails, cameras, rows, cols)"""
    columns: tuple[int, ...]
    """Labels of the columns: numbers of layers or frames."""
    rows: tuple[int, ...]
    """Labels of the rows: step or layer numbers where there are several, else empty."""
    high: float
    """Upper end of the one colour range of all thumbnails."""
    grid: PatchGrid
    """The patches of each map."""


def read_film(results: Results, view: ViewState) -> Film:
    """Return the query's maps over layers at the shown step, or over layers and steps; mean of its tokens."""
    one_step = view.film == "layers" and view.query.kind == "action"
    steps = slice(view.step, view.step + 1) if one_step else slice(None)
    total: Floats | None = None
    rows = scene.measured(results, view)
    for row in rows:
        block = row.image[:, steps][:, :, list(view.heads)] if view.heads else row.image[:, steps]
        maps = attention.together(attention.widened(np.ascontiguousarray(block)), 2, view.reduce)
        total = maps if total is None else total + maps
    assert total is not None
    maps = (total / np.float32(len(rows))).swapaxes(0, 1)  # (steps, layers, cameras, rows, cols)
    labels = results.steps if view.film == "steps" and view.query.kind == "action" else ()
    return _make_film(results, maps, results.layers, labels)


def read_film_over_frames(
    results: Results, view: ViewState, frames: Sequence[int], is_stale: Callable[[], bool]
) -> Film | None:
    """Return the query's maps in several frames, at the shown layer or at all; None once `is_stale` says so."""
    layers = range(len(results.layers)) if view.film == "layers-frames" else (view.layer,)
    maps = []
    for frame in frames:
        query = scene.matched(view.query, results, view.frame, results, frame)
        column = []
        for layer in layers:
            if is_stale():
                return None
            column.append(_read_map(results, replace(view, frame=frame, query=query, layer=layer)))
        maps.append(np.stack(column))
    rows = results.layers if view.film == "layers-frames" else ()
    return _make_film(results, np.stack(maps, 1), tuple(frames), rows)


def select_frames(frames: Sequence[int], most: int = MAX_FRAMES) -> tuple[int, ...]:
    """Return at most `most` of the frames, at equal distances.

    They do not depend on the frame that is shown, so that a film is read once and stays while the user scrubs.
    """
    if len(frames) <= most:
        return tuple(frames)
    return tuple(frames[int(place)] for place in np.rint(np.linspace(0, len(frames) - 1, most)))


def _read_map(results: Results, view: ViewState) -> Floats:
    """Return the weights on the patches of one view, (cameras, rows, cols), reading no more than that."""
    total: Floats | None = None
    tokens = scene.tokens_of(results, view.frame, view.query)
    norms = None if view.measure == "weight" else scene.norms_of(results, view.frame, view.query.kind)
    for token in tokens:
        block = results.column(view.frame, view.query.kind, view.layer, token)
        block = attention.widened(block[min(view.step, len(block) - 1)])
        if norms is not None:
            block = block * norms[0][view.layer]
        maps = attention.together(block[list(view.heads)] if view.heads else block, 0, view.reduce)
        total = maps if total is None else total + maps
    if total is None:
        return np.zeros((len(results.cameras), *results.grid.shape), np.float32)
    mean: Floats = total / np.float32(len(tokens))
    return mean


def _make_film(results: Results, maps: Floats, columns: tuple[int, ...], rows: tuple[int, ...]) -> Film:
    high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1] if maps.size else 1.0
    return Film(maps, columns, rows, high, results.grid)


def tile_thumbnails(
    words: npt.NDArray[np.uint32], index: npt.NDArray[np.intp], gap: int, background: int
) -> npt.NDArray[np.uint32]:
    """Return thumbnails of coloured maps (rows, columns, patch rows, patch cols) as one image, each followed by a gap.

    `words` are pixels 0xAARRGGBB. `index` (h, w) says which patch, counted row by row, a pixel of a thumbnail shows.
    """
    rows, columns, down, across = words.shape
    height, width = index.shape
    patch_col, patch_row = index[0] % across, index[:, 0] // across
    if not (index == patch_row[:, None] * across + patch_col).all():  # the picture was turned on its way into the model
        whole = np.full((rows, height + gap, columns, width + gap), background, np.uint32)
        whole[:, :height, :, :width] = words.reshape(rows, columns, -1)[:, :, index].transpose(0, 2, 1, 3)
        return whole.reshape(rows * (height + gap), columns * (width + gap))
    # Columns of pixels from columns of patches, then lines from those: the second is a plain copy of whole lines.
    strips = np.full((rows, down + 1, columns, width + gap), background, np.uint32)
    strips[:, :down, :, :width] = words[..., patch_col].transpose(0, 2, 1, 3)
    lines = np.concatenate([patch_row, np.full(gap, down)])
    return strips[:, lines].reshape(rows * (height + gap), columns * (width + gap))
