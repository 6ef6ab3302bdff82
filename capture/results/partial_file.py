"""The partial file of a writer: create, lock, reserve, publish. Its content is not read."""

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


LOCK_TIMEOUT_SECONDS: Final = 3.0
"""Time to wait for the lock: a run that was just killed may still hold it."""
_LOCKED_BYTE: Final = 1 << 60


class PartialFile:
    """`<name>.partial` beside the final name, created empty and locked until it is published, kept or removed.

    `path` is the final name; a symbolic link is followed, so that the file appears where it points. With `resume` the
    partial file of an interrupted run is opened as it is, and `is_resumed` is true. Raises UserError if a file of the
    final or of the partial name exists (with `overwrite` only where another run is writing it, or where it is a device
    or a pipe), or the folder does not take a file.

    A running writer holds a lock, which distinguishes a file that is being written from that of an interrupted run.
    On file systems without locks every partial file counts as that of an interrupted run.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        if os.path.islink(path):  # noqa: PTH114 - Path's own raises where a name is too long or a folder closed
            path = path.resolve()
        if not path.name or os.path.isdir(path):  # noqa: PTH112 - likewise
            raise UserError(f"{path} is a folder; name the file to write, such as {path / 'results.h5'}")
        self.final = path
        self.path = path.with_name(path.name + PARTIAL_SUFFIX)
        self.is_resumed = False
        self._overwrite = overwrite
        self._resume = resume and not overwrite
        if not overwrite and os.path.lexists(path):
            raise self._existing_error()
        if os.path.lexists(path) and not os.path.isfile(path):  # noqa: PTH113 - likewise
            raise UserError(f"{path} is a device or a pipe, not a file on a disk; name the results file to write")
        self._descriptor = self._create()
        self._writeback_thread = ThreadPoolExecutor(1, thread_name_prefix="writeback")
        self._writeback: Future[None] | None = None
        self._writeback_start = sys.maxsize

    def _create(self) -> int:
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            except FileExistsError:
                if not self._resume:
                    self._remove_existing()
                elif (existing := self._open_existing()) is not None:
                    self.is_resumed = True
                    return existing
                if time.monotonic() > deadline:
                    raise self._busy_error() from None
                time.sleep(0.02)
            except FileNotFoundError:
                raise UserError(f"the folder {self.path.parent} does not exist; create it first") from None
            except OSError as error:
                raise UserError(
                    f"{self.path} cannot be created ({_reason(error)}); choose a folder in which you may write"
                ) from None
            else:
                if not self._lock(descriptor):
                    os.close(descriptor)
                    continue
                if not self._overwrite and os.path.lexists(self.final):  # another run has just ended
                    os.close(descriptor)
                    self.path.unlink(missing_ok=True)
                    raise self._existing_error()
                return descriptor

    def _remove_existing(self) -> None:
        """Remove the partial file of an interrupted run with `overwrite`. Raises UserError without."""
        if is_being_written(self.path):
            raise self._busy_error()
        if not self._overwrite:
            raise UserError(
                f"{self.path} is the file of an interrupted run, and its finished frames can be read; "
                "rename or delete it, choose another name, or use --overwrite to remove it"
            )
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{self.path} cannot be removed ({_reason(error)}); choose another name") from None

    def _open_existing(self) -> int | None:
        """Open the partial file of an interrupted run; None where another run holds it or it has just been removed."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be opened for writing ({_reason(error)}); choose another name"
            ) from None
        if self._lock(descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def _existing_error(self) -> UserError:
        return UserError(
            f"{self.final} exists and is left as it is; choose another name, or use --overwrite to replace it"
        )

    def _busy_error(self) -> UserError:
        return UserError(f"{self.path} is being written by another run; let it end, or choose another name")

    def _lock(self, descriptor: int) -> bool:
        """Lock the file. Returns False if another run holds the lock, or the file no longer has its name."""
        try:
            _lock_byte(descriptor, exclusive=True)
        except (BlockingIOError, PermissionError):  # which of them a locked file raises depends on the system
            return False
        except OSError:  # a file system without locks
            pass
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except OSError:
            return False

    def lock_again(self) -> None:
        """Lock the file again: some systems release the lock when the same process opens and closes the file."""
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                _lock_byte(self._descriptor, exclusive=True)

    def clear_writer_flag(self) -> bool:
        """Let HDF5 write to the file of a killed run; see `superblock.clear_writer_flag`."""
        return superblock.clear_writer_flag(self._descriptor)

    def clear(self) -> None:
        """Discard the content of an interrupted run."""
        os.ftruncate(self._descriptor, 0)
        self.is_resumed = False

    @property
    def size(self) -> int:
        """Present size of the file in bytes, including reserved space."""
        return os.fstat(self._descriptor).st_size

    def reserve(self, size: int, start: int = 0) -> None:
        """Allocate disk space for a file of `size` bytes, so that a full disk is reported here and not in a write.

        Bytes before `start` are allocated already; tmpfs visits every page from `start` on. Raises OSError (ENOSPC,
        EDQUOT, EFBIG). Does nothing where the system cannot allocate space in advance.
        """
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, start, size - start)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise

    def start_writeback(self, start: int) -> None:
        """Ask the system to write the data from `start` on to the disk now, so that the final fsync is short.

        Only a hint (posix_fadvise), given in a thread since it blocks while the disk is busy.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        self._writeback_start = min(start, self._writeback_start)
        if self._writeback is None or self._writeback.done():
            with contextlib.suppress(RuntimeError):  # no thread can be started, or the interpreter is exiting
                self._writeback = self._writeback_thread.submit(self._advise_writeback, self._writeback_start)
                self._writeback_start = sys.maxsize

    def _advise_writeback(self, start: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, start, 0, os.POSIX_FADV_DONTNEED)

    def truncate(self, size: int) -> None:
        """Free the space that was reserved beyond `size` bytes."""
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def check_exists(self) -> None:
        """Raise UserError where the file has been removed, so that what is written to it would be lost."""
        if os.fstat(self._descriptor).st_nlink == 0:
            raise UserError(
                f"{self.path} was removed while this run was writing it, and its frames are lost; "
                "run the command again, with another name if something cleans up that folder"
            )

    def publish(self) -> None:
        """Rename the file to its final name in one step, after its data are on the disk.

        Raises UserError, and leaves the file under its partial name, where the final name exists by now or the folder
        has become unwritable.
        """
        taken_error = UserError(
            f"{self.final} appeared while this run was writing and is left as it is; the complete result is {self.path}"
        )
        self.check_exists()
        try:
            os.fsync(self._descriptor)
            if self._overwrite:
                self.path.replace(self.final)
            else:
                self._link(taken_error)
        except OSError as error:
            raise UserError(
                f"the complete result cannot be renamed to {self.final} ({_reason(error)}); it stays {self.path}"
            ) from None
        if sys.platform != "win32":  # so that the name, too, survives a power failure
            with contextlib.suppress(OSError):
                folder = os.open(self.final.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def _link(self, taken_error: UserError) -> None:
        """Rename without replacing: link the final name, which fails if it exists, then remove the partial name."""
        try:
            os.link(self.path, self.final)
        except FileExistsError:
            raise taken_error from None
        except OSError:  # no hard links: check, then rename
            if os.path.lexists(self.final):
                raise taken_error from None
            self.path.rename(self.final)
        else:
            self.path.unlink()

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, which releases its lock."""
        self._writeback_thread.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_being_written(path: Path, *, patience: float = 0.0) -> bool:
    """Return whether a process is writing the file, by its lock; False where the file cannot be opened.

    A process that was just killed holds its lock until its memory is freed: `patience` is the time in seconds for
    which a locked file is asked again.
    """
    deadline = time.monotonic() + patience
    while is_locked := _is_locked(path):
        if time.monotonic() >= deadline:
            break
        time.sleep(0.02)
    return is_locked


def _is_locked(path: Path) -> bool:
    if sys.platform == "win32" or not path.is_file():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock_byte(descriptor, exclusive=False)
    except (BlockingIOError, PermissionError):  # which of them a locked file raises depends on the system
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)


def _lock_byte(descriptor: int, *, exclusive: bool) -> None:
    """Lock a byte far beyond the end until the descriptor is closed. Raises OSError if another process holds it.

    flock is not used because HDF5 uses it, so that readers would look like writers. On Linux the lock belongs to the
    open file, elsewhere to the process, which loses it when it opens and closes the file again.
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
