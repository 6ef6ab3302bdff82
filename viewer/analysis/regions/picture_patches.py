"""Weights on the patches that scores of a region compare, and which of them are the heaviest. No Qt."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from capture.results.scores_schema import count_heaviest
from viewer.model.attention import to_float32

if TYPE_CHECKING:
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell

    Places = npt.NDArray[np.intp]
    Ranks = npt.NDArray[Any]

MOST_RUNS: Final = 32
"""Runs of neighbouring patches up to which slices are copied: 1.6 times as fast as single patches for two runs."""
_EVEN_BYTES: Final = np.uint64(0x00FF00FF00FF00FF)
_ADD_QUARTERS: Final = np.uint64(0x0001000100010001)
"""Times this, the highest 16 bits of a number are the sum of its four quarters."""


class ComparedPatches(NamedTuple):
    """The patches that scores of a region compare: those that show a picture, of the cameras that the region is in."""

    places: Places
    """Among all patches, cameras outermost, in order."""
    inside: Places
    """Those of them that are in the region, by their place among `places`."""

    @classmethod
    def of(cls, region: tuple[Cell, ...], bars: npt.NDArray[np.bool_]) -> ComparedPatches:
        """Return those of a region; `bars` (cameras, rows, cols) are the patches in the letterbox bars."""
        chosen = np.zeros(bars.shape, np.bool_)
        if region:
            chosen[tuple(np.array(region).T)] = True
        compared = ~bars & chosen.any((1, 2), keepdims=True)
        return cls(np.flatnonzero(compared), np.flatnonzero(chosen[compared]))


def find_places(region: tuple[Cell, ...], shape: tuple[int, ...]) -> Places:
    """Return the places of a region's patches among all of `shape` (cameras, rows, cols), cameras outermost."""
    camera, row, col = np.array(region, np.intp).reshape(-1, 3).T
    places: Places = (camera * shape[1] + row) * shape[2] + col
    return places


class PatchSlices:
    """Chosen places of an axis, in rising order, as slices where they are few: to take them from many arrays."""

    def __init__(self, places: Places) -> None:
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        stops = (*starts[1:].tolist(), len(places))
        self._places = places
        self._slices: list[slice] = []
        if len(places) and len(starts) <= MOST_RUNS:
            self._slices = [
                slice(int(places[start]), int(places[stop - 1]) + 1)
                for start, stop in zip(starts.tolist(), stops, strict=True)
            ]

    def take(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the places of the last axis; not copied where that is all of them or one run."""
        if not self._slices:
            return values.take(self._places, axis=-1)
        runs = [values[..., run] for run in self._slices]
        return runs[0] if len(runs) == 1 else np.concatenate(runs, axis=-1)


def take_places(values: npt.NDArray[Any], places: Places) -> npt.NDArray[Any]:
    """Return chosen places, in rising order, of the last axis; not copied where that is all of them or one run."""
    return PatchSlices(places).take(values)


def as_ranks(stored: npt.NDArray[np.generic], floats: Floats) -> Ranks:
    """Return whole numbers that are in the order of weights: their bits, as floats that are not negative keep it.

    They are sorted faster, bits of bfloat16 in half the time. `floats`: the stored weights as float32.
    """
    return stored.view(np.int16) if stored.dtype == np.uint16 else floats.view(np.int32)


class RegionSums(Protocol):
    """What scores of a region are made of, for each row of attention: (...)."""

    @property
    def count(self) -> int:
        """How many patches are compared."""

    @property
    def region_size(self) -> int:
        """How many of the patches are in the region."""

    @property
    def total(self) -> Floats:
        """Weight on all of them."""

    @property
    def region_total(self) -> Floats:
        """Weight on those in the region."""

    @property
    def region_is_heaviest(self) -> npt.NDArray[np.bool_]:
        """Whether the heaviest patch is in the region, and none outside is as heavy."""

    @property
    def region_overlap(self) -> npt.NDArray[np.floating[Any]]:
        """Intersection over union of the region and the heaviest tenth of the patches, with its ties."""


class PicturePatches:
    """Weights on the compared patches of a region, and what several scores make of them, each computed once."""

    def __init__(self, weights: npt.NDArray[np.generic], compared: ComparedPatches) -> None:
        """`weights`: (..., compared patches) as stored; bits of bfloat16 (uint16), or floats."""
        self.weights = to_float32(weights)
        """(..., patches)"""
        self._compared = compared
        self._ranks = as_ranks(weights, self.weights)

    @classmethod
    def of(cls, maps: Floats, region: tuple[Cell, ...], bars: npt.NDArray[np.bool_]) -> PicturePatches:
        """Return those of maps (..., cameras, rows, cols); `bars` are (cameras, rows, cols)."""
        compared = ComparedPatches.of(region, bars)
        return cls(take_places(maps.reshape(*maps.shape[:-3], bars.size), compared.places), compared)

    @property
    def count(self) -> int:
        """How many patches are compared."""
        return len(self._compared.places)

    @property
    def region_size(self) -> int:
        """How many of the patches are in the region."""
        return len(self._compared.inside)

    @cached_property
    def total(self) -> Floats:
        """Weight on all of them: (...)."""
        total: Floats = self.weights.sum(-1)
        return total

    @cached_property
    def region_total(self) -> Floats:
        """Weight on those in the region: (...)."""
        total: Floats = self.weights.take(self._compared.inside, axis=-1).sum(-1)
        return total

    @property
    def region_is_heaviest(self) -> npt.NDArray[np.bool_]:
        """Whether the heaviest patch is in the region, and none outside is as heavy: (...)."""
        heaviest = self._heaviest_tenth.max(-1, keepdims=True)
        # All that are as heavy are among the tenth, unless that is all that the tenth has.
        is_level = self._heaviest_tenth[..., :1] == heaviest
        among_all = np.where(is_level[..., 0], self._at_least_tenth, count_flags(self._heaviest_tenth == heaviest))
        is_heaviest: npt.NDArray[np.bool_] = count_flags(self._region_ranks == heaviest) == among_all
        return is_heaviest

    @property
    def region_overlap(self) -> npt.NDArray[np.floating[Any]]:
        """Intersection over union of the region and the heaviest tenth of the patches, with its ties: (...)."""
        least = self._heaviest_tenth[..., :1]
        shared = count_flags((self._region_ranks >= least) & (self._region_ranks > 0))
        heaviest = np.where(least[..., 0] > 0, self._at_least_tenth, count_flags(self._heaviest_tenth > 0))
        overlap: npt.NDArray[np.floating[Any]] = shared / (heaviest + self.region_size - shared)
        return overlap

    @cached_property
    def _region_ranks(self) -> Ranks:
        return self._ranks.take(self._compared.inside, axis=-1)

    @cached_property
    def _heaviest_tenth(self) -> Ranks:
        """The heaviest tenth, the lightest of it first: (..., count_heaviest)."""
        count = count_heaviest(self.count)
        return np.partition(self._ranks, -count, axis=-1)[..., -count:]

    @cached_property
    def _at_least_tenth(self) -> npt.NDArray[np.int64]:
        """How many patches weigh as much as the lightest of the heaviest tenth, or more: (...)."""
        return count_flags(self._ranks >= self._heaviest_tenth[..., :1])


def count_flags(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many of the last axis are true; ten times as fast as the sum of bool.

    Eight flags are added as the bytes of one whole number, none of which can exceed 255, and those bytes as four and
    then as one of its parts.
    """
    length = flags.shape[-1]
    count: npt.NDArray[np.int64]
    if 0 < length <= 8 * 255 and length % 8 == 0 and flags.flags.c_contiguous:
        lanes = flags.view(np.uint64).sum(-1, dtype=np.uint64, keepdims=True)  # scalars would warn of the overflow
        pairs = (lanes & _EVEN_BYTES) + ((lanes >> np.uint64(8)) & _EVEN_BYTES)
        count = (pairs * _ADD_QUARTERS >> np.uint64(48))[..., 0].astype(np.int64)
    else:
        kind = np.uint16 if length < 1 << 16 else np.uint32
        count = flags.view(np.uint8).sum(-1, dtype=kind).astype(np.int64)
    return count
