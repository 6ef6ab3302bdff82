"""The file on disk before it bears its final name: claimed, reserved, published; what is in it is not looked at."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from capture.errors import UserError
from capture.results import superblock
from capture.results.schema import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl


PATIENCE_SECONDS: Final = 3.0
"""How long a run waits for one that holds the file: a run that was just killed may still be letting go of it."""
_LOCKED_BYTE: Final = 1 << 60


class PartialFile:
    """`<name>.partial` beside the final name, created empty and held until it is published, kept or removed.

    `path`: the final name; a symbolic link is followed, so that the file appears where it points. `resume`: a file of
    the partial name that a dead run left behind is taken as it is, and `found` is true. Raises UserError if a file of
    the final or of the partial name is in the way (with `overwrite` only where a living run writes it, or where it is a
    device or a pipe) or the folder does not take a file.

    While a run lives it holds a lock, by which others can tell a file that is being written from one that a dead run
    left behind. Where there are no such locks, every partial file counts as left behind.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        if os.path.islink(path):  # noqa: PTH114 - Path's own raises where a name is too long or a folder closed
            path = path.resolve()
        if not path.name or os.path.isdir(path):  # noqa: PTH112 - likewise
            raise UserError(f"{path} is a folder; name the file to write, such as {path / 'results.h5'}")
        self.final = path
        self.path = path.with_name(path.name + PARTIAL_SUFFIX)
        self.found = False
        self._overwrite = overwrite
        self._resume = resume and not overwrite
        if not overwrite and os.path.lexists(path):
            raise self._exists()
        if os.path.lexists(path) and not os.path.isfile(path):  # noqa: PTH113 - likewise
            raise UserError(f"{path} is a device or a pipe, not a file on a disk; name the results file to write")
        self._descriptor = self._create()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="to the disk")
        self._sending: Future[None] | None = None
        self._unsent = sys.maxsize

    def _create(self) -> int:
        patience = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            except FileExistsError:
                if not self._resume:
                    self._clear_the_way()
                elif (left := self._take()) is not None:
                    self.found = True
                    return left
                if time.monotonic() > patience:
                    raise self._busy() from None
                time.sleep(0.02)
            except FileNotFoundError:
                raise UserError(f"the folder {self.path.parent} does not exist; create it first") from None
            except OSError as error:
                raise UserError(
                    f"{self.path} cannot be created ({_reason(error)}); choose a folder in which you may write"
                ) from None
            else:
                if not self._locked(descriptor):
                    os.close(descriptor)
                    continue
                if not self._overwrite and os.path.lexists(self.final):  # another run has just ended
                    os.close(descriptor)
                    self.path.unlink(missing_ok=True)
                    raise self._exists()
                return descriptor

    def _clear_the_way(self) -> None:
        """Remove what a dead run left under the partial name, if the user said so."""
        if is_being_written(self.path):
            raise self._busy()
        if not self._overwrite:
            raise UserError(
                f"{self.path} is what a run that did not end left behind, and its finished frames can be read; "
                "rename or delete it, choose another name, or say --overwrite to drop it"
            )
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{self.path} cannot be removed ({_reason(error)}); choose another name") from None

    def _take(self) -> int | None:
        """Open what a dead run left under the partial name; None where another run holds it or it has just gone."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self.path} cannot be written on ({_reason(error)}); choose another name") from None
        if self._locked(descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def _exists(self) -> UserError:
        return UserError(
            f"{self.final} exists and is left as it is; choose another name, or say --overwrite to replace it"
        )

    def _busy(self) -> UserError:
        return UserError(f"{self.path} is being written by another run; let it end, or choose another name")

    def _locked(self, descriptor: int) -> bool:
        """Mark the file as being written; False if another run did so first, or it has lost its name since."""
        try:
            _lock(descriptor, exclusive=True)
        except (BlockingIOError, PermissionError):  # systems differ in how they say "taken"
            return False
        except OSError:  # a file system without locks
            pass
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except OSError:
            return False

    def hold(self) -> None:
        """Mark the file as being written once more: some systems forget the mark when the file is opened and closed."""
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(self._descriptor, exclusive=True)

    def release(self) -> bool:
        """Make a file that a dead run left ready for HDF5 to write on; see `superblock.release`."""
        return superblock.release(self._descriptor)

    def empty(self) -> None:
        """Forget what a dead run left in the file."""
        os.ftruncate(self._descriptor, 0)
        self.found = False

    @property
    def length(self) -> int:
        """Bytes of the file now, reserved ones among them."""
        return os.fstat(self._descriptor).st_size

    def reserve(self, size: int, start: int = 0) -> None:
        """Take disk space for a file of `size` bytes now, so that a full disk shows here, not amid a write.

        `start`: bytes that have theirs already; a file system in memory looks at every page of the rest. Raises OSError
        (ENOSPC, EDQUOT, EFBIG). Does nothing where space cannot be reserved.
        """
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, start, size - start)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise

    def send_off(self, start: int) -> None:
        """Let the system begin to bring what was written from `start` on to the disk, so that the end need not wait.

        A hint, no more: nothing depends on it. A thread of its own gives it, since a disk that has enough to do already
        would hold it up.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        self._unsent = min(start, self._unsent)
        if self._sending is None or self._sending.done():
            with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is about to end
                self._sending = self._sender.submit(self._send, self._unsent)
                self._unsent = sys.maxsize

    def _send(self, start: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, start, 0, os.POSIX_FADV_DONTNEED)

    def cut(self, size: int) -> None:
        """Give back what was reserved beyond `size` bytes and not used."""
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def publish(self) -> None:
        """Give the file its final name in one step, once its bytes are on the disk.

        Raises UserError, and leaves the file under its partial name, where the final name was taken meanwhile or the
        folder has become unwritable.
        """
        taken = UserError(
            f"{self.final} appeared while this run was writing and is left as it is; the whole result is {self.path}"
        )
        try:
            os.fsync(self._descriptor)
            if self._overwrite:
                self.path.replace(self.final)
            else:
                self._link(taken)
        except OSError as error:
            raise UserError(
                f"the result is whole, but cannot be named {self.final} ({_reason(error)}); it stays {self.path}"
            ) from None
        if sys.platform != "win32":  # the name, too, outlives a power cut
            with contextlib.suppress(OSError):
                folder = os.open(self.final.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def _link(self, taken: UserError) -> None:
        """Rename that never replaces: a second name that must be new, then the first one goes."""
        try:
            os.link(self.path, self.final)
        except FileExistsError:
            raise taken from None
        except OSError:  # no hard links here: look, then rename
            if os.path.lexists(self.final):
                raise taken from None
            self.path.rename(self.final)
        else:
            self.path.unlink()

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; its lock ends."""
        self._sender.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_being_written(path: Path) -> bool:
    """Whether a living process writes the file, as far as locks can tell. False where it cannot be looked at."""
    if sys.platform == "win32" or not path.is_file():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(descriptor, exclusive=False)
    except (BlockingIOError, PermissionError):  # systems differ in how they say "taken"
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, exclusive: bool) -> None:
    """Lock a byte far beyond the end, until the descriptor is closed. Raises OSError if another one has it.

    Not flock: HDF5 takes that, and readers would pass for writers. On Linux the lock belongs to the open file,
    elsewhere to the process: there it is lost if the same process opens and closes the file once more.
    """
    if sys.platform == "linux":
        kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
        request = struct.pack("hhqqi", kind, os.SEEK_SET, _LOCKED_BYTE, 1, 0)  # struct flock of fcntl(2)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    elif sys.platform != "win32":
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, 1, _LOCKED_BYTE)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
