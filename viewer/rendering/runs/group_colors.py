"""Colours of groups of episodes, and of the table of layers and heads over a run."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from viewer.rendering import colormaps, theme
from viewer.rendering.drawing import lightness

SUCCESS: Final = "#5AA3D6"
FAILURE: Final = "#E0785C"
"""The ends of the colours of a difference: blue where successes have more, red where failures have."""
STRONG_ON_DARK: Final = (0xF0805C, 0x5FB0EC)
STRONG_ON_LIGHT: Final = (0xC2452B, 0x2473B5)
"""Colours of the strongest difference in favour of failures and of successes."""
MIDDLE_LIGHTNESS: Final = 128
CELL_OPACITY: Final = 85
"""Opacity of the strongest colour, in per cent."""


def color_of_group(outcome: str) -> str:
    """Return the colour of the episodes of an outcome, `success` or `failure`; the accent for all together."""
    return {"success": SUCCESS, "failure": FAILURE}.get(outcome, theme.active().accent)


@cache
def create_difference_table(ground: int) -> npt.NDArray[np.uint32]:
    """Return the colours of a difference from failure's to success's, the ground at 0: (256,) words 0xFFRRGGBB.

    Colours go straight to the ground, without the white of a printed map, which on a dark ground is no quiet middle.

    Args:
        ground: Colour behind the cells, 0xRRGGBB.
    """
    is_dark = lightness(ground) < MIDDLE_LIGHTNESS
    failure, success = STRONG_ON_DARK if is_dark else STRONG_ON_LIGHT
    middle = _split_channels(ground)
    places = np.linspace(-1.0, 1.0, 256)
    share = np.abs(places) ** 0.8
    strong = np.where(places[:, None] < 0, _split_channels(failure), _split_channels(success))
    mixed = np.rint(middle + (strong - middle) * share[:, None]).astype(np.uint32)
    return (0xFF000000 | (mixed[:, 0] << 16) | (mixed[:, 1] << 8) | mixed[:, 2]).astype(np.uint32)


def _split_channels(color: int) -> npt.NDArray[np.float64]:
    """Return red, green and blue of a colour 0xRRGGBB."""
    return np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.float64)


def find_range(
    values: npt.NDArray[np.floating], *, is_difference: bool, starts_at_zero: bool = True
) -> tuple[float, float]:
    """Return the ends of the colour range: from 0 to the largest value, or as far on both sides of 0.

    `starts_at_zero`: of no difference; without it the range begins at the smallest value.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (-1.0, 1.0) if is_difference else (0.0, 1.0)
    if is_difference:
        most = float(np.abs(finite).max()) or 1.0
        return -most, most
    low, high = (0.0 if starts_at_zero else float(finite.min())), float(finite.max())
    if low > high:
        low = float(finite.min())
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def color_words(
    values: npt.NDArray[np.floating], ends: tuple[float, float], table: npt.NDArray[np.uint32], ground: int
) -> npt.NDArray[np.uint32]:
    """Return values as opaque words 0xFFRRGGBB of a table; where there is no value, the ground.

    Args:
        values: (layers, heads).
        ends: The values of the table's first and last colour.
        table: (256,) words.
        ground: Colour behind the cells, 0xRRGGBB.
    """
    low, high = ends
    places = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0.0, 1.0)
    words = table[np.rint(places * 255).astype(np.intp)]
    return np.where(np.isfinite(values), words, np.uint32(0xFF000000 | ground)).astype(np.uint32)


def create_heat_table(name: str, ground: int) -> npt.NDArray[np.uint32]:
    """Return the colours of a heat map over the ground: (256,) words 0xFFRRGGBB."""
    return colormaps.blend_heat(name, CELL_OPACITY, ground)
