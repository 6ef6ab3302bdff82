"""The patches of named regions in every frame in which they are known, without their masks. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from capture.results import regions_schema
from viewer.errors import UserError
from viewer.io import hdf5_guard
from viewer.regions.region import COLORS, ORIGINS
from viewer.regions.region_name import check_name
from viewer.regions.regions_file import find_regions, open_guarded, read_stops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from viewer.io.hdf5_guard import Guarded
    from viewer.io.results import Results
    from viewer.model.view_state import Cell
    from viewer.regions.region import Origin

MAX_PATCHES: Final = 5_000_000
"""Patches of all regions, cameras and frames of a file together."""


@dataclass(frozen=True, eq=False)
class CameraPatches:
    """Where a region lies in one camera's pictures."""

    cells: Mapping[int, tuple[Cell, ...]]
    """By frame, in order; empty where the region is known to be absent."""
    origins: Mapping[int, Origin]
    """Of the same frames."""
    stops: Mapping[int, str]
    """Frames at which tracking lost the region, and why, as the end of a sentence."""


@dataclass(frozen=True, eq=False)
class NamedPatches:
    """A region with its name and colour, and where it lies."""

    name: str
    color: str
    """`#rrggbb`."""
    cameras: Mapping[str, CameraPatches]
    """By the camera's name."""

    def find_cells(self, frame: int) -> tuple[Cell, ...] | None:
        """Return the patches in a frame, of every camera in which it is known; None where it is known in none."""
        camera_cells = [camera.cells[frame] for camera in self.cameras.values() if frame in camera.cells]
        return tuple(sorted(cell for cells in camera_cells for cell in cells)) if camera_cells else None

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames in which it is known in some camera, in order."""
        return tuple(sorted({frame for camera in self.cameras.values() for frame in camera.cells}))

    @property
    def stops(self) -> tuple[tuple[int, str, str], ...]:
        """Frame, camera and reason of each stop of tracking, in the order of frames."""
        return tuple(
            sorted((frame, name, why) for name, patches in self.cameras.items() for frame, why in patches.stops.items())
        )


@dataclass(frozen=True, eq=False)
class KnownPatches:
    """All regions of a regions file."""

    regions: Mapping[str, NamedPatches] = field(default_factory=dict)
    """By name, in the order in which they were made."""
    path: Path | None = None
    """The file; None if it does not matter."""

    def find_cells(self, name: str, frame: int) -> tuple[Cell, ...] | None:
        """Return the patches of a region in a frame; None where it is not known, or where there is no such region."""
        region = self.regions.get(name)
        return None if region is None else region.find_cells(frame)


def read_known_patches(
    path: Path, results: Results, note_progress: Callable[[], object] = lambda: None
) -> KnownPatches:
    """Return the patches of the regions of a file that belongs to `results`.

    They come from the coverage that the file holds, not from its masks, which take a thousand times the memory.
    `note_progress` is called after each region and camera.

    Raises:
        UserError: The file cannot be read, is damaged, or belongs to another results file.
    """
    patches_by_name: dict[str, NamedPatches] = {}
    count = 0
    with open_guarded(path, results) as guard:
        for name, color, cameras in find_regions(guard, results):
            read: dict[str, CameraPatches] = {}
            for camera in cameras:
                read[camera] = _read_camera(guard, f"{name}/{camera}", results, results.cameras.index(camera))
                count += sum(map(len, read[camera].cells.values()))
                if count > MAX_PATCHES:
                    raise UserError(f"{path.name} holds more than {MAX_PATCHES:,} patches; remove regions or frames.")
                note_progress()
            patches_by_name[name] = NamedPatches(name, color, read)
    return KnownPatches(patches_by_name)


def _read_camera(guard: Guarded, name: str, results: Results, camera: int) -> CameraPatches:
    stored, origin = guard.find(f"{name}/coverage", 3), guard.find(f"{name}/origin", 1)
    if stored is None or origin is None or stored.shape != (*origin.shape, *results.grid.shape):
        rows, cols = results.grid.shape
        raise UserError(
            f"{guard.path.name} does not fit {results.path.name}: {name} is not known as {rows} × {cols} patches a "
            "frame. Make it again with pi0-regions."
        )
    numbers = hdf5_guard.read(origin, ())[: results.done] if origin.shape[0] else np.zeros(0, np.uint8)
    frames = [frame for frame in np.flatnonzero(numbers).tolist() if int(numbers[frame]) <= len(ORIGINS)]
    cells: dict[int, tuple[Cell, ...]] = {}
    for frame in frames:
        coverage = np.nan_to_num(np.asarray(hdf5_guard.read(stored, (frame,)), np.float32), posinf=0.0, neginf=0.0)
        chosen = np.argwhere(regions_schema.choose_patches(coverage)).tolist()
        cells[frame] = tuple((camera, row, col) for row, col in chosen)
    origins = {frame: ORIGINS[int(numbers[frame]) - 1] for frame in frames}
    return CameraPatches(cells, origins, read_stops(guard, name, cells, results.done))


def to_plain(known_patches: KnownPatches) -> list[dict[str, Any]]:
    """Return regions as JSON holds them: patches as camera, row and col in one list of numbers a frame."""
    return [
        {
            "name": region.name,
            "color": region.color,
            "cameras": {
                name: {
                    "frames": [
                        [frame, ORIGINS.index(patches.origins[frame]), [part for cell in cells for part in cell]]
                        for frame, cells in patches.cells.items()
                    ],
                    "stops": sorted(patches.stops.items()),
                }
                for name, patches in region.cameras.items()
            },
        }
        for region in known_patches.regions.values()
    ]


def from_plain(plain: list[dict[str, Any]], path: Path) -> KnownPatches:
    """Return what `to_plain` was given, of the file at `path`."""
    patches_by_name: dict[str, NamedPatches] = {}
    for number, entry in enumerate(plain):
        check_name(entry["name"])
        color = entry["color"] if re.fullmatch(r"#[0-9a-fA-F]{6}", entry["color"]) else COLORS[number % len(COLORS)]
        cameras: dict[str, CameraPatches] = {}
        for name, camera in entry["cameras"].items():
            cells = {
                frame: tuple(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
                for frame, _, parts in camera["frames"]
            }
            origins = {frame: ORIGINS[origin] for frame, origin, _ in camera["frames"]}
            cameras[name] = CameraPatches(cells, origins, dict(camera["stops"]))
        patches_by_name[entry["name"]] = NamedPatches(entry["name"], color, cameras)
    return KnownPatches(patches_by_name, path)
