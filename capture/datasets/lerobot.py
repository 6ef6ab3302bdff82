"""LeRobot data sets on disk, versions 2.0, 2.1 and 3.0, without lerobot: parquet and videos, or pictures in parquet.

Pictures of a video are found by time, as lerobot finds them (`datasets/video_utils.py`): an episode's start in the
video plus the row's timestamp, to less than half a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from capture.datasets.base import Source, SourceOptions, UnusableEpisode
from capture.datasets.camera_frames import Film, together
from capture.datasets.images import Pixels8, decode_picture, picture_size, read_picture
from capture.datasets.key_mapping import Chosen, choose
from capture.datasets.lerobot_metadata import Metadata, Told, read_metadata
from capture.datasets.parquet import Parquet
from capture.datasets.video import Video
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path
from capture.observation import Observation


def open_lerobot(folder: Path, wanted: SourceOptions) -> Source:
    """The data set whose `meta/info.json` lies in `folder`. Raises UserError where nothing of it can be used."""
    told = read_metadata(folder)
    names = [camera.name for camera in told.cameras]
    short_states = {column: name for name, column in told.state_columns.items()}
    short_actions = {column: name for name, column in told.action_columns.items()}
    wanted = replace(
        wanted,
        state_keys=tuple(short_states.get(key, key) for key in wanted.state_keys),
        action_keys=tuple(short_actions.get(key, key) for key in wanted.action_keys),
    )
    aliases = {key: name for name, key in told.features.items()}
    chosen = choose(str(folder), wanted, names, state=told.state, actions=told.actions, aliases=aliases)
    there = _Folders(folder)
    broken: dict[str, UnusableEpisode] = {}
    episodes = []
    for one in told.episodes:
        files = {
            f"the video of {slot}": one.videos[name].path for slot, name in chosen.cameras.items() if name in one.videos
        }
        missing = [(what, file) for what, file in {"its data": one.data, **files}.items() if file not in there]
        if missing:
            broken[one.name] = UnusableEpisode(one.number, f"{missing[0][0]}, {folder / missing[0][1]}, is missing")
        else:
            episodes.append(LerobotEpisode(told, one, chosen, wanted.horizon))
    if not episodes:
        why = next((one.reason for one in broken.values()), "its metadata tell of none")
        raise UserError(f"none of the {len(broken)} episodes of {folder} can be used: {why}")
    kind = f"LeRobot data set v{told.version}"
    return Source(kind, folder, told.cameras, chosen.mapped, episodes, broken, told.state, told.actions)


class LerobotEpisode:
    """One episode of a LeRobot data set; nothing but its metadata is read before it is asked for."""

    def __init__(self, source: Metadata, told: Told, chosen: Chosen, horizon: int) -> None:
        self._source, self._told, self._chosen, self._horizon = source, told, chosen, horizon
        self.name, self.number, self.length, self.rate = told.name, told.number, told.length, source.rate

    @property
    def prompts(self) -> tuple[str, ...]:
        """Its tasks in the order in which they are told."""
        return self._told.tasks

    @cached_property
    def success(self) -> bool | None:
        """What the metadata say, or a column of the data that is true in some row of an episode that ended well."""
        if self._told.success is not None or self._source.success_column is None:
            return self._told.success
        data, rows = self._rows()
        return bool(data.numbers(self._source.success_column, 1, rows).any())

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), by the headers of its pictures."""
        data, rows = self._rows()
        films = self._films(data, rows, self._times(data, rows))
        return {slot: film.size() for slot, film in films.items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        data, rows = self._rows()
        films = self._films(data, rows, self._times(data, rows))
        pictures = together(self.name, films, frames, self.length)
        for told, seen in zip(self._outline(data, rows, frames), pictures, strict=True):
            yield replace(told, pictures=seen)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        return self._outline(*self._rows(), frames)

    def _outline(self, data: Parquet, rows: range, frames: Sequence[int]) -> Iterator[Observation]:
        source, chosen = self._source, self._chosen
        state = self._joined(data, rows, [(source.state_columns[part], source.state[part]) for part in chosen.state])
        columns = [(source.action_columns[part], source.actions[part]) for part in chosen.actions]
        actions = self._joined(data, rows, columns)
        times, prompts = self._times(data, rows), self._prompts(data, rows)
        for frame in frames:
            yield Observation(
                pictures={},
                prompt=prompts[frame],
                state=None if state is None else state[frame],
                true_actions=None if actions is None else actions[frame : frame + self._horizon].astype(np.float32),
                index=frame,
                time=float(times[frame] - times[0]),
                episode=self.name,
            )

    def _rows(self) -> tuple[Parquet, range]:
        """The parquet file, and which of its rows are this episode's."""
        data = Parquet(self._source.folder / self._told.data)
        found = np.flatnonzero(data.whole("episode_index") == self.number)
        if len(found) != self.length or found[-1] - found[0] != self.length - 1:
            raise UserError(
                f"{data.path} has {len(found)} rows of {self.name}, but the metadata tell of {self.length} in a row; "
                "fetch the data set again"
            )
        rows = range(int(found[0]), int(found[-1]) + 1)
        if "frame_index" in data.columns:
            numbers = data.numbers("frame_index", 1, rows)[:, 0]
            if (numbers != np.arange(self.length)).any():
                raise UserError(f"the frames of {self.name} in {data.path} are not numbered from 0 in order")
        return data, rows

    def _joined(self, data: Parquet, rows: range, columns: list[tuple[str, int]]) -> Any:
        parts = [data.numbers(column, dims, rows) for column, dims in columns]
        return np.concatenate(parts, axis=1) if parts else None

    def _times(self, data: Parquet, rows: range) -> np.ndarray[Any, Any]:
        """Seconds of each frame."""
        if "timestamp" in data.columns:
            return data.numbers("timestamp", 1, rows)[:, 0]
        return np.arange(self.length) / self.rate

    def _films(self, data: Parquet, rows: range, times: np.ndarray[Any, Any]) -> dict[str, Film]:
        return {slot: self._film(camera, data, rows, times) for slot, camera in self._chosen.cameras.items()}

    def _prompts(self, data: Parquet, rows: range) -> list[str]:
        """The task of each frame."""
        usual = self.prompts[0] if self.prompts else ""
        if "task_index" not in data.columns or not self._source.tasks:
            return [usual] * self.length
        tasks = data.numbers("task_index", 1, rows)[:, 0]
        return [self._source.tasks.get(int(task), usual) for task in tasks]

    def _film(self, camera: str, data: Parquet, rows: range, times: np.ndarray[Any, Any]) -> Film:
        part = self._told.videos.get(camera)
        if part is None:
            return _StoredPictures(self._source.folder, data, rows, self._source.features[camera])
        return _Stretch(self._source.folder / part.path, part.start + times, self.rate)


@dataclass(frozen=True)
class _Stretch:
    """The pictures of one episode in a video that may hold several."""

    path: Path
    times: np.ndarray[Any, Any]
    """Seconds into the video of each frame, (frames,)."""
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
            yield from video.pictures([float(self.times[frame]) for frame in frames], 0.49 / self.rate)


@dataclass(frozen=True)
class _StoredPictures:
    """The pictures of one episode as bytes in a column, or as files that the column names."""

    folder: Path
    data: Parquet
    rows: range
    column: str

    def size(self) -> tuple[int, int]:
        (first,) = self.data.each(self.column, self.rows[:1])
        content, where = self._stored(first, 0)
        return picture_size(content, where)

    def length(self) -> int:
        return len(self.rows)

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        values = self.data.each(self.column, [self.rows[frame] for frame in frames])
        for frame, value in zip(frames, values, strict=True):
            content, where = self._stored(value, frame)
            yield decode_picture(content, where) if isinstance(content, bytes) else read_picture(content)

    def _stored(self, value: Any, frame: int) -> tuple[bytes | Path, str]:
        where = f"{self.column} of frame {frame} in {self.data.path}"
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content, where
        if isinstance(path, str) and is_safe_relative_path(path):
            return self.folder / path, where
        raise UserError(f"{where} is not a picture")


class _Folders:
    """Which files a data set has; each of its folders is listed once, since there may be 150,000 files."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, set[str]] = {}

    def __contains__(self, file: str) -> bool:
        folder, name = os.path.split(file)
        if folder not in self._listed:
            try:
                self._listed[folder] = set(os.listdir(self._root / folder))  # noqa: PTH208 - names alone, and fast
            except OSError:
                self._listed[folder] = set()
        return name in self._listed[folder]
