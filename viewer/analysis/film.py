"""Films: small maps of one query along one or two axes. No Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis import scene
from viewer.analysis.effects import measured as effects
from viewer.analysis.effects.measured import create_attention_view
from viewer.analysis.query_series import find_same_query
from viewer.errors import READ_ERRORS
from viewer.model import attention
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.io.results import Results
    from viewer.model.attention import Floats, Rows
    from viewer.model.geometry import PatchGrid
    from viewer.model.view_state import ViewState

MAX_FRAMES: Final = 24
"""Frames of a film of one layer over frames."""
MAX_FRAMES_OF_LAYERS: Final = 16
"""Frames of a film of all layers over frames: fewer, so that its thumbnails can still be read."""
FILM_FIELDS: Final = ("frame", "query", "heads", "reduce", "measure", "dim", "left_out", "film")
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
    grid: PatchGrid
    """The patches of each map."""
    uniform: Floats
    """(rows of thumbnails, columns of thumbnails): weight of each key if the row were spread evenly over its keys."""
    keys: Floats
    """(rows of thumbnails, columns of thumbnails): keys that the query can see."""


def find_film_view(view: ViewState) -> ViewState:
    """Return the view whose maps a film shows: attention in place of effects but over frames, as no layer has them."""
    return view if view.film == "frames" else create_attention_view(view)


def read_film(results: Results, view: ViewState) -> Film:
    """Return the query's maps over layers at the shown step, or over layers and steps; mean of its tokens."""
    one_step = view.film == "layers" and view.query.kind == "action"
    steps = slice(view.step, view.step + 1) if one_step else slice(None)
    rows = scene.measured(results, view)

    def reduce_heads(row: Rows) -> Floats:
        parts = [_select_weights(row, name, steps, view.heads) for name in _names_of_parts(view)]
        return np.concatenate([attention.reduce_axis(part, 2, view.reduce) for part in parts], -1)

    weights = sum((reduce_heads(row) for row in rows[1:]), reduce_heads(rows[0])) / np.float32(len(rows))
    maps, uniform, keys = finish_maps(results, view, weights.swapaxes(0, 1), rows[0].action.shape[-1])
    labels = results.steps if view.film == "steps" and view.query.kind == "action" else ()
    return Film(maps, results.layers, labels, results.grid, uniform, keys)  # of (steps, layers)


def read_head_maps(results: Results, view: ViewState) -> tuple[Floats, Floats, Floats]:
    """Return the maps of every layer and head at the shown step, the mean of the heads last; mean of the tokens.

    They are (layers, heads + 1, cameras, rows, cols), with the uniform weight and the count of keys of each,
    (layers, heads + 1).
    """
    rows = scene.measured(results, view)
    step = min(view.step, rows[0].image.shape[1] - 1)

    def join_parts(row: Rows) -> Floats:
        parts = [_select_weights(row, name, slice(step, step + 1), ()) for name in _names_of_parts(view)]
        return np.concatenate(parts, -1)[:, 0]

    weights = sum((join_parts(row) for row in rows[1:]), join_parts(rows[0])) / np.float32(len(rows))
    weights = np.concatenate([weights, weights.mean(1, keepdims=True)], 1)
    return finish_maps(results, view, weights, rows[0].action.shape[-1])


def _names_of_parts(view: ViewState) -> tuple[str, ...]:
    """Return which weights are needed: those on the patches, or the whole row where its sum is needed."""
    return ("image", "text", "action") if view.left_out or view.measure == "contribution" else ("image",)


def _select_weights(row: Rows, name: str, steps: slice, heads: Sequence[int]) -> Floats:
    """Return weights of a token, (layers, steps, heads, keys), at chosen steps and heads (empty: all)."""
    block = getattr(row, name)[:, steps]
    block = block[:, :, list(heads)] if heads else block
    return attention.to_float32(np.ascontiguousarray(block)).reshape(*block.shape[:3], -1)


def finish_maps(results: Results, view: ViewState, weights: Floats, actions: int) -> tuple[Floats, Floats, Floats]:
    """Return maps (..., cameras, rows, cols) without what is left out, their uniform weights and their counts of keys.

    `weights` (..., keys): the patches alone, or all keys of the row, as in `_names_of_parts`; `actions`: how many of
    the keys are actions.
    """
    shape, keys = weights.shape[:-1], scene.count_keys(results, view.frame, actions)
    size = len(results.cameras) * results.grid.rows * results.grid.cols
    total = np.ones(shape, np.float32) if view.measure != "contribution" else weights.sum(-1)
    removed = attention.find_left_out_groups(view.left_out, results.groups) if view.left_out else None
    if removed is not None and removed.any():
        matrix = scene.group_matrix(results, view.frame)[: weights.shape[-1]]
        weights, _ = attention.drop_keys(weights, matrix[:, removed].sum(1) == 0)
    maps = weights[..., :size].reshape(*shape, len(results.cameras), *results.grid.shape)
    return maps, (total / np.float32(keys)).astype(np.float32), np.full(shape, keys, np.float32)


def read_film_over_frames(
    results: Results, view: ViewState, frames: Sequence[int], is_stale: Callable[[], bool]
) -> Film | None:
    """Return the query's maps in several frames, at the shown layer or at all; None if `is_stale()` becomes true.

    NaN in frames whose prompt lacks the words, which `query_series` tells, and in those whose maps were not kept.
    """
    view = find_film_view(view)
    layers = range(len(results.layers)) if view.film == "layers-frames" else (view.layer,)
    maps, uniform, keys = [], [], []  # the last two frame by frame, layer by layer
    for frame in frames:
        query = find_same_query(view.query, results, view.frame, frame)
        column = []
        for layer in layers:
            if is_stale():
                return None
            if query is None or (view.measure not in FROM_EFFECTS and not results.has_maps(frame)):
                tile, weight, count = np.full((len(results.cameras), *results.grid.shape), np.nan, np.float32), 1.0, 1.0
            else:
                tile, weight, count = _read_map(results, replace(view, frame=frame, query=query, layer=layer))
            column.append(tile)
            uniform.append(weight)
            keys.append(count)
        maps.append(np.stack(column))
    rows = results.layers if view.film == "layers-frames" else ()
    uniform_of, keys_of = (np.array(values, np.float32).reshape(len(frames), -1).T for values in (uniform, keys))
    return Film(np.stack(maps, 1), tuple(frames), rows, results.grid, uniform_of, keys_of)


def find_thumbnail_view(results: Results, view: ViewState, film: Film, row: int, column: int) -> ViewState | None:
    """Return the view that a thumbnail shows; None where the prompt of its frame lacks the words."""
    if view.film not in ("frames", "layers-frames"):
        return replace(view, layer=column, step=row if film.rows else view.step)
    frame = film.columns[column]
    query = find_same_query(view.query, results, view.frame, frame)
    if query is None:
        return None
    return replace(view, frame=frame, query=query, layer=row if film.rows else view.layer)


def read_shares(results: Results, view: ViewState, film: Film, row: int, column: int) -> list[float]:
    """Return the share of a thumbnail's row on each camera, as a pane's title gives it.

    NaN for a missing word, and where the row cannot be read. The sum of the thumbnail's weights differs from the share:
    they may be rounded to bfloat16, and some lie on the letterbox bars.
    """
    try:
        thumbnail_view = find_thumbnail_view(results, view, film, row, column)
        if thumbnail_view is not None:
            mass = scene.read_mass_row(results, thumbnail_view)
            return [float(mass[results.groups.index(camera)]) for camera in results.cameras]
    except READ_ERRORS:
        pass  # reported when the view is shown
    return [math.nan] * len(results.cameras)


def choose_with_maps(results: Results, frames: Sequence[int]) -> tuple[int, ...]:
    """Return those of the frames whose maps were kept."""
    return tuple(frame for frame in frames if results.has_maps(frame))


def select_frames(frames: Sequence[int], most: int = MAX_FRAMES) -> tuple[int, ...]:
    """Return at most `most` of the frames, at equal distances.

    They do not depend on the frame that is shown, so that a film is read once and stays while the user scrubs.
    """
    if len(frames) <= most:
        return tuple(frames)
    return tuple(frames[int(place)] for place in np.rint(np.linspace(0, len(frames) - 1, most)))


def _read_map(results: Results, view: ViewState) -> tuple[Floats, float, int]:
    """Return the weights on the patches of one view, (cameras, rows, cols), its uniform weight and count of keys.

    No more is read than they need.
    """
    if view.measure in FROM_EFFECTS:
        effect_map = effects.find_map(results, view.frame, view.query, view.measure, view.dim)
        shape = len(results.cameras), *results.grid.shape
        return np.full(shape, np.nan, np.float32) if effect_map is None else effect_map.values, 0.0, 1
    if len(_names_of_parts(view)) > 1:
        whole = scene.compose(results, replace(view, unit="weight"))
        return whole.maps, whole.uniform, whole.keys
    keys = scene.count_keys(results, view.frame, results.horizon if view.query.kind == "action" else 0)
    total: Floats | None = None
    tokens = scene.find_query_tokens(results, view.frame, view.query)
    for token in tokens:
        block = results.column(view.frame, view.query.kind, view.layer, token)
        block = attention.to_float32(block[min(view.step, len(block) - 1)])
        maps = attention.reduce_axis(block[list(view.heads)] if view.heads else block, 0, view.reduce)
        total = maps if total is None else total + maps
    if total is None:
        total = np.zeros((len(results.cameras), *results.grid.shape), np.float32)
    return total / np.float32(max(len(tokens), 1)), 1 / keys, keys


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
