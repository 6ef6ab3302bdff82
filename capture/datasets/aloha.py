"""Raw episodes of ALOHA and Mobile ALOHA: HDF5 files with `observations/images/<camera>`, one or a folder of them.

The layout is that of ACT's and Mobile ALOHA's `record_episodes.py`, which openpi's `convert_aloha_data_to_lerobot.py`
reads: `observations/qpos` and `action` with 14 joints, and three or four cameras, as RGB or as JPEG files padded to one
length. States and actions are as recorded: openpi's conversion of them for its own ALOHA policies (`adapt_to_pi`) is
the policy's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture.datasets import hdf5
from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.hdf5_check import check_values
from capture.datasets.images import ORIENTATIONS, Pixels8, check_size, decode_picture, picture_outline
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError
from capture.provenance import Decision

ENDINGS: Final = (".hdf5", ".h5")
RATE: Final = 50.0
"""Frames per second of ALOHA's control loop (`DT = 0.02`)."""

IMAGES: Final = "observations/images"
_STATES: Final = ("qpos", "qvel", "effort")
_ACTION: Final = "action"
_PROMPT_KEYS: Final = ("language_instruction", "instruction", "task", "prompt")


class AlohaReader:
    """Reader of ALOHA's raw episodes."""

    name = "ALOHA, raw"
    looks_for = "observations/images and observations/qpos in HDF5 files"

    def detect(self, path: Path) -> bool:
        """Return whether `path` is an episode or a folder with one."""
        return any(_is_episode(file) for file in _list_files(path))

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the episodes. Raises UserError where none can be used or mapped."""
        files = _list_files(path)
        listing: EpisodeList[_AlohaFile] = EpisodeList()
        for file, name in zip(files, file_names([file.stem for file in files]), strict=True):
            listing.add(name, partial(_read_file, file, name))
        first, mapping, episodes = listing.map_episodes(
            path, options, lambda info, mapping: AlohaEpisode(info, mapping, options.horizon)
        )
        cameras = tuple(SourceCamera(name, *size[:2]) for name, size in first.cameras.items())
        kind = "ALOHA episode" if len(files) == 1 else "ALOHA episodes"
        parts = (first.state_parts, first.action_parts)
        return Source(kind, path, cameras, mapping.decisions, episodes, listing.unusable, *parts)


@dataclass(frozen=True)
class _AlohaFile:
    """What the shapes and attributes of a file state."""

    path: Path
    name: str
    number: int
    length: int
    cameras: Mapping[str, tuple[int, int, int]]
    """Camera -> height, width and EXIF's orientation of its first picture."""
    state_parts: Mapping[str, int]
    action_parts: Mapping[str, int]
    prompt: str

    @property
    def place(self) -> str:
        return str(self.path)


class AlohaEpisode(ArrayEpisode):
    """One file; it is open while frames are read."""

    rate = RATE
    success = None

    def __init__(self, info: _AlohaFile, mapping: KeyMapping, horizon: int) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self._info, self.length = info, info.length
        self.prompts = (info.prompt,) if info.prompt else ()

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width)."""
        return {slot: self._info.cameras[camera][:2] for slot, camera in self._mapping.cameras.items()}

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return where the time comes from, and which pictures are stored turned."""
        decisions = list(super().frame_decisions(frames))
        for slot, camera in self._mapping.cameras.items():
            orientation = self._info.cameras[camera][2]
            if orientation != 1:
                subject = f"orientation of the {slot} pictures"
                decisions.append(Decision(subject, ORIENTATIONS[orientation], "by EXIF", is_certain=True))
        decisions.append(Decision("clock", f"{RATE:g} frames a second", "ALOHA's files hold no times", is_certain=True))
        return tuple(decisions)

    @contextmanager
    def _open(self) -> Iterator[EpisodeData]:
        info, mapping = self._info, self._mapping
        with hdf5.opened(info.path) as file:
            yield EpisodeData(
                [info.prompt] * self.length,
                frame_times(self.length, RATE),
                join_columns([hdf5.numbers(file, f"observations/{part}") for part in mapping.state]),
                join_columns([hdf5.numbers(file, part) for part in mapping.actions]),
                partial(self._read_pictures, file),
            )

    def _read_pictures(self, file: h5py.File, frames: Sequence[int]) -> Iterator[dict[str, Pixels8]]:
        datasets = {slot: _find_images(file, camera) for slot, camera in self._mapping.cameras.items()}
        for values in datasets.values():
            check_values(values, frames)
        for frame in frames:
            yield {
                slot: _read_picture(
                    values, frame, f"{self._mapping.cameras[slot]} of frame {frame} in {self._info.path}"
                )
                for slot, values in datasets.items()
            }


def _list_files(path: Path) -> list[Path]:
    """Return the file `path`, or the HDF5 files in the folder `path`, by their numbers."""
    if path.is_file():
        return [path]
    files = [file for file in path.iterdir() if file.suffix in ENDINGS]
    return sorted(files, key=lambda file: (len(file.stem), file.stem))  # episode_2 before episode_10


def _is_episode(path: Path) -> bool:
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with hdf5.opened(path) as file:
            return hdf5.group(file, IMAGES) is not None and hdf5.dataset(file, "observations/qpos") is not None
    except UserError:
        return False


def _read_file(path: Path, name: str, number: int) -> _AlohaFile:
    cameras: dict[str, tuple[int, int, int]] = {}
    state: dict[str, int] = {}
    actions: dict[str, int] = {}
    with hdf5.opened(path) as file:
        images = hdf5.group(file, IMAGES)
        lengths: dict[str, int] = {}
        for camera in images if images is not None else ():
            values = _find_images(file, camera)
            if len(values):
                cameras[camera] = _read_outline(values, f"{camera} in {path}")
            lengths[camera] = len(values)
        for key, parts in ((f"observations/{part}", state) for part in _STATES):
            if (column := hdf5.dataset(file, key)) is not None:
                parts[key.rpartition("/")[2]], lengths[key] = hdf5.count_dims(column), len(column)
        if (column := hdf5.dataset(file, _ACTION)) is not None:
            actions[_ACTION], lengths[_ACTION] = hdf5.count_dims(column), len(column)
        prompt = next((text for key in _PROMPT_KEYS if (text := (hdf5.text(file, key) or "").strip())), "")
    if not cameras:
        raise UserError(f"{path} has no pictures below {IMAGES}")
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise UserError(f"the parts of {path} differ in length: {listed} frames")
    return _AlohaFile(path, name, number, next(iter(lengths.values())), cameras, state, actions, prompt)


def _find_images(file: h5py.File, camera: str) -> h5py.Dataset:
    """Return the pictures of a camera. Raises UserError for anything but RGB pictures or encoded ones."""
    values = hdf5.dataset(file, f"{IMAGES}/{camera}")
    is_rgb = values is not None and values.ndim == 4 and values.shape[3] == 3 and values.dtype == np.uint8
    is_encoded = values is not None and (
        (values.ndim == 2 and values.dtype in (np.uint8, np.int8))
        or (
            values.ndim == 1 and (values.dtype.kind in "SV" or h5py.check_vlen_dtype(values.dtype) in (np.uint8, bytes))
        )
    )
    if values is None or not (is_rgb or is_encoded):
        raise UserError(
            f"{IMAGES}/{camera} in {file.filename} holds neither (frames, height, width, 3) uint8 nor encoded pictures"
        )
    return values


def _read_outline(values: h5py.Dataset, where: str) -> tuple[int, int, int]:
    if values.ndim == 4:
        check_size(where, values.shape[2], values.shape[1])
        return int(values.shape[1]), int(values.shape[2]), 1
    check_values(values, [0])
    return picture_outline(_to_bytes(values[0]), where)


def _read_picture(values: h5py.Dataset, frame: int, where: str) -> Pixels8:
    if values.ndim == 4:
        return np.asarray(values[frame])
    return decode_picture(_to_bytes(values[frame]), where)


def _to_bytes(value: Any) -> bytes:
    """Return an encoded picture; decoders ignore the zeros that pad it."""
    return bytes(value) if isinstance(value, bytes) else np.asarray(value).tobytes()
