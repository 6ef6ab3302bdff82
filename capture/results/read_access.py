"""Open a results file for reading, whatever state its writer left it in, without ever waiting inside HDF5.

HDF5 opens a file that is being written, or whose writer was killed, in its SWMR mode only. In that mode it reads
metadata whose checksum is wrong up to 100 times, and sleeps in between, from 1 ns twice as long each time: 137 s for
one torn block, in C code that heeds no signal. Here such a file is opened as a closed one instead, through a file
object that shows HDF5 its superblock without the flags. Torn metadata then is an error at once; a reader that follows
a running writer, which may be amid rewriting a block, opens the file again.
"""

from __future__ import annotations

import io
import math
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, Final

import h5py

from capture.errors import UserError
from capture.results import superblock

LARGEST_READ: Final = 64 << 20
"""Bytes that one read may ask for."""


def open_for_reading(path: Path, *, is_followed: bool = False, **options: Any) -> h5py.File:
    """Open an HDF5 file for reading, also one that is being written or whose writer was killed.

    `is_followed`: the file will be opened again when it has grown, so that this handle must share no cache with the
    next one; HDF5 shares it otherwise. `options`: keyword arguments of h5py.File. Raises OSError, RuntimeError or
    ValueError where HDF5 cannot open it.
    """
    for _ in range(2):  # a writer may open or close the file between the two calls
        if is_followed or has_writer_flags(path):
            return h5py.File(FlaglessFile(path), "r", **options)
        try:
            return h5py.File(path, "r", locking=False, **options)
        except OSError as error:
            failure = error
            if not has_writer_flags(path):
                break
    raise failure


def find_dataset(file: h5py.File, name: str, axes: int) -> h5py.Dataset:
    """Return a dataset with this number of axes whose values lie in this file.

    Raises KeyError or ValueError where there is none of that kind, UserError for one whose values lie elsewhere: links
    out of a file are not followed.
    """
    target: Any = file
    for part in name.split("/"):
        if not isinstance(target, h5py.Group) or target.get(part, getlink=True) is None:
            raise KeyError(f"{name} is missing")
        if not isinstance(target.get(part, getlink=True), h5py.HardLink):
            raise UserError(
                f"{name} in {file.filename} points to another place, which is not followed; keep to one file"
            )
        target = target[part]
    if not isinstance(target, h5py.Dataset) or target.shape is None or len(target.shape) != axes:
        raise ValueError(f"{name} is not a dataset of {axes} axes")
    if target.is_virtual or target.external:
        raise UserError(
            f"{name} in {file.filename} keeps its values in another file, which is not read; keep to one file"
        )
    return target


def read_row(file: h5py.File, name: str, axes: int, *index: int) -> Any:
    """Return one entry of a dataset, `index` along its first axes, as `find_dataset` finds it.

    Raises ValueError too where the entry or a chunk is larger than `LARGEST_READ`.
    """
    dataset = find_dataset(file, name, axes)
    row = dataset.dtype.itemsize * math.prod(dataset.shape[len(index) :])
    if max(row, dataset.dtype.itemsize * math.prod(dataset.chunks or (1,))) > LARGEST_READ:
        raise ValueError(f"{name} is too large")
    return dataset[index]


def has_writer_flags(path: Path) -> bool:
    """Return whether the superblock says that a writer has the file open, or died while it had. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return bool(superblock.read_flags(file.read(superblock.LENGTH)))


def hide_writer_flags(start: bytes, size: int) -> bytes:
    """Return what to show HDF5 in place of the first bytes of a file with a writer; empty for a file without flags.

    `start`: at least the first 48 bytes; `size`: bytes of the file.
    """
    block = start[: superblock.LENGTH]
    return superblock.without_flags(block, size) if superblock.read_flags(block) else b""


class SeekableReader(io.RawIOBase):
    """Base of streams that read bytes whose number is known: the place of the next read, and what moves it.

    A subclass reads from `_place` in `readinto`, moves it on, and says in `_count_bytes` where the end is.
    """

    _place = 0

    @abstractmethod
    def _count_bytes(self) -> int:
        """Return the bytes that there are."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the place of the next read; return it."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._count_bytes()}[whence]
        return self._place

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._place

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


class FlaglessFile(SeekableReader):
    """A file as it is on the disk, but for the writer's flags in its superblock, and the end of the file there.

    For h5py.File, which closes it when it is garbage collected. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._head = hide_writer_flags(self._file.read(superblock.LENGTH), self._count_bytes())

    def readinto(self, buffer: Any) -> int:
        """Read from the present place into `buffer`, up to the end of the file; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        count = 0
        self._file.seek(self._place)
        while count < len(view) and (part := self._file.readinto(view[count:])):
            count += part
        if self._place < len(self._head):
            head = self._head[self._place : self._place + count]
            view[: len(head)] = head
        self._place += count
        return count

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _count_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size
