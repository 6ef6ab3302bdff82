"""Memory that several processes see: filled by the GPU or by a process that reads, looked at by those that write.

A slot holds the frames of one call, or, on a shelf, the pictures of many moments. Nobody copies them. Linux only: the
memory has no name and no place in /dev/shm, which containers keep small, and other processes open it by way of /proc.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.pipeline.shared_arrays import ArrayLocation

ALIGNMENT: Final = 64
PAGE: Final = 1 << 16
POOL_BLOCKS: Final = 64
"""Of a slot on a shelf; memory that nobody wrote to is not taken from the system."""
_idents = itertools.count()


class SharedBuffer:
    """A stretch of memory that two processes see; pinned, so that a GPU fills it while the host does other things."""

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
        runtime: Any = torch.cuda.cudart()
        return int(runtime.cudaHostRegister(self._address, self.size, 0)) == 0

    def clear(self) -> None:
        """Begin to fill it anew."""
        self._used = 0

    def like(self, tensor: Tensor) -> Tensor:
        """Room for a contiguous tensor of the shape and number type of `tensor`, on the host."""
        start = self._take(tensor.numel() * tensor.element_size())
        flat = torch.frombuffer(self._map, dtype=tensor.dtype, count=tensor.numel(), offset=start)
        return flat.view(tensor.shape)

    def copy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy of the array that lies in the slot."""
        start = self._take(array.nbytes)
        room = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(room, array)
        return room

    def _take(self, size: int) -> int:
        start = -(-self._used // ALIGNMENT) * ALIGNMENT
        if start + size > self.size:
            raise ValueError(f"{size} bytes do not fit in a slot of {self.size}, of which {start} are taken")
        self._used = start + size
        return start

    def place(self, array: npt.NDArray[Any]) -> ArrayLocation | None:
        """Where the array lies, None if not in this slot."""
        offset = int(array.__array_interface__["data"][0]) - self._address
        if not array.size or not 0 <= offset < self.size:
            return None
        return ArrayLocation(self._ident, self._file, self.size, offset, array.shape, array.strides, array.dtype.str)

    def array(self, place: ArrayLocation) -> npt.NDArray[Any]:
        """The array at a place in this slot."""
        return np.ndarray(place.shape, np.dtype(place.dtype), self._map, place.offset, place.strides)

    def part(self, start: int, size: int) -> ArrayLocation:
        """The place of so many bytes."""
        return ArrayLocation(self._ident, self._file, self.size, start, (size,), (1,), "|u1")

    def free(self) -> None:
        """Give the memory back; nothing may lie in it any more."""
        if self._pinned:  # else the driver would hold an address for taken that the system gives to the next slot
            runtime: Any = torch.cuda.cudart()
            runtime.cudaHostUnregister(self._address)
            self._pinned = False
        os.close(self._descriptor)


def buffer_size(sizes: list[int]) -> int:
    """Bytes of a slot that takes arrays of these sizes."""
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes) + PAGE


class BufferRing:
    """A few slots that go round: filled by the policy's side, given back when the writer has stored what is in them."""

    def __init__(self, count: int, *, pinned: bool) -> None:
        self._count, self._pinned = count, pinned
        self._free: list[SharedBuffer] = []
        self._made = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, size: int, stopped: Callable[[], bool]) -> SharedBuffer | None:
        """An empty slot of at least `size` bytes; waits until there is one. None if told to stop meanwhile."""
        with self._changed:
            while not self._free and self._made >= self._count:
                if stopped():
                    return None
                self._changed.wait(0.05)
            slot = self._free.pop() if self._free else None
            if slot is None:
                self._made += 1
        if slot is not None and slot.size < size:
            slot.free()
            slot = None
        if slot is None:
            slot = SharedBuffer(-(-(size + size // 16) // PAGE) * PAGE, pinned=self._pinned)
        slot.clear()
        return slot

    def give_back(self, slot: SharedBuffer) -> None:
        """The writer is done with it."""
        with self._changed:
            if self._closed:
                slot.free()
                return
            self._free.append(slot)
            self._changed.notify()

    def close(self) -> None:
        """Give the memory back, of slots that are in use once they are not."""
        with self._changed:
            self._closed = True
            for slot in self._free:
                slot.free()
            self._free.clear()


class PictureBlock:
    """Memory for the pictures of one moment, until all frames that show them are stored."""

    def __init__(self, shelf: PicturePool, slot: SharedBuffer, start: int, size: int) -> None:
        self.size = size
        self.place = slot.part(start, size)
        """All of it, as bytes."""
        self._shelf, self._slot = shelf, slot
        self._frames = 1
        self._lock = threading.Lock()

    def array(self, place: ArrayLocation) -> npt.NDArray[Any]:
        """The array at a place in it."""
        return self._slot.array(place)

    def hold(self, frames: int) -> None:
        """So many frames show what is in it."""
        self._frames = frames

    def release(self) -> None:
        """One frame fewer needs it; with the last one it is free for another moment."""
        with self._lock:
            self._frames -= 1
            free = not self._frames
        if free:
            self._shelf.give_back(self)


class PicturePool:
    """Rooms of one size in a few large slots; there are as many as are needed at the same time."""

    def __init__(self) -> None:
        self.slots: list[SharedBuffer] = []
        self._free: list[PictureBlock] = []
        self._size = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> PictureBlock:
        """A free room of at least `size` bytes."""
        with self._lock:
            if size > self._size:  # rooms that are too small are used no more; with doubled sizes, few ever are
                self._size = 1 << (size - 1).bit_length()
                self._free.clear()
            if not self._free:
                slot = SharedBuffer(POOL_BLOCKS * self._size, pinned=False)
                self.slots.append(slot)
                self._free += [PictureBlock(self, slot, start, self._size) for start in range(0, slot.size, self._size)]
            room = self._free.pop()
            room.hold(1)
            return room

    def give_back(self, room: PictureBlock) -> None:
        """Nobody needs what is in it any more."""
        with self._lock:
            if room.size == self._size:
                self._free.append(room)

    def close(self) -> None:
        """Give the memory back."""
        for slot in self.slots:
            slot.free()
        self.slots = []
