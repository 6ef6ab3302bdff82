"""Names and the one rule of the regions file of pi0-regions (FORMAT.md). numpy and the standard library only."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

FORMAT: Final = "pi0-regions"
"""The root attribute `format`."""
FORMAT_VERSION: Final = (1, 0)
SUFFIX: Final = ".regions.h5"
"""The regions of `duck.h5` lie in `duck.regions.h5`."""
MAX_REGIONS: Final = 1000
ENOUGH: Final = 0.5
"""Share of a patch that must be covered for the patch to belong to a region."""


def choose_patches(coverage: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which patches belong to a region that covers these shares of them: (rows, cols) bool.

    Those of which at least half is covered; where a small or thin region covers no patch by half, those that it covers
    at least half as much as the one that it covers most.
    """
    most = float(coverage.max(initial=0))
    chosen: npt.NDArray[np.bool_] = coverage >= (ENOUGH if most >= ENOUGH else max(most / 2, 1e-6))
    return chosen
