"""The eight things on the table, each a handful of MuJoCo primitives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

BLACK, ORANGE = "0.05 0.05 0.06 1", "0.93 0.45 0.10 1"
DUCK, WHITE, PLUM, TEAL = "0.97 0.78 0.12 1", "0.90 0.89 0.86 1", "0.52 0.22 0.50 1", "0.05 0.42 0.42 1"


@dataclass(frozen=True)
class Thing:
    """One kind of object: the words that name it, its MuJoCo geoms and its size."""

    name: str
    geoms: tuple[str, ...]
    height: float
    """Metres above the table."""
    radius: float
    """Metres, of the circle that it keeps free around it."""
    takes: bool = False
    """Whether something can be put into it or on it."""


def _geom(kind: str, size: str, place: str, color: str, more: str = "") -> str:
    return f'<geom type="{kind}" size="{size}" pos="{place}" rgba="{color}" {more}/>'


def _ring(count: int, radius: float, height: float, thick: float, lean: float, color: str) -> tuple[str, ...]:
    """Return a wall of upright boards in a circle, leaning outwards by `lean` radians."""
    half = radius * np.tan(np.pi / count) * 1.12
    boards = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        turn = f'euler="0 {lean:.3f} {angle:.4f}"'
        size, place = f"{thick} {half:.4f} {height / 2:.4f}", f"{x:.4f} {y:.4f} {height / 2:.4f}"
        boards.append(_geom("box", size, place, color, turn))
    return tuple(boards)


def _cube(name: str, color: str) -> Thing:
    return Thing(f"{name} cube", (_geom("box", "0.026 0.026 0.026", "0 0 0.026", color),), 0.052, 0.040, takes=True)


THINGS: Final[tuple[Thing, ...]] = (
    Thing(
        "duck",
        (
            _geom("ellipsoid", "0.047 0.034 0.027", "0 0 0.027", DUCK),
            _geom("ellipsoid", "0.020 0.016 0.015", "-0.042 0 0.042", DUCK, 'euler="0 0.7 0"'),
            _geom("sphere", "0.025", "0.028 0 0.066", DUCK),
            _geom("ellipsoid", "0.015 0.011 0.005", "0.055 0 0.062", ORANGE),
            _geom("sphere", "0.0045", "0.046 0.013 0.074", BLACK),
            _geom("sphere", "0.0045", "0.046 -0.013 0.074", BLACK),
        ),
        0.091,
        0.055,
    ),
    Thing(
        "bowl",
        (
            *_ring(14, 0.054, 0.046, 0.004, 0.42, WHITE),
            _geom("cylinder", "0.047 0.004", "0 0 0.004", WHITE),
        ),
        0.048,
        0.070,
        takes=True,
    ),
    Thing(
        "mug",
        (
            *_ring(14, 0.035, 0.080, 0.003, 0.0, PLUM),
            _geom("cylinder", "0.034 0.003", "0 0 0.003", PLUM),
            _geom("cylinder", "0.032 0.002", "0 0 0.062", "0.20 0.11 0.06 1"),
            _geom("capsule", "0.0055", "0 0 0", PLUM, 'fromto="0.036 0 0.064 0.058 0 0.060"'),
            _geom("capsule", "0.0055", "0 0 0", PLUM, 'fromto="0.058 0 0.060 0.060 0 0.032"'),
            _geom("capsule", "0.0055", "0 0 0", PLUM, 'fromto="0.060 0 0.032 0.037 0 0.018"'),
        ),
        0.080,
        0.056,
    ),
    Thing(
        "bottle",
        (
            _geom("cylinder", "0.030 0.046", "0 0 0.046", TEAL),
            _geom("ellipsoid", "0.030 0.030 0.024", "0 0 0.092", TEAL),
            _geom("cylinder", "0.0305 0.017", "0 0 0.048", "0.86 0.84 0.76 1"),
            _geom("cylinder", "0.012 0.016", "0 0 0.120", TEAL),
            _geom("cylinder", "0.014 0.007", "0 0 0.137", BLACK),
        ),
        0.144,
        0.045,
    ),
    Thing("ball", (_geom("sphere", "0.034", "0 0 0.034", ORANGE),), 0.068, 0.045),
    _cube("red", "0.80 0.08 0.07 1"),
    _cube("green", "0.16 0.56 0.16 1"),
    _cube("blue", "0.08 0.20 0.74 1"),
)
"""Order is the number of a thing in masks (plus one) and in every array of the data."""

NAMES: Final[tuple[str, ...]] = tuple(thing.name for thing in THINGS)
