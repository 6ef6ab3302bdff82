"""Episodes as .npz files of numpy: pictures by camera, states, actions and prompts.

    np.savez("duck.npz", exterior=(frames, height, width, 3) uint8, wrist=..., state=(frames, dims),
             actions=(frames, dims), prompt="pick up the duck", rate=15.0, success=True)

Every array of four axes is a camera; the other arrays are optional. Pictures are read one at a time, also from
compressed files.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.hdf5 import MAX_NUMBERS
from capture.datasets.images import Pixels8, check_size
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError

ENDING: Final = ".npz"
_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, NotImplementedError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile and numpy raise for a damaged file, depending on where the damage lies."""

_METADATA_KEYS: Final = ("prompt", "rate", "success")


class NpzReader:
    """Reader of .npz files."""

    name = "npz"
    looks_for = "npz files"

    def detect(self, path: Path) -> bool:
        """Return whether `path` is an .npz file or a folder with one."""
        return bool(_list_files(path))

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the files. Raises UserError where none can be used or mapped."""
        files = _list_files(path)
        listing: EpisodeList[_NpzFile] = EpisodeList()
        for file, name in zip(files, file_names([file.stem for file in files]), strict=True):
            listing.add(name, partial(_read_headers, file, name))
        first, mapping, episodes = listing.map_episodes(
            path, options, lambda info, mapping: NpzEpisode(info, mapping, options.horizon)
        )
        cameras = tuple(SourceCamera(name, *size) for name, size in first.cameras.items())
        kind = "npz episode" if len(files) == 1 else "npz episodes"
        parts = (first.state_parts, first.action_parts)
        return Source(kind, path, cameras, mapping.decisions, episodes, listing.unusable, *parts)


@dataclass(frozen=True)
class _NpzFile:
    """What the headers of a file's arrays state, and its small values."""

    path: Path
    name: str
    number: int
    length: int
    cameras: Mapping[str, tuple[int, int]]
    """Camera -> (height, width)."""
    state_parts: Mapping[str, int]
    action_parts: Mapping[str, int]
    prompts: tuple[str, ...]
    rate: float | None
    success: bool | None

    @property
    def place(self) -> str:
        return str(self.path)


class NpzEpisode(ArrayEpisode):
    """One .npz file."""

    def __init__(self, info: _NpzFile, mapping: KeyMapping, horizon: int) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self._info = info
        self.length, self.rate, self.prompts, self.success = info.length, info.rate, info.prompts, info.success

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width)."""
        return {slot: self._info.cameras[camera] for slot, camera in self._mapping.cameras.items()}

    @contextmanager
    def _open(self) -> Iterator[EpisodeData]:
        path = self._info.path
        with _opened(path) as archive:
            yield EpisodeData(
                [self.prompts[0] if self.prompts else ""] * self.length,
                frame_times(self.length, self.rate),
                _read_columns(archive, path, self._mapping.state),
                _read_columns(archive, path, self._mapping.actions),
                partial(self._read_pictures, archive),
            )

    def _read_pictures(self, archive: zipfile.ZipFile, frames: Sequence[int]) -> Iterator[dict[str, Pixels8]]:
        with ExitStack() as stack:
            cameras = {
                slot: _stream_pictures(
                    stack.enter_context(archive.open(f"{camera}.npy")), frames, f"{camera} in {self._info.path}"
                )
                for slot, camera in self._mapping.cameras.items()
            }
            for _ in frames:
                yield {slot: next(pictures) for slot, pictures in cameras.items()}


def _list_files(path: Path) -> list[Path]:
    """Return the .npz file `path`, or those in the folder `path` in order."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    return [file for file in files if file.suffix == ENDING]


def _read_headers(path: Path, name: str, number: int) -> _NpzFile:
    cameras: dict[str, tuple[int, int]] = {}
    state: dict[str, int] = {}
    actions: dict[str, int] = {}
    lengths: dict[str, int] = {}
    with _opened(path) as archive:
        keys = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
        for key in keys:
            if key in _METADATA_KEYS:
                continue
            with archive.open(f"{key}.npy") as file:
                shape, dtype = _read_header(file, f"{key} in {path}")
            if len(shape) == 4 and shape[3] == 3 and dtype == np.uint8:
                check_size(f"{key} in {path}", shape[2], shape[1])
                cameras[key], lengths[key] = (shape[1], shape[2]), shape[0]
            elif len(shape) == 4:
                raise UserError(
                    f"{key} in {path} is {dtype} of shape {shape}, but pictures are uint8 (frames, height, width, 3)"
                )
            elif len(shape) in (1, 2, 3) and dtype.kind in "fiu":
                parts = actions if key.startswith("action") else state
                parts[key], lengths[key] = math.prod(shape[1:]), shape[0]
        if not cameras:
            raise UserError(f"{path} has no pictures: an array (frames, height, width, 3) of uint8 for each camera")
        if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
            listed = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise UserError(f"the arrays of {path} differ in length: {listed} frames")
        values = {key: _read_array(archive, path, key, 1 << 20) for key in _METADATA_KEYS if key in keys}
    prompts = np.atleast_1d(values.get("prompt", np.array([], "U1")))
    if prompts.dtype.kind != "U" or prompts.ndim > 1:
        raise UserError(f"prompt in {path} is not text")
    rate, success = values.get("rate"), values.get("success")
    if rate is not None and (rate.size != 1 or rate.dtype.kind not in "fiu" or not 0 < rate.item() < 10_000):
        raise UserError(f"rate in {path} is not a number of frames per second")
    return _NpzFile(
        path,
        name,
        number,
        next(iter(lengths.values())),
        cameras,
        state,
        actions,
        tuple(dict.fromkeys(str(prompt) for prompt in prompts)),
        None if rate is None else float(rate.item()),
        None if success is None or success.size != 1 else bool(success.item()),
    )


def _read_columns(archive: zipfile.ZipFile, path: Path, parts: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """Return the arrays of `parts` side by side, (frames, dims); None if there are none."""
    columns = [_read_array(archive, path, part, 8 * MAX_NUMBERS).astype(np.float64) for part in parts]
    return join_columns([column.reshape(len(column), math.prod(column.shape[1:])) for column in columns])


def _stream_pictures(file: IO[bytes], frames: Sequence[int], where: str) -> Iterator[Pixels8]:
    """Yield the pictures of `frames` (ascending) from an array that is read forward."""
    shape, _ = _read_header(file, where)
    size, position = math.prod(shape[1:]), 0
    for frame in frames:
        while position < frame:
            file.read(size)
            position += 1
        content = file.read(size)
        position += 1
        if len(content) != size:
            raise UserError(f"{where} ends before frame {frame}")
        yield np.frombuffer(content, np.uint8).reshape(shape[1:])


def _read_array(archive: zipfile.ZipFile, path: Path, name: str, max_bytes: int) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _read_header(file, f"{name} in {path}")
        size = math.prod(shape) * dtype.itemsize
        if size > max_bytes:
            raise UserError(f"{name} in {path} is too large: {size} bytes")
        content = file.read(size)
    if len(content) != size:
        raise UserError(f"{name} in {path} ends early")
    return np.frombuffer(content, dtype).reshape(shape)


def _read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if min(shape, default=0) < 0:
        raise UserError(f"{where} has the shape {shape}; it is damaged")
    if (fortran and len(shape) > 1) or dtype.hasobject:
        raise UserError(f"{where} is stored in a way that is not read; save it with np.savez in C order")
    return shape, dtype


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or "it ends early"
        raise UserError(f"{path} cannot be read as npz, it may be cut off or damaged ({reason[:120]})") from error
