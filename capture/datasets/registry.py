"""The readers of data sets, and the choice of one by the content of a path."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import h5py

from capture.datasets import aloha, droid, hdf5, libero, npz
from capture.datasets.base import Reader, Source, SourceOptions
from capture.datasets.folder.reader import FolderReader
from capture.datasets.lerobot.reader import LerobotReader
from capture.errors import UserError
from capture.results.schema import FORMAT

READERS: Final[list[Reader]] = [
    LerobotReader(),
    FolderReader(),
    libero.LiberoReader(),
    aloha.AlohaReader(),
    npz.NpzReader(),
    droid.DroidReader(),  # last, because it searches folders below
]
"""Every reader, in the order in which they are tried."""


def register(reader: Reader) -> None:
    """Add a reader, tried after the ones before it."""
    READERS.append(reader)


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open the data set or episode at `path` and map it to what the policy needs.

    Single unusable episodes are listed in `Source.unusable`. Raises UserError where the path has no known format or
    cannot be read, no episode can be used, or a camera, state or action of the policy cannot be mapped.
    """
    try:
        if not path.exists():
            raise UserError(f"{path} does not exist; check the path")
        for reader in READERS:
            if reader.detect(path):
                return reader.open(path, options)
        looked_for = ", ".join(f"{reader.looks_for} ({reader.name})" for reader in READERS)
        raise UserError(f"{path} holds no episodes of a known format: {_describe(path)}; looked for {looked_for}")
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be read ({(error.strerror or str(error)).lower()})"
        ) from error


def _describe(path: Path) -> str:
    if path.is_file():
        if h5py.is_hdf5(path):
            with hdf5.opened(path) as file:
                if hdf5.text(file, "format") == FORMAT:
                    return "it is a results file; open it with pi0-viewer"
                return f"it is HDF5 with {', '.join(itertools.islice(file, 5)) or 'nothing'}"
        return "it is a file of another kind"
    names = [entry.name for entry in itertools.islice(path.iterdir(), 6)]
    if not names:
        return "it is empty"
    if any(".tfrecord" in name for name in names):
        return "it holds TFRecords (RLDS), which lerobot and openpi convert to LeRobot data sets"
    return f"it has {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
