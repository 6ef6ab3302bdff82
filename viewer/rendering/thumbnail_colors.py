"""Colours of small maps: each looks as its pictures would with the same settings of the heat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis.effects.measured import create_attention_view
from viewer.analysis.film import find_film_view, read_head_maps
from viewer.model import attention, geometry
from viewer.model.attention import UNIFORM_SPAN
from viewer.model.view_state import FROM_EFFECTS
from viewer.rendering import colormaps

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

COLOR_FIELDS: Final = ("colours", "scale", "unit", "range", "low", "high")
"""Fields of a view that the colours of thumbnails depend on."""


def find_thumbnail_levels(maps: Floats, view: ViewState, uniform: Floats, keys: Floats) -> npt.NDArray[np.uint8]:
    """Return the place of each patch in the colour table, 0 to 255, as the heat map of that view has it.

    Args:
        maps: Weights, (..., cameras, rows, cols).
        view: Scale, unit and range of the heat. A range that follows the weights is that of each thumbnail.
        uniform: Weight of each key if the row were spread evenly over its keys, (...).
        keys: Keys that the query can see, (...).
    """
    lead, cameras = maps.shape[:-3], maps.shape[-3]
    tiles = maps.reshape(-1, cameras, maps.shape[-2] * maps.shape[-1])
    if view.scale == "rank":
        placed = np.empty(tiles.shape, np.float32)
        for tile, out in zip(tiles, placed, strict=True):
            out[:] = attention.places(tile, 0.0, 1.0, "rank")
    else:
        ends = _find_ends(tiles, view, uniform.reshape(-1), keys.reshape(-1))
        placed = attention.scale_between(tiles, *ends, view.scale)
    placed *= 255
    return np.rint(placed, out=placed).astype(np.uint8).reshape(*lead, *maps.shape[-3:])


def _find_ends(tiles: Floats, view: ViewState, uniform: Floats, keys: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the colour range of each thumbnail, as weights: twice (tiles, 1), or (tiles, cameras)."""
    if view.range == "locked" and view.high > view.low:  # given in the shown unit
        unit = (keys if view.unit == "uniform" else np.ones_like(keys))[:, None]
        return view.low / unit, view.high / unit
    if view.range == "map":
        return np.zeros(tiles.shape[:2], np.float32), attention.find_upper_ends(tiles)
    high = attention.find_upper_ends(tiles.reshape(len(tiles), -1))
    low = np.zeros_like(high)
    if view.range == "uniform":
        low, high = uniform, np.maximum(high, UNIFORM_SPAN * uniform)
    return low[:, None], high[:, None]


def color_thumbnails(maps: Floats, view: ViewState, uniform: Floats, keys: Floats) -> npt.NDArray[np.uint32]:
    """Return thumbnails as opaque 0xFFRRGGBB words, like `maps`; see `find_thumbnail_levels`."""
    return np.take(colormaps.opaque(view.colours), find_thumbnail_levels(maps, view, uniform, keys), mode="clip")


def render_head_thumbnails(results: Results, view: ViewState) -> npt.NDArray[np.uint32]:
    """Return the map of every head at the shown step as 0xFFRRGGBB words, the mean of the heads last.

    They are (layers, heads + 1, 9, 16 x cameras): the cameras' pictures side by side.
    """
    view = create_attention_view(view)
    maps, uniform, keys = read_head_maps(results, view)
    words = color_thumbnails(maps, view, uniform, keys)
    flat = words.reshape(*words.shape[:3], -1)
    parts = []
    for camera in range(len(results.cameras)):
        index = geometry.map_pixels_to_patches(
            results.to_model(view.frame, camera), *results.picture_size(camera), 9, 16, results.grid
        )
        parts.append(flat[:, :, camera][..., index])
    return np.concatenate(parts, -1)


def describe_thumbnail_scale(view: ViewState) -> str:
    """Return on which scale thumbnails are coloured."""
    if view.scale == "rank":
        return "each by rank of its own patches"
    scale = {
        "uniform": "each on its own scale, from 1 × uniform",
        "shared": "each on its own scale",
        "map": "each camera’s on its own scale",
        "locked": "all on the locked scale",
    }[view.range]
    return f"{scale}, log" if view.scale == "log" else scale


def describe_film(view: ViewState) -> str:
    """Return on which scale the thumbnails of a film are coloured, and what they show where that is not the measure."""
    if view.measure not in FROM_EFFECTS:
        return describe_thumbnail_scale(find_film_view(view))
    if view.film != "frames":
        scale = describe_thumbnail_scale(find_film_view(view))
        return f"attention, as {view.measure}s have no layers; {scale}"
    # No effect is what a spread row is to attention: they begin at 0.
    scale = describe_thumbnail_scale(replace(view, range="shared") if view.range == "uniform" else view)
    return f"{view.measure}s{'' if view.dim is None else f' of dimension {view.dim}'}, {scale}"
