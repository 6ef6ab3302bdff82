"""Write the regions file beside a results file from masks of its camera pictures, as `pi0-regions import` does."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import h5py
import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.results import regions_schema, schema
from capture.results.coverage import measure_coverage
from capture.results.read_access import open_for_reading

Labels = npt.NDArray[np.uint8]
"""(height, width) of a camera's picture: the number of the object at each pixel; 0 where there is none."""

RegionAndCamera = tuple[str, str]
IMPORTED: Final = regions_schema.ORIGINS.index("imported")


class Masks(Protocol):
    """The objects in the pictures of an episode, such as `LabelPictures`."""

    @property
    def names(self) -> Mapping[int, str]:
        """Number in the masks -> name of the object; none where the episode has no masks."""

    def read(self, index: int) -> Mapping[str, Labels]:
        """Return policy camera -> mask in the frame of this index in the source; a camera without one is absent."""


@runtime_checkable
class Masked(Protocol):
    """An episode that may come with masks of its pictures."""

    @property
    def masks(self) -> Masks:
        """The masks; without names where it has none."""


@dataclass(frozen=True)
class _Frames:
    """What is needed of a results file."""

    uuid: str
    index: npt.NDArray[np.int64]
    """(frames,) of each frame in the source."""
    episodes: Sequence[str]
    """Of each frame."""
    grid: tuple[int, int]
    model_picture: tuple[int, int]
    pictures: Mapping[str, tuple[int, int]]
    """Camera -> height and width."""
    to_model: Mapping[str, npt.NDArray[np.float64]]
    """Camera -> (frames, 2, 3)."""


def write_regions(results: Path, masks: Masks, *, overwrite: bool = False) -> Path | None:
    """Write the objects in masks as regions beside its results file, and return the file's path.

    Returns None where there are no masks, and where there is a file of regions already, of these very results: it may
    hold a person's corrections.

    Raises:
        UserError: A mask cannot be read or has another size than its picture, the file cannot be written, or it is
            there already, of other results, and not to be overwritten.
    """
    names = masks.names
    if not names:
        return None
    frames = _read_frames(results)
    if _is_there(results, frames, overwrite=overwrite):
        return None
    labels = [masks.read(index) for index in frames.index.tolist()]
    cameras = [camera for camera in frames.pictures if any(camera in each for each in labels)]

    def read(frame: int) -> Mapping[RegionAndCamera, npt.NDArray[np.bool_]]:
        return {
            (name, camera): np.isin(shown, [number for number, other in names.items() if other == name])
            for camera, shown in labels[frame].items()
            if camera in cameras
            for name in names.values()
        }

    return _write(results, frames, dict.fromkeys(names.values(), cameras), read)


def write_frame_masks(
    results: Path,
    cameras: Mapping[str, Sequence[str]],
    read: Callable[[int], Mapping[RegionAndCamera, npt.NDArray[np.bool_]]],
    *,
    final: Path | None = None,
) -> Path | None:
    """Write regions whose masks are known for each frame of a results file beside it; return the path.

    `cameras`: names of the regions, in order, and the cameras in which they are known. `read`: returns the masks of a
    frame, by its number in the file. `final`: the name that the results file will have. Returns None without regions.
    Raises UserError as `write_regions`.
    """
    if not cameras:
        return None
    frames, named = _read_frames(results), final or results
    return None if _is_there(named, frames, overwrite=False) else _write(named, frames, cameras, read)


def _regions_path(results: Path) -> Path:
    return results.with_name(results.name.removesuffix(".h5") + regions_schema.SUFFIX)


def _is_there(results: Path, frames: _Frames, *, overwrite: bool) -> bool:
    """Return whether there is a file of regions of these results. Raises UserError for one of others."""
    path = _regions_path(results)
    if path.exists() and _read_uuid(path) == frames.uuid:
        return True
    if path.exists() and not overwrite:
        raise UserError(f"{path} is of other results, and is left as it is; move it away, or say --overwrite")
    return False


def _write(
    results: Path,
    frames: _Frames,
    cameras: Mapping[str, Sequence[str]],
    read: Callable[[int], Mapping[RegionAndCamera, npt.NDArray[np.bool_]]],
) -> Path:
    path = _regions_path(results)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        content = io.BytesIO()  # closing a file on a full disk, HDF5 raises an error without its reason
        with h5py.File(content, "w", libver=("v110", "v110"), track_order=True) as file:
            file.attrs["format"] = regions_schema.FORMAT
            file.attrs["format_version"] = np.array(regions_schema.FORMAT_VERSION, np.int64)
            file.attrs["results"], file.attrs["uuid"] = results.name, frames.uuid
            file.attrs["frames"], file.attrs["grid"] = len(frames.index), np.array(frames.grid, np.int64)
            regions_schema.describe_moments(file.attrs, frames.index, frames.episodes)
            for place, name in enumerate(cameras):
                group = file.create_group(name, track_order=True)
                group.attrs["color"] = regions_schema.COLORS[place % len(regions_schema.COLORS)]
                for camera in (camera for camera in frames.pictures if camera in cameras[name]):
                    _create_camera(group.create_group(camera), frames.pictures[camera], frames)
            for frame in range(len(frames.index)):
                for (name, camera), mask in read(frame).items():
                    _write_mask(file[name][camera], mask, frame, camera, frames)
        unfinished.write_bytes(content.getbuffer())
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _create_camera(group: h5py.Group, size: tuple[int, int], frames: _Frames) -> None:
    """Create the datasets of a region in a camera, in which it is not known in any frame yet."""
    count = len(frames.index)
    group.create_dataset("mask", (count, *size), np.uint8, chunks=(1, *size), compression=4)
    unknown = np.full((count, *frames.grid), np.nan, np.float32)
    group.create_dataset("coverage", data=unknown, chunks=(1, *frames.grid), compression=4)
    described = group.create_dataset("origin", data=np.zeros(count, np.uint8))
    described.attrs["meaning"] = list(regions_schema.ORIGINS)
    group.create_dataset("stops", data=np.zeros(0, np.int64))
    group.create_dataset("stop_reasons", shape=(0,), dtype=h5py.string_dtype())


def _write_mask(group: h5py.Group, mask: npt.NDArray[np.bool_], frame: int, camera: str, frames: _Frames) -> None:
    size = frames.pictures[camera]
    if mask.shape != size:
        raise UserError(
            f"the mask of {camera} in frame {frame} has {mask.shape[1]} x {mask.shape[0]} pixels, but its "
            f"picture {size[1]} x {size[0]}"
        )
    group["mask"][frame] = mask
    to_model = frames.to_model[camera][frame]
    group["coverage"][frame] = measure_coverage(mask, to_model, frames.grid, frames.model_picture)
    group["origin"][frame] = IMPORTED


def _read_frames(results: Path) -> _Frames:
    with open_for_reading(results) as file:
        done = int(file[schema.FRAMES_DONE][()])
        cameras = [str(name) for name in file.attrs["cameras"]]
        height, width = file[schema.model_picture_name(cameras[0])].shape[1:3]
        rows, cols = file[schema.IMAGE_POSITION].shape[2:]
        return _Frames(
            uuid=str(file.attrs["uuid"]),
            index=file[schema.FRAMES_INDEX][:done],
            episodes=file[schema.FRAMES_EPISODE].asstr()[:done].tolist(),
            grid=(rows, cols),
            model_picture=(height, width),
            pictures={camera: file[schema.source_name(camera)].shape[1:3] for camera in cameras},
            to_model={camera: file[schema.to_model_name(camera)][:done] for camera in cameras},
        )


def _read_uuid(path: Path) -> str | None:
    """Return of which results file a file of regions is; None where it cannot be read."""
    try:
        with open_for_reading(path) as file:
            return str(file.attrs.get("uuid", ""))
    except (OSError, RuntimeError, ValueError):
        return None
