"""Names and the one rule of the regions file of pi0-regions (FORMAT.md). numpy and the standard library only."""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FORMAT: Final = "pi0-regions"
"""The root attribute `format`."""
FORMAT_VERSION: Final = (1, 1)
SUFFIX: Final = ".regions.h5"
"""The regions of `duck.h5` lie in `duck.regions.h5`."""
SOURCE_INDEX: Final = "source_index"
SOURCE_EPISODE: Final = "source_episode"
"""Root attributes: number in the source and episode of each frame, so that other results files can be matched."""
MAX_REGIONS: Final = 1000
MAX_NAME: Final = 60
ORIGINS: Final = ("not known", "drawn", "imported", "tracked")
"""What the numbers of `origin` mean."""
COLORS: Final = ("#2ec4b6", "#e05299", "#5b8dff", "#8bd450", "#b678ff", "#ffd23f", "#ff8a1f", "#ff5d5d")
"""Colours that new regions take in turn; first those that are far from the orange of heat and of the first camera."""
ENOUGH: Final = 0.5
"""Share of a patch that must be covered for the patch to belong to a region."""


def choose_patches(coverage: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which patches belong to a region that covers these shares of them: (rows, cols) bool.

    Those of which at least half is covered; where a small or thin region covers no patch by half, those that it covers
    at least half as much as the one that it covers most.
    """
    largest = float(coverage.max(initial=0))
    chosen: npt.NDArray[np.bool_] = coverage >= (ENOUGH if largest >= ENOUGH else max(largest / 2, 1e-6))
    return chosen


def is_name(name: str) -> bool:
    """Return whether a region can be called so: it names a group of the file, and a folder of masks."""
    is_short = bool(name.strip()) and len(name) <= MAX_NAME
    return is_short and name not in {".", ".."} and re.search(r"[/\\\x00-\x1f\x7f:=]", name) is None


def describe_moments(
    attributes: MutableMapping[str, Any], index: npt.NDArray[np.integer], episodes: Sequence[str]
) -> None:
    """Store which moment of the source each frame is: its number there and its episode, once if it is the same."""
    names = list(dict.fromkeys(episodes))
    attributes[SOURCE_INDEX] = np.asarray(index, np.int64)
    attributes[SOURCE_EPISODE] = names if len(names) == 1 else list(episodes)
