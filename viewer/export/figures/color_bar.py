"""The colour bar under a figure: which number has which colour, with round numbers at its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF

from viewer.export.figures import text_layout as words
from viewer.model import attention
from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from PySide6.QtGui import QPainter

    from viewer.analysis.scene import Scene
    from viewer.model.view_state import ViewState

HEIGHT: Final = 44.0
BAR: Final = 10.0
ENTRIES: Final = 256


@dataclass(frozen=True)
class ColourScale:
    """One colour range in the unit that is shown."""

    colours: str
    low: float
    high: float
    scale: str = "linear"
    label: str = "weight"
    upside_down: bool = False
    """Whether low numbers are hot, as for entropy."""
    beyond: bool = False
    """Whether some numbers lie beyond the ends, in the colours of the ends."""


def of_scene(scene: Scene, view: ViewState, cameras: tuple[str, ...]) -> tuple[ColourScale, ...]:
    """The scale of a view: one for all cameras, or one each."""
    unit = "weight" if view.measure == "weight" else "weight × value norm"
    if view.unit == "uniform":
        unit = f"{unit}, times uniform"
    if scene.difference:
        low, high = scene.ranges[0] if scene.ranges else (-1.0, 1.0)
        beyond = _beyond(np.abs(scene.maps), high)
        return (ColourScale(colormaps.DIFFERENCE, low, high, label=f"difference of {unit}", beyond=beyond),)
    if len(set(scene.ranges)) == 1:
        low, high = scene.ranges[0]
        return (ColourScale(view.colours, low, high, view.scale, unit, beyond=_beyond(scene.maps, high)),)
    return tuple(
        ColourScale(view.colours, low, high, view.scale, f"{camera}, {unit}", beyond=_beyond(maps, high))
        for camera, (low, high), maps in zip(cameras, scene.ranges, scene.maps, strict=True)
    )


def _beyond(values: attention.Floats, high: float) -> bool:
    return float(values.max(initial=0)) > high * 1.001


def ticks(scale: ColourScale) -> list[tuple[float, str]]:
    """Where numbers stand on the bar, 0 to 1, and what they are: round ones, and the ends."""
    low, high = scale.low, scale.high
    if scale.scale == "rank":
        return [(part, f"{100 * part:.0f} %") for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if scale.scale == "log":
        bottom = max(math.log10(low) if low > 0 else -math.inf, math.log10(high) - 3) if high > 0 else -3.0
        top = math.log10(high) if high > 0 else 0.0
        decades = range(math.ceil(bottom - 1e-6), math.floor(top + 1e-6) + 1)
        span = max(top - bottom, 1e-9)
        return [((decade - bottom) / span, _plain(10.0**decade)) for decade in decades]
    span = high - low
    if not span > 0:
        return []
    power = 10.0 ** math.floor(math.log10(span))
    for step in (factor * power for factor in (1, 0.5, 0.25, 0.2, 0.1)):
        first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
        if last - first >= 3:
            break
    return [((number * step - low) / span, _plain(number * step)) for number in range(first, last + 1)]


def _plain(value: float) -> str:
    """A round number without needless digits."""
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        mantissa, power = f"{value:.4e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    else:
        text = f"{value:.6f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def paint(painter: QPainter, left: float, top: float, width: float, scale: ColourScale) -> None:
    """A bar of `width` with its label above and its numbers below, HEIGHT tall."""
    t = theme.active()
    label = QRectF(left, top, width, 16)
    words.write(painter, label, scale.label, t.secondary, 11)
    if scale.scale != "rank":
        end = f"{drawing.number(scale.high)} and more" if scale.beyond else f"up to {drawing.number(scale.high)}"
        words.write(painter, label, end, t.secondary, 11, align="right")
    at = np.linspace(0, 1, ENTRIES, dtype=np.float32)
    if scale.upside_down:
        at = at[::-1]
    table = colormaps.opaque(scale.colours)[np.rint(at * 255).astype(np.intp)][None]
    # Each entry as four pixels: viewers of PDF smooth what they enlarge.
    image = drawing.word_image(np.repeat(np.repeat(table, 4, 1), 8, 0), blended=False)
    box = QRectF(left, top + 17, width, BAR)
    painter.drawImage(box, image)
    used = -1e9
    for part, text in ticks(scale):
        x = left + part * width
        painter.fillRect(QRectF(x - 0.5 if 0 < part < 1 else x - part, box.bottom(), 1, 3), theme.colour(t.secondary))
        half = words.width_of(text, 11) / 2
        centre = min(max(x, left + half), left + width - half)
        if centre - half > used + 6:
            words.write(painter, QRectF(centre - 60, box.bottom() + 3, 120, 14), text, t.text, 11, align="centre")
            used = centre + half


def places(values: attention.Floats, scale: ColourScale) -> attention.Floats:
    """Where values lie on the scale's table."""
    return attention.places(values, scale.low, scale.high, scale.scale)
