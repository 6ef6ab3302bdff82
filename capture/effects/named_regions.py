"""Regions with names that pi0-regions made: where they are in each frame of a results file (FORMAT.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from capture.datasets import hdf5
from capture.datasets.hdf5_check import check_parts, check_values
from capture.effects.targets import Mask, Target
from capture.errors import UserError
from capture.results import regions_schema
from capture.results.read_access import open_for_reading
from capture.terminal_text import escape_control_characters


def read_named_regions(
    path: Path, uuid: str, cameras: Sequence[str], grid: tuple[int, int], frames: int
) -> list[Target]:
    """Return the regions of a file that belongs to the results file of `uuid`, with their patches in each frame.

    `cameras`, `grid` (rows and columns of patches) and `frames` (how many) are those of the results file.
    Raises UserError for a file that cannot be read, is damaged, or belongs to another results file.
    """
    try:
        check_parts(path)  # in a process that is ended where HDF5 hangs or crashes on the file
        with open_for_reading(path) as file:
            return _read_file(file, path, uuid, cameras, grid, frames)
    except UserError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read as a file of regions ({escape_control_characters(reason)})") from None


def _read_file(
    file: h5py.File, path: Path, uuid: str, cameras: Sequence[str], grid: tuple[int, int], frames: int
) -> list[Target]:
    if file.attrs.get("format") != regions_schema.FORMAT:
        raise UserError(f"{path} holds no regions; give one that pi0-regions wrote, or JSON")
    if str(file.attrs.get("uuid", "")) != uuid:
        raise UserError(
            f"{path} belongs to another results file; regions are tied to the frames that they were drawn in"
        )
    names = list(file)
    if not names or len(names) > regions_schema.MAX_REGIONS:
        raise UserError(f"{path} holds {len(names)} regions; it must hold 1 to {regions_schema.MAX_REGIONS}")
    regions = []
    for name in names:
        masks_by_frame: dict[int, Mask] = {}
        for camera, camera_name in enumerate(cameras):
            dataset_name = f"{name}/{camera_name}/coverage"
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{path} is damaged: {escape_control_characters(name)} is a link to somewhere else")
            dataset = hdf5.dataset(file, dataset_name)
            if dataset is None:
                continue
            if dataset.ndim != 3 or dataset.shape[0] > frames or dataset.shape[1:] != grid:
                raise UserError(
                    f"{path} is damaged: {escape_control_characters(dataset_name)} does not fit the results file"
                )
            check_values(dataset)
            for frame, coverage in enumerate(np.asarray(dataset[...], np.float32)):
                if not np.isnan(coverage).all():
                    mask = masks_by_frame.setdefault(frame, np.zeros((len(cameras), *grid), np.bool_))
                    mask[camera] = regions_schema.choose_patches(np.nan_to_num(coverage))
        regions.append(Target(escape_control_characters(name), "region", by_frame=masks_by_frame))
    return regions
