"""Round numbers and their texts, the same in every plot, colour bar, caption and figure. No Qt.

Ticks stand at multiples of 1, 2 or 5 times a power of ten. The texts of one axis have equally many decimals, as many as
its step needs, so that no two of them are the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FACTORS: Final = (1, 2, 5)
SMALLEST_PLAIN: Final = 1e-4
"""Smaller numbers, and numbers from LARGEST_PLAIN on, are written with an exponent."""
LARGEST_PLAIN: Final = 1e6
TOLERANCE: Final = 1e-6
"""Share of a step by which a tick may lie outside the axis: ends are often rounded to float32."""


class Tick(NamedTuple):
    """One number of an axis."""

    value: float
    """In the unit of the axis."""
    text: str


def round_step(least: float, *, whole: bool = False) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`; at least 1 if `whole`."""
    if whole:
        least = max(least, 1.0)
    if not 0 < least < math.inf:
        return 1.0
    power = math.floor(math.log10(least))
    steps = (_scale_by_power(factor, power + up) for up in (0, 1) for factor in FACTORS)
    return next(step for step in steps if step >= least * (1 - 1e-9))


def _scale_by_power(value: float, power: int) -> float:
    """Return value x 10^power, without the rounding error of negative powers of ten."""
    return value * 10.0**power if power >= 0 else value / 10.0**-power


def find_ticks(
    low: float, high: float, most: int = 5, *, factor: float = 1.0, unit: str = "", whole: bool = False
) -> tuple[Tick, ...]:
    """Return at most `most` round numbers from `low` to `high`, ascending.

    Args:
        low: Lower end of the axis.
        high: Upper end; no tick where it is not above `low`, or where an end is not finite.
        most: Largest number of ticks, at least 2.
        factor: What values are multiplied by in their texts: 100 for a share in %.
        unit: Written after each number, with a space: `%`.
        whole: Whether only whole numbers are ticks: of frames, layers, steps.
    """
    span = high - low
    if not 0 < span < math.inf or not math.isfinite(low):
        return ()
    step = round_step(span * factor / (max(most, 2) - 1), whole=whole)
    first = math.ceil(low * factor / step - TOLERANCE)
    last = math.floor(high * factor / step + TOLERANCE)
    numbers = range(first, last + 1)
    texts = _format_multiples(numbers, step)
    suffix = f" {unit}" if unit else ""
    return tuple(
        Tick(min(max(number * step / factor, low), high), text + suffix)
        for number, text in zip(numbers, texts, strict=True)
    )


def _format_multiples(numbers: range, step: float) -> list[str]:
    """Return the texts of multiples of a step, with equally many decimals; 0 has none."""
    largest = step * max((abs(number) for number in (*numbers[:1], *numbers[-1:])), default=1)
    power = math.floor(math.log10(step) + 1e-9)
    shift = 0
    if largest and not SMALLEST_PLAIN <= largest < LARGEST_PLAIN:
        shift = math.floor(math.log10(largest) + 1e-9)
    decimals, exponent = max(shift - power, 0), f"e{shift}" if shift else ""
    unit = _scale_by_power(step, -shift)
    return [(f"{number * unit:.{decimals}f}{exponent}" if number else "0").replace("-", "−") for number in numbers]


def fit_ticks(
    low: float,
    high: float,
    room: float,
    measure: Callable[[str], float],
    *,
    gap: float = 8.0,
    most: int = 11,
    factor: float = 1.0,
    unit: str = "",
    whole: bool = False,
) -> tuple[Tick, ...]:
    """Return as many ticks as have room beside each other, up to `most`; of one only where not even two fit.

    Args:
        low: Lower end of the axis.
        high: Upper end.
        room: Length of the axis in px.
        measure: Returns the width of a text in px.
        gap: Least distance of two texts in px.
        most: Largest number of ticks.
        factor: See `find_ticks`; so `unit` and `whole`.
        unit: Written after each number.
        whole: Whether only whole numbers are ticks.
    """
    for count in range(max(most, 2), 1, -1):
        ticks = find_ticks(low, high, count, factor=factor, unit=unit, whole=whole)
        widest = max((measure(tick.text) for tick in ticks), default=0.0)
        if len(ticks) < 2 or (ticks[1].value - ticks[0].value) / (high - low) * room >= widest + gap:
            return ticks
    return ticks[:1]


def find_log_ticks(low: float, high: float, most: int = 5) -> tuple[Tick, ...]:
    """Return the powers of ten from `low` to `high`, both above 0.

    With 2 and 5 times them where all these are no more than `most`; else, of more powers than that, every second ...
    """
    if not 0 < low < high < math.inf:
        return ()
    bottom, top = math.log10(low) - TOLERANCE, math.log10(high) + TOLERANCE
    powers = range(math.floor(bottom), math.floor(top) + 1)
    candidates = [
        _scale_by_power(factor, power)
        for power in powers
        for factor in FACTORS
        if bottom <= math.log10(factor) + power <= top
    ]
    decades = [_scale_by_power(1, power) for power in powers if power >= bottom]
    values = candidates if len(candidates) <= most else decades[:: max(-(-len(decades) // most), 1)]
    return tuple(Tick(value, _format_exact(value)) for value in values)


def _format_exact(value: float) -> str:
    """Return a number of one digit, such as 0.005 or 2e−6."""
    if SMALLEST_PLAIN <= value < LARGEST_PLAIN:
        return f"{value:.{max(-math.floor(math.log10(value) + 1e-9), 0)}f}"
    mantissa, power = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(power)}".replace("-", "−")


def find_axis_top(largest: float, most: int = 5, *, ceiling: float = math.inf) -> float:
    """Return the round number at which an axis from 0 ends, so that the last of its at most `most` ticks is its end.

    Args:
        largest: Largest value on the axis.
        most: Largest number of ticks.
        ceiling: Largest value that there can be: 1 for weights and masses, above which the axis never runs.
    """
    if not 0 < largest < math.inf:
        return min(1.0, ceiling)
    step = round_step(largest / (max(most, 2) - 1))
    return min(math.ceil(largest / step - TOLERANCE) * step, ceiling)


def find_label_step(count: int, widest: float, room: float, *, gap: float = 8.0) -> int:
    """Return n such that the labels of every nth of `count` equally spaced places fit: 1, 2, 5, 10, 20 ...

    Args:
        count: Number of places.
        widest: Width of the widest label in px.
        room: Length of the axis in px.
        gap: Least distance of two labels in px.
    """
    return round(round_step((widest + gap) * count / max(room, 1e-6), whole=True))


def format_number(value: float, digits: int = 2) -> str:
    """Return a weight as text with `digits` significant digits, – if it is not finite.

    Plain from 0.0001 on, `2.3e−5` below; whole numbers are written out.
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    rounded = float(f"{value:.{digits - 1}e}")
    if SMALLEST_PLAIN <= abs(rounded) < LARGEST_PLAIN:
        decimals = max(digits - 1 - math.floor(math.log10(abs(rounded)) + 1e-9), 0)
        text = f"{rounded if decimals else value:.{decimals}f}"
    else:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", "−")


def format_share(value: float) -> str:
    """Return a share, 0 to 1, as a percentage with one decimal."""
    return f"{100 * value:.1f} %".replace("-", "−")
