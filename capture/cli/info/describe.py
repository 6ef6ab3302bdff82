"""What a results file holds, in words for one screen of a terminal, read as a file that may come from anywhere.

HDF5 is C code that trusts what it reads: a torn file can keep it busy for minutes, a forged one can crash it or make it
open other files. So a second process looks, within a time limit; it follows no links out of the file and looks at
shapes before it reads values.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import h5py

from capture import watched_process
from capture.cli.info.page import LOCK_PATIENCE_SECONDS, format_file
from capture.cli.info.stored_values import clean
from capture.errors import UserError
from capture.remote.address import Location, RemotePath, parse_location
from capture.remote.errors import RemoteError
from capture.results import schema
from capture.results.partial_file import is_being_written
from capture.results.read_access import open_for_reading
from capture.watched_process import NoAnswerError, WatchedProcess

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

_CHILD: Final = "import capture.cli.info.describe; capture.cli.info.describe.serve()"


def describe(path: Location, *, verbose: bool = False) -> str:
    """Return what the file holds in lines of 100 characters: model, cameras, decisions about the input, frames, checks.

    There are at most 30 lines, unless `verbose` adds every decision with its whole reason.

    Raises UserError with one sentence for a file that is missing, empty, cut short, damaged, of another kind or of a
    newer format.
    """
    if isinstance(path, Path):
        _check_is_file(path)
    reader = WatchedProcess(_CHILD)
    try:
        answer = reader.ask([str(path), verbose])
    except NoAnswerError as error:
        ending = "came to no end" if error.is_overdue else "failed"
        raise UserError(f"{path} is damaged: reading it {ending}; copy it again, or capture it again") from None
    finally:
        reader.stop()
    if "refused" in answer:
        raise UserError(answer["refused"])
    return str(answer["page"])


def serve() -> None:
    """Answer each path, and whether all decisions are to be listed, with the file's page; for the second process."""

    def answer(request: tuple[str, bool], note_progress: Callable[[], None]) -> object:
        path, verbose = request
        try:
            location = parse_location(path)
            if isinstance(location, Path):
                return {"page": "\n".join(_make_page(location, verbose=verbose))}
            from capture.remote.event_loop import set_note_waiting

            set_note_waiting(note_progress)
            return {"page": "\n".join(_make_remote_page(location, note_progress, verbose=verbose))}
        except UserError as error:
            return {"refused": str(error)}

    watched_process.serve(answer)


def _check_is_file(path: Path) -> None:
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            advice = f", or look at the run with pi0-viewer {path}" if (path / schema.INDEX_NAME).is_file() else ""
            raise UserError(f"{path} is a folder; name a results file in it{advice}")
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            raise UserError(f"{path} is not a file on a disk; name a results file")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0 and path.suffix != schema.PARTIAL_SUFFIX:
                raise UserError(f"{path} is empty; capture it again")
            offset = 0
            while offset < size:
                file.seek(offset)
                if file.read(len(SIGNATURE)) == SIGNATURE:
                    return
                offset = max(512, 2 * offset)  # where HDF5 itself looks for it
    except FileNotFoundError:
        raise _missing_error(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({os.strerror(error.errno or 0).lower()})") from None
    if path.suffix == schema.PARTIAL_SUFFIX:
        raise _no_frame_error(path)
    raise UserError(f"{path} is not a results file: it is not HDF5; name a file that pi0-capture wrote")


def _missing_error(path: Path) -> UserError:
    """Return the error for a file that does not exist, which names the partial file where its run has one."""
    partial = path.with_name(path.name + schema.PARTIAL_SUFFIX) if path.name else path
    if not partial.is_file():
        return UserError(f"{path} does not exist")
    if is_being_written(partial, patience=LOCK_PATIENCE_SECONDS):
        return UserError(f"{path} does not exist yet: a run is still writing it; look at {partial}")
    return UserError(f"{path} does not exist: its run ended early; look at {partial}, which the same command resumes")


def _no_frame_error(path: Path) -> UserError:
    """Return the error for a partial file that HDF5 cannot open."""
    if is_being_written(path, patience=LOCK_PATIENCE_SECONDS):
        return UserError(f"{path} holds no frame yet: a run has begun to write it; look again when it has one")
    return UserError(f"{path} holds no frame that can be read, and no run is writing it; delete it and capture again")


def _make_page(path: Path, *, verbose: bool) -> list[str]:
    try:
        with _open(path) as file:
            return format_file(path, file, verbose=verbose)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, MemoryError, OverflowError) as error:
        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        note = ", or its run ended before the first frame was whole" * (path.suffix == schema.PARTIAL_SUFFIX)
        raise UserError(f"{path} is damaged{note} ({clean(reason, 80)}); copy it again, or capture it again") from None


def _make_remote_page(path: RemotePath, note_progress: Callable[[], None], *, verbose: bool) -> list[str]:
    """Return the page of a file on another machine; `note_progress` once there is a connection."""
    from capture.remote.remote_file import RemoteFile

    try:
        try:
            stream = RemoteFile(path)
        except FileNotFoundError:
            path = path.with_name(path.name + schema.PARTIAL_SUFFIX)
            stream = RemoteFile(path)
        note_progress()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.shown.removesuffix(schema.PARTIAL_SUFFIX)} does not exist; check the address") from None
    except PermissionError:
        raise UserError(f"{path.shown} may not be read by this user; check its permissions") from None
    except RemoteError as error:
        raise UserError(str(error)) from None
    try:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            raise UserError(f"{path.shown} is not a results file: it is not HDF5; name a file that pi0-capture wrote")
        with h5py.File(stream, "r") as file:
            return format_file(path, file, verbose=verbose)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, MemoryError, OverflowError) as error:
        if stream.failure is not None:
            raise UserError(str(stream.failure)) from None
        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        raise UserError(f"{path.shown} is damaged ({clean(reason, 80)}); copy it again, or capture it again") from None
    finally:
        stream.close()


def _open(path: Path) -> h5py.File:
    try:
        return open_for_reading(path)
    except (OSError, RuntimeError, ValueError) as error:
        refused = str(error)
    if path.suffix == schema.PARTIAL_SUFFIX:
        raise _no_frame_error(path)
    if "truncated file" in refused:
        raise UserError(f"{path} is cut short; copy it again")
    raise OSError(refused)
