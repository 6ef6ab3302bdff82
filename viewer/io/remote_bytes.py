"""The bytes of a results file on another machine, as `block_file` asks for them. No Qt."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from capture.remote.block_cache import BLOCK
from capture.remote.errors import ConnectionLostError as LostError
from capture.remote.errors import RemoteError
from capture.remote.event_loop import set_note_waiting
from capture.remote.remote_file import RemoteSource
from capture.results import schema
from viewer.errors import ConnectionLostError, UserError
from viewer.io.open_file import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capture.remote.address import RemotePath
    from capture.remote.connections import RemoteStat

__all__ = ["RemoteBytes", "raise_plain_errors", "set_note_waiting"]
ENDS: Final = (*ENDINGS, ".json", schema.PARTIAL_SUFFIX)
"""Ends of the names of files; others are taken for folders."""
ASK_SECONDS: Final = 2.0
"""Interval at which `RemoteBytes.known_stat` asks the server for the file's size and version."""


@contextlib.contextmanager
def raise_plain_errors(path: RemotePath) -> Iterator[None]:
    """Raise the errors of this package in place of those of remote files."""
    try:
        yield
    except LostError as error:
        raise ConnectionLostError(str(error)) from error
    except RemoteError as error:
        raise UserError(str(error)) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        noun = "no file" if path.name.endswith(ENDS) else f"no folder with results files or {schema.INDEX_NAME} at"
        raise UserError(f"There is {noun} {path.shown}; check the address.") from error
    except PermissionError as error:
        raise UserError(f"{path.shown} may not be read by this user; check its permissions.") from error
    except OSError as error:
        raise UserError(f"{path.shown} cannot be read ({error.strerror or error}); check the address.") from error


class RemoteBytes:
    """The bytes of one version of a remote file; UserError, or ConnectionLostError where a later try may succeed."""

    block_bytes = BLOCK

    def __init__(self, path: RemotePath) -> None:
        """Open the file, or the partial one that a capture is still writing; waits for the server."""
        self.path = path
        partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
        with raise_plain_errors(path):
            try:
                self._source = RemoteSource(path)
            except FileNotFoundError:
                if path.name.endswith(schema.PARTIAL_SUFFIX):
                    raise
                try:
                    self._source = RemoteSource(partial)
                except (FileNotFoundError, RemoteError):
                    raise FileNotFoundError(2, "No such file or directory") from None
                self.path = partial
        self._known_stat: RemoteStat | None = self._source.status
        self._requested_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._source.size

    @property
    def found(self) -> RemoteStat:
        """Size and version of the opened file."""
        return self._source.status

    @property
    def bytes_fetched(self) -> int:
        """Bytes that were asked of the server since the file was opened."""
        return self._source.bytes_fetched

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of some (offset, size), fetched together; waits."""
        with raise_plain_errors(self.path):
            return self._source.read_ranges(ranges)

    def reopen(self) -> RemoteBytes:
        """Return the bytes of the file as it is now; waits."""
        return RemoteBytes(self.path)

    def refresh(self) -> RemoteStat | None:
        """Return the present size and version on the server; None if the file is gone. Waits."""
        with raise_plain_errors(self.path):
            try:
                remote_stat: RemoteStat | None = self.path.remote_stat(is_fresh=True)
            except FileNotFoundError:
                remote_stat = None
        self._known_stat = remote_stat
        return remote_stat

    def known_stat(self) -> RemoteStat | None:
        """Return what is known of size and version on the server; None if the file is gone.

        Never waits: every ASK_SECONDS another thread asks the server.
        """
        now = time.monotonic()
        if now - self._requested_at > ASK_SECONDS and self._lock.acquire(blocking=False):
            self._requested_at = now
            threading.Thread(target=self._look_beside, daemon=True).start()
        return self._known_stat

    @property
    def file_change(self) -> Literal["", "gone", "rewritten"]:
        """What is known to have happened to the file since it was opened; empty if nothing is. Never waits."""
        now = self.known_stat()
        if now is None:
            return "gone"
        return "" if (now.size, now.version) == (self.size, self.found.version) else "rewritten"

    def _look_beside(self) -> None:
        try:
            with contextlib.suppress(UserError, RuntimeError):  # the interpreter may be ending
                self.refresh()
        finally:
            self._requested_at = time.monotonic()
            self._lock.release()

    def close(self) -> None:
        """Close the file."""
        self._source.close()
