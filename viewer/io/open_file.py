"""Opening of HDF5 files, also of one that a capture is still writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import h5py

from capture.results import schema
from capture.results.read_access import hide_writer_flags, open_for_reading
from viewer.errors import UserError
from viewer.io.block_file import BlockFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from viewer.io.block_file import ByteSource


FIRST_BLOCKS: Final = 4
"""Blocks of a slow file that are fetched first: most of its header."""


def find(path: Path) -> Path:
    """Return the path itself, or its partial name if a capture is still writing the file."""
    if not path.name:
        return path
    partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
    try:
        return partial if not path.exists() and partial.exists() else path
    except OSError as error:
        raise UserError(f"There can be no file “{path.name[:60]}” ({error.strerror}); check the path.") from None


def is_run(path: Path) -> bool:
    """Return whether a path is opened as a run over several episodes: a folder or an index."""
    return path.suffix == ".json" or path.is_dir()


class Stamp(NamedTuple):
    """Identity, size and modification time of a file."""

    identity: tuple[int, int]
    """Device and inode."""
    size: int
    """In bytes."""
    written: int
    """Modification time in nanoseconds."""


def read_stamp(path: Path) -> Stamp | None:
    """Return the stamp of the file at a path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp((found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)


def is_missing(path: Path) -> bool:
    """Return whether there is certainly no such file; False where the system cannot tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def read_identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which all names of one file share; None if there is no file."""
    found = read_stamp(path)
    return None if found is None else found.identity


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading; UserError if that is not possible."""
    if not path.exists():
        raise UserError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise UserError(f"{path.name or path} is a folder; open a results file (.h5) inside it.")
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            head = stream.read(8)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({error.strerror or error}); check its permissions.") from error
    if size == 0:
        raise UserError(f"{path.name} is empty; a capture that has just begun fills it, or it must be recorded again.")
    if head != b"\x89HDF\r\n\x1a\n":
        raise UserError(f"{path.name} is not an HDF5 file; open a results file (.h5) that pi0-capture wrote.")
    # Never in HDF5's SWMR mode, in which it sleeps for minutes where metadata are torn.
    try:
        file = open_for_reading(path, rdcc_nbytes=0)
        try:
            is_complete = not h5py.h5a.exists(file.id, b"complete") or bool(file.attrs["complete"])
        except (OSError, ValueError, RuntimeError, TypeError, KeyError):
            return file  # reading the header reports the damage
        if is_complete:
            return file
        file.close()
        return open_for_reading(path, is_followed=True, rdcc_nbytes=0)
    except (OSError, ValueError, RuntimeError) as error:
        raise _torn(path, error) from error


def find_source(path: Path) -> Callable[[], ByteSource] | None:
    """Return what opens the bytes of a file whose reads may be slow, and waits; None for a file of this machine."""
    return getattr(path, "open_source", None)


def open_blocks(source: ByteSource) -> BlockFile:
    """Return the blocks of a slow file; waits for its first bytes. Raises OSError, or UserError."""
    start = source.read_ranges([(0, min(source.size, FIRST_BLOCKS * source.block_bytes))])[0]
    blocks = BlockFile(source, hide_writer_flags(start, source.size))
    blocks.keep(0, start)
    return blocks


def open_hdf5_blocks(path: Path, blocks: BlockFile) -> h5py.File:
    """Open a slow file for reading; UserError if that is not possible, MissingBytesError where bytes are missing."""
    start = bytearray(8)
    blocks.seek(0)
    blocks.readinto(start)
    if blocks.source.size == 0:
        raise UserError(f"{path.name} is empty; a capture that has just begun fills it, or it must be recorded again.")
    if start != b"\x89HDF\r\n\x1a\n":
        raise UserError(f"{path.name} is not an HDF5 file; open a results file (.h5) that pi0-capture wrote.")
    try:
        return h5py.File(blocks, "r", rdcc_nbytes=0)
    except (OSError, ValueError, RuntimeError) as error:
        raise _torn(path, error) from error


def _torn(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path.name} cannot be opened: it is torn or damaged (HDF5 says “{short(error)}”). "
        "Copy it again, or record it again."
    )


def short(error: BaseException) -> str:
    """Return the text of an error on one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 160 else text[:157] + "…"
