"""The file of regions beside a results file: `duck.regions.h5` beside `duck.h5`. FORMAT.md describes it."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from typing import TYPE_CHECKING, Any, Final, cast

import h5py
import numpy as np
import numpy.typing as npt

from capture.results import regions_schema, schema
from viewer.errors import UserError
from viewer.io import hdf5_guard, open_file
from viewer.io.hdf5_guard import Guarded
from viewer.io.temporary_files import create_temporary_path, remove_leftovers
from viewer.model.plain_text import clean_text
from viewer.regions.coverage import measure_coverage
from viewer.regions.file_versions import find_previous_path
from viewer.regions.region import COLORS, ORIGINS, CameraMasks, Region, RegionSet
from viewer.regions.region_name import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

    from viewer.io.results import Results

MAX_PIXELS: Final = 64_000_000
"""Of one mask."""
_UNKNOWN: Final = 0
"""The number of frames in which a region is not known; the origins follow, from 1."""


def replace_regions(path: Path, regions: RegionSet, results: Results) -> None:
    """Write regions to `path` atomically, keeping what was there under `find_previous_path` for `restore_previous`.

    Raises:
        UserError: The file cannot be written.
    """
    remove_leftovers([path])
    unfinished = create_temporary_path(path)
    try:
        write_regions(unfinished, regions, results)
        if path.exists():
            shutil.copy2(path, find_previous_path(path))
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); say where with --regions.") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_regions(path: Path, regions: RegionSet, results: Results) -> None:
    """Write regions to a new file at `path`, with their coverage of the patches of `results`. OSError where it fails.

    It is made in memory, compressed: closing a file on a full disk, HDF5 raises an error without its reason.
    """
    frames, content = results.done, io.BytesIO()
    with h5py.File(content, "w", libver=("v110", "v110"), track_order=True) as file:
        file.attrs["format"] = regions_schema.FORMAT
        file.attrs["format_version"] = np.array(regions_schema.FORMAT_VERSION, np.int64)
        file.attrs["results"] = results.path.name.removesuffix(".partial")
        file.attrs["uuid"] = results.uuid
        file.attrs["frames"] = frames
        file.attrs["grid"] = np.array(results.grid.shape, np.int64)
        _write_moments(file, results)
        for region in regions:
            group = file.create_group(region.name, track_order=True)
            group.attrs["color"] = region.color
            for camera, masks in region.cameras.items():
                if len(masks) or masks.stops:
                    _write_camera(group.create_group(camera), masks, results, results.cameras.index(camera), frames)
    path.write_bytes(content.getbuffer())


def _write_moments(file: h5py.File, results: Results) -> None:
    """Store of which moment of the source each frame is, where the results file says so."""
    index, episodes = results.column_of(schema.FRAMES_INDEX), results.words_of(schema.FRAMES_EPISODE)
    if index is None or len(episodes) != len(index):
        return
    regions_schema.describe_moments(file.attrs, index.astype(np.int64), episodes)


def _write_camera(group: h5py.Group, masks: CameraMasks, results: Results, camera: int, frames: int) -> None:
    size, grid = (masks.height, masks.width), results.grid
    stored = group.create_dataset("mask", (frames, *size), np.uint8, chunks=(1, *size), compression=4, shuffle=False)
    coverage = np.zeros((frames, *grid.shape), np.float32)
    origin = np.full(frames, _UNKNOWN, np.uint8)
    for frame in masks.frames():
        mask = masks.mask(frame)
        stored[frame] = mask
        coverage[frame] = measure_coverage(mask, results.to_model(frame, camera), grid)
        origin[frame] = 1 + ORIGINS.index(masks.origins[frame])
    coverage[origin == _UNKNOWN] = np.nan
    group.create_dataset("coverage", data=coverage, chunks=(1, *grid.shape), compression=4)
    described = group.create_dataset("origin", data=origin)
    described.attrs["meaning"] = ["not known", *ORIGINS]
    group.create_dataset("stops", data=np.array(sorted(masks.stops), np.int64))
    reasons = [masks.stops[frame] for frame in sorted(masks.stops)]
    group.create_dataset("stop_reasons", data=reasons, dtype=h5py.string_dtype(), shape=(len(reasons),))


def read_regions(path: Path, results: Results) -> RegionSet:
    """Return the regions of a file that belongs to `results`.

    Raises:
        UserError: The file cannot be read, is damaged, or belongs to another results file.
    """
    with open_guarded(path, results) as guard:
        regions = RegionSet(results.uuid)
        for name, color, cameras in find_regions(guard, results):
            read = {camera: _read_camera(guard, f"{name}/{camera}", results, camera) for camera in cameras}
            regions.regions[name] = Region(name, color, read)
        return regions


def read_decisive_parts(path: Path, results: Results, note_progress: Callable[[], object]) -> None:
    """Read of a regions file all that decides whether `read_regions` returns, and `note_progress` after each part.

    Of the masks that is the first and the last: damage in the others is an error that HDF5 reports.

    Raises:
        UserError: As `read_regions`.
    """
    with open_guarded(path, results) as guard:
        for name, _, cameras in find_regions(guard, results):
            for camera in cameras:
                stored, numbers = _find_masks(guard, f"{name}/{camera}", results, camera)
                if stored.chunks:
                    stored.id.get_num_chunks()
                known_frames = [frame for frame in np.flatnonzero(numbers).tolist() if frame < results.done]
                for frame in sorted({*known_frames[:1], *known_frames[-1:]}):
                    hdf5_guard.read(stored, (frame,))
                read_stops(guard, f"{name}/{camera}", known_frames, results.done)
                note_progress()


@contextlib.contextmanager
def open_guarded(path: Path, results: Results) -> Iterator[Guarded]:
    """Open a regions file that belongs to `results`; errors of reading it become a UserError.

    Raises:
        UserError: The file cannot be read, is damaged, or belongs to another results file.
    """
    with open_file.open_hdf5(path) as file:
        guard = Guarded(file, path)
        try:
            _check_root(guard, results)
            yield guard
        except UserError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            reason = open_file.shorten_error(error)
            raise UserError(
                f"{path.name} is damaged (HDF5 says “{reason}”). Copy it again, or make it again."
            ) from error


def _check_root(guard: Guarded, results: Results) -> None:
    name = guard.path.name
    if guard.attribute("format") != regions_schema.FORMAT:
        raise UserError(f"{name} is an HDF5 file, but holds no regions; give one that pi0-regions wrote.")
    version = hdf5_guard.numbers(guard.attribute("format_version"))
    if not version or version[0] > regions_schema.FORMAT_VERSION[0]:
        raise UserError(f"{name} has a newer format than this program reads; install a newer pi0-attention.")
    if str(guard.attribute("uuid") or "") != results.uuid:
        raise UserError(
            f"{name} belongs to another results file ({clean_text(str(guard.attribute('results') or '?'))[:120]}); "
            "regions are tied to the frames in which they were drawn. Export its masks and import them here."
        )


def find_regions(guard: Guarded, results: Results) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the name and colour of each region, and in which cameras of `results` it has masks."""
    for number, key in enumerate(_group_names(guard.file, guard.path.name)):
        check_name(key)
        group = guard.file[key]
        if not isinstance(group, h5py.Group):
            raise UserError(
                f"{guard.path.name} is damaged: {clean_text(key)} is no region. Copy it again, or make it again."
            )
        color = group.attrs.get("color")
        is_color = isinstance(color, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", color)
        cameras = tuple(name for name in _group_names(group, guard.path.name) if name in results.cameras)
        yield key, cast("str", color) if is_color else COLORS[number % len(COLORS)], cameras


def _group_names(group: Any, file_name: str) -> list[str]:
    if len(group) > regions_schema.MAX_REGIONS:
        raise UserError(
            f"{file_name} holds more than {regions_schema.MAX_REGIONS} regions; it was not made by pi0-regions."
        )
    names = list(group)
    for name in names:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{file_name} is damaged: {clean_text(name)} is a link to somewhere else, not followed.")
    return names


def _find_masks(
    guard: Guarded, name: str, results: Results, camera: str
) -> tuple[h5py.Dataset, npt.NDArray[np.generic]]:
    """Return the dataset of masks (frames, height, width) and where each frame's comes from, 0 for none: (frames,)."""
    size = results.picture_size(results.cameras.index(camera))
    stored, origin = guard.find(f"{name}/mask", 3), guard.find(f"{name}/origin", 1)
    if stored is None or origin is None or stored.shape != (*origin.shape, *size) or size[0] * size[1] > MAX_PIXELS:
        raise UserError(
            f"{guard.path.name} does not fit {results.path.name}: its masks of {clean_text(name)} are not "
            f"{size[0]} × {size[1]} pixels a frame. Import the masks again."
        )
    return stored, hdf5_guard.read(origin, ()) if origin.shape[0] else np.zeros(0, np.uint8)


def _read_camera(guard: Guarded, name: str, results: Results, camera: str) -> CameraMasks:
    stored, numbers = _find_masks(guard, name, results, camera)
    masks = CameraMasks(*stored.shape[1:])
    for frame in np.flatnonzero(numbers)[: results.done].tolist():
        if frame < results.done and int(numbers[frame]) <= len(ORIGINS):
            mask = hdf5_guard.read(stored, (frame,)) != 0
            masks.set(frame, mask, ORIGINS[int(numbers[frame]) - 1])
    masks.stops.update(read_stops(guard, name, masks.origins, results.done))
    return masks


def read_stops(guard: Guarded, name: str, known_frames: Container[int], frames: int) -> dict[int, str]:
    """Return at which of so many frames, other than the `known_frames`, tracking lost a region of a camera, and why."""
    stops, reasons = guard.find(f"{name}/stops", 1), guard.find(f"{name}/stop_reasons", 1)
    if stops is None or reasons is None or stops.shape != reasons.shape or not stops.shape[0]:
        return {}
    pairs = zip(hdf5_guard.read(stops, ()).tolist(), hdf5_guard.texts(reasons[...]), strict=True)
    return {frame: reason[:200] for frame, reason in pairs if 0 <= frame < frames and frame not in known_frames}
