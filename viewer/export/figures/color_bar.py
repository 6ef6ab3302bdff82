"""The colour bar under a figure, with round numbers at its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF

from viewer.export.figures import text_layout
from viewer.model import attention
from viewer.rendering import colormaps, drawing, theme, ticks
from viewer.rendering.axes import BAR_GAP, BAR_TICKS, RANK_AXIS, Axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.scene import Scene
    from viewer.model.view_state import ViewState

HEIGHT: Final = 44.0
BAR_HEIGHT: Final = 10.0
ENTRIES: Final = 256
TICK_PIXELS: Final = 11
"""Font size of the numbers."""


MEASURE_LABELS: Final = {"weight": "weight", "contribution": "weight × value norm", "effect": "effect, × noise",
                         "gradient": "attention × gradient, relevance"}  # fmt: skip
"""What the numbers of a colour bar are, by the measure."""


@dataclass(frozen=True)
class ColorScale:
    """A colour range in the unit that is shown."""

    colours: str
    low: float
    high: float
    scale: str = "linear"
    label: str = "weight"
    reversed: bool = False
    """Whether low numbers have the bright colours, as for entropy."""
    largest: float = 0.0
    """Largest of the painted numbers, in absolute terms for a difference."""
    beyond: int = 0
    """Patches beyond the ends, which have the colours of the ends."""
    is_difference: bool = False


def color_scales(
    scene: Scene, view: ViewState, cameras: tuple[str, ...], others: Sequence[Scene] = ()
) -> tuple[ColorScale, ...]:
    """Return the colour scales of a scene: one for all cameras, or one for each.

    `others`: further scenes of the figure with the same colour range.
    """
    unit = MEASURE_LABELS[view.measure]
    if view.unit == "uniform" and scene.effect is None:
        unit = f"{unit}, times uniform"
    if scene.difference:
        ends = scene.ranges[0] if scene.ranges else (-1.0, 1.0)
        return (measure_scale(ColorScale(colormaps.DIFFERENCE, *ends, label=f"difference of {unit}",
                                          is_difference=True), scene.maps),)  # fmt: skip
    if len(set(scene.ranges)) == 1:
        scale = ColorScale(view.colours, *scene.ranges[0], view.scale, unit)
        return (measure_scale(scale, scene.maps, *(other.maps for other in others)),)
    return tuple(
        measure_scale(ColorScale(view.colours, *ends, view.scale, f"{camera}, {unit}"), maps)
        for camera, ends, maps in zip(cameras, scene.ranges, scene.maps, strict=True)
    )


def measure_scale(scale: ColorScale, *values: attention.Floats) -> ColorScale:
    """Return a scale with the largest of the painted values and how many lie beyond its ends."""
    sizes = [np.nan_to_num(np.abs(value) if scale.is_difference else value) for value in values]
    largest = max(float(size.max(initial=0)) for size in sizes)
    beyond = sum(int((size > np.float32(scale.high) * np.float32(1 + 1e-6)).sum()) for size in sizes)
    return replace(scale, largest=largest, beyond=beyond)


def describe_largest(scale: ColorScale) -> str:
    """Return the largest value in the words of the window's colour bar: `6 patches above, up to 0.090`."""
    largest = f"{'±' if scale.is_difference else ''}{ticks.format_number(scale.largest)}"
    if not scale.beyond or scale.scale == "rank":
        return f"largest {largest}"
    patches = f"{scale.beyond} patch{'' if scale.beyond == 1 else 'es'}"
    return f"{patches} {'beyond' if scale.is_difference else 'above'}, up to {largest}"


def find_scale_ticks(scale: ColorScale, width: float) -> list[tuple[float, str]]:
    """Return the numbers of a colour bar that is `width` px wide: position from 0 to 1, and text."""
    low, high = scale.low, scale.high
    if scale.scale != "log":
        axis = RANK_AXIS if scale.scale == "rank" else Axis(low, high)
        axis_ticks = axis.ticks(width, _measure_text, most=BAR_TICKS, gap=BAR_GAP)
        return [(axis.place_of(tick.value), tick.text) for tick in axis_ticks]
    top = math.log10(high) if high > 0 else 0.0
    bottom = max(math.log10(low) if low > 0 else -math.inf, top - 3)
    span = max(top - bottom, 1e-9)
    decades = ticks.find_log_ticks(10.0**bottom, 10.0**top)
    return [((math.log10(tick.value) - bottom) / span, tick.text) for tick in decades]


def _measure_text(text: str) -> float:
    return text_layout.measure_text_width(text, TICK_PIXELS)


def draw(painter: QPainter, left: float, top: float, width: float, scale: ColorScale) -> None:
    """Draw a bar of `width` px with its label above and its numbers below, HEIGHT px tall."""
    colors = theme.active()
    label = QRectF(left, top, width, 16)
    text_layout.draw_line(painter, label, scale.label, colors.secondary, 11)
    end = describe_largest(scale)
    if text_layout.measure_text_width(scale.label, 11) + 12 + text_layout.measure_text_width(end, 11) > width:
        end = describe_largest(replace(scale, beyond=0))
    text_layout.draw_line(painter, label, end, colors.secondary, 11, align="right")
    positions = np.linspace(0, 1, ENTRIES, dtype=np.float32)
    if scale.reversed:
        positions = positions[::-1]
    table = colormaps.opaque(scale.colours)[np.rint(positions * 255).astype(np.intp)][None]
    # Each entry as four pixels, because PDF viewers smooth images that they enlarge.
    image = drawing.create_word_image(np.repeat(np.repeat(table, 4, 1), 8, 0), blended=False)
    box = QRectF(left, top + 17, width, BAR_HEIGHT)
    painter.drawImage(box, image)
    for part, text in find_scale_ticks(scale, width):
        x = left + part * width
        painter.fillRect(
            QRectF(x - 0.5 if 0 < part < 1 else x - part, box.bottom(), 1, 3), theme.color(colors.secondary)
        )
        half = _measure_text(text) / 2
        centre = min(max(x, left + half), left + width - half)
        place = QRectF(centre - 60, box.bottom() + 3, 120, 14)
        text_layout.draw_line(painter, place, text, colors.text, TICK_PIXELS, align="centre")


def find_table_positions(values: attention.Floats, scale: ColorScale) -> attention.Floats:
    """Return where values lie in the scale's colour table, from 0 to 1."""
    return attention.places(values, scale.low, scale.high, scale.scale)
