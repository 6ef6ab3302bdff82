"""LIBERO's and robomimic's demonstrations: HDF5 files with `data/demo_0/obs/...`, one or a folder of them.

LIBERO's files (its `scripts/create_dataset.py`) keep pictures as OpenGL gives them, standing on their head; policies
were trained on pictures turned by 180 degrees (openpi's `examples/libero/main.py`), so these are marked as `turned`.
robomimic sets its pictures upright itself. State and action of a row belong together as the files have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from capture.datasets import hdf5
from capture.datasets.base import Source, SourceCamera, SourceOptions, UnusableEpisode
from capture.datasets.episode_names import file_names
from capture.datasets.images import check_size
from capture.datasets.key_mapping import Chosen, choose, typical
from capture.errors import UserError
from capture.observation import Observation

ENDINGS: Final = (".hdf5", ".h5")
RATE: Final = 20.0
"""Frames a second of LIBERO and of robomimic where a file does not tell."""

QUATERNION: Final = "robot0_eef_quat"
AXIS_ANGLE: Final = "robot0_eef_axis_angle"
"""Not stored: computed from the quaternion, since that is what policies read."""


def is_demonstrations(path: Path) -> bool:
    """Whether a file is HDF5 with a group of demonstrations."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with hdf5.opened(path) as file:
            data = hdf5.group(file, "data")
            return data is not None and any(_number(name) is not None for name in data)
    except UserError:
        return False


def open_libero(path: Path, files: Sequence[Path], wanted: SourceOptions) -> Source:
    """The demonstrations of these files. Raises UserError where none can be used."""
    broken: dict[str, UnusableEpisode] = {}
    found: list[_Demo] = []
    for file in files:
        try:
            _add_demos(file, found, broken, several=len(files) > 1)
        except UserError as error:
            broken[file.stem] = UnusableEpisode(len(found) + len(broken), str(error))
    if not found:
        why = next((one.reason for one in broken.values()), "there is no file with data/demo_0")
        raise UserError(f"none of the demonstrations in {path} can be used: {why}")
    names = file_names([demo.name for demo in found])
    first = typical(found, lambda one: (list(one.cameras), one.state, one.actions))
    cameras = list(first.cameras)
    chosen = choose(str(path), wanted, cameras, state=first.state, actions=first.actions)
    episodes = []
    for demo, name in zip(found, names, strict=True):
        lacks = [camera for camera in chosen.cameras.values() if camera not in demo.cameras]
        lacks += [part for part in chosen.state if demo.state.get(part) != first.state[part]]
        lacks += [part for part in chosen.actions if demo.actions.get(part) != first.actions[part]]
        if lacks:
            why = f"{demo.group} in {demo.file} has no {lacks[0]} like the other demonstrations"
            broken[name] = UnusableEpisode(demo.number, why)
        else:
            episodes.append(LiberoEpisode(demo, name, chosen, wanted.horizon))
    libero = first.turned is not None
    mapped = list(chosen.mapped)
    if first.turned:
        mapped.append("pictures are turned by 180 degrees for the policy, since LIBERO's files keep them upside down")
    elif libero:
        mapped.append("pictures are shown as they are stored, since these files do not keep them upside down")
    kind = ("LIBERO" if libero else "robomimic") + (
        " demonstrations" if len(files) == 1 else " files of demonstrations"
    )
    sizes = tuple(SourceCamera(name, height, width) for name, (height, width) in first.cameras.items())
    return Source(kind, path, sizes, tuple(mapped), episodes, broken, first.state, first.actions)


@dataclass(frozen=True)
class _Demo:
    """A demonstration as its group tells, without reading its values."""

    file: Path
    group: str
    name: str
    length: int
    prompt: str
    rate: float
    turned: bool | None
    """Whether its pictures stand on their head; None outside LIBERO."""
    cameras: Mapping[str, tuple[int, int]]
    state: Mapping[str, int]
    actions: Mapping[str, int]
    number: int = 0
    """Counted through all files, those that cannot be used too."""


class LiberoEpisode:
    """One demonstration; its file is open while it is read."""

    def __init__(self, demo: _Demo, name: str, chosen: Chosen, horizon: int) -> None:
        self._demo, self._chosen, self._horizon = demo, chosen, horizon
        self.name, self.number, self.length, self.rate = name, demo.number, demo.length, demo.rate

    @property
    def prompts(self) -> tuple[str, ...]:
        """The instruction of its file."""
        return (self._demo.prompt,) if self._demo.prompt else ()

    @property
    def success(self) -> bool | None:
        """Whether it was ever rewarded; None where no rewards are stored."""
        with hdf5.opened(self._demo.file) as file:
            if hdf5.dataset(file, f"{self._demo.group}/rewards") is None:
                return None
            return bool((hdf5.numbers(file, f"{self._demo.group}/rewards") > 0).any())

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width)."""
        return {slot: self._demo.cameras[camera] for slot, camera in self._chosen.cameras.items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        demo, cameras = self._demo, self._chosen.cameras
        with hdf5.opened(demo.file) as file:
            stored = {slot: hdf5.dataset(file, f"{demo.group}/obs/{camera}") for slot, camera in cameras.items()}
            for frame, told in zip(frames, self._outline(file, frames), strict=True):
                seen = {slot: np.asarray(pictures[frame]) for slot, pictures in stored.items() if pictures is not None}
                yield replace(told, pictures=seen)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        with hdf5.opened(self._demo.file) as file:
            yield from self._outline(file, frames)

    def _outline(self, file: h5py.File, frames: Sequence[int]) -> Iterator[Observation]:
        demo, chosen = self._demo, self._chosen
        state = self._columns(file, [(f"obs/{part}", demo.state[part]) for part in chosen.state])
        actions = self._columns(file, [(part, demo.actions[part]) for part in chosen.actions])
        for frame in frames:
            yield Observation(
                pictures={},
                prompt=demo.prompt,
                state=None if state is None else state[frame],
                true_actions=None if actions is None else actions[frame : frame + self._horizon].astype(np.float32),
                index=frame,
                time=frame / demo.rate,
                episode=self.name,
                is_upside_down=bool(demo.turned),
            )

    def _columns(self, file: h5py.File, columns: list[tuple[str, int]]) -> npt.NDArray[np.float64] | None:
        parts = []
        for name, dims in columns:
            derived = name == f"obs/{AXIS_ANGLE}"
            values = hdf5.numbers(file, f"{self._demo.group}/{f'obs/{QUATERNION}' if derived else name}")
            values = axis_angle(values) if derived else values
            if values.shape != (self.length, dims):
                raise UserError(f"{name} of {self.name} in {self._demo.file} has shape {values.shape}")
            parts.append(values)
        return np.concatenate(parts, axis=1) if parts else None


def axis_angle(quaternions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotations (rows, 4) as x, y, z, w to axis times angle in radians (rows, 3), zeros for none."""
    cosine = np.clip(quaternions[:, 3:], -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    angle = 2.0 * np.arccos(cosine)
    return np.where(sine > 1e-8, quaternions[:, :3] * angle / np.maximum(sine, 1e-8), 0.0)


def _add_demos(path: Path, found: list[_Demo], broken: dict[str, UnusableEpisode], *, several: bool) -> None:
    """Put each demonstration of a file to those that were found or to the broken ones, numbered through both."""
    with hdf5.opened(path) as file:
        data = hdf5.group(file, "data")
        if data is None:
            raise UserError(f"{path} has no group data with demonstrations")
        prompt, rate, turned = _prompt(path, data), _rate(data), _turned(data)
        numbered = [(number, name) for name in data if (number := _number(name)) is not None]
        for _, name in sorted(numbered):
            shown = f"{path.stem}_{name}" if several else name
            number = len(found) + len(broken)
            try:
                found.append(replace(_demo(path, data, name, shown, prompt, rate, turned), number=number))
            except UserError as error:
                broken[shown] = UnusableEpisode(number, str(error))


def _demo(path: Path, data: h5py.Group, name: str, shown: str, prompt: str, rate: float, turned: bool | None) -> _Demo:
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
        elif column.ndim in (1, 2) and column.dtype.kind == "f":
            state[key], lengths[key] = _dims(column), len(column)
    if state.get(QUATERNION) == 4:
        state[AXIS_ANGLE] = 3
    for key in group:
        column = hdf5.dataset(group, key)
        if key.startswith("action") and column is not None and column.ndim in (1, 2) and column.dtype.kind == "f":
            actions[key], lengths[key] = _dims(column), len(column)
    if not cameras:
        raise UserError(f"data/{name} in {path} has no pictures: uint8 of shape (frames, height, width, 3) below obs")
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        told = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise UserError(f"the parts of data/{name} in {path} differ in length: {told} frames")
    length = next(iter(lengths.values()))
    return _Demo(path, f"data/{name}", shown, length, prompt, rate, turned, cameras, state, actions)


def _dims(column: h5py.Dataset) -> int:
    return int(column.shape[1]) if column.ndim == 2 else 1


def _number(name: str) -> int | None:
    found = re.fullmatch(r"demo_?(\d{1,9})", name)
    return int(found[1]) if found else None


def _prompt(path: Path, data: h5py.Group) -> str:
    """LIBERO's instruction, or what an environment calls its language; for LIBERO else the file's name."""
    for attribute, keys in (("problem_info", ("language_instruction",)), ("env_args", ("lang", "language"))):
        told = _json(data, attribute)
        for key in keys:
            value = told.get(key)
            value = "".join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value
            if isinstance(value, str) and value.strip(' "'):
                return value.strip(' "')
    if "bddl_file_name" not in data.attrs and not path.stem.endswith("_demo"):
        return ""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", path.stem.removesuffix("_demo")).replace("_", " ")


def _rate(data: h5py.Group) -> float:
    told = _json(data, "env_args").get("env_kwargs")
    rate = told.get("control_freq") if isinstance(told, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < 10_000 else RATE


def _turned(data: h5py.Group) -> bool | None:
    """Whether LIBERO's pictures stand on their head, as OpenGL gives them; None for what LIBERO did not write."""
    if "problem_info" not in data.attrs and "bddl_file_name" not in data.attrs:
        return None
    return hdf5.text(data, "macros_image_convention") != "opencv"


def _json(data: h5py.Group, attribute: str) -> dict[str, Any]:
    try:
        told = json.loads(hdf5.text(data, attribute) or "{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
