"""Find a data set on this machine or on Hugging Face, and fetch only what a run reads of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from capture.datasets.base import Source, SourceOptions
from capture.datasets.lerobot.metadata import INFO
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.hugging_face import REPOSITORY, fetch_snapshot
from capture.provenance import Decision

MAX_PATTERNS: Final = 200
"""File names up to which each file of the chosen episodes is asked for; above it, the folders of the cameras are."""

_OTHER_KINDS: Final = ("*.hdf5", "*.h5", "*.npz")
"""Files of readers other than LeRobot's that are fetched; folders of many files are not."""


def open_dataset(location: Path, options: SourceOptions, numbers: Sequence[int] | None = None) -> Source:
    """Open the data set at a path, or the one of Hugging Face that `owner/name` or `owner/name@revision` names.

    Of a LeRobot data set there, only the metadata and the files of the episodes `numbers` (None: all) are fetched, and
    of these only the cameras that the policy gets. Raises UserError where it is neither, or cannot be used.
    """
    if location.exists():
        return open_source(location, options)
    match = _match_repository(location)
    if match is None:
        return open_source(location, options)  # which reports that it does not exist
    name, revision = match["name"], match["revision"]
    local = _find_lerobot_home() / name
    if revision is None and (local / INFO).is_file():
        source = open_source(local, options)
        return _name(source, name, f"as lerobot keeps it in {local}")
    folder = fetch_snapshot(name, revision, ["meta/**"], kind="dataset")
    if (folder / INFO).is_file():
        source = open_source(folder, replace(options, has_files=False))
        if options.has_files:
            folder = fetch_snapshot(name, revision, list_patterns(source, numbers), kind="dataset")
            source = open_source(folder, options)
    else:
        folder = fetch_snapshot(name, revision, _OTHER_KINDS, kind="dataset")
        if not folder.is_dir() or not any(folder.iterdir()):
            raise UserError(
                f"the Hugging Face data set {name} has neither {INFO} of LeRobot nor HDF5 or npz files; fetch it with "
                f"`hf download --repo-type dataset {name} --local-dir FOLDER` and give --dataset FOLDER"
            )
        source = open_source(folder, options)
    return _name(source, name, f"from Hugging Face's cache, revision {folder.name[:12]}")


def list_patterns(source: Source, numbers: Sequence[int] | None) -> list[str]:
    """Return the names or patterns of the files that the chosen episodes of a LeRobot data set are read from."""
    chosen = [episode for episode in source.episodes if numbers is None or episode.number in numbers]
    names = sorted({file for episode in chosen for file in getattr(episode, "files", ())})
    if len(names) <= MAX_PATTERNS:
        return ["meta/**", *names]
    folders = {re.sub(r"(chunk|file|episode)[-_]\d+", r"\1*", name) for name in names}
    return ["meta/**", *sorted(folders)]


def _match_repository(location: Path) -> re.Match[str] | None:
    """Return what `owner/name` names. Raises UserError for addresses in other forms."""
    text = location.as_posix()
    if match := re.match(r"(?:https?:/+huggingface\.co/|hf:/+)(?:datasets/)?([\w.-]+/[\w.-]+)", text):
        raise UserError(f"{text} is a web address; give the Hugging Face data set itself: --dataset {match[1]}")
    return REPOSITORY.fullmatch(text)


def _find_lerobot_home() -> Path:
    """Return the folder in which lerobot keeps data sets."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_LEROBOT_HOME") or Path(home) / "lerobot").expanduser()


def _name(source: Source, name: str, origin: str) -> Source:
    decision = Decision("data set", name, origin, is_certain=True)
    return replace(source, name=name, decisions=(decision, *source.decisions))
