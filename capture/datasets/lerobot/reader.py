"""Reader of LeRobot data sets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from capture.datasets.base import Episode, Source, SourceOptions, UnusableEpisode
from capture.datasets.key_mapping import KeyMapping, map_keys
from capture.datasets.lerobot.episode import LerobotEpisode, list_files
from capture.datasets.lerobot.metadata import INFO, EpisodeMetadata, Metadata, read_metadata
from capture.errors import UserError


class LerobotReader:
    """Reader of LeRobot data sets."""

    name = "LeRobot"
    looks_for = INFO

    def detect(self, path: Path) -> bool:
        """Return whether `path` is a data set, its `meta` folder or `info.json`, or a folder of data sets."""
        return _find_root(path) is not None or next(path.glob(f"*/{INFO}"), None) is not None

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the data set. Raises UserError for a folder of several, or where nothing can be used."""
        folder = _find_root(path)
        if folder is None:
            roots = sorted(file.parent.parent for file in path.glob(f"*/{INFO}"))
            raise UserError(f"{path} holds {len(roots)} LeRobot data sets; name one of them, such as {roots[0]}")
        metadata = read_metadata(folder)
        mapping = _map_keys(metadata, options)
        files = _FileNames(folder)
        episodes: list[Episode] = []
        unusable: dict[str, UnusableEpisode] = {}
        for episode in metadata.episodes:
            if options.has_files and (missing := _describe_missing_file(episode, mapping, files)):
                unusable[episode.name] = UnusableEpisode(episode.number, missing)
            else:
                episodes.append(LerobotEpisode(metadata, episode, mapping, options))
        if not episodes:
            reason = next((error.reason for error in unusable.values()), "its metadata list none")
            raise UserError(f"none of the {len(unusable)} episodes of {folder} can be used: {reason}")
        return Source(
            f"LeRobot data set v{metadata.version}",
            folder,
            metadata.cameras,
            mapping.decisions,
            episodes,
            unusable,
            metadata.state,
            metadata.actions,
        )


class _FileNames:
    """The files of a data set; each folder is listed once, since there may be 150,000 files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, set[str]] = {}

    def __contains__(self, file: str) -> bool:
        folder, name = os.path.split(file)
        if folder not in self._listed:
            try:
                self._listed[folder] = set(os.listdir(self.root / folder))  # noqa: PTH208 - names alone, and fast
            except OSError:
                self._listed[folder] = set()
        return name in self._listed[folder]


def _find_root(path: Path) -> Path | None:
    """Return the folder of the data set that `path` is, or is the `meta` folder or `info.json` of."""
    if path.is_file():
        is_info = path.name == "info.json" and path.parent.name == "meta"
        return path.absolute().parent.parent if is_info else None
    if (path / INFO).exists():
        return path
    return path.parent if path.name == "meta" and (path.parent / INFO).exists() else None


def _map_keys(metadata: Metadata, options: SourceOptions) -> KeyMapping:
    """Map the data set; cameras, states and actions may be chosen by their full column names too."""
    state_names = {column: name for name, column in metadata.state_columns.items()}
    action_names = {column: name for name, column in metadata.action_columns.items()}
    options = replace(
        options,
        state_keys=tuple(state_names.get(key, key) for key in options.state_keys),
        action_keys=tuple(action_names.get(key, key) for key in options.action_keys),
    )
    return map_keys(
        str(metadata.folder),
        options,
        [camera.name for camera in metadata.cameras],
        state=metadata.state,
        actions=metadata.actions,
        aliases={key: name for name, key in metadata.features.items()},
    )


def _describe_missing_file(episode: EpisodeMetadata, mapping: KeyMapping, files: _FileNames) -> str | None:
    for role, file in list_files(episode, mapping).items():
        if file not in files:
            return f"{role}, {files.root / file}, is missing"
    return None
