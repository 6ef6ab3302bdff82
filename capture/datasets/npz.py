"""Episodes as .npz files of numpy: pictures by camera, and what belongs to them.

    np.savez("duck.npz", exterior=(frames, height, width, 3) uint8, wrist=..., state=(frames, dims),
             actions=(frames, dims), prompt="pick up the duck", rate=15.0, success=True)

Every array of four axes is a camera; the rest may be left out. Pictures are read one at a time, also from compressed
files.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.base import Source, SourceCamera, SourceOptions, UnusableEpisode
from capture.datasets.episode_names import file_names
from capture.datasets.hdf5 import MOST_NUMBERS
from capture.datasets.images import Pixels8, check_size
from capture.datasets.key_mapping import Chosen, choose, typical
from capture.errors import UserError
from capture.observation import Observation

ENDING: Final = ".npz"
_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, NotImplementedError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile and numpy raise for a damaged file, depending on where the damage lies."""

_NO_PARTS: Final = ("prompt", "rate", "success")


def open_npz(path: Path, files: Sequence[Path], wanted: SourceOptions) -> Source:
    """The episodes of these files. Raises UserError where none can be used."""
    broken: dict[str, UnusableEpisode] = {}
    found: list[tuple[int, str, _Told]] = []
    for number, (file, name) in enumerate(zip(files, file_names([file.stem for file in files]), strict=True)):
        try:
            found.append((number, name, _tell(file)))
        except UserError as error:
            broken[name] = UnusableEpisode(number, str(error))
    if not found:
        raise UserError(f"none of the episodes in {path} can be used: {next(iter(broken.values())).reason}")
    first = typical([told for _, _, told in found], lambda one: (list(one.cameras), one.state, one.actions))
    chosen = choose(str(path), wanted, list(first.cameras), state=first.state, actions=first.actions)
    episodes = []
    for number, name, told in found:
        lacks = [camera for camera in chosen.cameras.values() if camera not in told.cameras]
        lacks += [part for part in (*chosen.state, *chosen.actions) if part not in {**told.state, **told.actions}]
        if lacks:
            broken[name] = UnusableEpisode(
                number, f"{told.path} has no array {lacks[0]}; it has {', '.join(told.cameras)}"
            )
        else:
            episodes.append(NpzEpisode(told, name, number, chosen, wanted.horizon))
    sizes = tuple(SourceCamera(name, *size) for name, size in first.cameras.items())
    kind = "npz episode" if len(files) == 1 else "npz episodes"
    return Source(kind, path, sizes, chosen.mapped, episodes, broken, first.state, first.actions)


@dataclass(frozen=True)
class _Told:
    """What the headers of a file's arrays tell, and its small values."""

    path: Path
    length: int
    cameras: Mapping[str, tuple[int, int]]
    state: Mapping[str, int]
    actions: Mapping[str, int]
    prompts: tuple[str, ...]
    rate: float | None
    success: bool | None


class NpzEpisode:
    """One .npz file."""

    def __init__(self, told: _Told, name: str, number: int, chosen: Chosen, horizon: int) -> None:
        self._told, self._chosen, self._horizon = told, chosen, horizon
        self.name, self.number, self.length, self.rate = name, number, told.length, told.rate
        self.prompts, self.success = told.prompts, told.success

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width)."""
        return {slot: self._told.cameras[camera] for slot, camera in self._chosen.cameras.items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        path = self._told.path
        with _opened(path) as archive, ExitStack() as stack:
            films = {
                slot: _pictures(stack.enter_context(archive.open(f"{camera}.npy")), frames, path)
                for slot, camera in self._chosen.cameras.items()
            }
            for told in self.read_without_pictures(frames):
                yield replace(told, pictures={slot: next(film) for slot, film in films.items()})

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        told, chosen = self._told, self._chosen
        with _opened(told.path) as archive:
            state, actions = (_columns(archive, told, parts) for parts in (chosen.state, chosen.actions))
            for frame in frames:
                yield Observation(
                    pictures={},
                    prompt=self.prompts[0] if self.prompts else "",
                    state=None if state is None else state[frame],
                    true_actions=None if actions is None else actions[frame : frame + self._horizon].astype(np.float32),
                    index=frame,
                    time=frame / self.rate if self.rate else 0.0,
                    episode=self.name,
                )


def _tell(path: Path) -> _Told:
    cameras: dict[str, tuple[int, int]] = {}
    state: dict[str, int] = {}
    actions: dict[str, int] = {}
    lengths: dict[str, int] = {}
    with _opened(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        for name in names:
            if name in _NO_PARTS:
                continue
            with archive.open(f"{name}.npy") as file:
                shape, dtype = _header(file, path, name)
            if len(shape) == 4 and shape[3] == 3 and dtype == np.uint8:
                check_size(f"{name} in {path}", shape[2], shape[1])
                cameras[name], lengths[name] = (shape[1], shape[2]), shape[0]
            elif len(shape) == 4:
                raise UserError(
                    f"{name} in {path} is {dtype} of shape {shape}, but pictures are uint8 (frames, height, width, 3)"
                )
            elif len(shape) in (1, 2) and dtype.kind in "fiu":
                part = actions if name.startswith("action") else state
                part[name], lengths[name] = shape[1] if len(shape) == 2 else 1, shape[0]
        if not cameras:
            raise UserError(f"{path} has no pictures: an array (frames, height, width, 3) of uint8 for each camera")
        if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UserError(f"the arrays of {path} differ in length: {told} frames")
        values = {name: _array(archive, path, name, 1 << 20) for name in _NO_PARTS if name in names}
    prompts = np.atleast_1d(values.get("prompt", np.array([], "U1")))
    if prompts.dtype.kind != "U" or prompts.ndim > 1:
        raise UserError(f"prompt in {path} is not text")
    rate, success = values.get("rate"), values.get("success")
    if rate is not None and (rate.size != 1 or rate.dtype.kind not in "fiu" or not 0 < rate.item() < 10_000):
        raise UserError(f"rate in {path} is not how many frames there are in a second")
    return _Told(
        path,
        next(iter(lengths.values())),
        cameras,
        state,
        actions,
        tuple(dict.fromkeys(str(prompt) for prompt in prompts)),
        None if rate is None else float(rate.item()),
        None if success is None or success.size != 1 else bool(success.item()),
    )


def _columns(archive: zipfile.ZipFile, told: _Told, parts: Sequence[str]) -> npt.NDArray[np.float64] | None:
    columns = [_array(archive, told.path, part, 8 * MOST_NUMBERS).astype(np.float64) for part in parts]
    columns = [column[:, None] if column.ndim == 1 else column for column in columns]
    for part, column in zip(parts, columns, strict=True):
        if not np.isfinite(column).all():
            raise UserError(f"{part} in {told.path} holds numbers that are not finite")
    return np.concatenate(columns, axis=1) if columns else None


def _pictures(file: IO[bytes], frames: Sequence[int], path: Path) -> Iterator[Pixels8]:
    shape, _ = _header(file, path, "a camera")
    size, place = math.prod(shape[1:]), 0
    for frame in frames:
        while place < frame:
            file.read(size)
            place += 1
        content = file.read(size)
        place += 1
        if len(content) != size:
            raise UserError(f"{path} ends before frame {frame}")
        yield np.frombuffer(content, np.uint8).reshape(shape[1:])


def _array(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file, path, name)
        size = math.prod(shape) * dtype.itemsize
        if size > most:
            raise UserError(f"{name} in {path} is too large: {size} bytes")
        content = file.read(size)
    if len(content) != size:
        raise UserError(f"{name} in {path} ends early")
    return np.frombuffer(content, dtype).reshape(shape)


def _header(file: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if min(shape, default=0) < 0:
        raise UserError(f"{name} in {path} has the shape {shape}; it is damaged")
    if (fortran and len(shape) > 1) or dtype.hasobject:
        raise UserError(f"{name} in {path} is stored in a way that is not read; save it with np.savez in C order")
    return shape, dtype


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or "it ends early"
        raise UserError(f"{path} cannot be read as npz, it may be cut off or damaged ({reason[:120]})") from error
