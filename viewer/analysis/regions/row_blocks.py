"""Sums and ranks of weights on a region, over blocks of rows that fit into a processor's cache. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.regions.picture_patches import ComparedPatches, PicturePatches, take_places
from viewer.model.attention import widened

if TYPE_CHECKING:
    from viewer.model.attention import Floats

BLOCK_BYTES: Final = 1 << 18
"""Bytes of the compared weights of one block as float32. Of a full-size query in one piece, widening alone takes four
times as long, for it leaves the cache."""


class BlockedPatches:
    """What `PicturePatches` computes, of many rows, with the weight on the region besides; the same numbers."""

    def __init__(self, compared: ComparedPatches, region: npt.NDArray[np.intp]) -> None:
        """`region`: places of its patches among all patches, letterbox bars included."""
        self.count = len(compared.places)
        self.region_size = len(compared.inside)
        self._compared, self._region = compared, np.sort(region)
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []
        self._rows = max(1, BLOCK_BYTES // (4 * max(self.count, 1)))

    def add(self, weights: npt.NDArray[np.generic]) -> None:
        """Add rows of weights on all patches, (rows, patches), as stored: bits of bfloat16 (uint16), or floats."""
        for start in range(0, len(weights), self._rows):
            block = weights[start : start + self._rows]
            mass = widened(take_places(block, self._region)).sum(-1)
            patches = PicturePatches(take_places(block, self._compared.places), self._compared)
            nothing = np.zeros(len(block), np.float32)
            self._parts.append(
                (
                    mass,
                    patches.total,
                    patches.region_total if self.region_size else nothing,
                    patches.region_is_heaviest if self.region_size else nothing,
                    patches.region_overlap if self.region_size else nothing,
                )
            )

    def finish(self, lead: tuple[int, ...]) -> None:
        """Set the numbers of all rows that were added, (*lead); 0 where none was."""
        if not self._parts:
            self._parts.append((np.zeros(lead, np.float32),) * 5)
        joined = [np.concatenate(parts).reshape(lead) for parts in zip(*self._parts, strict=True)]
        self.region_mass: Floats = joined[0]
        """Weight on the region, letterbox bars included."""
        self.total: Floats = joined[1]
        self.region_total: Floats = joined[2]
        self.region_is_heaviest: npt.NDArray[np.bool_] = joined[3]
        self.region_overlap: npt.NDArray[np.floating[Any]] = joined[4]
        self._parts.clear()
