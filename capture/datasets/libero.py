"""Demonstrations of LIBERO, robomimic and RoboCasa: HDF5 files with `data/demo_0/obs/...`, one or a folder of them.

LIBERO's files (its `scripts/create_dataset.py`) keep pictures upside down, as OpenGL renders them; policies were
trained on pictures turned by 180 degrees (openpi's `examples/libero/main.py`), so these are marked as upside down.
The others store pictures upright. State and action of a row belong together as stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import numpy.typing as npt

from capture.datasets import hdf5
from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.demonstration_kind import DemonstrationKind, find_kind, read_json_attribute
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.hdf5_check import check_values
from capture.datasets.images import Pixels8, check_size
from capture.datasets.key_mapping import KeyMapping
from capture.datasets.regions.segmentation import LabelPlace, find_label_datasets
from capture.errors import UserError
from capture.provenance import Decision

ENDINGS: Final = (".hdf5", ".h5")
RATE: Final = 20.0
"""Frames per second of LIBERO and of robomimic where a file does not state it."""

_PROMPT_KEYS: Final = ("language_instruction", "lang", "language", "instruction")
"""Names of an instruction in LIBERO's `problem_info`, RoboCasa's `ep_meta` and robomimic's `env_args`."""

MAX_DIMS: Final = 4096
"""Most numbers of a state part; more is a depth map or another picture."""

FILE_NAME: Final = "the name of the file"

QUATERNION: Final = "robot0_eef_quat"
AXIS_ANGLE: Final = "robot0_eef_axis_angle"
"""State part computed from the stored quaternion, since policies read axis angles."""


class LiberoReader:
    """Reader of the demonstrations of LIBERO, robomimic and RoboCasa."""

    name = "LIBERO, robomimic, RoboCasa"
    looks_for = "data/demo_0 in HDF5 files"

    def detect(self, path: Path) -> bool:
        """Return whether `path` is a file of demonstrations or a folder with one."""
        return any(_has_demonstrations(file) for file in _list_files(path))

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the demonstrations. Raises UserError where none can be used or mapped."""
        files = _list_files(path)
        listing: EpisodeList[_Demonstration] = EpisodeList()
        for file in files:
            try:
                _add_demonstrations(file, listing, options, has_several_files=len(files) > 1)
            except UserError as error:
                listing.add_unusable(file.stem, str(error))
        unique = file_names([info.name for info in listing.usable])
        listing.usable = [replace(info, name=name) for info, name in zip(listing.usable, unique, strict=True)]
        first, mapping, episodes = listing.map_episodes(
            path, options, lambda info, mapping: LiberoEpisode(info, mapping, options.horizon)
        )
        kinds = list(dict.fromkeys(info.kind for info in listing.usable))
        turn_decision = (kinds[0].decision,) if len(kinds) == 1 else ()
        names = dict.fromkeys(kind.name for kind in kinds)
        kind = " and ".join(names) + (" demonstrations" if len(files) == 1 else " files of demonstrations")
        cameras = tuple(SourceCamera(name, *size) for name, size in first.cameras.items())
        parts = (first.state_parts, first.action_parts)
        return Source(kind, path, cameras, (*mapping.decisions, *turn_decision), episodes, listing.unusable, *parts)


@dataclass(frozen=True)
class _Demonstration:
    """What the group of a demonstration states, without its values."""

    file: Path
    group: str
    name: str
    number: int
    """Its own in a single file; counted through several files, unusable demonstrations included."""
    length: int
    prompt: str
    prompt_origin: str
    """What states the prompt, for the user."""
    rate: float
    kind: DemonstrationKind
    cameras: Mapping[str, tuple[int, int]]
    """Camera -> (height, width)."""
    state_parts: Mapping[str, int]
    action_parts: Mapping[str, int]

    @property
    def place(self) -> str:
        return f"{self.group} of {self.file}"


class LiberoEpisode(ArrayEpisode):
    """One demonstration; its file is open while frames are read."""

    def __init__(self, info: _Demonstration, mapping: KeyMapping, horizon: int) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self._info = info
        self.length, self.rate, self.is_upside_down = info.length, info.rate, info.kind.is_upside_down

    @property
    def prompts(self) -> tuple[str, ...]:
        """Its own instruction or that of its file."""
        return (self._info.prompt,) if self._info.prompt else ()

    @property
    def success(self) -> bool | None:
        """Whether any reward was positive; None where no rewards are stored."""
        rewards = f"{self._info.group}/rewards"
        with hdf5.opened(self._info.file) as file:
            return None if hdf5.dataset(file, rewards) is None else bool((hdf5.numbers(file, rewards) > 0).any())

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width)."""
        return {slot: self._info.cameras[camera] for slot, camera in self._mapping.cameras.items()}

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return whether its pictures are turned, and where its prompt comes from."""
        is_named = self._info.prompt_origin != FILE_NAME
        reason = "" if is_named else "no attribute states it; --prompt gives another"
        task = Decision("task", f"from {self._info.prompt_origin}", reason, is_certain=is_named)
        return (*super().frame_decisions(frames), self._info.kind.decision, *([task] if self._info.prompt else []))

    def find_labels(self) -> LabelPlace:
        """Return where the labels of its cameras' pictures are, if there are any."""
        info, observed = self._info, f"{self._info.group}/obs"
        with hdf5.opened(info.file) as file:
            group = hdf5.group(file, observed)
            label_names = {} if group is None else find_label_datasets(group, self._mapping.cameras)
        return LabelPlace(
            info.file, {camera: f"{observed}/{name}" for camera, name in label_names.items()}, info.length
        )

    @contextmanager
    def _open(self) -> Iterator[EpisodeData]:
        info, mapping = self._info, self._mapping
        with hdf5.opened(info.file) as file:
            state = [self._read_column(file, f"obs/{part}", info.state_parts[part]) for part in mapping.state]
            actions = [self._read_column(file, part, info.action_parts[part]) for part in mapping.actions]
            yield EpisodeData(
                [info.prompt] * self.length,
                frame_times(self.length, self.rate),
                join_columns(state),
                join_columns(actions),
                partial(self._read_pictures, file),
            )

    def _read_pictures(self, file: h5py.File, frames: Sequence[int]) -> Iterator[dict[str, Pixels8]]:
        datasets = {
            slot: hdf5.dataset(file, f"{self._info.group}/obs/{camera}")
            for slot, camera in self._mapping.cameras.items()
        }
        for values in datasets.values():
            if values is not None:
                check_values(values, frames)
        for frame in frames:
            yield {slot: np.asarray(values[frame]) for slot, values in datasets.items() if values is not None}

    def _read_column(self, file: h5py.File, name: str, dims: int) -> npt.NDArray[np.float64]:
        """Return a column of the demonstration, (frames, dims)."""
        if name == f"obs/{AXIS_ANGLE}":
            values = axis_angle(hdf5.numbers(file, f"{self._info.group}/obs/{QUATERNION}"))
        else:
            values = hdf5.numbers(file, f"{self._info.group}/{name}")
        if values.shape != (self.length, dims):
            raise UserError(f"{name} of {self.name} in {self._info.file} has shape {values.shape}")
        return values


def axis_angle(quaternions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return rotations (rows, 4), as x, y, z, w, as axis times angle in radians (rows, 3)."""
    cosine = np.clip(quaternions[:, 3:], -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    angle = 2.0 * np.arccos(cosine)
    return np.where(sine > 1e-8, quaternions[:, :3] * angle / np.maximum(sine, 1e-8), 0.0)


def _list_files(path: Path) -> list[Path]:
    """Return the file `path`, or the HDF5 files in the folder `path` in order."""
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in ENDINGS)


def _has_demonstrations(path: Path) -> bool:
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with hdf5.opened(path) as file:
            data = hdf5.group(file, "data")
            return data is not None and any(_parse_number(name) is not None for name in data)
    except UserError:
        return False


def _add_demonstrations(
    path: Path, listing: EpisodeList[_Demonstration], options: SourceOptions, *, has_several_files: bool
) -> None:
    """Add each demonstration of a file. Raises UserError for a file without any."""
    with hdf5.opened(path) as file:
        data = hdf5.group(file, "data")
        if data is None:
            raise UserError(f"{path} has no group data with demonstrations")
        numbered = [(number, name) for name in data if (number := _parse_number(name)) is not None]
        file_prompt, rate = _read_file_prompt(path, data), _read_rate(data)
        for own_number, key in sorted(numbered):
            name = f"{path.stem}_{key}" if has_several_files else key

            def read_info(number: int, key: str = key, name: str = name) -> _Demonstration:
                length, cameras, state, actions = _read_parts(path, data, key)
                group = hdf5.group(data, key)
                kind = find_kind(
                    path, data, group, cameras, state, turned=options.turned, is_needed=bool(options.cameras)
                )
                prompt, origin = _read_own_prompt(group) or file_prompt
                return _Demonstration(
                    path, f"data/{key}", name, number, length, prompt, origin, rate, kind, cameras, state, actions
                )

            listing.add(name, read_info, None if has_several_files else own_number)


def _read_parts(
    path: Path, data: h5py.Group, name: str
) -> tuple[int, dict[str, tuple[int, int]], dict[str, int], dict[str, int]]:
    """Return the length, cameras, state parts and action parts of a demonstration, from shapes alone."""
    group, observed = hdf5.group(data, name), hdf5.group(data, f"{name}/obs")
    if group is None or observed is None:
        raise UserError(f"data/{name} in {path} has no group obs")
    cameras, state, actions, lengths = {}, {}, {}, {}
    for key in observed:
        column = hdf5.dataset(observed, key)
        if column is None:
            continue
        if column.ndim == 4 and column.shape[3] == 3 and column.dtype == np.uint8:
            check_size(f"obs/{key} of {name} in {path}", column.shape[2], column.shape[1])
            cameras[key], lengths[key] = (int(column.shape[1]), int(column.shape[2])), len(column)
        elif 1 <= column.ndim <= 3 and hdf5.count_dims(column) <= MAX_DIMS and column.dtype.kind == "f":
            state[key], lengths[key] = hdf5.count_dims(column), len(column)
    if state.get(QUATERNION) == 4:
        state[AXIS_ANGLE] = 3
    for key in group:
        column = hdf5.dataset(group, key)
        if key.startswith("action") and column is not None and 1 <= column.ndim <= 3 and column.dtype.kind == "f":
            actions[key], lengths[key] = hdf5.count_dims(column), len(column)
    if not cameras:
        raise UserError(f"data/{name} in {path} has no pictures: uint8 of shape (frames, height, width, 3) below obs")
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        listed = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise UserError(f"the parts of data/{name} in {path} differ in length: {listed} frames")
    return next(iter(lengths.values())), cameras, state, actions


def _parse_number(name: str) -> int | None:
    """Return the number in a demonstration's name; None for other names."""
    match = re.fullmatch(r"demo_?(\d{1,9})", name)
    return int(match[1]) if match else None


def _read_own_prompt(demonstration: h5py.Group | None) -> tuple[str, str] | None:
    """Return the instruction of one demonstration, as RoboCasa and others store it, and the attribute that holds it."""
    if demonstration is None:
        return None
    episode = read_json_attribute(demonstration, "ep_meta")
    for key in _PROMPT_KEYS:
        if text := _join_text(episode.get(key)):
            return text, f"ep_meta of the demonstration ({key})"
        if text := _join_text(hdf5.text(demonstration, key)):
            return text, f"{key} of the demonstration"
    return None


def _read_file_prompt(path: Path, data: h5py.Group) -> tuple[str, str]:
    """Return LIBERO's instruction or the environment's language, and what holds it; else LIBERO's file name."""
    for attribute in ("problem_info", "env_args", "ep_meta"):
        values = read_json_attribute(data, attribute)
        for key in _PROMPT_KEYS:
            if text := _join_text(values.get(key)):
                return text, f"{attribute} of the file ({key})"
    if "bddl_file_name" not in data.attrs and not path.stem.endswith("_demo"):
        return "", ""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", path.stem.removesuffix("_demo")).replace("_", " "), FILE_NAME


def _join_text(value: object) -> str:
    """Return a text, or a list of texts joined, without quotation marks around it; empty for anything else."""
    value = "".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
    return value.strip(' "') if isinstance(value, str) else ""


def _read_rate(data: h5py.Group) -> float:
    arguments = read_json_attribute(data, "env_args").get("env_kwargs")
    rate = arguments.get("control_freq") if isinstance(arguments, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < 10_000 else RATE
