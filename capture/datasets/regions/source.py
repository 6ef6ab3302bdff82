"""The interface of sources of regions: masks of named things in the cameras' pictures. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capture.datasets.base import Episode
from capture.provenance import Decision

Masks = Mapping[tuple[str, str], npt.NDArray[np.bool_]]
"""(region, policy camera) -> mask (height, width) in the camera's picture as it came. One that is absent is not known;
an empty mask says that the region is known not to be there."""


class RegionMasks(Protocol):
    """The regions of one episode. It can be pickled."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in order; at least one."""

    @property
    def fingerprint(self) -> str:
        """Checksum of what decides the masks."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Where the masks come from."""

    def read(self, frames: Sequence[int]) -> Iterator[Masks]:
        """Yield the masks of `frames` of the episode (ascending). Raises UserError for bad data."""


class RegionSource(Protocol):
    """Finds the regions of each episode of a run. It can be pickled."""

    @property
    def origin(self) -> str:
        """What `--regions` asks for, as stored with the run: `dataset` or `files`."""

    def open(self, episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> RegionMasks:
        """Return the regions of an episode whose cameras have pictures of these heights and widths.

        Raises UserError where it has none that can be used.
        """
