"""Effects as multiples of the noise floor, the spread that the sampler alone makes: values and words. No Qt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def root_mean_square(values: npt.ArrayLike) -> float:
    """Return the root mean square of some numbers; NaN of none."""
    array = np.asarray(values, np.float64)
    return float(np.sqrt(np.square(array).mean())) if array.size else float("nan")


def multiple_of(effect: float, floor: float) -> float:
    """Return an effect as a multiple of the noise floor; NaN where there is no noise."""
    return effect / floor if floor > 0 else float("nan")


def format_multiple(value: float) -> str:
    """Return a multiple of the noise with about two digits, such as 4.1 × or 0.016 ×; – where there is none."""
    if not np.isfinite(value):
        return "–"
    digits = ".0f" if abs(value) >= 99.5 else ".1f" if abs(value) >= 0.95 else ".2g"
    text = f"{value:{digits}}"
    return f"{text.replace('-', '−')} ×"


def format_noise(floor: float, seeds: int) -> str:
    """Return a noise floor and what it is from: noise 0.13 (root mean square, normalised units, 8 seeds)."""
    of = f", {seeds} seeds" if seeds else ""
    return f"noise {floor:.2g} (root mean square, normalised units{of})" if np.isfinite(floor) else ""
