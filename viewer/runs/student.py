"""Student's t distribution, for arrays, without scipy. No Qt."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
_ROUNDS: Final = 400
_TINY: Final = 1e-300
_PRECISION: Final = 1e-13


def two_sided_p(t: npt.ArrayLike, degrees: npt.ArrayLike) -> Doubles:
    """Return the probability of a |t| at least as large, for degrees of freedom > 0; NaN where either is NaN.

    P(|T| ≥ |t|) = I_x(ν/2, 1/2) with x = ν / (ν + t²), I the regularised incomplete beta function (Abramowitz and
    Stegun 1964, 26.7.1).
    """
    values, nu = np.broadcast_arrays(np.abs(np.asarray(t, np.float64)), np.asarray(degrees, np.float64))
    x = 1 / (1 + (np.minimum(values, 1e150) ** 2) / nu)
    return np.where(np.isinf(values), 0.0, _incomplete_beta(nu / 2, 0.5, x))


def quantile(probability: float, degrees: npt.ArrayLike) -> Doubles:
    """Return t with P(T ≤ t) = `probability`, above 0.5; NaN where degrees are NaN or not above 0.

    Newton's method, from an expansion in 1 / degrees where there are some, else from the normal distribution's
    quantile, which is below: the tail is convex, so that every step from there stays below the answer.
    """
    nu = np.asarray(degrees, np.float64)
    nu = np.where(nu > 0, nu, np.nan)
    tail = 2 * (1 - probability)
    log_front = _log_gamma((nu + 1) / 2) - _log_gamma(nu / 2) - np.log(nu * math.pi) / 2
    estimate = _expand_quantile(NormalDist().inv_cdf(probability), nu)
    for _ in range(_ROUNDS):
        slope = 2 * np.exp(log_front - (nu + 1) / 2 * np.log1p(estimate**2 / nu))
        step = (two_sided_p(estimate, nu) - tail) / slope
        estimate = estimate + step
        if not np.any(np.abs(step) > 1e-10 * estimate):
            break
    return estimate


def _expand_quantile(z: float, nu: Doubles) -> Doubles:
    """Return about t for a quantile z of the normal distribution (Abramowitz and Stegun 1964, 26.7.5)."""
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return np.where(nu > 4, z + first / nu + second / nu**2, z + 0 * nu)


def normal_cdf(value: float) -> float:
    """Return P(Z ≤ value) of the standard normal distribution."""
    return NormalDist().cdf(value)


def _incomplete_beta(a: npt.ArrayLike, b: float, x: Doubles) -> Doubles:
    """Return I_x(a, b), by the continued fraction of the Digital Library of Mathematical Functions, 8.17.22."""
    first = np.asarray(a, np.float64)
    second = np.full_like(first, b)
    is_left = x < (first + 1) / (first + b + 2)  # where the fraction converges fast; else 1 - I_{1-x}(b, a)
    p, q = np.where(is_left, first, second), np.where(is_left, second, first)
    u, v = np.where(is_left, x, 1 - x), np.where(is_left, 1 - x, x)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        front = np.exp(_log_gamma(p + q) - _log_gamma(p) - _log_gamma(q) + p * np.log(u) + q * np.log(v)) / p
        area = front * _continued_fraction(p, q, u)
    area = np.where(u <= 0, 0.0, area)
    return np.where(np.isnan(x) | np.isnan(first), np.nan, np.where(is_left, area, 1 - area))


def _continued_fraction(p: Doubles, q: Doubles, u: Doubles) -> Doubles:
    """Return the continued fraction of I_u(p, q) by Lentz’s method (Lentz 1976, Applied Optics 15:668)."""
    c = np.ones_like(u)
    d = 1 / _away_from_zero(1 - (p + q) * u / (p + 1))
    value = d.copy()
    for m in range(1, _ROUNDS):
        even = m * (q - m) * u / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * u / ((p + 2 * m) * (p + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if not np.any(np.abs(c * d - 1) > _PRECISION):
            break
    return value


def _away_from_zero(values: Doubles) -> Doubles:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def _log_gamma(values: Doubles) -> Doubles:
    unique, places = np.unique(values, return_inverse=True)
    logs: npt.NDArray[Any] = np.array([math.lgamma(number) if number > 0 else math.nan for number in unique.tolist()])
    return logs[places].reshape(values.shape)
