"""Names under which files are written until they are complete, and what killed processes left under them. No Qt."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TEMPORARY_NAME: Final = re.compile(r"\.(.+)\.(\d+)\.partial")


def create_temporary_path(path: Path) -> Path:
    """Return the name under which this process writes a file until it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove temporary files of `paths` that a killed process left; those of a running process stay."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, targets in names.items():
        remove_leftovers_in(folder, targets.__contains__)


def remove_leftovers_in(folder: Path, is_target: Callable[[str], bool]) -> None:
    """Remove what killed processes left of files in a folder whose final name `is_target` accepts."""
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            match = _TEMPORARY_NAME.fullmatch(entry.name)
            if match and is_target(match[1]) and not _is_running(int(match[2])):
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
