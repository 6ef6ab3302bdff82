"""Texts of the wall of heads, in the window and in figures: names of the tiles, the scale of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.scores import find_score
from viewer.rendering import drawing, ticks

if TYPE_CHECKING:
    from viewer.analysis.heads_wall import HeadsWall
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


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
