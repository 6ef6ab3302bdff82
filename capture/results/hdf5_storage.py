"""A results file as HDF5 sees it: every dataset laid out at once, then filled frame by frame."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, Final, Literal

import h5py
import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.results import schema, superblock
from capture.results.descriptions import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Weights = Literal["bfloat16", "float32"]
Array = npt.NDArray[Any]

CHECKS_BYTES: Final = 2048
"""Room for the root attribute `checks`, which is rewritten in place when the run ends."""
HEADROOM: Final = 1 << 20
"""Bytes beyond a frame's own that HDF5's metadata may take, generously."""
ROOT_ATTRIBUTES: Final = 64
"""Up to this many attributes are kept in the root's header, where one write call replaces them."""
FILTERED_BYTES: Final = 4096
"""Smaller chunks are never compressed."""
ROLE_VALUES: Final = {role: number for number, role in enumerate(schema.ROLES)}

_log = logging.getLogger(__name__)


class Storage:
    """An open HDF5 file in which all frames of `sizes` have their place. Not for use by two threads at once.

    `path` is created or emptied. `attributes` go to the root, as h5py stores them; `complete` (false) and `checks` ({})
    are added. Where they are None, the file is one that was written before and is written on: it must have been made
    for the same sizes, and be closed or released (superblock.py). `followed` says whether readers can follow the file
    while it grows (HDF5's SWMR mode); where the file system does not allow it, the file is written plainly. Every
    method raises OSError or RuntimeError where HDF5 fails, ValueError where a file to be written on has other datasets.
    """

    def __init__(
        self,
        path: Path,
        sizes: schema.Sizes,
        attributes: Mapping[str, object] | None,
        weights: Weights,
        *,
        compress: bool,
    ) -> None:
        self._sizes = sizes
        self._groups = schema.mass_groups(sizes.cameras)
        self._layout = {dataset.name: dataset for dataset in schema.datasets(sizes)}
        self._weights: Weights = weights
        self._filter = _bitshuffle() if compress else None
        self._file: h5py.File | None = None
        self.followed = True
        try:
            if attributes is None:
                self._reopen(path)
                return
            self._create(path, attributes, h5py.h5f.LIBVER_V110)
            try:
                self.file.swmr_mode = True
            except (OSError, RuntimeError, ValueError) as error:
                self.followed = False
                self.close()
                # The oldest layout marks no file as being written, so that what a killed run leaves opens as it is.
                self._create(path, attributes, h5py.h5f.LIBVER_EARLIEST)
                _log.warning(
                    "HDF5 cannot write %s for readers at the same time: %s. It cannot be followed while it grows, and "
                    "a run that is killed may lose it.",
                    path,
                    reason(error),
                )
        except BaseException:
            self.abandon()
            raise

    @property
    def file(self) -> h5py.File:
        """The open file."""
        assert self._file is not None, "the file is closed"
        return self._file

    @property
    def frames_done(self) -> int:
        """Finished frames."""
        done = np.empty((), dtype="<i8")
        self._datasets[schema.FRAMES_DONE].read(h5py.h5s.ALL, h5py.h5s.ALL, done)
        return int(done)

    @property
    def size(self) -> int:
        """Bytes that the file takes now."""
        return int(self.file.id.get_filesize())

    @property
    def frame_room(self) -> int:
        """Bytes by which the file may grow with the next frame, at most."""
        return frame_room(self._layout.values(), self._weights)

    def store(self, frame: int, values: Mapping[str, Array]) -> None:
        """Write frame number `frame` and, once its data are in the file, count it as done."""
        for name, value in values.items():
            self._store(self._layout[name], frame, value)
        self.file.flush()
        self._datasets[schema.FRAMES_DONE].write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(frame + 1, dtype="<i8"))
        self.file.flush()

    def complete(self, checks: bytes) -> None:
        """Set the root attributes `checks` (JSON of at most CHECKS_BYTES) and `complete`."""
        assert len(checks) <= CHECKS_BYTES
        for name, value in (("checks", np.array(checks, dtype=f"S{CHECKS_BYTES}")), ("complete", np.array(1, "i1"))):
            attribute = h5py.h5a.open(self.file.id, name.encode())
            attribute.write(value, attribute.get_type())
        self.file.flush()

    def close(self) -> int | None:
        """Flush and close, or on failure abandon; the file's length in bytes, None if it was closed before."""
        if self._file is None:
            return None
        try:
            self._file.flush()
            size = self.size
        except BaseException:
            self.abandon()
            raise
        file, self._file = self._file, None
        try:
            file.close()
        except BaseException:  # half closed: a second attempt would crash
            self._divert()
            raise
        return size

    def abandon(self) -> None:
        """Leave the file as a killed run would, in its last good state."""
        if self._file is None:
            return
        self._divert()
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        self._file = None

    def _divert(self) -> None:
        """Turn HDF5's descriptor of the file to a place that takes everything.

        HDF5 cannot forget what it failed to write: it tries again when the process ends, and crashes if that fails too.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self._identity):
                memory = hasattr(os, "memfd_create")  # a temporary file may lie on the same full disk
                with os.fdopen(os.memfd_create("sink"), "r+b") if memory else tempfile.TemporaryFile() as sink:
                    os.dup2(sink.fileno(), self._descriptor)

    def _reopen(self, path: Path) -> None:
        """Open a file that was written before, as it was opened then."""
        with path.open("rb") as file:
            file.seek(len(superblock.SIGNATURE))
            self.followed = file.read(1) >= b"\3"  # only files of that version can be followed
        oldest = h5py.h5f.LIBVER_V110 if self.followed else h5py.h5f.LIBVER_EARLIEST
        self._hold(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR, _file_access(oldest)))
        self._datasets = {}
        for name, dataset in self._layout.items():
            stored = h5py.h5d.open(self.file.id, name.encode(), _dataset_access())
            if stored.shape != dataset.shape or stored.get_type() != _file_type(dataset, self._weights):
                raise ValueError(f"{name} has another shape or number type")
            self._datasets[name] = stored
        if self.followed:
            self.file.swmr_mode = True

    def _hold(self, opened: h5py.h5f.FileID) -> None:
        self._file = h5py.File(opened)
        self._descriptor = self._file.id.get_vfd_handle()
        self._identity = os.fstat(self._descriptor)

    def _create(self, path: Path, attributes: Mapping[str, object], oldest: int) -> None:
        creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
        creation.set_attr_phase_change(ROOT_ATTRIBUTES, ROOT_ATTRIBUTES // 2)
        self._hold(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, _file_access(oldest)))
        for name, value in attributes.items():
            self.file.attrs[name] = value
        checks = h5py.string_dtype(length=CHECKS_BYTES)  # of a fixed length, so that they can be replaced
        self.file.attrs.create("checks", np.array(b"{}", dtype=checks), dtype=checks)
        self.file.attrs["complete"] = np.False_
        self._datasets = {name: self._create_dataset(dataset) for name, dataset in self._layout.items()}
        self._datasets[schema.FRAMES_DONE].write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(0, dtype="<i8"))
        self.file.flush()

    def _create_dataset(self, dataset: schema.Dataset) -> h5py.h5d.DatasetID:
        number = memory_type(dataset, self._weights)
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_obj_track_times(False)
        if dataset.chunks is None:
            creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # a follower cannot refresh what has no place yet
        elif 0 not in dataset.shape:
            creation.set_chunk(dataset.chunks)
            large = math.prod(dataset.chunks) * number.itemsize >= FILTERED_BYTES
            if self._filter and large and dataset.kind in ("weight", "u1", "f4"):
                creation.set_filter(self._filter[0], h5py.h5z.FLAG_MANDATORY, self._filter[1])
        if dataset.name in schema.FILL:
            fill_type = h5py.enum_dtype(ROLE_VALUES, "u1") if dataset.kind == "role" else number
            creation.set_fill_value(np.array(schema.FILL[dataset.name], dtype=fill_type))
        link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        link.set_create_intermediate_group(True)
        link.set_char_encoding(h5py.h5t.CSET_UTF8)
        space = h5py.h5s.create_simple(dataset.shape) if dataset.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        stored_as = _file_type(dataset, self._weights)
        stored = h5py.h5d.create(
            self.file.id, dataset.name.encode(), stored_as, space, creation, link, _dataset_access()
        )
        attributes = h5py.Dataset(stored).attrs
        attributes[schema.AXES_ATTRIBUTE] = np.array(dataset.axes, dtype=h5py.string_dtype())
        attributes[schema.DESCRIPTION_ATTRIBUTE] = describe(dataset.name, self._sizes)
        if "group" in dataset.axes:
            attributes[schema.GROUPS_ATTRIBUTE] = list(self._groups)
        return stored

    def _store(self, dataset: schema.Dataset, frame: int, value: Array) -> None:
        number = memory_type(dataset, self._weights)
        if dataset.kind == "weight" and number == np.uint16 and value.dtype != np.uint16:
            value = schema.to_bfloat16(value.astype(np.float32, copy=False))
        elif dataset.kind == "weight" and number == np.float32 and value.dtype == np.uint16:
            value = schema.from_bfloat16(value)
        value = _filled(dataset, value.astype(number, copy=False))
        if not value.size:
            return
        stored = self._datasets[dataset.name]
        space = stored.get_space()
        space.select_hyperslab((frame, *[0] * value.ndim), (1, *value.shape))
        memory = h5py.h5s.create_simple((1, *value.shape))
        # Memory type = file type: the bytes go to the file as they are (HDF5's own conversion takes 58 ns a value).
        stored.write(memory, space, np.ascontiguousarray(value), stored.get_type())


def frame_room(datasets: Iterable[schema.Dataset], weights: Weights) -> int:
    """Bytes by which a file of these datasets may grow with a frame, at most."""
    layout = tuple(datasets)
    frame = sum(dataset.frame_bytes(2 if weights == "bfloat16" else 4) for dataset in layout)
    # The first frame brings the chunk indices of all frames along: 16 bytes a chunk are enough for any kind.
    chunks = sum(math.prod(map(math.ceil, np.divide(d.shape, d.chunks))) for d in layout if d.chunks)
    return int(frame + frame // 50 + 16 * chunks + HEADROOM)  # a chunk that cannot be compressed grows by under 1 %


def _file_access(oldest: int) -> h5py.h5p.PropFAID:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(oldest, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(use_file_locking=False, ignore_when_disabled=True)  # HDF5's lock keeps readers out
    return access


def _dataset_access() -> h5py.h5p.PropDAID:
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(1, 0, 1.0)  # no cache: whole chunks go to the file at once
    return access


def memory_type(dataset: schema.Dataset, weights: Weights) -> np.dtype[Any]:
    """The numpy type that has the same bytes as the dataset's values in the file."""
    if dataset.kind == "str":
        return np.dtype(f"S{dataset.string_bytes}")
    if dataset.kind == "weight":
        return np.dtype("<u2" if weights == "bfloat16" else "<f4")
    return np.dtype("u1" if dataset.kind == "role" else f"<{dataset.kind}")


def _file_type(dataset: schema.Dataset, weights: Weights) -> h5py.h5t.TypeID:
    if dataset.kind == "str":
        # Strings of variable length live in a heap that SWMR does not order; a reader that follows cannot read them.
        text = h5py.h5t.C_S1.copy()
        text.set_size(dataset.string_bytes)
        text.set_strpad(h5py.h5t.STR_NULLPAD)
        text.set_cset(h5py.h5t.CSET_UTF8)
        return text
    if dataset.kind == "role":
        return h5py.h5t.py_create(h5py.enum_dtype(ROLE_VALUES, "u1"), logical=True)
    if dataset.kind == "weight" and weights == "bfloat16":
        half = h5py.h5t.IEEE_F16LE.copy()
        half.set_fields(15, 7, 8, 0, 7)  # sign bit 15, exponent bits 7 … 14, mantissa bits 0 … 6
        half.set_ebias(127)
        return half
    return h5py.h5t.py_create(memory_type(dataset, weights))


def _filled(dataset: schema.Dataset, value: Array) -> Array:
    """`value` with fill values where the frame has fewer text tokens than the file has room for.

    Rows that have chunks of their own are not filled: left unwritten they take no space. Everything else must be whole
    chunks, which HDF5 then need not read back.
    """
    assert dataset.chunks is not None
    axes = enumerate(zip(value.shape, dataset.shape[1:], dataset.chunks[1:], strict=True), start=1)
    shape = tuple(size if axis in dataset.text_axes and chunk == 1 else full for axis, (size, full, chunk) in axes)
    if value.shape == shape:
        return value
    filled = np.full(shape, schema.FILL.get(dataset.name, b"" if dataset.kind == "str" else 0), dtype=value.dtype)
    filled[tuple(slice(size) for size in value.shape)] = value
    return filled


def reason(error: BaseException) -> str:
    """What went wrong in the system's words where it has any, without HDF5's pages of detail."""
    number = re.search(r"errno = (\d+)", str(error))
    code = getattr(error, "errno", None) or (int(number[1]) if number else None)
    return os.strerror(code).lower() if code else str(error).partition("\n")[0]


def _bitshuffle() -> tuple[int, tuple[int, ...]]:
    """Number and options of HDF5's bitshuffle filter with lz4."""
    try:
        import hdf5plugin
    except ImportError:
        raise UserError("--compress needs the package hdf5plugin: pip install 'pi0-attention[compress]'") from None
    options = hdf5plugin.Bitshuffle(cname="lz4")
    return int(options["compression"]), tuple(options["compression_opts"])
