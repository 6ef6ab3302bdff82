"""A lock that keeps two runs from writing one effects file."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from capture.errors import UserError

if sys.platform != "win32":
    import fcntl

_NOT_SUPPORTED: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FileIsBeingWrittenError(UserError):
    """Another run holds the lock of the file: it may finish it, or be ended and leave it to the next run."""


class FileLock:
    """Holds `.<name>.lock` beside a file that is replaced as a whole, so that it cannot be locked itself.

    The system frees the lock of a process that is killed, and the next run takes it over. File systems without locks
    have none. Raises FileIsBeingWrittenError on entry where another run holds it, UserError where the folder takes no
    file.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.lock")
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        if sys.platform == "win32":
            return self
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise UserError(f"{self._path} cannot be made ({os.strerror(error.errno or 0).lower()})") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if error.errno in _NOT_SUPPORTED:
                    return self
                raise FileIsBeingWrittenError(
                    f"another run is writing {self._target}; wait for it, or name another file with -o"
                ) from None
            if self._is_current(descriptor):
                self._descriptor = descriptor
                return self
            os.close(descriptor)  # the run that held it has removed the file since

    def _is_current(self, descriptor: int) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(descriptor)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is None:
            return
        self._path.unlink(missing_ok=True)  # while it is held: who opens it now finds that it is not the current one
        os.close(self._descriptor)
        self._descriptor = None
