"""Files that are whole or not there: written under a temporary name beside their own, then renamed. No Qt."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENDING: Final = ".partial"


def temporary(path: Path) -> Path:
    """The name under which this process writes a file until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}{ENDING}")


@contextlib.contextmanager
def whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary name to write to, which gets the final name when the block ends well and is removed when it does not.

    UserError where the disk refuses, or where a file of that name has come up meanwhile and may not be replaced.
    """
    unfinished = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _name(unfinished, path, overwrite=overwrite)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder with -o."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _name(unfinished: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        unfinished.replace(path)
        return
    try:
        os.link(unfinished, path)  # unlike a rename it never replaces
    except FileExistsError:
        raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.") from None
    except OSError:  # a disk without hard links
        if path.exists():
            raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.") from None
        unfinished.replace(path)


def write(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a whole file."""
    with whole(path, overwrite=overwrite) as unfinished:
        unfinished.write_bytes(content)


def sweep(paths: Iterable[Path]) -> None:
    """Remove what an export that was killed left beside these files; what a living process writes stays."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, targets in names.items():
        with contextlib.suppress(OSError):
            for entry in list(folder.iterdir()):
                match = re.fullmatch(r"\.(.+)\.(\d+)\.partial", entry.name)
                if match and match[1] in targets and not _alive(int(match[2])):
                    entry.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False
    if os.name != "posix":
        return True  # asking would end the process there; what is left is overwritten or stays
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
    return state != ["Z"]  # ended, but nobody has asked how
