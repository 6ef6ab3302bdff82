"""Sums and ranks of weights on a region, over blocks of rows that fit into a processor's cache. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from capture.results.scores_schema import count_heaviest
from viewer.analysis.regions.picture_patches import ComparedPatches, PatchSlices, as_ranks, count_flags
from viewer.model.attention import to_float32

if TYPE_CHECKING:
    from viewer.analysis.regions.picture_patches import Ranks
    from viewer.model.attention import Floats

BLOCK_BYTES: Final = 1 << 20
"""Bytes of the compared weights of one block as float32. Larger ones leave the cache: widening a frame at once takes
four times as long. Smaller ones cost calls."""


class BlockedPatches:
    """What `PicturePatches` computes, of many rows, with the weight on the region besides; the same numbers.

    It finds everything in one pass over each block. Ranks of the region and of the heaviest tenth are compared with
    rows as the last axis, which numpy does for many rows in one instruction.
    """

    def __init__(self, compared: ComparedPatches, region: npt.NDArray[np.intp]) -> None:
        """`region`: places of its patches among all patches, letterbox bars included."""
        self.count = len(compared.places)
        self.region_size = len(compared.inside)
        self._inside = compared.inside
        self._compared = PatchSlices(compared.places)
        is_in_bars = len(region) != self.region_size
        self._region = PatchSlices(np.sort(region)) if is_in_bars else None
        self._heaviest = count_heaviest(self.count)
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []
        self._rows = max(1, BLOCK_BYTES // (4 * max(self.count, 1)))

    def add(self, weights: npt.NDArray[np.generic]) -> None:
        """Add rows of weights on all patches, (rows, patches), as stored: bits of bfloat16 (uint16), or floats."""
        for start in range(0, len(weights), self._rows):
            self._add_block(weights[start : start + self._rows])

    def _add_block(self, block: npt.NDArray[np.generic]) -> None:
        stored = self._compared.take(block)
        floats = to_float32(stored)
        total = floats.sum(-1)
        if self.region_size:
            region_total = floats.take(self._inside, axis=-1).sum(-1)
            is_heaviest, overlap = self._compare_ranks(as_ranks(stored, floats))
        else:
            region_total, is_heaviest, overlap = np.zeros_like(total), np.zeros(len(total), bool), np.zeros(len(total))
        mass = region_total if self._region is None else to_float32(self._region.take(block)).sum(-1)
        self._parts.append((mass, total, region_total, is_heaviest, overlap))

    def _compare_ranks(self, ranks: Ranks) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating[Any]]]:
        """Return `region_is_heaviest` and `region_overlap` of ranks (rows, patches): (rows,) each."""
        tenth = np.ascontiguousarray(np.partition(ranks, -self._heaviest, axis=-1)[:, -self._heaviest :].T)
        inside = np.ascontiguousarray(ranks.take(self._inside, axis=-1).T)
        least, heaviest = tenth[0], tenth.max(0)
        at_least = count_flags(ranks >= least[:, None])
        shared = ((inside >= least) & (inside > 0)).sum(0)
        beyond = np.where(least > 0, at_least, (tenth > 0).sum(0))
        overlap = shared / (beyond + self.region_size - shared)
        # Only where one of the region's patches is as heavy as any, others may be too.
        is_heaviest = inside.max(0) == heaviest
        rows = np.flatnonzero(is_heaviest)
        as_heavy = count_flags(ranks[rows] == heaviest[rows, None])
        is_heaviest[rows] = (inside[:, rows] == heaviest[rows]).sum(0) == as_heavy
        return is_heaviest, overlap

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
