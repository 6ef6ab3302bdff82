"""Opening of HDF5 files, also of one that a capture is still writing."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import h5py

from capture.remote.address import RemotePath
from capture.results import effects_schema, schema
from capture.results.read_access import hide_writer_flags, open_for_reading
from viewer.errors import UserError
from viewer.io.block_file import BlockFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.remote.address import Location
    from capture.remote.connections import RemoteStat
    from viewer.io.block_file import ByteSource


FIRST_BLOCKS: Final = 4
"""Blocks of a slow file that are fetched first: most of its header."""


ENDINGS: Final = (".h5", ".hdf5")
"""Ends of the names of results files."""


def find(path: Location) -> Location:
    """Return the path itself, or its partial name if a capture is still writing the file.

    An address is returned as it is: its server is asked when the file is opened.
    """
    if isinstance(path, RemotePath) or not path.name:
        return path
    partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
    try:
        return partial if not path.exists() and partial.exists() else path
    except OSError as error:
        raise UserError(f"There can be no file “{path.name[:60]}” ({error.strerror}); check the path.") from None


def is_run(path: Location) -> bool:
    """Return whether a path is opened as a run over several episodes: a folder or an index.

    Of an address the name decides, without asking the server.
    """
    if isinstance(path, RemotePath):
        return not path.name.endswith((*ENDINGS, schema.PARTIAL_SUFFIX)) and not path.query
    return path.suffix == ".json" or path.is_dir()


class Stamp(NamedTuple):
    """Identity, size and modification time of a file."""

    identity: tuple[int, int]
    """Device and inode."""
    size: int
    """In bytes."""
    written: int
    """Modification time in nanoseconds."""


def make_remote_stamp(remote_stat: RemoteStat, path: RemotePath) -> Stamp:
    """Return the stamp of a remote file; its address is its identity."""
    version = hash(remote_stat.tag) if remote_stat.tag else remote_stat.modified_ns
    return Stamp(hash_address(path), remote_stat.size, version)


def hash_address(path: RemotePath) -> tuple[int, int]:
    """Return the identity of a remote file, which is that of its address."""
    return -1, hash(path)


def read_stamp(path: Location) -> Stamp | None:
    """Return the stamp of the file at a path; None if there is none. For an address, waits for its server."""
    try:
        if isinstance(path, RemotePath):
            return make_remote_stamp(path.remote_stat(), path)
        file_stat = path.stat()
    except OSError:
        return None
    return Stamp((file_stat.st_dev, file_stat.st_ino), file_stat.st_size, file_stat.st_mtime_ns)


def is_missing(path: Location) -> bool:
    """Return whether there is certainly no such file; False where the system cannot tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def read_identity(path: Location) -> tuple[int, int] | None:
    """Return device and inode, which all names of one file share; None if there is no file.

    Of an address, which is asked for without asking its server, every file has an identity.
    """
    if isinstance(path, RemotePath):
        return hash_address(path)
    stamp = read_stamp(path)
    return None if stamp is None else stamp.identity


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


def find_source(path: Location) -> Callable[[], ByteSource] | None:
    """Return what opens the bytes of a file whose reads may be slow, and waits; None for a file of this machine."""
    if not isinstance(path, RemotePath):
        return None
    from viewer.io.remote_bytes import RemoteBytes  # imported late: no file of this machine needs it

    return partial(RemoteBytes, path)


def connect_ahead(path: Location) -> None:
    """Let another thread connect to the server of an address that is about to be opened."""
    if isinstance(path, RemotePath):
        threading.Thread(target=_connect, args=(path,), daemon=True).start()


def _connect(path: RemotePath) -> None:
    with contextlib.suppress(OSError):
        path.remote_stat()


def open_blocks(source: ByteSource) -> BlockFile:
    """Return the blocks of a slow file; waits for its first bytes. Raises OSError, or UserError."""
    start = source.read_ranges([(0, min(source.size, FIRST_BLOCKS * source.block_bytes))])[0]
    blocks = BlockFile(source, hide_writer_flags(start, source.size))
    blocks.keep(0, start)
    return blocks


def open_hdf5_blocks(path: Location, blocks: BlockFile) -> h5py.File:
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


def create_format_error(path: Location, file_format: object) -> UserError:
    """Return the error for an HDF5 file of another format than a results file."""
    if file_format == effects_schema.FORMAT:
        return UserError(f"{path.name} holds effects on a results file; open that one, then File › Open effects…")
    return UserError(
        f"{path.name} is an HDF5 file, but not a results file of pi0-capture; open one that pi0-capture wrote."
    )


def _torn(path: Location, error: Exception) -> UserError:
    return UserError(
        f"{path.name} cannot be opened: it is torn or damaged (HDF5 says “{shorten_error(error)}”). "
        "Copy it again, or record it again."
    )


def shorten_error(error: BaseException) -> str:
    """Return the text of an error on one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 160 else text[:157] + "…"


def describe_damage(path: Location, error: BaseException) -> str:
    """Return the sentence for a results file whose header cannot be read; that of a killed run may have no frame."""
    early = ", or what wrote it ended before the first frame was whole" * path.name.endswith(schema.PARTIAL_SUFFIX)
    return f"{path.name} is damaged{early}: HDF5 says “{shorten_error(error)}”. Copy it again, or record it again."
