"""Memory that several processes map: the GPU or a reader process fills it, writer processes read it, without a copy.

A `SharedBuffer` holds the arrays of one call, or, in a `PicturePool`, the pictures of many moments. Processes send each
other the `ArrayLocation` of an array, and look it up with `BufferMappings`. Linux only: buffers are anonymous files
(memfd), since containers keep /dev/shm small, and other processes open them by way of /proc.

torch is imported only where a buffer is handed to it, so that writer processes need not load it.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT: Final = 64
PAGE: Final = 1 << 16
POOL_BLOCKS: Final = 64
"""Blocks of one buffer of a pool; the system provides memory only for those that are written to."""
_idents = itertools.count()


@dataclass(frozen=True)
class ArrayLocation:
    """Where another process finds an array that lies in a shared buffer."""

    ident: int
    """Number of the buffer; never reused."""
    file: str
    """Path by which other processes open the buffer."""
    size: int
    """Bytes of the buffer."""
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class SharedBuffer:
    """A range of memory that other processes can map; `pinned` memory is filled by a GPU without blocking the host."""

    def __init__(self, size: int, *, pinned: bool) -> None:
        self.size = size
        self._ident = next(_idents)
        self._descriptor = os.memfd_create("pi0-capture")
        os.ftruncate(self._descriptor, size)
        self._file = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        self._map = mmap.mmap(self._descriptor, size)
        self._bytes: npt.NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)
        self._address = int(self._bytes.ctypes.data)
        self._pinned = pinned and self._register()
        self._used = 0

    def _register(self) -> bool:
        import torch

        runtime: Any = torch.cuda.cudart()
        return int(runtime.cudaHostRegister(self._address, self.size, 0)) == 0

    def clear(self) -> None:
        """Mark all memory as free; what lies in it stays until it is overwritten."""
        self._used = 0

    def like(self, tensor: Tensor) -> Tensor:
        """Allocate a contiguous host tensor of the shape and number type of `tensor`. Raises ValueError if full."""
        import torch

        start = self._allocate(tensor.numel() * tensor.element_size())
        flat = torch.frombuffer(self._map, dtype=tensor.dtype, count=tensor.numel(), offset=start)
        return flat.view(tensor.shape)

    def copy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Copy an array into the buffer and return the copy. Raises ValueError if the buffer is full."""
        start = self._allocate(array.nbytes)
        copied = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(copied, array)
        return copied

    def _allocate(self, size: int) -> int:
        start = _aligned(self._used)
        if start + size > self.size:
            raise ValueError(f"{size} bytes do not fit in a buffer of {self.size}, of which {start} are taken")
        self._used = start + size
        return start

    def locate(self, array: npt.NDArray[Any]) -> ArrayLocation | None:
        """Return where the array lies in this buffer, None if it lies elsewhere."""
        offset = int(array.__array_interface__["data"][0]) - self._address
        if not array.size or not 0 <= offset < self.size:
            return None
        return ArrayLocation(self._ident, self._file, self.size, offset, array.shape, array.strides, array.dtype.str)

    def array(self, location: ArrayLocation) -> npt.NDArray[Any]:
        """Return the array at a location in this buffer; it shares the buffer's memory."""
        return np.ndarray(location.shape, np.dtype(location.dtype), self._map, location.offset, location.strides)

    def part(self, start: int, size: int) -> ArrayLocation:
        """Return the location of `size` bytes from `start` on, as uint8."""
        return ArrayLocation(self._ident, self._file, self.size, start, (size,), (1,), "|u1")

    def free(self) -> None:
        """Give the memory back; nothing may use it any more."""
        if self._pinned:  # otherwise the driver keeps the address, and the next buffer there cannot be registered
            import torch

            runtime: Any = torch.cuda.cudart()
            runtime.cudaHostUnregister(self._address)
            self._pinned = False
        os.close(self._descriptor)


def buffer_size(sizes: list[int]) -> int:
    """Return the bytes of a buffer that holds arrays of these sizes in bytes."""
    return sum(_aligned(size) for size in sizes) + PAGE


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class BufferRing:
    """A fixed number of buffers in rotation: filled with the results of a call, returned when these are stored."""

    def __init__(self, count: int, *, pinned: bool) -> None:
        self._count, self._pinned = count, pinned
        self._free: list[SharedBuffer] = []
        self._created = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, size: int, stopped: Callable[[], bool]) -> SharedBuffer | None:
        """Wait for an empty buffer of at least `size` bytes. Returns None once `stopped` returns True."""
        with self._changed:
            while not self._free and self._created >= self._count:
                if stopped():
                    return None
                self._changed.wait(0.05)
            buffer = self._free.pop() if self._free else None
            if buffer is None:
                self._created += 1
        if buffer is not None and buffer.size < size:
            buffer.free()
            buffer = None
        if buffer is None:
            buffer = SharedBuffer(-(-(size + size // 16) // PAGE) * PAGE, pinned=self._pinned)
        buffer.clear()
        return buffer

    def give_back(self, buffer: SharedBuffer) -> None:
        """Return a buffer whose contents are stored."""
        with self._changed:
            if self._closed:
                buffer.free()
                return
            self._free.append(buffer)
            self._changed.notify()

    def close(self) -> None:
        """Free all buffers; those in use are freed when they are given back."""
        with self._changed:
            self._closed = True
            for buffer in self._free:
                buffer.free()
            self._free.clear()


class PictureBlock:
    """Memory for the pictures of one moment, reserved until all frames that show them are stored."""

    def __init__(self, pool: PicturePool, buffer: SharedBuffer, start: int, size: int) -> None:
        self.size = size
        self.location = buffer.part(start, size)
        """Of the whole block, as bytes."""
        self._pool, self._buffer = pool, buffer
        self._frames = 1
        self._lock = threading.Lock()

    def array(self, location: ArrayLocation) -> npt.NDArray[Any]:
        """Return the array at a location in the block; it shares the block's memory."""
        return self._buffer.array(location)

    def hold(self, frames: int) -> None:
        """Set how many frames show the pictures, and so how many `release` calls free the block."""
        self._frames = frames

    def release(self) -> None:
        """Note that one frame is stored; the last one returns the block to its pool."""
        with self._lock:
            self._frames -= 1
            free = not self._frames
        if free:
            self._pool.give_back(self)


class PicturePool:
    """Blocks of one size, cut from a few large buffers; buffers are added when no block is free."""

    def __init__(self) -> None:
        self.buffers: list[SharedBuffer] = []
        self._free: list[PictureBlock] = []
        self._size = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> PictureBlock:
        """Return a free block of at least `size` bytes."""
        with self._lock:
            if size > self._size:  # smaller blocks are not used again; sizes are powers of two, so this is rare
                self._size = 1 << (size - 1).bit_length()
                self._free.clear()
            if not self._free:
                buffer = SharedBuffer(POOL_BLOCKS * self._size, pinned=False)
                self.buffers.append(buffer)
                starts = range(0, buffer.size, self._size)
                self._free += [PictureBlock(self, buffer, start, self._size) for start in starts]
            block = self._free.pop()
            block.hold(1)
            return block

    def give_back(self, block: PictureBlock) -> None:
        """Return a block whose pictures are no longer needed."""
        with self._lock:
            if block.size == self._size:
                self._free.append(block)

    def close(self) -> None:
        """Free all memory."""
        for buffer in self.buffers:
            buffer.free()
        self.buffers = []


class BufferMappings:
    """Buffers of another process, mapped into this one when an array in them is first looked up."""

    def __init__(self) -> None:
        self._mapped: dict[int, tuple[mmap.mmap, str, int]] = {}
        """Buffer ident -> memory, path of its file, and the file's inode."""

    def array(self, location: ArrayLocation) -> npt.NDArray[Any]:
        """Return the array at this location; it shares the buffer's memory."""
        memory = self._memory(location)
        return np.ndarray(location.shape, np.dtype(location.dtype), memory, location.offset, location.strides)

    def _memory(self, location: ArrayLocation) -> mmap.mmap:
        if location.ident not in self._mapped:
            self._unmap_freed()
            with Path(location.file).open("r+b") as file:
                inode = os.fstat(file.fileno()).st_ino
                self._mapped[location.ident] = mmap.mmap(file.fileno(), location.size), location.file, inode
        return self._mapped[location.ident][0]

    def _unmap_freed(self) -> None:
        """Drop the mappings of buffers that the other process has freed."""
        for ident, (_, file, inode) in list(self._mapped.items()):
            try:
                is_there = Path(file).stat().st_ino == inode
            except OSError:
                is_there = False
            if not is_there:
                del self._mapped[ident]
