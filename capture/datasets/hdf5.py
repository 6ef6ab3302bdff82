"""HDF5 files written by somebody else: values that lie in the file itself, of a size that was checked first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.json_fields import LFS_POINTER

MAX_NUMBERS: Final = 1 << 24
"""Numbers of one column that are read at once; an episode of an hour at 50 Hz with 32 joints has a third of it."""

MAX_CHUNK_BYTES: Final = 1 << 28
"""Bytes that one stored chunk may unpack to."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading. Raises UserError for one that cannot be read, also while it is being read."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeDecodeError) as error:
        if is_lfs_pointer(path):
            raise UserError(f"{path} is only a Git LFS pointer; run `git lfs pull` to fetch the file itself") from error
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as HDF5, it may be cut off or damaged ({reason[:120]})") from error


def is_lfs_pointer(path: Path) -> bool:
    """Whether `git clone` left the file as a pointer, because Git LFS was not installed."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def group(parent: h5py.Group, name: str) -> h5py.Group | None:
    """The group at a path below `parent`; None if it is not there. Links that lead elsewhere are not followed."""
    place = _follow(parent, name)
    return place if isinstance(place, h5py.Group) else None


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset at a path below `parent`, its values in this very file; None if it is not there."""
    place = _follow(parent, name)
    if not isinstance(place, h5py.Dataset) or place.shape is None:
        return None
    where = f"{place.name} in {place.file.filename}"
    if place.is_virtual or place.external:
        raise UserError(f"{where} keeps its values in another file, which is not read; store them in the file itself")
    if place.dtype.itemsize * math.prod(place.chunks or (1,)) > MAX_CHUNK_BYTES:
        raise UserError(
            f"{where} is stored in chunks of more than {MAX_CHUNK_BYTES >> 20} MB; store it in smaller ones"
        )
    return place


def numbers(parent: h5py.Group, name: str) -> npt.NDArray[np.float64]:
    """A column of numbers, (frames, dims) float64; one number a frame counts as one dim.

    Raises UserError where it is missing, too large, not of numbers or not finite.
    """
    column = dataset(parent, name)
    where = f"{name} in {parent.file.filename}"
    if column is None:
        raise UserError(f"{where} is missing")
    if column.ndim not in (1, 2) or column.dtype.kind not in "fiub" or math.prod(column.shape) > MAX_NUMBERS:
        raise UserError(
            f"{where} is {column.dtype} of shape {column.shape}, but should be rows of numbers, one a frame"
        )
    values = np.asarray(column[()], dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{where} holds numbers that are not finite")
    return values[:, None] if values.ndim == 1 else values


def text(parent: h5py.Group, name: str) -> str | None:
    """A text attribute; None if it is not there or anything else."""
    if name not in parent.attrs:
        return None
    kept = parent.attrs.get_id(name)
    # Not its storage size: HDF5 fails on that of an empty list.
    if kept.get_space().get_simple_extent_npoints() * kept.get_type().get_size() > 1 << 22:
        return None
    value = parent.attrs[name]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _follow(place: Any, name: str) -> Any:
    for part in name.split("/"):
        if not isinstance(place, h5py.Group) or not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return None
        place = place[part]
    return place
