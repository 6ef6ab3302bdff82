"""The regions file as a whole: where it lies, which version is there, and how one is exchanged with another."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from capture.results import regions_schema, schema
from viewer.errors import UserError
from viewer.io.temporary_files import create_temporary_path, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Stamp = tuple[int, int, int]
"""Time of the last change in nanoseconds, size in bytes and inode: what distinguishes two versions of a file."""


def default_path(results: Path) -> Path:
    """Return where the regions of a results file, also of one that is still being written, are kept."""
    name = results.name.removesuffix(schema.PARTIAL_SUFFIX).removesuffix(".h5")
    return results.with_name(name + regions_schema.SUFFIX)


def find_previous_path(path: Path) -> Path:
    """Return where the regions before the last change are kept: `duck.regions.previous.h5`."""
    return path.with_name(path.name.removesuffix(".h5") + ".previous.h5")


def read_stamp(path: Path) -> Stamp | None:
    """Return what identifies the present version of a file; None if there is no readable file."""
    try:
        file_stat = path.stat()
    except OSError:
        return None
    return file_stat.st_mtime_ns, file_stat.st_size, file_stat.st_ino


def check_writable(path: Path) -> None:
    """Raise UserError where no regions file can be written at `path`."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; make it first, or say where with --regions.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is read-only; say with --regions where the regions are to be kept.")


@contextlib.contextmanager
def hold_folder(path: Path, *, is_waiting: bool = True) -> Iterator[None]:
    """Keep other programs of this package from changing regions files in the folder of `path`, where the system can.

    Raises:
        UserError: The folder cannot be used; or, where this is not to wait, another program is changing such a file.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    try:
        descriptor = os.open(path.absolute().parent, os.O_RDONLY)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path.parent} cannot be used ({reason}); say where with --regions.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"Another program is changing {path.name} now; try again.") from None
        except OSError:  # a network drive without locks
            pass
        yield
    finally:
        os.close(descriptor)


def put_file(path: Path, content: Path | None) -> None:
    """Put a copy of the file `content` to `path` atomically, or remove what is there if it is None.

    What was there is kept under `find_previous_path`, as after every change.

    Raises:
        UserError: The file cannot be written, or another program is changing it.
    """
    unfinished = create_temporary_path(path)
    with hold_folder(path, is_waiting=False):
        remove_leftovers([path])
        try:
            if path.exists():
                shutil.copy2(path, find_previous_path(path))
            if content is None:
                path.unlink(missing_ok=True)
            else:
                shutil.copyfile(content, unfinished)
                unfinished.replace(path)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror or error}).") from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)


def restore_previous(path: Path) -> None:
    """Exchange the regions with those before the last change; UserError where there are none."""
    with hold_folder(path):
        _exchange(path)


def _exchange(path: Path) -> None:
    previous = find_previous_path(path)
    if not previous.exists():
        raise UserError(f"Nothing to undo: there is no {previous.name} beside the results file.")
    remove_leftovers([path])
    aside = create_temporary_path(path)
    try:
        if path.exists():
            shutil.copy2(path, aside)  # not moved: killed between two steps, the command must leave regions there
        previous.replace(path)
        if aside.exists():
            aside.replace(previous)
    except OSError as error:
        raise UserError(f"{path} cannot be exchanged with {previous.name} ({error.strerror or error}).") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
