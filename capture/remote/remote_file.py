"""The bytes of a remote file: ranges that are fetched together, and blocks of them that stay on the disk.

HDF5 asks for one piece after the other, each of which would travel by itself. Who knows which pieces are needed names
them all in one `RemoteSource.read_ranges`; `RemoteFile` is for programs that can wait for one piece at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Self, TypeVar

from capture.remote import connections, event_loop
from capture.remote.address import RemotePath
from capture.remote.block_cache import BLOCK, BlockCache, cache_folder, prune
from capture.remote.connections import Handle, RemoteStat, Server
from capture.remote.errors import RemoteChangedError, RemoteError
from capture.results import schema, superblock
from capture.results.read_access import SeekableReader

T = TypeVar("T")

HEAD_BYTES: Final = 4 * BLOCK
"""Bytes that opening fetches: HDF5's superblock, the root's attributes and the first tables."""
GAP_BLOCKS: Final = 2
"""Blocks between two needed ones that are fetched too, as that is faster than a second request."""
RUN_BLOCKS: Final = 64
"""Blocks of one request: 1 MB."""
MEMORY_BLOCKS: Final = 1024
"""Blocks that a `RemoteFile` keeps in memory: 16 MB."""
SETTLED_SECONDS: Final = 5
"""Age from which on a modification time, which may count whole seconds, distinguishes two versions."""


class RemoteSource:
    """The bytes of an open remote file, as many as there were when it was opened.

    Every read may wait for the server: no thread of a window should. Thread-safe. Raises FileNotFoundError,
    PermissionError or RemoteError.
    """

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self.bytes_fetched = 0
        """Bytes that the server sent since the file was opened."""
        self._handle: Handle | None = None
        self._generation = 0
        """The server's generation when the handle was opened; a handle is lost with its connection."""
        self._flying: dict[int, asyncio.Task[dict[int, bytes]]] = {}
        """Blocks that are being fetched; used by the event loop's thread alone."""
        self._disk: BlockCache | None = None
        self._head, self.status = event_loop.run(self._try(lambda handle: handle.read_head(HEAD_BYTES)))
        self.bytes_fetched = len(self._head)
        connections.remember(path, self.status)
        has_writer = bool(superblock.read_flags(self._head[: superblock.LENGTH]))
        self.is_growing = has_writer or path.name.endswith(schema.PARTIAL_SUFFIX)
        """Whether its content may change; it is not kept on the disk then."""
        self._open_disk()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.status.size

    def reopen(self) -> RemoteSource:
        """Return the bytes of the same file as it is now."""
        return RemoteSource(self.path)

    def _open_disk(self) -> None:
        version, folder = self.status.version, cache_folder()
        is_settled = self.status.tag or abs(time.time() - self.status.modified_ns / 1e9) > SETTLED_SECONDS
        if version and folder is not None and is_settled and not self.is_growing:
            prune(folder)
            self._disk = BlockCache(folder, str(self.path), version, self._head)

    # Requests, in the event loop's thread

    async def _try(self, ask: Callable[[Handle], Awaitable[T]]) -> T:
        """Return `ask(handle)`; the file is opened again after a lost connection."""

        async def ask_server(server: Server) -> T:
            handle = self._handle
            if handle is None or self._generation != server.generation:
                handle = await self._open_handle(server)
            try:
                return await ask(handle)
            except OSError:
                if self._handle is handle:
                    self._handle = None
                raise

        return await connections.repeat(self.path, ask_server)

    async def _open_handle(self, server: Server) -> Handle:
        handle = await server.open(self.path)
        if hasattr(self, "found"):  # opened before: it must be the same file
            self._check_version(await handle.stat())
        self._handle, self._generation = handle, server.generation
        return handle

    def _check_version(self, status: RemoteStat) -> None:
        if self.is_growing:
            is_same = status.size >= self.size
        else:
            is_same = (status.size, status.version) == (self.size, self.status.version)
        if not is_same:
            raise RemoteChangedError(
                f"{self.path.name} was changed on the server after it was opened; open it again (F5)."
            )

    async def _fetch_run(self, first: int, last: int) -> dict[int, bytes]:
        """Fetch the blocks from `first` to `last`, and see that they are of the file that was opened."""
        start, stop = first * BLOCK, min((last + 1) * BLOCK, self.size)

        async def ask(handle: Handle) -> bytes:
            if handle.checks_version:
                return await handle.read(start, stop)
            data, status = await asyncio.gather(handle.read(start, stop), handle.stat())
            self._check_version(status)
            return data

        try:
            data = await self._try(ask)
        finally:
            for block in range(first, last + 1):
                self._flying.pop(block, None)
        if len(data) != stop - start:
            raise RemoteChangedError(f"{self.path.name} was cut short on the server; open it again (F5).")
        self.bytes_fetched += len(data)
        blocks = {first + offset // BLOCK: data[offset : offset + BLOCK] for offset in range(0, len(data), BLOCK)}
        if self._disk is not None:
            self._disk.write(blocks)
        return blocks

    async def _fetch(self, blocks: Iterable[int]) -> dict[int, bytes]:
        """Fetch blocks, neighbours in one request, all requests at the same time."""
        waits, new = set(), []
        for block in blocks:
            if block in self._flying:
                waits.add(self._flying[block])
            else:
                new.append(block)
        for first, last in merge(new):
            task = asyncio.ensure_future(self._fetch_run(first, last))
            waits.add(task)
            for block in range(first, last + 1):
                self._flying[block] = task
        # Shielded: another thread may wait for the same blocks when this one gives up.
        parts = await asyncio.gather(*(asyncio.shield(task) for task in waits), return_exceptions=True)
        fetched: dict[int, bytes] = {}
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            fetched |= part
        return fetched

    # Reads, in any thread

    def _find(self, block: int) -> bytes | None:
        """Return a block that need not be fetched; None if it must be."""
        length = min(BLOCK, self.size - block * BLOCK)
        data = self._head[block * BLOCK : (block + 1) * BLOCK]
        if len(data) == length:
            return data
        stored = self._disk.read(block) if self._disk is not None else None
        return stored if stored is not None and len(stored) == length else None

    def read_blocks(self, blocks: Iterable[int]) -> dict[int, bytes]:
        """Return blocks by their numbers; those that are not on the disk are fetched together."""
        distinct = list(dict.fromkeys(blocks))
        contents = {block: data for block in distinct if (data := self._find(block)) is not None}
        missing = [block for block in distinct if block not in contents]
        if missing and self._disk is not None:  # another process may have fetched them since
            self._disk.refresh()
            contents |= {block: data for block in missing if (data := self._find(block)) is not None}
            missing = [block for block in missing if block not in contents]
        if missing:
            contents |= event_loop.run(self._fetch(missing))
        return contents

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of some (offset, size), fewer at the end of the file, fetched together."""
        spans = [(max(0, offset), min(offset + size, self.size)) for offset, size in ranges]
        numbers = [range(start // BLOCK, -(-stop // BLOCK)) if stop > start else range(0) for start, stop in spans]
        contents = self.read_blocks(block for blocks_of_span in numbers for block in blocks_of_span)
        parts = []
        for (start, stop), blocks_of_span in zip(spans, numbers, strict=True):
            data = b"".join(contents[block] for block in blocks_of_span)
            skip = start - blocks_of_span.start * BLOCK
            parts.append(data[skip : skip + stop - start] if blocks_of_span else b"")
        return parts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the server is notified without waiting for it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            event_loop.start(handle.close())
        if self._disk is not None:
            self._disk.close()


class RemoteFile(SeekableReader):
    """A remote file as a file object, without a writer's flags in its HDF5 superblock. Not thread-safe."""

    def __init__(self, path: RemotePath) -> None:
        self.source = RemoteSource(path)
        self.failure: RemoteError | None = None
        """The last error of a read, which HDF5 reports in words of its own."""
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        block = self.source.read_ranges([(0, superblock.LENGTH)])[0]
        self._shown = superblock.without_flags(block, self.source.size) if superblock.read_flags(block) else b""

    def readinto(self, buffer: Any) -> int:
        """Read from the present place into `buffer`, up to the end of the file; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        start, stop = self._place, min(self._place + len(view), self.source.size)
        if stop <= start:
            return 0
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        try:
            fetched = self.source.read_blocks(block for block in numbers if block not in self._blocks)
        except RemoteError as error:
            self.failure = error
            raise
        data = b"".join(fetched[block] if block in fetched else self._blocks[block] for block in numbers)
        view[: stop - start] = data[start - numbers.start * BLOCK :][: stop - start]
        self._blocks.update(fetched)
        while len(self._blocks) > MEMORY_BLOCKS:
            self._blocks.popitem(last=False)
        if start < len(self._shown):
            shown = self._shown[start:stop]
            view[: len(shown)] = shown
        self._place = stop
        return stop - start

    def _count_bytes(self) -> int:
        return self.source.size

    def close(self) -> None:
        """Close the file."""
        if not self.closed and hasattr(self, "source"):
            with contextlib.suppress(Exception):  # at the end of the interpreter
                self.source.close()
        super().close()


def merge(blocks: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last block of each request for these blocks: neighbours together, up to RUN_BLOCKS."""
    first = last = -1
    for block in sorted(set(blocks)):
        if first >= 0 and block - last <= GAP_BLOCKS + 1 and block - first < RUN_BLOCKS:
            last = block
            continue
        if first >= 0:
            yield first, last
        first = last = block
    if first >= 0:
        yield first, last
