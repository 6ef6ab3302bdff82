"""The small file that makes the results files of a folder one run: `index.json`, described in FORMAT.md.

Many processes may work on one run. Each writes results files of its own and notes its failures in files of their own;
the index is the same whoever writes it, and replaced in one step, so that no two processes have to agree on anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capture.errors import UserError
from capture.results import schema
from capture.results.resume import describe_difference

if sys.platform != "win32":
    import fcntl

Entry = dict[str, Any]
"""What the index says of one episode."""


def prepare_folder(folder: Path) -> None:
    """Raise UserError if `folder` cannot be a run's; a missing one is made."""
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise UserError(f"{folder} is a file; name a folder for the results with -o, such as -o runs/")
    try:
        folder.mkdir()
    except FileNotFoundError:
        raise UserError(f"the folder {folder.parent} does not exist; create it first") from None
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be made ({os.strerror(error.errno or 0).lower()})") from None


def read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a folder; None if it has none. Raises UserError for a file of that name that is no such index."""
    path = folder / schema.INDEX_NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away, or choose another folder") from None
    if not isinstance(told, dict) or told.get("format") != schema.INDEX_FORMAT:
        raise UserError(f"{path} is not the index of a run; choose another folder")
    version = told.get("format_version")
    if not isinstance(version, list) or version[:1] != [schema.INDEX_VERSION[0]]:
        raise UserError(f"{path} is of a newer format; install a newer pi0-attention, or choose another folder")
    return told


def check_same_run(folder: Path, run: Mapping[str, Any], *, overwrite: bool) -> None:
    """Raise UserError if the folder holds results of another run than `run`; one that never had any is no hindrance."""
    before = read_index(folder)
    if before is None or overwrite or not _begun(folder):
        return
    if changed := describe_difference(before.get("run"), run):
        raise UserError(
            f"{folder} holds another run, and is left as it is: {changed}; "
            "choose another folder, or say --overwrite to begin anew"
        )


def _begun(folder: Path) -> bool:
    """Whether a results file lies in the folder, whole or not."""
    endings = (".h5", ".h5" + schema.PARTIAL_SUFFIX)
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(endings) for entry in entries)


def write_index(folder: Path, head: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write the index, or add to it: episodes of the same run that it knew stay. Failures are taken from their files.

    `head`: source, model, run and generator. Raises OSError where the folder cannot be written.
    """
    with _alone(folder):
        while True:
            before = read_index(folder)
            made = _made(folder, before, head, entries)
            if made == before:
                return
            _replace(folder, made, new=before is None)
            # Another process may have replaced it meanwhile, or noted a failure: look again until nothing is new.


def _made(folder: Path, before: dict[str, Any] | None, head: Mapping[str, Any], entries: Sequence[Entry]) -> Any:
    same = before is not None and describe_difference(before.get("run"), dict(head["run"])) is None
    known = {entry["file"]: entry for entry in before["episodes"]} if same and before is not None else {}
    known |= {entry["file"]: entry for entry in entries}
    for file, entry in known.items():
        said = read_failure(folder / file)
        if said is not None and not (folder / file).exists():
            known[file] = {**entry, "failed": said}
        elif "failed" in entry and (folder / file).exists():
            known[file] = {key: value for key, value in entry.items() if key != "failed"}
    return json.loads(
        json.dumps(
            {
                "format": schema.INDEX_FORMAT,
                "format_version": list(schema.INDEX_VERSION),
                "uuid": str(uuid.uuid4()) if before is None else before.get("uuid"),
                "created": datetime.now(UTC).isoformat(timespec="seconds") if before is None else before.get("created"),
                **head,
                "episodes": sorted(known.values(), key=lambda entry: (entry["number"], entry["file"])),
            }
        )
    )


def _replace(folder: Path, made: Any, *, new: bool) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{schema.INDEX_NAME}.", dir=folder)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(made, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o666 & ~_umask())
        if new:  # the first process gives the run its name; the others find it
            try:
                os.link(written, folder / schema.INDEX_NAME)
            except FileExistsError:
                return
            except OSError:  # no hard links here
                pass
            else:
                return
        written.replace(folder / schema.INDEX_NAME)
    finally:
        written.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from writing the index meanwhile, where the system can."""
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
    """Why the episode of a results file failed; None if it did not, as far as was noted."""
    try:
        return _note(results).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write_failure(results: Path, sentence: str | None) -> None:
    """Note why the episode of a results file failed, or, with None, that nothing is known against it."""
    if sentence is None:
        _note(results).unlink(missing_ok=True)
    else:
        _note(results).write_text(sentence + "\n", encoding="utf-8")


def _note(results: Path) -> Path:
    return results.with_name(results.name + schema.FAILED_SUFFIX)
