"""HDF5 layer of the writer: create every dataset at once, then fill them frame by frame."""

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
from capture.results import schema, scores_schema, superblock
from capture.results.dataset_layout import FILL, Dataset, list_datasets
from capture.results.descriptions import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Weights = Literal["bfloat16", "float32"]
Array = npt.NDArray[Any]

CHECKS_BYTES: Final = 2048
"""Size of the root attributes `checks` and `rollout`, which are rewritten in place when the run ends."""
METADATA_BYTES: Final = 1 << 20
"""Upper limit of HDF5's metadata of one frame, in bytes."""
ROOT_ATTRIBUTES: Final = 64
"""Maximum number of attributes in the root's object header, where one write call replaces them."""
MIN_COMPRESSED_BYTES: Final = 4096
"""Smaller chunks are never compressed."""
DEFLATE_LEVEL: Final = 4
"""Of summaries. A full-size frame takes 39 ms and 930 kB; 28 ms and 953 kB at level 1, 98 ms and 922 kB at level 6."""
ROLE_VALUES: Final = {role: number for number, role in enumerate(schema.ROLES)}

_log = logging.getLogger(__name__)


class Storage:
    """An open HDF5 file with datasets for all frames of `sizes`; those of a rollout grow with each frame.

    Not thread-safe. `path` is created or emptied. `attributes` are the root attributes; `complete` (false) and `checks`
    ({}) are added, and `rollout` ({}) to the file of a rollout.
    With `attributes` None an existing file is continued: it must have the same sizes, and its writer must have closed
    it or have its flag cleared (superblock.py). `has_swmr` says whether readers can follow the file while it grows
    (HDF5's SWMR mode); a file system may not support that. Every method raises OSError or RuntimeError where HDF5
    fails, ValueError where the existing file has other datasets.
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
        self._layout = {dataset.name: dataset for dataset in list_datasets(sizes)}
        self._weights: Weights = weights
        self._filter = _bitshuffle() if compress else None
        self._file: h5py.File | None = None
        self.has_swmr = True
        try:
            if attributes is None:
                self._reopen(path)
                return
            self._create(path, attributes, h5py.h5f.LIBVER_V110)
            try:
                self.file.swmr_mode = True
            except (OSError, RuntimeError, ValueError) as error:
                self.has_swmr = False
                self.close()
                # The oldest file version has no writer flag, so that the file of a killed run opens unchanged.
                self._create(path, attributes, h5py.h5f.LIBVER_EARLIEST)
                _log.warning(
                    "HDF5 cannot write %s for readers at the same time: %s. It cannot be followed while it grows, and "
                    "a run that is killed may lose it.",
                    path,
                    describe_error(error),
                )
        except BaseException:
            self.abandon()
            raise

    @property
    def file(self) -> h5py.File:
        """The open file; an assertion fails once it is closed."""
        assert self._file is not None, "the file is closed"
        return self._file

    @property
    def frames_done(self) -> int:
        """Number of finished frames."""
        count = np.empty((), dtype="<i8")
        self._datasets[schema.FRAMES_DONE].read(h5py.h5s.ALL, h5py.h5s.ALL, count)
        return int(count)

    @property
    def size(self) -> int:
        """Present size of the file in bytes."""
        return int(self.file.id.get_filesize())

    @property
    def max_frame_bytes(self) -> int:
        """Upper limit of the bytes by which the next frame enlarges the file."""
        has_maps = self._sizes.maps_every != scores_schema.NO_MAPS
        written = [dataset for name, dataset in self._layout.items() if has_maps or name not in schema.OF_MAPS]
        return max_frame_bytes(written, self._weights)

    def store(self, frame: int, values: Mapping[str, Array]) -> None:
        """Write frame number `frame`; count it as done after its data are flushed."""
        if self._sizes.is_rollout:
            for name, dataset in self._layout.items():
                if dataset.shape:
                    self._datasets[name].set_extent((frame + 1, *dataset.shape[1:]))
        for name, value in values.items():
            self._store(self._layout[name], frame, value)
        self.file.flush()
        self._datasets[schema.FRAMES_DONE].write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(frame + 1, dtype="<i8"))
        self.file.flush()

    def complete(self, checks: bytes) -> None:
        """Set the root attributes `checks` (JSON of at most CHECKS_BYTES) and `complete`."""
        set_complete(self.file, checks)

    def set_text(self, name: str, text: bytes) -> None:
        """Replace the root attribute `checks` or `rollout` by JSON of at most CHECKS_BYTES; flush it not yet."""
        set_text(self.file, name, text)

    def close(self) -> int | None:
        """Flush and close, or abandon on failure. Returns the file size in bytes, None if it was closed before."""
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
        except BaseException:  # partly closed: a second attempt would crash
            self._redirect_descriptor()
            raise
        return size

    def abandon(self) -> None:
        """Close without writing, which leaves the file in its last flushed state."""
        if self._file is None:
            return
        self._redirect_descriptor()
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        self._file = None

    def _redirect_descriptor(self) -> None:
        """Point HDF5's file descriptor to memory, where every write succeeds.

        HDF5 retries a failed write when the process ends, and crashes if that fails again.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self._identity):
                has_memfd = hasattr(os, "memfd_create")  # a temporary file may lie on the same full disk
                with os.fdopen(os.memfd_create("sink"), "r+b") if has_memfd else tempfile.TemporaryFile() as sink:
                    os.dup2(sink.fileno(), self._descriptor)

    def _reopen(self, path: Path) -> None:
        """Open an existing file with the file version that it was created with."""
        opened, self.has_swmr = open_for_writing(path)
        self._set_file(opened)
        self._datasets = {}
        for name, dataset in self._layout.items():
            stored = h5py.h5d.open(self.file.id, name.encode(), _dataset_access())
            if stored.shape != dataset.shape or stored.get_type() != _file_type(dataset, self._weights):
                raise ValueError(f"{name} has another shape or number type")
            self._datasets[name] = stored

    def _set_file(self, opened: h5py.h5f.FileID) -> None:
        self._file = h5py.File(opened)
        self._descriptor = self._file.id.get_vfd_handle()
        self._identity = os.fstat(self._descriptor)

    def _create(self, path: Path, attributes: Mapping[str, object], oldest: int) -> None:
        creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
        creation.set_attr_phase_change(ROOT_ATTRIBUTES, ROOT_ATTRIBUTES // 2)
        self._set_file(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, _file_access(oldest)))
        for name, value in attributes.items():
            self.file.attrs[name] = value
        replaced = h5py.string_dtype(length=CHECKS_BYTES)  # fixed length, so that it can be replaced in place
        for name in ("checks", *([schema.ROLLOUT_ATTRIBUTE] if self._sizes.is_rollout else [])):
            self.file.attrs.create(name, np.array(b"{}", dtype=replaced), dtype=replaced)
        self.file.attrs["complete"] = np.False_
        self._datasets = {name: self._create_dataset(dataset) for name, dataset in self._layout.items()}
        self._datasets[schema.FRAMES_DONE].write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(0, dtype="<i8"))
        self.file.flush()

    def _create_dataset(self, dataset: Dataset) -> h5py.h5d.DatasetID:
        number = memory_type(dataset, self._weights)
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_obj_track_times(False)
        if dataset.chunks is None:
            creation.set_alloc_time(
                h5py.h5d.ALLOC_TIME_EARLY
            )  # SWMR readers cannot refresh a dataset without allocated space
        elif self._sizes.is_rollout or 0 not in dataset.shape:
            creation.set_chunk(dataset.chunks)
            large = math.prod(dataset.chunks) * number.itemsize >= MIN_COMPRESSED_BYTES
            if self._filter and large and dataset.kind in ("weight", "score", "u1", "f4"):
                creation.set_filter(self._filter[0], h5py.h5z.FLAG_MANDATORY, self._filter[1])
            elif dataset.is_packed:
                creation.set_shuffle()
                creation.set_deflate(DEFLATE_LEVEL)
        if dataset.fill:
            # HDF5 converts float32 to the bfloat16 of the file, but takes uint16 for numbers, not for bits.
            number = np.dtype("<f4") if dataset.kind == "weight" else number
            fill_type = h5py.enum_dtype(ROLE_VALUES, "u1") if dataset.kind == "role" else number
            creation.set_fill_value(np.array(dataset.fill, dtype=fill_type))
        link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        link.set_create_intermediate_group(True)
        link.set_char_encoding(h5py.h5t.CSET_UTF8)
        space = self._create_space(dataset)
        stored_as = _file_type(dataset, self._weights)
        stored = h5py.h5d.create(
            self.file.id, dataset.name.encode(), stored_as, space, creation, link, _dataset_access()
        )
        attributes = h5py.Dataset(stored).attrs
        attributes[schema.AXES_ATTRIBUTE] = np.array(dataset.axes, dtype=h5py.string_dtype())
        attributes[schema.DESCRIPTION_ATTRIBUTE] = describe(dataset.name, self._sizes)
        if "group" in dataset.axes:
            attributes[schema.GROUPS_ATTRIBUTE] = list(self._groups)
        if "region" in dataset.axes:
            attributes[scores_schema.REGIONS_ATTRIBUTE] = np.array(self._sizes.regions, dtype=h5py.string_dtype())
        return stored

    def _create_space(self, dataset: Dataset) -> h5py.h5s.SpaceID:
        if not dataset.shape:
            return h5py.h5s.create(h5py.h5s.SCALAR)
        if not self._sizes.is_rollout:
            return h5py.h5s.create_simple(dataset.shape)
        frame_shape = dataset.shape[1:]  # a chunk must fit, also where an axis has no entries
        return h5py.h5s.create_simple((0, *frame_shape), (h5py.h5s.UNLIMITED, *(max(1, size) for size in frame_shape)))

    def _store(self, dataset: Dataset, frame: int, value: Array) -> None:
        number = memory_type(dataset, self._weights)
        if dataset.kind == "weight" and number == np.uint16 and value.dtype != np.uint16:
            value = schema.to_bfloat16(value.astype(np.float32, copy=False))
        elif dataset.kind == "weight" and number == np.float32 and value.dtype == np.uint16:
            value = schema.from_bfloat16(value)
        value = _pad_text_axes(dataset, value.astype(number, copy=False))
        if not value.size:
            return
        stored = self._datasets[dataset.name]
        space = stored.get_space()
        space.select_hyperslab((frame, *[0] * value.ndim), (1, *value.shape))
        memory = h5py.h5s.create_simple((1, *value.shape))
        # Memory type = file type: the bytes go to the file as they are (HDF5's own conversion takes 58 ns a value).
        stored.write(memory, space, np.ascontiguousarray(value), stored.get_type())


def open_for_writing(path: Path) -> tuple[h5py.h5f.FileID, bool]:
    """Open an existing file with the file version that it was created with; also whether readers can follow it.

    Its writer must have closed it, or have its flag cleared (superblock.py).
    """
    with path.open("rb") as file:
        file.seek(len(superblock.SIGNATURE))
        has_swmr = file.read(1) >= b"\3"  # only files of that version can be followed
    oldest = h5py.h5f.LIBVER_V110 if has_swmr else h5py.h5f.LIBVER_EARLIEST
    # In SWMR mode from the first write on: started later, it would leave the file for a moment with the flag of a
    # writer that no reader can follow, and a run that is killed then with a file that HDF5 does not open.
    mode = h5py.h5f.ACC_RDWR | (h5py.h5f.ACC_SWMR_WRITE if has_swmr else 0)
    return h5py.h5f.open(os.fsencode(path), mode, _file_access(oldest)), has_swmr


def set_text(file: h5py.File, name: str, text: bytes) -> None:
    """Replace the root attribute `checks` or `rollout` by JSON of at most CHECKS_BYTES; flush it not yet."""
    assert len(text) <= CHECKS_BYTES
    attribute = h5py.h5a.open(file.id, name.encode())
    attribute.write(np.array(text, dtype=f"S{CHECKS_BYTES}"), attribute.get_type())


def set_complete(file: h5py.File, checks: bytes) -> None:
    """Set the root attributes `checks` (JSON of at most CHECKS_BYTES) and `complete`, and flush."""
    set_text(file, "checks", checks)
    attribute = h5py.h5a.open(file.id, b"complete")
    attribute.write(np.array(1, "i1"), attribute.get_type())
    file.flush()


def max_frame_bytes(datasets: Iterable[Dataset], weights: Weights) -> int:
    """Return the upper limit of the bytes by which one frame enlarges a file of these datasets."""
    layout = tuple(datasets)
    frame = sum(dataset.frame_bytes(2 if weights == "bfloat16" else 4) for dataset in layout)
    # The first frame allocates the chunk indices of all frames: 16 bytes a chunk are enough for every index type. Those
    # of a rollout, which has no frames yet, grow by less than METADATA_BYTES a frame.
    chunks = sum(math.prod(map(math.ceil, np.divide(d.shape, d.chunks))) for d in layout if d.chunks)
    return int(frame + frame // 50 + 16 * chunks + METADATA_BYTES)  # an incompressible chunk grows by less than 1 %


def _file_access(oldest: int) -> h5py.h5p.PropFAID:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(oldest, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(use_file_locking=False, ignore_when_disabled=True)  # HDF5's lock would keep readers out
    return access


def _dataset_access() -> h5py.h5p.PropDAID:
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(1, 0, 1.0)  # no cache: whole chunks are written directly
    return access


def memory_type(dataset: Dataset, weights: Weights) -> np.dtype[Any]:
    """Return the numpy type with the same bytes as the dataset's values in the file."""
    if dataset.kind == "str":
        return np.dtype(f"S{dataset.string_bytes}")
    if dataset.kind == "weight":
        return np.dtype("<u2" if weights == "bfloat16" else "<f4")
    if dataset.kind == "score":
        return np.dtype("<f2" if weights == "bfloat16" else "<f4")
    return np.dtype("u1" if dataset.kind == "role" else f"<{dataset.kind}")


def _file_type(dataset: Dataset, weights: Weights) -> h5py.h5t.TypeID:
    if dataset.kind == "str":
        # Variable-length strings lie in a heap that SWMR does not order, so that SWMR readers cannot read them.
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


def _pad_text_axes(dataset: Dataset, value: Array) -> Array:
    """Return `value` with fill values where the frame has fewer text tokens than the file's longest prompt.

    Rows with chunks of their own are not padded where unwritten chunks, which take no space, read as 0. Everything else
    is padded to whole chunks, which HDF5 then need not read back.
    """
    assert dataset.chunks is not None
    axes = enumerate(zip(value.shape, dataset.shape[1:], dataset.chunks[1:], strict=True), start=1)
    can_stay = not math.isnan(dataset.fill)
    shape = tuple(
        size if can_stay and axis in dataset.text_axes and chunk == 1 else full for axis, (size, full, chunk) in axes
    )
    if value.shape == shape:
        return value
    filled = np.full(shape, FILL.get(dataset.name, b"" if dataset.kind == "str" else 0), dtype=value.dtype)
    filled[tuple(slice(size) for size in value.shape)] = value
    return filled


def describe_error(error: BaseException) -> str:
    """Return the operating system's message of the error if it has one, else its first line."""
    number = re.search(r"errno = (\d+)", str(error))
    code = getattr(error, "errno", None) or (int(number[1]) if number else None)
    return os.strerror(code).lower() if code else str(error).partition("\n")[0]


def _bitshuffle() -> tuple[int, tuple[int, ...]]:
    """Return the number and the options of HDF5's bitshuffle filter with lz4."""
    try:
        import hdf5plugin
    except ImportError:
        raise UserError("--compress needs the package hdf5plugin: pip install 'pi0-attention[compress]'") from None
    options = hdf5plugin.Bitshuffle(cname="lz4")
    return int(options["compression"]), tuple(options["compression_opts"])
