"""Write files atomically: under a temporary name in the same folder, then renamed. No Qt."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIX: Final = ".partial"


def temporary_path(path: Path) -> Path:
    """Return the name under which this process writes a file until it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")


@contextlib.contextmanager
def atomic_path(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary name to write to; rename it to `path` if the block succeeds, else remove it.

    Raises:
        UserError: The file cannot be written, or one of that name has appeared meanwhile and may not be replaced.
    """
    unfinished = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _rename(unfinished, path, overwrite=overwrite)
    except OSError as error:
        raise UserError(
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
    """Write a file atomically; raise UserError as `atomic_path` does."""
    with atomic_path(path, overwrite=overwrite) as unfinished:
        unfinished.write_bytes(content)


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove temporary files that a killed export left in the folders of `paths`; those of a running process stay."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, targets in names.items():
        with contextlib.suppress(OSError):
            for entry in list(folder.iterdir()):
                match = re.fullmatch(r"\.(.+)\.(\d+)\.partial", entry.name)
                if match and match[1] in targets and not _is_running(int(match[2])):
                    entry.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False
    if os.name != "posix":
        return True  # unknown: on Windows os.kill would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[:1]
    except OSError:
        return True
    return state != ["Z"]  # a zombie has ended
