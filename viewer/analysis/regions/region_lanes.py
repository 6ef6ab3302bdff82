"""Where named regions are known over the moments of an episode, as lanes of a timeline show it. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viewer.model.number_ranges import find_ranges
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.regions.known_patches import CameraPatches, NamedPatches


class CameraLane(NamedTuple):
    """Where a region is known in one camera's pictures, in moments."""

    camera: str
    known: tuple[tuple[int, int], ...]
    """First and last moment of each stretch."""
    untracked: tuple[int, ...]
    """Moments in which it was drawn or imported, not tracked."""
    stops: tuple[int, ...]
    """Moments at which tracking lost it."""


class Lane(NamedTuple):
    """One region over the moments."""

    name: str
    color: str
    """`#rrggbb`."""
    cameras: tuple[CameraLane, ...]
    """All cameras of the file, in its order."""


def build_lane(region: NamedPatches, cameras: Sequence[str], along: Sequence[int]) -> Lane:
    """Return the lane of a region; `along` has the frame of each moment."""
    return Lane(
        region.name, region.color, tuple(_build_camera(name, region.cameras.get(name), along) for name in cameras)
    )


def _build_camera(name: str, patches: CameraPatches | None, along: Sequence[int]) -> CameraLane:
    if patches is None:
        return CameraLane(name, (), (), ())
    places = [moment for moment, frame in enumerate(along) if frame in patches.cells]
    untracked = tuple(moment for moment in places if patches.origins[along[moment]] != "tracked")
    stops = tuple(moment for moment, frame in enumerate(along) if frame in patches.stops)
    return CameraLane(name, tuple(find_ranges(places)), untracked, stops)


def describe_place(region: NamedPatches, cameras: Sequence[str], frame: int) -> str:
    """Return `duck: drawn in exterior, not known in wrist (lost: it leaves the picture)` of a frame."""
    parts = []
    for name in cameras:
        patches = region.cameras.get(name)
        if patches is not None and frame in patches.cells:
            where = "" if patches.cells[frame] else ", in no patch"
            parts.append(f"{patches.origins[frame]} in {name}{where}")
        elif patches is not None and frame in patches.stops:
            parts.append(f"lost in {name} ({patches.stops[frame]})")
        else:
            parts.append(f"not known in {name}")
    return clean_text(f"{region.name}: {', '.join(parts)}")
