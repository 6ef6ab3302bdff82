"""The index of a run, `index.json`: the small file that joins the results files of a folder. FORMAT.md describes it.

Many processes may work on one run. Each writes results files of its own and notes its failures in files of its own.
The index is the same whichever process writes it, and it is replaced in one step, so that they need no coordination.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capture.errors import UserError
from capture.results import schema
from capture.results.atomic_write import write_atomically
from capture.results.resume import describe_difference

if sys.platform != "win32":
    import fcntl

Entry = dict[str, Any]
"""The index's object of one episode; FORMAT.md lists its keys."""


def prepare_folder(folder: Path) -> None:
    """Create the folder of a run if it is missing. Raises UserError where it cannot be one."""
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise UserError(f"{folder} is a file; name a folder for the results with -o, such as -o runs/")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be made ({os.strerror(error.errno or 0).lower()})") from None


def read_index(folder: Path) -> dict[str, Any] | None:
    """Return the index of a folder; None without one. Raises UserError for an index.json of anything else."""
    path = folder / schema.INDEX_NAME
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away, or choose another folder") from None
    if not isinstance(index, dict) or index.get("format") != schema.INDEX_FORMAT:
        raise UserError(f"{path} is not the index of a run; choose another folder")
    version = index.get("format_version")
    if not isinstance(version, list) or version[:1] != [schema.INDEX_VERSION[0]]:
        raise UserError(f"{path} is of a newer format; install a newer pi0-attention, or choose another folder")
    return index


def check_same_run(folder: Path, run: Mapping[str, Any], *, overwrite: bool) -> None:
    """Raise UserError if the folder holds results files of another run than `run`, unless they are overwritten."""
    index = read_index(folder)
    if index is None or overwrite or not _has_results(folder):
        return
    if changed := describe_difference(index.get("run"), run):
        raise UserError(
            f"{folder} holds another run, and is left as it is: {changed}; "
            "choose another folder, or say --overwrite to begin anew"
        )


def _has_results(folder: Path) -> bool:
    """Return whether a results file is in the folder, complete or partial."""
    endings = (".h5", ".h5" + schema.PARTIAL_SUFFIX)
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(endings) for entry in entries)


def write_index(folder: Path, head: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write the index, or update it: it keeps the episodes that it lists already if they are of the same run.

    `head` has the keys source, model, run and generator. Failures are read from the files of `write_failure`. Raises
    OSError where the folder cannot be written.
    """
    with _folder_lock(folder):
        while True:
            earlier = read_index(folder)
            index = _build_index(folder, earlier, head, entries)
            if index == earlier:
                return
            text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
            # The first process decides the uuid and the time of creation; the others find its file.
            write_atomically(folder / schema.INDEX_NAME, text, keep_existing=earlier is None)
            # Another process may have replaced the index or noted a failure meanwhile: repeat until nothing changes.


def _build_index(
    folder: Path, earlier: dict[str, Any] | None, head: Mapping[str, Any], entries: Sequence[Entry]
) -> Any:
    is_same_run = earlier is not None and describe_difference(earlier.get("run"), dict(head["run"])) is None
    episodes = {entry["file"]: entry for entry in earlier["episodes"]} if is_same_run and earlier is not None else {}
    episodes |= {entry["file"]: entry for entry in entries}
    for file, entry in episodes.items():
        reason = read_failure(folder / file)
        if reason is not None and not (folder / file).exists():
            episodes[file] = {**entry, "failed": reason}
        elif "failed" in entry and (folder / file).exists():
            episodes[file] = {key: value for key, value in entry.items() if key != "failed"}
    return json.loads(
        json.dumps(
            {
                "format": schema.INDEX_FORMAT,
                "format_version": list(schema.INDEX_VERSION),
                "uuid": str(uuid.uuid4()) if earlier is None else earlier.get("uuid"),
                "created": datetime.now(UTC).isoformat(timespec="seconds")
                if earlier is None
                else earlier.get("created"),
                **head,
                "episodes": sorted(episodes.values(), key=lambda entry: (entry["number"], entry["file"])),
            }
        )
    )


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from writing the index, where the system has such locks."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_failure(results: Path) -> str | None:
    """Return why the episode of a results file failed; None where no failure is noted."""
    try:
        return _failure_path(results).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write_failure(results: Path, reason: str | None) -> None:
    """Note why the episode of a results file failed; None removes the note. Raises OSError if that is impossible."""
    if reason is None:
        _failure_path(results).unlink(missing_ok=True)
    else:
        write_atomically(_failure_path(results), reason + "\n")


def _failure_path(results: Path) -> Path:
    return results.with_name(results.name + schema.FAILED_SUFFIX)
