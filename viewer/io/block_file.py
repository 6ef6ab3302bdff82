"""A slow file as HDF5 reads it: from blocks in memory, never waiting inside HDF5.

h5py runs every call under one lock. A file object that waits for a network in `readinto` would hold that lock, and
with it every other HDF5 file of the process, also where only the memory of an object is freed. `BlockFile` therefore
fails a read whose bytes are not in memory, and notes them. The caller fetches them without the lock and repeats the
call: see `file_access`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from capture.results.read_access import SeekableReader
from viewer.errors import GivenUpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MOST_BYTES: Final = 256 << 20
"""Bytes of blocks that are kept in memory between two calls."""
PIECE_BYTES: Final = 1 << 19
"""Bytes that are asked for at a time, so that a read that is no longer wanted can be given up: 50 ms at 10 MB/s."""

INDEX_HEAD_BYTES: Final = 24
"""Bytes of the head of a block of HDF5's index of chunks, which is read before the first page of the block."""
INDEX_BYTES: Final = INDEX_HEAD_BYTES + 8 * 1024 + 4
"""Bytes of head and first page, 1,024 addresses and a checksum: fetched together, in one round instead of two."""


class ByteSource(Protocol):
    """A file somewhere else, or on a slow disk. `read_ranges` is called by several threads."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def block_bytes(self) -> int:
        """Bytes of a block, the least that is worth a request."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of some (offset, size) in one request; waits. Raises OSError, or UserError."""

    def reopen(self) -> ByteSource:
        """Return a source of the same file as it is now; may wait."""

    def close(self) -> None:
        """Release what the source holds."""


class MissingBytesError(OSError):
    """Bytes are not in memory; HDF5 gives up the call in which they were needed."""


class BlockFile(SeekableReader):
    """File object over blocks in memory; thread-safe.

    Args:
        source: Where the bytes come from.
        head: Bytes that are shown in place of the first ones of the file.
    """

    def __init__(self, source: ByteSource, head: bytes = b"") -> None:
        self.source = source
        self._head = head
        self._size, self._block = source.size, source.block_bytes
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._thread_state = threading.local()

    # What HDF5 calls

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`; return the number of bytes. MissingBytesError if one is not in memory."""
        view = memoryview(buffer).cast("B")
        start, stop = self._place, min(self._place + len(view), self._size)
        if stop <= start:
            return 0
        first, last = start // self._block, (stop - 1) // self._block
        with self._lock:
            blocks = [self._blocks.get(number) for number in range(first, last + 1)]
        missing = [number for number, block in enumerate(blocks, first) if block is None]
        if missing:
            if len(view) <= INDEX_HEAD_BYTES:
                missing = self.find_missing([(start, INDEX_BYTES)])
            self._note_missing(missing)
            raise MissingBytesError(f"bytes {start} to {stop} are not in memory")
        at = start
        for number, block in enumerate(blocks, first):
            assert block is not None
            part = memoryview(block)[at - number * self._block : stop - number * self._block]
            view[at - start : at - start + len(part)] = part
            at += len(part)
        if start < len(self._head):
            shown = self._head[start:stop]
            view[: len(shown)] = shown
        self._place = at
        return at - start

    def _count_bytes(self) -> int:
        return self._size

    # What its user calls

    @property
    def _missing(self) -> set[int]:
        """Blocks that calls of this thread needed and did not find."""
        if not hasattr(self._thread_state, "blocks"):
            self._thread_state.blocks = set[int]()
        missing: set[int] = self._thread_state.blocks
        return missing

    @property
    def misses(self) -> int:
        """How often calls of this thread have failed for bytes that are not in memory."""
        count: int = getattr(self._thread_state, "misses", 0)
        return count

    def _note_missing(self, blocks: Iterable[int]) -> None:
        self._missing.update(blocks)
        self._thread_state.misses = self.misses + 1

    @property
    def has_missing(self) -> bool:
        """Whether a call of this thread failed for bytes that are not in memory."""
        return bool(self._missing)

    def take_missing(self) -> list[int]:
        """Return the numbers of the blocks that calls of this thread lacked, and forget them."""
        missing = sorted(self._missing)
        self._missing.clear()
        return missing

    def trim(self) -> None:
        """Forget the blocks that were fetched first, down to MOST_BYTES. Never between two tries of one call."""
        with self._lock:
            while len(self._blocks) * self._block > MOST_BYTES:
                self._blocks.popitem(last=False)

    def find_missing(self, extents: Iterable[tuple[int, int]]) -> list[int]:
        """Return the numbers of the blocks of some (offset, size) that are not in memory."""
        numbers = {
            number
            for offset, size in extents
            if size > 0
            for number in range(offset // self._block, (min(offset + size, self._size) - 1) // self._block + 1)
        }
        with self._lock:
            return sorted(numbers.difference(self._blocks))

    def need(self, extents: Iterable[tuple[int, int]]) -> None:
        """Note which blocks of some (offset, size) are not in memory; MissingBytesError if there are any."""
        missing = self.find_missing(extents)
        if missing:
            self._note_missing(missing)
            raise MissingBytesError(f"{len(missing)} blocks are not in memory")

    def fetch(self, blocks: Iterable[int], is_stale: Callable[[], bool]) -> None:
        """Fetch blocks, neighbouring ones as one range, PIECE_BYTES at a time. GivenUpError once `is_stale` says so."""
        numbers = list(blocks)
        step = max(PIECE_BYTES // self._block, 1)
        for first in range(0, len(numbers), step):
            if is_stale():
                raise GivenUpError
            piece = numbers[first : first + step]
            runs: list[list[int]] = []
            for number in piece:
                if runs and runs[-1][1] == number:
                    runs[-1][1] = number + 1
                else:
                    runs.append([number, number + 1])
            ranges = [
                (start * self._block, min(stop * self._block, self._size) - start * self._block) for start, stop in runs
            ]
            for (start, _), data in zip(runs, self.source.read_ranges(ranges), strict=True):
                self.keep(start, data)

    def keep(self, first: int, data: bytes) -> None:
        """Keep bytes that begin with a block."""
        with self._lock:
            for number, start in enumerate(range(0, len(data), self._block), first):
                self._blocks[number] = data[start : start + self._block]
