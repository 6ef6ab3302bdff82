"""A folder that one process writes to at a time. No Qt."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final

from viewer.errors import UserError

if sys.platform != "win32":
    import fcntl
else:
    import msvcrt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_NAME: Final = ".lock"
POLL_SECONDS: Final = 0.2


@contextlib.contextmanager
def lock_folder(folder: Path, check: Callable[[], object]) -> Iterator[None]:
    """Hold the only permission to write to a folder within the block; wait while another process holds it.

    The folder is made if it is missing. The system frees the permission of a process that was killed. `check` is called
    while it waits, and may raise to give up. A file system without locks is written to without one.

    Raises:
        UserError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a+b")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder} cannot be written to ({reason}); check its permissions and the disk.") from None
    with file:
        while not _try_lock(file.fileno()):
            check()
            time.sleep(POLL_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    """Return whether a file is locked for this process now, or cannot be locked at all."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
