"""Access to an untrusted HDF5 file: no links out of it, no unreasonable sizes, fast reads of bfloat16."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from viewer.errors import UserError
from viewer.io.file_access import FileAccess
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from capture.remote.address import Location

MAX_READ: Final = 1 << 30
"""Bytes that one read may take; a full-size row of all layers has 1.6 MB."""
MAX_CHUNK: Final = 1 << 28
MAX_CHUNKS: Final = 4096
"""Chunks that `extents` looks up for one part of a dataset."""
MAX_ATTRIBUTE: Final = 1 << 20
KNOWN_FILTERS: Final = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}

Index = tuple[int | slice, ...]


class Guarded:
    """Datasets and attributes of one open HDF5 file, each dataset checked before its first use."""

    def __init__(self, file: h5py.File, path: Location, access: FileAccess | None = None) -> None:
        """`access`: how the file is read; None for one of this machine, which is read at once."""
        self.file = file
        self.path = path
        self.access = access or FileAccess()
        self._known: dict[str, tuple[h5py.Dataset, int] | None] = {}

    def attribute(self, name: str) -> Any:
        """Return a root attribute, None if absent; UserError if it is larger than MAX_ATTRIBUTE."""
        if not h5py.h5a.exists(self.file.id, name.encode()):
            return None
        attribute = h5py.h5a.open(self.file.id, name.encode())
        # Not its storage size: HDF5 fails on that of an empty list.
        if attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size() > MAX_ATTRIBUTE:
            raise self.damaged(f"its attribute {name} is too large")
        value = self.file.attrs[name]
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def json(self, name: str) -> dict[str, Any]:
        """Return a root attribute that holds a JSON object; empty if it is absent or unreadable."""
        text = self.attribute(name)
        try:
            value = json.loads(text) if isinstance(text, str) else {}
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def find(self, name: str, axes: int, *, grow: bool = False) -> h5py.Dataset | None:
        """Return a dataset, None if absent; `grow` reads its length again.

        UserError if it has another number of axes, or is a link or something else that a results file may not contain.
        """
        if name not in self._known:
            try:
                opened = self.access.run(lambda: self._open(name), lambda: self.find(name, axes))
            except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError) as error:
                raise self.damaged(
                    f"{name} cannot be read (HDF5 says “{' '.join(str(error).split())[:120]}”)"
                ) from error
            self._known[name] = None if opened is None else (opened, opened.ndim)
        entry = self._known[name]
        if entry is None:
            return None
        dataset, stored_axes = entry
        if stored_axes != axes:
            raise self.damaged(f"{name} has {stored_axes} axes, {axes} are needed")
        if grow:
            dataset.refresh()  # of h5py, which keeps the shape otherwise
        return dataset

    def damaged(self, reason: str) -> UserError:
        """Return the error for a file that is not what it claims to be; `reason` ends the sentence."""
        return UserError(
            f"{self.path.name} is damaged or was not made by pi0-capture: {reason}. Record it again, or copy it again."
        )

    def _open(self, name: str) -> h5py.Dataset | None:
        path = ""
        for part in name.split("/"):
            path = f"{path}/{part}" if path else part
            link = self.file.get(path, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise self.damaged(f"{path} is a link to somewhere else, which is not followed")
        dataset = self.file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise self.damaged(f"{name} is not a dataset")
        properties = dataset.id.get_create_plist()
        if dataset.is_virtual or properties.get_external_count():
            raise self.damaged(f"{name} keeps its numbers in another file, which is not followed")
        if dataset.chunks and int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize > MAX_CHUNK:
            raise self.damaged(f"{name} has chunks of more than {MAX_CHUNK >> 20} MB")
        for number in range(properties.get_nfilters()):
            self._filter(name, properties.get_filter(number)[0])
        return dataset

    def _filter(self, name: str, code: int) -> None:
        if code in KNOWN_FILTERS or h5py.h5z.filter_avail(code):
            return
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401 - registers its filters; most files need none
        if not h5py.h5z.filter_avail(code):
            raise UserError(
                f"{self.path.name} is compressed with a filter that is not installed ({name}, filter {code}); "
                "install it with: pip install hdf5plugin"
            )


def is_bfloat16(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset holds bfloat16: little-endian floats of 16 bits, 8 of them for the exponent."""
    kind = dataset.id.get_type()
    if not isinstance(kind, h5py.h5t.TypeFloatID) or kind.get_size() != 2:
        return False
    # (sign position, exponent position and size, mantissa position and size)
    return bool(
        tuple(kind.get_fields()) == (15, 7, 8, 0, 7)
        and kind.get_ebias() == 127
        and kind.get_order() == h5py.h5t.ORDER_LE
    )


def read(dataset: h5py.Dataset, index: Index) -> npt.NDArray[np.generic]:
    """Return a part of a dataset, without the axes that an integer selects: uint16 bits of bfloat16, else h5py's type.

    The size of the result is checked before it is allocated. HDF5 converts bfloat16 at 58 ns a value; copying the bits
    takes 0.3 ns. UserError if the part is larger than MAX_READ or damaged, IndexError if it lies outside the dataset.
    """
    full = (*index, *(slice(None),) * (dataset.ndim - len(index)))
    bounds = [
        (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]
        for part, size in zip(full, dataset.shape, strict=True)
    ]
    counts = tuple(max(0, stop - start) for start, stop in bounds)
    if int(np.prod(counts, dtype=object)) * max(1, dataset.dtype.itemsize) > MAX_READ:
        raise UserError(f"{dataset.name} holds more in one place than a results file can; it is not shown.")
    shape = tuple(count for part, count in zip(full, counts, strict=True) if isinstance(part, slice))
    if any(not 0 <= start <= stop <= size for (start, stop), size in zip(bounds, dataset.shape, strict=True)):
        raise IndexError(f"{dataset.name}: {index} lies outside {dataset.shape}")
    try:
        if not is_bfloat16(dataset):
            return np.asarray(dataset[full])
        bits = np.empty(counts, np.uint16)
        if bits.size:
            where = dataset.id.get_space()
            where.select_hyperslab(tuple(start for start, _ in bounds), counts)
            dataset.id.read(h5py.h5s.create_simple(counts), where, bits, dataset.id.get_type())
        return bits.reshape(shape)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"A part of {dataset.name} cannot be read: the file is damaged (HDF5 says “{reason}”). "
            "Copy it again, or record it again."
        ) from error


def extents(dataset: h5py.Dataset, index: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return offset and size in bytes of the written chunks that hold one part of a dataset."""
    if not dataset.chunks or any(not 0 <= at < size for at, size in zip(index, dataset.shape, strict=False)):
        return []
    steps = [
        range(index[axis] // chunk * chunk, index[axis] + 1, chunk) if axis < len(index) else range(0, size, chunk)
        for axis, (size, chunk) in enumerate(zip(dataset.shape, dataset.chunks, strict=True))
    ]
    if math.prod(len(step) for step in steps) > MAX_CHUNKS:
        return []
    chunks = (dataset.id.get_chunk_info_by_coord(corner) for corner in itertools.product(*steps))
    return [(chunk.byte_offset, chunk.size) for chunk in chunks if chunk.byte_offset is not None]


def extents_of_part(dataset: h5py.Dataset, index: Index) -> list[tuple[int, int]]:
    """Return offset and size in bytes of what HDF5 reads for a part of a dataset; empty if it is not in chunks.

    That is the whole of each chunk that is filtered, else the span of the part in it.
    """
    if not dataset.chunks:
        return []
    full = (*index, *(slice(None),) * (dataset.ndim - len(index)))
    bounds = [
        (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]
        for part, size in zip(full, dataset.shape, strict=True)
    ]
    if any(not 0 <= start <= stop <= size for (start, stop), size in zip(bounds, dataset.shape, strict=True)):
        return []
    steps = [
        range(start // chunk * chunk, stop, chunk) for (start, stop), chunk in zip(bounds, dataset.chunks, strict=True)
    ]
    if math.prod(len(step) for step in steps) > MAX_CHUNKS:
        return []
    is_filtered = dataset.id.get_create_plist().get_nfilters() > 0
    byte_ranges = []
    for corner in itertools.product(*steps):
        chunk = dataset.id.get_chunk_info_by_coord(corner)
        if chunk.byte_offset is None:
            continue
        first, last = (0, chunk.size) if is_filtered else _span_in_chunk(dataset, corner, bounds)
        byte_ranges.append((chunk.byte_offset + first, min(last, chunk.size) - first))
    return byte_ranges


def _span_in_chunk(dataset: h5py.Dataset, corner: tuple[int, ...], bounds: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the first and the end of the bytes in a chunk between which its share of a part lies."""
    first = last = 0
    for at, (start, stop), chunk in zip(corner, bounds, dataset.chunks, strict=True):
        first = first * chunk + max(start - at, 0)
        last = last * chunk + min(stop - at, chunk) - 1
    return first * dataset.dtype.itemsize, (last + 1) * dataset.dtype.itemsize


def texts(values: npt.NDArray[np.generic]) -> tuple[str, ...]:
    """Return the strings of an array, see `clean_text`; bytes that are no UTF-8 become replacement characters."""
    return tuple(
        clean_text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
        for value in values.ravel().tolist()
    )


def numbers(value: object) -> tuple[int, ...]:
    """Return a list of whole numbers from an attribute; empty if it is something else."""
    array = np.atleast_1d(np.asarray(value))
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size > 10_000:
        return ()
    return tuple(int(item) for item in array)


def names(value: object) -> tuple[str, ...]:
    """Return a list of names from an attribute; empty if it is something else."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        return ()
    return texts(np.asarray(value, dtype=object))
