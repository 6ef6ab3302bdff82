"""How parts of an open file are read: of a slow one in rounds, and never by a thread that must not wait. No Qt."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from viewer.errors import READ_ERRORS, ConnectionLostError, NotLoadedError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from viewer.io.block_file import BlockFile
    from viewer.io.cache import Cache

T = TypeVar("T")

_thread = threading.local()


class _Traffic:
    """How many urgent reads, of all files together, are in progress: they share one network."""

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.urgent = 0


_traffic = _Traffic()


def set_reading(is_stale: Callable[[], bool] | None, *, is_urgent: bool = False) -> None:
    """Set how this thread reads slow files from now on.

    Args:
        is_stale: Tells that what is being read is no longer wanted; the read then raises GivenUpError.
        is_urgent: Reads of other threads make way for those of this one.
    """
    _thread.is_stale, _thread.is_urgent = is_stale, is_urgent


class FileAccess:
    """Runs calls of HDF5 on one file, one at a time.

    A call on a slow file is tried, and repeated after the bytes that it lacked were fetched. Meanwhile neither HDF5's
    lock nor that of the file is held, so that other threads and other files go on.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while something is read, so that the file is not closed meanwhile."""
        self.blocks: BlockFile | None = None
        """The blocks of a slow file; None for a fast one, which HDF5 reads itself."""
        self._is_closed = False
        self._failed: dict[Hashable, Exception] = {}
        """Errors of parts that were read and are damaged."""
        self._impatient_thread: int | None = None
        self._thread_state = threading.local()

    @property
    def is_slow(self) -> bool:
        """Whether a read of the file may have to wait."""
        return self.blocks is not None

    def forbid_waiting(self) -> None:
        """Forbid this thread to wait: what it needs and is not in memory raises NotLoadedError. Of slow files only."""
        self._impatient_thread = threading.get_ident() if self.is_slow else None

    @property
    def may_wait(self) -> bool:
        """Whether this thread may wait for a read."""
        return self._impatient_thread is None or self._impatient_thread != threading.get_ident()

    def run(self, call: Callable[[], T], again: Callable[[], Any] | None = None) -> T:
        """Return the result of a call that reads from the file.

        Raises:
            NotLoadedError: In a thread that must not wait; its `read` is `again`, or else the call itself.
            GivenUpError: The result is no longer wanted.
        """
        blocks = self.blocks
        if blocks is None:
            with self.lock:
                return call()
        if getattr(self._thread_state, "is_inside", False):
            before = blocks.misses  # others of this round may have failed: what this one needs is noted all the same
            result = call()
            if blocks.misses != before:  # the call has taken the failure for damage, and made something of it
                raise OSError("not in memory yet")
            return result
        if not self.may_wait:
            raise NotLoadedError(again or (lambda: self.run(call)))
        blocks.trim()
        while True:
            try:
                result = self._try(call)
            except Exception:
                if not blocks.has_missing:
                    raise
            else:
                if not blocks.has_missing:
                    return result
            self._fetch(blocks, blocks.take_missing())

    def read_kept(self, cache: Cache, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return the value of `key` in a cache, made by `make`, a call that reads from the file, if it is absent.

        A damaged part of a slow file raises its error again in a thread that must not wait, instead of being asked for
        again and again.
        """
        if self.blocks is None or getattr(self._thread_state, "is_inside", False):
            return cache.get(key, lambda: self.run(make), size)
        if not self.may_wait and key not in cache and key in self._failed:
            raise self._failed[key]
        again = partial(self.read_kept, cache, key, make, size)
        try:
            return cache.get(key, lambda: self.run(make, again), size)
        except ConnectionLostError:
            raise
        except READ_ERRORS as error:
            self._failed[key] = error
            raise

    def _try(self, call: Callable[[], T]) -> T:
        with self.lock:
            self._thread_state.is_inside = True
            try:
                return call()
            finally:
                self._thread_state.is_inside = False

    def need(self, extents: Iterable[tuple[int, int]]) -> None:
        """Raise an error, and note what is missing, unless some (offset, size) of a slow file are in memory."""
        if self.blocks is not None:
            self.blocks.need(extents)

    def close(self) -> None:
        """Give up the reads of all threads from now on."""
        self._is_closed = True

    def fetch(self, extents: Iterable[tuple[int, int]]) -> None:
        """Fetch some (offset, size) of a slow file into memory, in as few requests as possible; waits."""
        if self.blocks is not None:
            self._fetch(self.blocks, self.blocks.find_missing(extents))

    def _fetch(self, blocks: BlockFile, numbers: list[int]) -> None:
        is_urgent = getattr(_thread, "is_urgent", False)
        with _traffic.turn:
            _traffic.urgent += is_urgent
        try:
            blocks.fetch(numbers, self._is_stale if is_urgent else self._make_way)
        finally:
            with _traffic.turn:
                _traffic.urgent -= is_urgent
                _traffic.turn.notify_all()

    def _make_way(self) -> bool:
        """Wait while an urgent read is in progress; return whether this one is no longer wanted."""
        with _traffic.turn:
            while _traffic.urgent and not self._is_stale():
                _traffic.turn.wait(0.1)
        return self._is_stale()

    def _is_stale(self) -> bool:
        is_stale = getattr(_thread, "is_stale", None)
        return self._is_closed or (is_stale is not None and is_stale())
