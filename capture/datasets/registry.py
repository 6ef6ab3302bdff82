"""The reader of a path, chosen by what lies there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import h5py

from capture.datasets import folder as folders
from capture.datasets import hdf5
from capture.datasets.base import Source, SourceOptions
from capture.datasets.droid import TRAJECTORY, find_droid, open_droid
from capture.datasets.lerobot import open_lerobot
from capture.datasets.lerobot_metadata import INFO
from capture.datasets.libero import ENDINGS, is_demonstrations, open_libero
from capture.datasets.npz import ENDING, open_npz
from capture.errors import UserError
from capture.results.schema import FORMAT

LOOKED_FOR: Final = (
    "meta/info.json (LeRobot)",
    "trajectory.h5 (DROID, also in folders below)",
    "data/demo_0 in HDF5 files (LIBERO, robomimic)",
    "episode.json (pictures or videos, also one folder below)",
    "npz files",
)
"""What makes a path a source, for the sentence that nothing was found."""


def open_source(path: Path, wanted: SourceOptions) -> Source:
    """The episodes at `path`, mapped to what a policy wants.

    Raises UserError where nothing there is known, where a camera, state or action of the policy cannot be told, and
    for sources that cannot be read at all; single episodes that are broken are in `broken` instead.
    """
    try:
        if not path.exists():
            raise UserError(f"{path} does not exist; check the path")
        source = _open_file(path, wanted) if path.is_file() else _open_folder(path, wanted)
        if source is None:
            raise UserError(f"nothing in {path} is known as episodes: {_has(path)}; looked for {', '.join(LOOKED_FOR)}")
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be read ({(error.strerror or str(error)).lower()})"
        ) from error
    return source


def _open_file(path: Path, wanted: SourceOptions) -> Source | None:
    if path.name == "info.json" and path.parent.name == "meta":
        return open_lerobot(path.absolute().parent.parent, wanted)
    if path.name == TRAJECTORY:
        return open_droid(path.parent, [path.parent], wanted)
    if path.name == folders.NAME:
        return folders.open_folders(path.parent, [path.parent], wanted)
    if path.suffix == ENDING:
        return open_npz(path, [path], wanted)
    return open_libero(path, [path], wanted) if is_demonstrations(path) else None


def _open_folder(path: Path, wanted: SourceOptions) -> Source | None:
    if (path / INFO).exists():
        return open_lerobot(path, wanted)
    if path.name == "meta" and (path.parent / INFO).exists():
        return open_lerobot(path.parent, wanted)
    if (path / folders.NAME).exists():
        return folders.open_folders(path, [path], wanted)
    below = folders.find_folders(path)
    if below:
        return folders.open_folders(path, below, wanted)
    sets = sorted(file.parent.parent for file in path.glob(f"*/{INFO}"))
    if sets:
        raise UserError(f"{path} holds {len(sets)} LeRobot data sets; name one of them, such as {sets[0]}")
    files = sorted(file for file in path.iterdir() if file.suffix in (*ENDINGS, ENDING) and file.name != TRAJECTORY)
    demonstrations = [file for file in files if file.suffix in ENDINGS]
    if any(is_demonstrations(file) for file in demonstrations):
        return open_libero(path, demonstrations, wanted)
    arrays = [file for file in files if file.suffix == ENDING]
    if arrays:
        return open_npz(path, arrays, wanted)
    found = find_droid(path)
    return open_droid(path, found, wanted) if found else None


def _has(path: Path) -> str:
    if path.is_file():
        if h5py.is_hdf5(path):
            with hdf5.opened(path) as file:
                if hdf5.text(file, "format") == FORMAT:
                    return "it is a results file, which pi0-viewer shows"
                return f"it is HDF5 with {', '.join(itertools.islice(file, 5)) or 'nothing'}"
        return "it is a file of another kind"
    names = [entry.name for entry in itertools.islice(path.iterdir(), 6)]
    if not names:
        return "it is empty"
    if any(".tfrecord" in name for name in names):
        return "it holds TFRecords (RLDS), which lerobot and openpi convert to LeRobot data sets"
    return f"it has {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
