"""The reader of a path, chosen by what lies there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from capture.episodes.droid import TRAJECTORY, find_droid, open_droid
from capture.episodes.lerobot import open_lerobot
from capture.episodes.lerobot_metadata import INFO
from capture.episodes.source import OpenedSource, Wanted
from capture.errors import UserError

LOOKED_FOR: Final = ("meta/info.json (LeRobot)", "trajectory.h5 (DROID, also in folders below)")
"""What makes a path a source, for the sentence that nothing was found."""


def open_source(path: Path, wanted: Wanted) -> OpenedSource:
    """The episodes at `path`, mapped to what a policy wants.

    Raises UserError where nothing there is known, where a camera, state or action of the policy cannot be told, and
    for sources that cannot be read at all; single episodes that are broken are in `broken` instead.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path")
    if path.name == "info.json" and path.parent.name == "meta":
        path = path.parent.parent
    folder = path.parent if path.name == TRAJECTORY else path
    if (folder / INFO).exists():
        return open_lerobot(folder, wanted)
    if folder.is_dir():
        found = find_droid(folder)
        if found:
            return open_droid(folder, found, wanted)
    raise UserError(f"nothing in {path} is known as episodes: {_has(path)}; looked for {', '.join(LOOKED_FOR)}")


def _has(path: Path) -> str:
    if not path.is_dir():
        return "it is a file of another kind"
    names = [entry.name for entry in itertools.islice(path.iterdir(), 6)]
    if not names:
        return "it is empty"
    return f"it has {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
