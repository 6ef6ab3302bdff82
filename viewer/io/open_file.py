"""Opening an HDF5 file from anywhere, also one that a capture is still writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import h5py

from capture.results import schema
from viewer.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def find(path: Path) -> Path:
    """The file that is meant: the given one, or the one that a capture is still writing under the partial name."""
    if not path.name:
        return path
    partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
    try:
        return partial if not path.exists() and partial.exists() else path
    except OSError as error:
        raise UserError(f"There can be no file “{path.name[:60]}” ({error.strerror}); check the path.") from None


def is_run(path: Path) -> bool:
    """Whether a path is to be opened as a run over several episodes: a folder, or an index."""
    return path.suffix == ".json" or path.is_dir()


class Stamp(NamedTuple):
    """What the system says of a file."""

    identity: tuple[int, int]
    """Its device, and its number there."""
    size: int
    """In bytes."""
    written: int
    """When it was written to, in nanoseconds."""


def read_stamp(path: Path) -> Stamp | None:
    """What the system says of the file at a path; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp((found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)


def is_missing(path: Path) -> bool:
    """Whether the system says that there is no such file, and not that it cannot tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def read_identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None where there is no file."""
    found = read_stamp(path)
    return None if found is None else found.identity


def open_hdf5(path: Path) -> h5py.File:
    """The file, for reading only; UserError with one sentence where that is not possible."""
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
    # Plainly first: in SWMR mode HDF5 repeats the reading of damaged metadata until it looks like hanging. SWMR is for
    # files that are still being written; such a file has a mark that makes the plain way fail.
    try:
        plain = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        try:
            if not h5py.h5a.exists(plain.id, b"complete") or bool(plain.attrs["complete"]):
                return plain
        except (OSError, ValueError, RuntimeError, TypeError, KeyError):
            return plain  # whoever reads the header says what is damaged
        plain.close()
    except (OSError, ValueError, RuntimeError) as error:
        if "consistency flags" not in str(error):
            raise _torn(path, error) from error
    failure: Exception | None = None
    for swmr in (True, False):
        try:
            return h5py.File(path, "r", swmr=swmr, locking=False, rdcc_nbytes=0)
        except (OSError, ValueError, RuntimeError) as error:
            failure = error
    raise _torn(path, failure) from failure


def _torn(path: Path, error: Exception | None) -> UserError:
    return UserError(
        f"{path.name} cannot be opened: it is torn or damaged (HDF5 says “{short(error)}”). "
        "Copy it again, or record it again."
    )


def short(error: BaseException | None) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 160 else text[:157] + "…"
