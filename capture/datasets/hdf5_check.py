"""Test reads of HDF5 files in a second process, which is ended by the clock.

The files come from other programs and places. On a damaged one HDF5 can crash, loop for ever or unpack a small chunk to
gigabytes. The second process reads first what this one reads afterwards.
"""

from __future__ import annotations

import atexit
import math
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture import watched_process
from capture.errors import UserError
from capture.watched_process import MEMORY_BYTES, NoAnswerError, WatchedProcess

LONGEST_SECONDS: Final = 600.0
"""Longest time for one file; the demonstrations of RoboCasa have some 100,000 parts on a network drive."""

MAX_PARTS: Final = 1_000_000
"""Limit of groups and datasets in a file."""

BLOCK_BYTES: Final = 1 << 23
"""Bytes of values that are read in one step."""

MAX_CHUNK_RATIO: Final = 1032
"""Highest compression of deflate."""

_PLAIN_FILTERS: Final = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""Filters that report damage; those of other ids have parameters of their own, on which some crash."""

_Identity = tuple[int, int, int, int]

_lock = threading.Lock()
_checked: dict[str, _Identity] = {}
"""Path -> identity of the file whose parts were read without a failure."""


def check_parts(path: Path) -> None:
    """Read the metadata of every part of a file in the second process: links, types, chunk indices and attributes.

    Raises UserError where that fails. A file that has not changed is read once.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps the dots, and the child may be elsewhere
    identity = _identify(path)
    if identity is None:
        return  # opening it says why
    with _lock:
        if _checked.get(absolute) == identity:
            return
    _ask(path, [absolute])
    with _lock:
        _checked[absolute] = identity


def check_values(values: h5py.Dataset, rows: Sequence[int] | None = None) -> None:
    """Read values in the second process: all, or those of `rows`. Raises UserError where that fails.

    Of rows of numbers of a fixed size only the first is read, since damage can do no harm in the others, and those in
    chunks that may be far larger than they say.
    """
    path = Path(values.file.filename)
    _ask(path, [os.path.abspath(path), values.name, None if rows is None else list(map(int, rows))])  # noqa: PTH100


def _identify(path: Path) -> _Identity | None:
    """Return device, inode, size and time of change; None where there is no file. Raises UserError for a pipe."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UserError(f"{path} is not a file on a disk; leave it out")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _ask(path: Path, request: list[object]) -> None:
    try:
        answer = _process.ask(request)
    except NoAnswerError as error:
        ending = "came to no end" if error.is_overdue else "failed"
        raise UserError(
            f"{path} is damaged: reading it as HDF5 {ending}; copy it again, or leave it out of the data set"
        ) from None
    if answer:
        raise UserError(f"{path} {answer}")


# In the second process


def serve() -> None:
    """Answer what is wrong with a file, its path left out, or None; for the second process."""

    def answer(request: list[Any], note_progress: Callable[[], None]) -> str | None:
        path, *wanted = request
        try:
            with h5py.File(path, "r") as file:
                if not wanted:
                    return _read_parts(file, note_progress)
                _read_values(file[wanted[0]], wanted[1], note_progress)
        except MemoryError:
            return f"is damaged or forged: a part of it needs more than {MEMORY_BYTES >> 30} GB; leave it out"
        except Exception as error:  # noqa: BLE001 - h5py has no base of its errors
            # HDF5 reports a want of memory as any other error: the first process, which has no limit, must not try.
            return describe_error(error) if wanted else None
        return None

    watched_process.serve(answer)


def describe_error(error: BaseException) -> str:
    """Return the second half of the sentence for a file that HDF5 cannot read."""
    reason = " ".join(str(error).split())
    return f"cannot be read as HDF5, it may be cut off or damaged ({reason[:120]})"


def _read_parts(file: h5py.File, note_progress: Callable[[], None]) -> str | None:
    """Read the metadata of everything that hard links reach; return what is wrong with their number."""
    visited: set[int] = set()
    pending: list[Any] = [file]
    while pending:
        part = pending.pop()
        note_progress()
        _read_attributes(part)
        if isinstance(part, h5py.Dataset):
            _attempt(partial(_read_description, part))
            continue
        for child in _list_children(part):
            address = h5py.h5o.get_info(child.id).addr
            if address not in visited:
                visited.add(address)
                pending.append(child)
            note_progress()
        if len(visited) > MAX_PARTS:
            return f"has more than {MAX_PARTS} groups and datasets; divide it"
    return None


def _list_children(group: h5py.Group) -> Iterator[h5py.Group | h5py.Dataset]:
    """Yield the groups and datasets that hard links of a group lead to, as far as they can be read."""
    names: list[str] = []
    _attempt(lambda: names.extend(group))
    for name in names:
        children: list[Any] = []

        def open_link(name: str = name, children: list[Any] = children) -> None:
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                children.append(group[name])

        _attempt(open_link)
        yield from (item for item in children if isinstance(item, h5py.Group | h5py.Dataset))


def _read_attributes(part: h5py.Group | h5py.Dataset) -> None:
    names: list[str] = []
    _attempt(lambda: names.extend(part.attrs))
    for name in names:
        _attempt(partial(part.attrs.__getitem__, name))


def _read_description(values: h5py.Dataset) -> None:
    """Read what decides how values are read, without any value."""
    _ = values.shape, values.dtype, values.chunks, values.is_virtual, values.external, values.fillvalue
    if values.chunks:
        values.id.get_num_chunks()


def _attempt(read: Callable[[], object]) -> None:
    """Call `read`; an error that HDF5 reports concerns this part alone."""
    try:
        read()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110 - h5py has no base of its errors; the first process meets and describes it
        pass


def _read_values(values: h5py.Dataset, rows: Sequence[int] | None, note_progress: Callable[[], None]) -> None:
    if not values.shape:
        return
    if rows is None:
        rows = range(len(values))
    row_bytes = max(1, values.dtype.itemsize * math.prod(values.shape[1:]))
    if _is_plain(values) and len(rows) * row_bytes > BLOCK_BYTES:
        _ = values[rows[0]]
        _read_large_chunks(values, note_progress)
        return
    count = max(1, BLOCK_BYTES // row_bytes) if _is_plain(values) else 1
    is_run = len(rows) == rows[-1] - rows[0] + 1 if len(rows) else True
    for start in range(0, len(rows), count):
        if is_run:
            _ = values[rows[start] : rows[min(start + count, len(rows)) - 1] + 1]
        else:
            for row in rows[start : start + count]:
                _ = values[row]
        note_progress()


def _is_plain(values: h5py.Dataset) -> bool:
    """Return whether values have a fixed size and no filter but those that report damage."""
    properties = values.id.get_create_plist()
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    return filters <= _PLAIN_FILTERS and not np.dtype(values.dtype).hasobject


def _read_large_chunks(values: h5py.Dataset, note_progress: Callable[[], None]) -> None:
    """Read the chunks whose stored bytes may unpack to more than the limit of memory."""
    if not values.chunks or not values.compression:
        return
    for number in range(values.id.get_num_chunks()):
        chunk = values.id.get_chunk_info(number)
        if chunk.size * MAX_CHUNK_RATIO > MEMORY_BYTES:
            _ = values[tuple(slice(start, start + 1) for start in chunk.chunk_offset)]
        note_progress()


_process: Final = WatchedProcess(
    "import capture.datasets.hdf5_check; capture.datasets.hdf5_check.serve()", longest_seconds=LONGEST_SECONDS
)
atexit.register(_process.stop)
