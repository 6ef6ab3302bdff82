"""Write files atomically: under a temporary name in the same folder, then renamed. No Qt."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from viewer.errors import NotWrittenError, UserError
from viewer.io.temporary_files import create_temporary_path, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["create_temporary_path", "open_atomic_path", "remove_leftovers", "write_bytes"]


@contextlib.contextmanager
def open_atomic_path(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary name to write to; rename it to `path` if the block succeeds, else remove it.

    Raises:
        NotWrittenError: The file cannot be written.
        UserError: One of that name has appeared meanwhile and may not be replaced.
    """
    unfinished = create_temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _rename(unfinished, path, overwrite=overwrite)
    except OSError as error:
        raise NotWrittenError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder with -o."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _rename(unfinished: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        unfinished.replace(path)
        return
    try:
        os.link(unfinished, path)  # never replaces a file, unlike a rename
    except FileExistsError:
        raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.") from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.") from None
        unfinished.replace(path)


def write_bytes(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file atomically; raise UserError as `open_atomic_path` does."""
    with open_atomic_path(path, overwrite=overwrite) as unfinished:
        unfinished.write_bytes(content)
