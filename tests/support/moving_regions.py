"""A small results file whose pictures show a textured square that moves over a textured ground, and its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h5py
import make_results
import numpy as np
import numpy.typing as npt

from viewer.io.results import Results
from viewer.regions.coverage import draw_patches
from viewer.regions.file_versions import default_path
from viewer.regions.region import CameraMasks, RegionSet
from viewer.regions.regions_file import replace_regions

if TYPE_CHECKING:
    from pathlib import Path

FRAMES: Final = 8
SIZE: Final = 180, 320
"""Height and width of the pictures."""
SIDE: Final = 60
"""Of the square, pixels: three patches."""
STEP: Final = 10
"""Pixels that the square goes to the right from frame to frame: half a patch."""
START: Final = 40
"""Left end of the square in frame 0: patch column 2."""
TOP: Final = 60
"""Upper end of the square: patch row 6, as patches of 20 pixels begin at row 3.5."""


def make_texture(seed: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a picture (height, width, 3) of soft random spots, which optical flow can follow."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3)).astype(np.float32)
    fine = np.repeat(np.repeat(coarse, 6, 0), 6, 1)
    for axis in (0, 1):
        fine = sum(np.roll(fine, shift, axis) for shift in range(-2, 3)) / 5
    return fine[:height, :width].astype(np.uint8)


def paint(frame: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return the picture of a frame."""
    picture = make_texture(seed, *SIZE)
    left = START + STEP * frame
    picture[TOP : TOP + SIDE, left : left + SIDE] = make_texture(seed + 1, SIDE, SIDE)
    return picture


def write(path: Path, *, covered: tuple[int, ...] = (), **recipe: object) -> Path:
    """Write a results file with these pictures in its exterior camera; in the `covered` frames the square is hidden."""
    make_results.write(path, make_results.Recipe(**{"frames": FRAMES, "size": SIZE, **recipe}))  # type: ignore[arg-type]
    with h5py.File(path, "r+") as file:
        for frame in range(file["images/exterior/source"].shape[0]):
            picture = paint(frame)
            if frame in covered:
                picture[TOP - 40 : TOP + SIDE + 40] = make_texture(77 + frame, SIDE + 80, SIZE[1])
            file["images/exterior/source"][frame] = picture
            file["images/wrist/source"][frame] = paint(0, seed=5)
    return path


def make_region(
    regions: RegionSet, results: Results, name: str, frames: dict[int, tuple[tuple[int, int], ...]], camera: int = 0
) -> CameraMasks:
    """Add a region that is, in each of `frames`, some patches (row, col) of a camera: drawn in the first, else tracked.

    Return its masks, so that stops can be added.
    """
    region = regions.add(name)
    masks = CameraMasks(*results.picture_size(camera))
    region.cameras[results.cameras[camera]] = masks
    for frame, cells in frames.items():
        inside = np.zeros(results.grid.shape, np.bool_)
        for cell in cells:
            inside[cell] = True
        mask = draw_patches(inside, results.to_model(frame, camera), masks.height, masks.width, results.grid)
        masks.set(frame, mask, "drawn" if frame == min(frames) else "tracked")
    return masks


def write_duck(path: Path) -> Path:
    """Write the regions file of a results file: duck in frames 1 to 3, one patch further right each, and cup in 2.

    Tracking lost the duck at frame 4. Return the path of the regions file.
    """
    results = Results(path)
    regions = RegionSet(results.uuid)
    duck = make_region(regions, results, "duck", {frame: ((7, 3 + frame), (8, 3 + frame)) for frame in (1, 2, 3)})
    duck.stops[4] = "the region leaves the picture"
    make_region(regions, results, "cup", {2: ((6, 6),)}, camera=1)
    regions_path = default_path(path)
    replace_regions(regions_path, regions, results)
    results.close()
    return regions_path
