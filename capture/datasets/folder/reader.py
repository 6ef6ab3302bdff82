"""Reader of folders with an `episode.json`, and of all observations in them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.folder.episode_file import NAME, EpisodeFile
from capture.datasets.folder.pictures import PicturesFile
from capture.datasets.folder.videos import VideosFile
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError
from capture.json_fields import read_json
from capture.observation import Observation


class FolderReader:
    """Reader of folders with an `episode.json`."""

    name = "episode.json"
    looks_for = "episode.json with pictures or videos, also one folder below"

    def detect(self, path: Path) -> bool:
        """Return whether `path` is an episode.json, an episode folder or a folder of such folders."""
        return path.name == NAME if path.is_file() else bool(_find_folders(path))

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the episodes at or right below `path`. Raises UserError where none can be used or mapped."""
        path = path.parent if path.is_file() else path
        folders = _find_folders(path)
        listing: EpisodeList[EpisodeFile] = EpisodeList()
        for folder, name in zip(folders, file_names([folder.resolve().name for folder in folders]), strict=True):
            listing.add(name, partial(_read_file, folder, name))
        # A frame may lack its state or actions, so an episode without them is usable.
        first, mapping, episodes = listing.map_episodes(
            path, options, lambda info, mapping: info.create(mapping, options.horizon), has_optional_parts=True
        )
        kind = first.kind if folders == [path] else "episode folders"
        cameras = tuple(SourceCamera(name, *_size_or_zero(first, name)) for name in first.cameras)
        parts = (first.state_parts, first.action_parts)
        return Source(kind, path, cameras, mapping.decisions, episodes, listing.unusable, *parts)


def read_episodes(folder: Path) -> list[Observation]:
    """Return every frame of the episode folders right below `folder`, in name order. Raises UserError without any."""
    folders = [path.parent for path in sorted(folder.glob(f"*/{NAME}"))]
    if not folders:
        raise UserError(f"there is no episode in {folder}: no folder in it has an {NAME}")
    return [frame for episode in folders for frame in read_episode(episode)]


def read_episode(folder: Path) -> list[Observation]:
    """Return the frames of one episode folder. Raises UserError for a missing file or one of another form."""
    info = _read_file(folder, folder.name, 0)
    mapping = KeyMapping({camera: camera for camera in info.cameras}, ("state",), ("actions",), ())
    episode = info.create(mapping, None)
    return list(episode.read(range(episode.length)))


def _find_folders(path: Path) -> list[Path]:
    """Return the episode folder `path` itself, or the episode folders right below it in name order."""
    return [path] if (path / NAME).exists() else [file.parent for file in sorted(path.glob(f"*/{NAME}"))]


def _read_file(folder: Path, name: str, number: int) -> PicturesFile | VideosFile:
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{path} is missing")
    content = read_json(path)
    return (VideosFile if "videos" in content.values else PicturesFile)(content, folder, number, name)


def _size_or_zero(info: EpisodeFile, camera: str) -> tuple[int, int]:
    try:
        return info.size(camera)
    except UserError:  # raised again when the frame is read
        return 0, 0
