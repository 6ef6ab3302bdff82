"""Numbers that say how much the actions changed, and how well attention agrees with that. numpy only."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FEWEST_RANKED: Final = 8
"""Values below which a rank correlation says nothing: 0.7 is then within chance."""


def root_mean_square(change: npt.ArrayLike, axes: tuple[int, ...] = (-2, -1)) -> Array:
    """Return the root mean square of a change of actions (..., H, dims) over actions and dimensions: (...)."""
    mean: Array = np.mean(np.square(np.asarray(change, np.float64)), axis=axes)
    return np.sqrt(mean)


def noise_floor(samples: npt.ArrayLike) -> tuple[float, float, Array]:
    """Return the root mean square difference between two calls that differ in their noise alone.

    `samples`: actions (S, H, dims) of S >= 3 seeds. The first number is over the whole chunk, the second one its
    standard error (jackknife over the seeds), the last one (H,) for each action token. Over all pairs of seeds the mean
    squared difference is twice the unbiased variance.
    """
    values = np.asarray(samples, np.float64)
    variance = 2 * np.var(values, axis=0, ddof=1)  # (H, dims)
    floor, count = float(np.sqrt(variance.mean())), len(values)
    left_out_floors = [
        np.sqrt(2 * np.var(np.delete(values, seed, axis=0), axis=0, ddof=1).mean()) for seed in range(count)
    ]
    error = float(np.sqrt((count - 1) * np.var(left_out_floors)))
    return floor, error, np.sqrt(variance.mean(axis=-1))


def count_smaller(effect: float, controls: npt.ArrayLike) -> tuple[int, int]:
    """Return how many control effects are smaller than `effect`, and how many there are; NaN stands for none."""
    values = np.asarray(controls, np.float64)
    values = values[np.isfinite(values)]
    return int((values < effect).sum()), len(values)


def rank(values: npt.ArrayLike) -> Array:
    """Return ranks (..., n) along the last axis from 1, equal values sharing the mean of their ranks."""
    values = np.asarray(values, np.float64)
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    count = values.shape[-1]
    starts = np.ones(values.shape, bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    index = np.arange(count)
    first = np.maximum.accumulate(np.where(starts, index, 0), axis=-1)
    ends = np.ones(values.shape, bool)
    ends[..., :-1] = starts[..., 1:]
    last = np.flip(np.minimum.accumulate(np.flip(np.where(ends, index, count), -1), axis=-1), -1)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    return ranks


def spearman(rows: npt.ArrayLike, effect: npt.ArrayLike) -> Array:
    """Return Spearman's rank correlation of each row (..., n) with `effect` (n,): (...).

    NaN where either is constant, or where fewer than `FEWEST_RANKED` values are given.
    """
    ranks, other = rank(rows), rank(effect)
    if other.shape[-1] < FEWEST_RANKED:
        return np.full(ranks.shape[:-1], np.nan)
    ranks = ranks - ranks.mean(-1, keepdims=True)
    other = other - other.mean()
    scale = np.sqrt(np.square(ranks).sum(-1) * np.square(other).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (ranks @ other) / scale, np.nan)


def area_under(curves: npt.ArrayLike, at: npt.ArrayLike) -> Array:
    """Return the area under curves (..., n) at the places `at` (n,), by the trapezoidal rule: (...)."""
    values, places = np.asarray(curves, np.float64), np.asarray(at, np.float64)
    area: Array = ((values[..., 1:] + values[..., :-1]) / 2) @ np.diff(places)
    return area
