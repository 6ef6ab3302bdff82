"""LeRobot data sets on disk, versions 2.0, 2.1 and 3.0, without lerobot: parquet and videos, or pictures in parquet.

Pictures of a video are found by time, as lerobot finds them (`datasets/video_utils.py`): the episode's start in the
video plus the row's timestamp, to less than half a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import Episode, Source, SourceOptions, UnusableEpisode
from capture.datasets.camera_frames import CameraFrames, read_cameras
from capture.datasets.images import Pixels8, decode_picture, picture_size, read_picture
from capture.datasets.key_mapping import KeyMapping, map_keys
from capture.datasets.lerobot_metadata import INFO, EpisodeMetadata, Metadata, read_metadata
from capture.datasets.parquet import Parquet
from capture.datasets.video import Video
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path

TIME_TOLERANCE: Final = 0.49
"""Largest distance of a video frame from its row's time, in frames."""


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
            if missing := _describe_missing_file(episode, mapping, files):
                unusable[episode.name] = UnusableEpisode(episode.number, missing)
            else:
                episodes.append(LerobotEpisode(metadata, episode, mapping, options.horizon))
        if not episodes:
            reason = next((one.reason for one in unusable.values()), "its metadata list none")
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


class LerobotEpisode(ArrayEpisode):
    """One episode of a LeRobot data set; creating it reads no file."""

    def __init__(self, source: Metadata, metadata: EpisodeMetadata, mapping: KeyMapping, horizon: int) -> None:
        super().__init__(metadata.name, metadata.number, mapping, horizon)
        self._source, self._metadata = source, metadata
        self.length, self.rate = metadata.length, source.rate

    @property
    def prompts(self) -> tuple[str, ...]:
        """Tasks in the order of the metadata."""
        return self._metadata.tasks

    @cached_property
    def success(self) -> bool | None:
        """Whether the episode succeeded, by the metadata or by a column that is true in some row."""
        if self._metadata.success is not None or self._source.success_column is None:
            return self._metadata.success
        data, rows = self._find_rows()
        return bool(data.numbers(self._source.success_column, 1, rows).any())

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), from the headers of its files."""
        data, rows = self._find_rows()
        cameras = self._cameras(data, rows, self._read_times(data, rows))
        return {slot: camera.size() for slot, camera in cameras.items()}

    def _open(self) -> AbstractContextManager[EpisodeData]:
        data, rows = self._find_rows()
        source, mapping, times = self._source, self._mapping, self._read_times(data, rows)
        state = [data.numbers(source.state_columns[part], source.state[part], rows) for part in mapping.state]
        actions = [data.numbers(source.action_columns[part], source.actions[part], rows) for part in mapping.actions]
        cameras = self._cameras(data, rows, times)
        return nullcontext(
            EpisodeData(
                self._read_prompts(data, rows),
                times,
                join_columns(state),
                join_columns(actions),
                partial(read_cameras, self.name, cameras, self.length),
            )
        )

    def _find_rows(self) -> tuple[Parquet, range]:
        """Return the parquet file of the episode, and its rows in that file."""
        data = Parquet(self._source.folder / self._metadata.data)
        found = np.flatnonzero(data.integers("episode_index") == self.number)
        if len(found) != self.length or found[-1] - found[0] != self.length - 1:
            raise UserError(
                f"{data.path} has {len(found)} rows of {self.name}, but the metadata state {self.length} in a row; "
                "fetch the data set again"
            )
        rows = range(int(found[0]), int(found[-1]) + 1)
        if "frame_index" in data.columns:
            numbers = data.numbers("frame_index", 1, rows)[:, 0]
            if (numbers != np.arange(self.length)).any():
                raise UserError(f"the frames of {self.name} in {data.path} are not numbered from 0 in order")
        return data, rows

    def _read_times(self, data: Parquet, rows: range) -> npt.NDArray[np.float64]:
        if "timestamp" in data.columns:
            return data.numbers("timestamp", 1, rows)[:, 0]
        return frame_times(self.length, self.rate)

    def _read_prompts(self, data: Parquet, rows: range) -> list[str]:
        default = self.prompts[0] if self.prompts else ""
        if "task_index" not in data.columns or not self._source.tasks:
            return [default] * self.length
        tasks = data.numbers("task_index", 1, rows)[:, 0]
        return [self._source.tasks.get(int(task), default) for task in tasks]

    def _cameras(self, data: Parquet, rows: range, times: npt.NDArray[np.float64]) -> dict[str, CameraFrames]:
        cameras: dict[str, CameraFrames] = {}
        for slot, camera in self._mapping.cameras.items():
            part = self._metadata.videos.get(camera)
            if part is None:
                cameras[slot] = _PictureColumn(self._source.folder, data, rows, self._source.features[camera])
            else:
                cameras[slot] = _VideoPart(self._source.folder / part.path, part.start + times, self.rate)
        return cameras


@dataclass(frozen=True)
class _VideoPart:
    """The pictures of one episode in a video that may hold several."""

    path: Path
    times: npt.NDArray[np.float64]
    """(frames,) seconds into the video."""
    rate: float

    def size(self) -> tuple[int, int]:
        with Video(self.path) as video:
            return video.height, video.width

    def length(self) -> int:
        with Video(self.path) as video:
            if video.end is not None and self.times[-1] > video.end:
                raise UserError(
                    f"the video {self.path} ends at {video.end:.2f} s, the episode only at {self.times[-1]:.2f} s"
                )
        return len(self.times)

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        with Video(self.path) as video:
            yield from video.pictures([float(self.times[frame]) for frame in frames], TIME_TOLERANCE / self.rate)


@dataclass(frozen=True)
class _PictureColumn:
    """The pictures of one episode in a parquet column, as bytes or as names of files."""

    folder: Path
    data: Parquet
    rows: range
    column: str

    def size(self) -> tuple[int, int]:
        (first,) = self.data.each(self.column, self.rows[:1])
        content, where = self._locate(first, 0)
        return picture_size(content, where)

    def length(self) -> int:
        return len(self.rows)

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        values = self.data.each(self.column, [self.rows[frame] for frame in frames])
        for frame, value in zip(frames, values, strict=True):
            content, where = self._locate(value, frame)
            yield decode_picture(content, where) if isinstance(content, bytes) else read_picture(content)

    def _locate(self, value: Any, frame: int) -> tuple[bytes | Path, str]:
        where = f"{self.column} of frame {frame} in {self.data.path}"
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content, where
        if isinstance(path, str) and is_safe_relative_path(path):
            return self.folder / path, where
        raise UserError(f"{where} is not a picture")


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
    needed = {"its data": episode.data}
    for slot, camera in mapping.cameras.items():
        if camera in episode.videos:
            needed[f"the video of {slot}"] = episode.videos[camera].path
    for what, file in needed.items():
        if file not in files:
            return f"{what}, {files.root / file}, is missing"
    return None
