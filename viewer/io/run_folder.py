"""Names and links in the folder of a run, on this machine or another one. No Qt."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from capture.remote.address import RemotePath
from capture.results import effects_schema, regions_schema
from viewer.io.open_file import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.remote.address import Location

MAX_NAME: Final = 300
COMPANIONS: Final = (effects_schema.SUFFIX, regions_schema.SUFFIX, regions_schema.SUFFIX.replace(".h5", ".previous.h5"))
"""Endings of files that lie beside results files."""


def list_names(folder: Location) -> Iterator[str]:
    """Yield the names in a folder. Raises OSError."""
    if isinstance(folder, RemotePath):
        yield from (name for name in folder.list_folder() if "/" not in name and len(name) <= MAX_NAME)
        return
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries)


def is_results_name(name: str) -> bool:
    """Return whether a name in a folder, without `.partial`, can be that of a results file."""
    return name.endswith(ENDINGS) and not name.endswith(COMPANIONS) and not name.startswith(".")


def is_inside(path: Location, folder: Location) -> bool:
    """Return whether a path leads into a folder when all links are followed. For an address, asks its server."""
    if isinstance(path, RemotePath) and isinstance(folder, RemotePath):
        try:
            path.resolve().relative_to(folder.resolve())
        except ValueError:
            return False
        return True
    if isinstance(path, RemotePath) or isinstance(folder, RemotePath):
        return False
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def list_links(folder: Location, inner: str) -> dict[str, bool]:
    """Return the names in a folder of the run, and whether each is a link; empty if it leads outside."""
    try:
        if inner and not is_inside(folder / inner, folder):
            return {}
        if isinstance(folder, RemotePath):
            return {
                name: member.is_link for name, member in (folder / inner if inner else folder).list_folder().items()
            }
        with os.scandir(folder / inner) as entries:
            return {entry.name: entry.is_symlink() for entry in entries}
    except OSError:
        return {}


def create_sort_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts episode_9 before episode_10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), part) if part.isdecimal() and len(part) < 20 else (0, 0, part) for part in parts]
