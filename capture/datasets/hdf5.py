"""Checked reading of HDF5 files from other programs.

No external data, sizes are checked before values are read, and a second process reads everything first (`hdf5_check`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from capture.datasets.hdf5_check import check_parts, check_values, describe_error
from capture.errors import UserError
from capture.json_fields import LFS_POINTER

MAX_NUMBERS: Final = 1 << 24
"""Limit of numbers in one column; an episode of an hour at 50 Hz with 32 joints has a third of it."""

MAX_CHUNK_BYTES: Final = 1 << 28
"""Limit of the unpacked size of one stored chunk, in bytes."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading. Raises UserError where it, or what the block reads from it, is damaged."""
    check_parts(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeDecodeError) as error:
        if is_lfs_pointer(path):
            raise UserError(f"{path} is only a Git LFS pointer; run `git lfs pull` to fetch the file itself") from error
        raise UserError(f"{path} {describe_error(error)}") from error


def is_lfs_pointer(path: Path) -> bool:
    """Return whether the file is a Git LFS pointer, as `git clone` without Git LFS leaves it."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def group(parent: h5py.Group, name: str) -> h5py.Group | None:
    """Return the group at a path below `parent`; None if there is none. Soft and external links are not followed."""
    target = _follow(parent, name)
    return target if isinstance(target, h5py.Group) else None


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return the dataset at a path below `parent`; None if there is none.

    Raises UserError where its values are in another file or its chunks are too large.
    """
    target = _follow(parent, name)
    if not isinstance(target, h5py.Dataset) or target.shape is None:
        return None
    where = f"{target.name} in {target.file.filename}"
    if target.is_virtual or target.external:
        raise UserError(f"{where} keeps its values in another file, which is not read; store them in the file itself")
    if target.dtype.itemsize * math.prod(target.chunks or (1,)) > MAX_CHUNK_BYTES:
        raise UserError(
            f"{where} is stored in chunks of more than {MAX_CHUNK_BYTES >> 20} MB; store it in smaller ones"
        )
    return target


def numbers(parent: h5py.Group, name: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers, (frames, dims) float64; a dataset of shape (frames,) has one dim.

    Further axes, such as that of two arms, are joined to one. Values may be NaN. Raises UserError where it is missing,
    too large or not of numbers.
    """
    column = dataset(parent, name)
    where = f"{name} in {parent.file.filename}"
    if column is None:
        raise UserError(f"{where} is missing")
    if not 1 <= column.ndim <= 3 or column.dtype.kind not in "fiub" or math.prod(column.shape) > MAX_NUMBERS:
        raise UserError(
            f"{where} is {column.dtype} of shape {column.shape}, but should be rows of numbers, one per frame"
        )
    check_values(column)
    values = np.asarray(column[()], dtype=np.float64)
    return values.reshape(len(values), count_dims(column))


def count_dims(column: h5py.Dataset) -> int:
    """Return the number of values of a row of a dataset, 1 where it has one axis."""
    return math.prod(column.shape[1:])


def text(parent: h5py.Group, name: str) -> str | None:
    """Return a text attribute; None if it is missing or has another type."""
    if name not in parent.attrs:
        return None
    attribute = parent.attrs.get_id(name)
    # Not the storage size, for which HDF5 fails on an empty list.
    if attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size() > 1 << 22:
        return None
    value = parent.attrs[name]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _follow(parent: Any, name: str) -> Any:
    for part in name.split("/"):
        if not isinstance(parent, h5py.Group) or not isinstance(parent.get(part, getlink=True), h5py.HardLink):
            return None
        parent = parent[part]
    return parent
