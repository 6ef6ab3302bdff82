"""Write small files whole: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, *, keep_existing: bool = False) -> bool:
    """Write `content`, text as UTF-8, to `path` in one step, on the disk before the file has its name.

    With `keep_existing` a file that is already there stays, also where another process writes it at the same time.
    Returns whether the file was written. Raises OSError where the folder does not take a file.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_read_umask())  # mkstemp's 0600 would keep other users out
        if keep_existing:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # no hard links on this file system
                pass
            else:
                return True
        temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `write_atomically(path, …)`; the caller holds a lock on `path`."""
    named = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    with contextlib.suppress(OSError):
        for entry in list(path.parent.iterdir()):
            if named.fullmatch(entry.name):
                entry.unlink(missing_ok=True)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
