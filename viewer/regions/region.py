"""Named regions: for each frame and camera a mask in the camera's picture, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from capture.results import regions_schema
from viewer.regions.region_name import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Mask = npt.NDArray[np.bool_]
"""(height, width) of the camera's picture, True inside the region; all False where the region is known to be absent."""
Origin = Literal["drawn", "imported", "tracked"]
"""`drawn` by a person, `imported` from a file of masks, or `tracked` from a mask of either kind."""

ORIGINS: Final[tuple[Origin, ...]] = ("drawn", "imported", "tracked")
COLORS: Final = regions_schema.COLORS
"""Colours that new regions take in turn."""
MAX_NAME: Final = regions_schema.MAX_NAME


@dataclass
class CameraMasks:
    """The masks of a region in one camera's pictures, packed to a bit a pixel."""

    height: int
    width: int
    origins: dict[int, Origin] = field(default_factory=dict)
    """Of each frame in which the region is known."""
    stops: dict[int, str] = field(default_factory=dict)
    """Frames at which tracking stopped, and why."""
    _packed: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def __contains__(self, frame: int) -> bool:
        """Return whether the region is known in a frame."""
        return frame in self._packed

    def __len__(self) -> int:
        """Return in how many frames the region is known."""
        return len(self._packed)

    def frames(self) -> list[int]:
        """Return the frames in which the region is known, in order."""
        return sorted(self._packed)

    def mask(self, frame: int) -> Mask:
        """Return the mask (height, width) of a frame; KeyError where the region is not known."""
        bits = np.unpackbits(self._packed[frame], count=self.height * self.width)
        return bits.reshape(self.height, self.width).astype(np.bool_)

    def set(self, frame: int, mask: Mask, origin: Origin) -> None:
        """Store the mask of a frame; ValueError for one of another size than the camera's pictures."""
        if mask.shape != (self.height, self.width):
            raise ValueError(f"a mask of shape {mask.shape} does not fit pictures of {self.height} × {self.width}")
        self._packed[frame] = np.packbits(np.asarray(mask, np.bool_))
        self.origins[frame] = origin
        self.stops.pop(frame, None)

    def remove(self, frames: Iterable[int]) -> None:
        """Forget frames: the region is not known there any longer."""
        for frame in frames:
            self._packed.pop(frame, None)
            self.origins.pop(frame, None)
            self.stops.pop(frame, None)

    def untracked(self) -> dict[int, Mask]:
        """Return the masks that were not tracked, by frame: what tracking starts from and never changes."""
        return {frame: self.mask(frame) for frame in self.frames() if self.origins[frame] != "tracked"}


@dataclass
class Region:
    """A region with a name, such as an object, and a colour."""

    name: str
    color: str
    """`#rrggbb`."""
    cameras: dict[str, CameraMasks] = field(default_factory=dict)
    """By the camera's name; a camera without masks is absent."""


@dataclass
class RegionSet:
    """All regions of one results file."""

    uuid: str
    """Of the results file; empty if it has none."""
    regions: dict[str, Region] = field(default_factory=dict)
    """By name, in the order in which they were made."""

    def __iter__(self) -> Iterator[Region]:
        """Yield the regions in their order."""
        return iter(self.regions.values())

    def add(self, name: str) -> Region:
        """Return the region of a name; a new one, with a colour of its own, if there is none yet.

        Raises:
            UserError: A region cannot have this name.
        """
        if name not in self.regions:
            check_name(name)
            self.regions[name] = Region(name, COLORS[len(self.regions) % len(COLORS)])
        return self.regions[name]
