"""Regions from files of pi0-regions: one for an episode, or a folder with one for each episode of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from capture.datasets import hdf5
from capture.datasets.base import Episode
from capture.datasets.hdf5_check import check_values
from capture.datasets.regions.source import Masks, RegionMasks
from capture.errors import UserError
from capture.provenance import Decision
from capture.results import regions_schema, scores_schema
from capture.terminal_text import escape_control_characters

Place = tuple[str, int]
"""Episode and number in the source: what tells moments apart."""


@dataclass(frozen=True)
class RegionFiles:
    """A file of regions, or a folder with `NAME.regions.h5` for the episode NAME."""

    path: Path
    origin: str = "files"

    def open(self, episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> RegionMasks:
        """See `RegionSource`."""
        path = self.path
        if path.is_dir():
            if not episode.name:
                raise UserError(f"--regions {path} is a folder, and these pictures have no episode; name a file in it")
            path = path / f"{episode.name}{regions_schema.SUFFIX}"
        if not path.is_file():
            raise UserError(
                f"--regions: there is no file {path}; pi0-regions track or import makes one beside a results file"
            )
        with hdf5.opened(path) as file:
            return _read_outline(path, file, episode, shapes)


@dataclass(frozen=True)
class RegionFile:
    """The regions of one file that are known in an episode."""

    path: Path
    names: tuple[str, ...]
    fingerprint: str
    decisions: tuple[Decision, ...]
    cameras: tuple[str, ...]
    stored: Mapping[int, tuple[int, ...]]
    """Frame of the episode -> the frames of the file that show it, which differ in their prompts."""

    def read(self, frames: Sequence[int]) -> Iterator[Masks]:
        """Yield the masks of `frames` of the episode."""
        with hdf5.opened(self.path) as file:
            datasets = {}
            for key in ((name, camera) for name in self.names for camera in self.cameras):
                origin = hdf5.dataset(file, "/".join((*key, "origin")))
                stored_masks = hdf5.dataset(file, "/".join((*key, "mask")))
                if origin is not None and stored_masks is not None:
                    datasets[key] = stored_masks, np.asarray(origin[()])
            for frame in frames:
                masks = {}
                for key, (stored_masks, origin) in datasets.items():
                    number = next((name for name in self.stored.get(frame, ()) if origin[name]), None)
                    if number is not None:
                        check_values(stored_masks, [number])
                        masks[key] = np.asarray(stored_masks[number]) != 0
                yield masks


def _read_outline(path: Path, file: h5py.File, episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> RegionFile:
    if hdf5.text(file, "format") != regions_schema.FORMAT:
        raise UserError(f"{path} holds no regions; give --regions a file that pi0-regions wrote")
    version = np.ravel(file.attrs.get("format_version", (0,)))
    if int(version[0]) > regions_schema.FORMAT_VERSION[0]:
        raise UserError(f"{path} has a newer format than this version reads; install a newer pi0-attention")
    names = list(file)
    if not 1 <= len(names) <= scores_schema.MAX_REGIONS:
        raise UserError(f"{path} holds {len(names)} regions; a capture scores 1 to {scores_schema.MAX_REGIONS} of them")
    if bad := [name for name in names if not regions_schema.is_name(name) or hdf5.group(file, name) is None]:
        raise UserError(f"{path} is damaged: {escape_control_characters(bad[0])} is no region; make it again")
    frames = 0
    sums = hashlib.sha256()
    known_frames: set[int] = set()
    for name in names:
        for camera, (height, width) in shapes.items():
            masks, origin = (hdf5.dataset(file, f"{name}/{camera}/{part}") for part in ("mask", "origin"))
            if masks is None or origin is None:
                continue
            if masks.ndim != 3 or masks.dtype != np.uint8 or origin.shape != masks.shape[:1]:
                raise UserError(f"{path} is damaged: the masks of {name} in {camera} cannot be; make it again")
            if masks.shape[1:] != (height, width):
                raise UserError(
                    f"{path} does not fit: its masks of {name} are {masks.shape[2]} x {masks.shape[1]} pixels, the "
                    f"{camera} pictures {width} x {height}; make regions of these pictures"
                )
            check_values(origin)
            numbers = np.asarray(origin[()])
            frames = max(frames, len(numbers))
            known_frames.update(np.flatnonzero(numbers).tolist())
            coverage = hdf5.dataset(file, f"{name}/{camera}/coverage")
            sums.update(repr((name, camera, masks.shape, numbers.tolist())).encode())
            if coverage is not None and coverage.ndim == 3 and coverage.size <= hdf5.MAX_NUMBERS:
                check_values(coverage)
                sums.update(np.nan_to_num(np.asarray(coverage[()], np.float32)).tobytes())
    stored, decision = _match_frames(path, file, frames, episode)
    if not known_frames.intersection(number for each in stored.values() for number in each):
        raise UserError(
            f"the regions of {path} are known in none of the frames of {episode.name or 'these pictures'} in "
            f"{' or '.join(shapes)}; `pi0-regions list` says in which they are"
        )
    return RegionFile(path, tuple(names), sums.hexdigest(), (decision,), tuple(shapes), stored)


def _match_frames(
    path: Path, file: h5py.File, frames: int, episode: Episode
) -> tuple[dict[int, tuple[int, ...]], Decision]:
    """Return which frames of the file show each frame of the episode, and how that was decided."""
    subject, choice = "regions", f"from {path.name}"
    moments = _numbers(file, regions_schema.SOURCE_INDEX)
    names = _names(file, regions_schema.SOURCE_EPISODE)
    if moments is None or len(moments) < frames or len(names) not in (1, len(moments)):
        if frames > episode.length:
            raise UserError(
                f"{path} does not say of which moments its {frames} frames are, and {episode.name or 'this source'} "
                f"has {episode.length}; a change to it with this version's pi0-regions adds that"
            )
        reason = "its frames are taken by their number for those of the source; it does not say of which they are"
        return {frame: (frame,) for frame in range(frames)}, Decision(subject, choice, reason, is_certain=False)
    numbers_by_moment: dict[Place, list[int]] = {}
    for number, moment in enumerate(moments):
        numbers_by_moment.setdefault((names[number if len(names) > 1 else 0], moment), []).append(number)
    frames_of_file, episode_names = {}, dict.fromkeys(name for name, _ in numbers_by_moment)
    for frame, observation in enumerate(episode.read_without_pictures(range(episode.length))):
        numbers = numbers_by_moment.get((observation.episode, observation.index))
        if numbers:
            frames_of_file[frame] = tuple(numbers)
    if not frames_of_file:
        shown = escape_control_characters(", ".join(list(episode_names)[:3])) or "pictures without an episode"
        raise UserError(
            f"{path} belongs to other frames (of {shown}) than {episode.name or 'these pictures'}; regions are tied to "
            "the pictures that they were drawn in"
        )
    reason = "by --regions; its frames are matched by episode and number in the source"
    return frames_of_file, Decision(subject, choice, reason, is_certain=True)


def _numbers(file: h5py.File, name: str) -> list[int] | None:
    values = np.asarray(file.attrs[name]) if name in file.attrs else None
    return None if values is None or values.ndim != 1 or values.dtype.kind not in "iu" else values.tolist()


def _names(file: h5py.File, name: str) -> list[str]:
    if name not in file.attrs:
        return []
    values = np.atleast_1d(np.asarray(file.attrs[name], dtype=object)).ravel().tolist()
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
