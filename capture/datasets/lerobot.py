"""LeRobot data sets on disk, versions 2.0, 2.1 and 3.0, without lerobot: parquet and videos, or pictures in parquet.

Pictures of a video are found by time, as lerobot finds them (`datasets/video_utils.py`): the one nearest to the
episode's start in the video plus the row's timestamp. lerobot refuses distances beyond 1e-4 s; here these are accepted
where time and order agree on the picture, since recordings exist whose rows carry the clock of the hardware.
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
from capture.datasets.camera_frames import CameraFrames, describe_orientations, read_cameras
from capture.datasets.images import (
    Pixels8,
    decode_picture,
    find_moved_file,
    picture_outline,
    picture_size,
    read_picture,
)
from capture.datasets.key_mapping import KeyMapping, map_keys
from capture.datasets.lerobot_metadata import INFO, EpisodeMetadata, Metadata, read_metadata
from capture.datasets.parquet import Parquet
from capture.datasets.video import Video, read_outline
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path
from capture.provenance import Decision

TOLERANCE: Final = 1e-4
"""Distance of a picture from its row's time in seconds up to which it needs no other reason; lerobot's default."""


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


class LerobotEpisode(ArrayEpisode):
    """One episode of a LeRobot data set; creating it reads no file."""

    def __init__(
        self, source: Metadata, metadata: EpisodeMetadata, mapping: KeyMapping, options: SourceOptions
    ) -> None:
        super().__init__(metadata.name, metadata.number, mapping, options.horizon)
        self._source, self._metadata, self._tolerance = source, metadata, options.tolerance
        self.length, self.rate = metadata.length, source.rate

    @property
    def files(self) -> list[str]:
        """Names of the files that it is read from, relative to the data set's folder."""
        return list(_list_files(self._metadata, self._mapping).values())

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
        return bool((data.numbers(self._source.success_column, 1, rows) > 0).any())

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), from the headers of its files."""
        data, rows = self._find_rows()
        cameras = self._cameras(data, rows, self._read_times(data, rows))
        return {slot: camera.size() for slot, camera in cameras.items()}

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return how far pictures are from their rows' times, and which are turned. Raises UserError if too far."""
        data, rows = self._find_rows()
        cameras = self._cameras(data, rows, self._read_times(data, rows))
        found = list(super().frame_decisions(frames))
        parts = {slot: camera for slot, camera in cameras.items() if isinstance(camera, _VideoPart)}
        if parts and frames:
            farthest, slot = max((part.find_distance(frames), slot) for slot, part in parts.items())
            found.append(_describe_clock(farthest, slot, self._tolerance, has_clock="timestamp" in data.columns))
        return (*found, *describe_orientations(cameras))

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
                partial(read_cameras, cameras),
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
                path = self._source.folder / part.path
                cameras[slot] = _VideoPart(self.name, path, part.start, times, self.rate, self._tolerance)
        return cameras


@dataclass(frozen=True)
class _VideoPart:
    """The pictures of one episode in a video that may hold several."""

    episode: str
    path: Path
    start: float
    """Seconds into the video at which the episode begins."""
    times: npt.NDArray[np.float64]
    """(frames,) seconds of the rows since the episode's start."""
    rate: float
    tolerance: float | None

    def size(self) -> tuple[int, int]:
        outline = read_outline(self.path)
        return outline.height, outline.width

    def orientation(self) -> tuple[int, str]:
        return read_outline(self.path).orientation, f"the display matrix of {self.path.name}"

    def length(self) -> int:
        return len(self.times)

    def find_distance(self, frames: Sequence[int]) -> float:
        """Return the largest distance of the pictures of `frames` from their rows' times in seconds, without decoding.

        Raises UserError as `pictures`.
        """
        chosen = np.asarray(frames)
        wanted = self.start + self.times[chosen]
        outline = read_outline(self.path)
        self._check_end(frames, self._find_end(outline.frames, outline.rate, outline.end))
        nearest = np.round(wanted * self.rate) / self.rate
        if not self._has_constant_rate(outline.rate) or (np.abs(nearest - wanted) > TOLERANCE).any():
            with Video(self.path) as video:  # the times of all pictures, from the packets
                shown = video.seconds()
            after = np.clip(np.searchsorted(shown, wanted), 1, max(len(shown) - 1, 1))
            before = shown[after - 1]
            later = shown[np.minimum(after, len(shown) - 1)]
            nearest = np.where(wanted - before <= later - wanted, before, later)
        farthest = float(np.abs(nearest - wanted).max())
        for frame, seconds in zip(frames, nearest, strict=True):
            self._check_distance(frame, float(seconds), farthest)
        return farthest

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        with Video(self.path) as video:
            self._check_end(frames, self._find_end(video.stated_frames, video.rate, video.end))
            found = video.nearest([self.start + float(self.times[frame]) for frame in frames])
            for frame, (seconds, picture) in zip(frames, found, strict=True):
                self._check_distance(frame, seconds)
                yield picture

    def _has_constant_rate(self, rate: float | None) -> bool:
        return rate is not None and abs(rate / self.rate - 1) < 1e-3

    def _find_end(self, count: int, rate: float | None, end: float | None) -> float | None:
        """Return the seconds up to which a video has pictures, by its header's number of frames, rate and duration."""
        if not count or not self._has_constant_rate(rate):
            return end
        last = (count - 1) / self.rate + max(0.9 / self.rate, self.tolerance or 0.0)
        return last if end is None else min(last, end)

    def _check_end(self, frames: Sequence[int], end: float | None) -> None:
        last = self.start + float(self.times[frames[-1]]) if frames else 0.0
        if end is not None and last > end + TOLERANCE:
            there = int((self.start + self.times <= end + TOLERANCE).sum())
            leave = f"; --frames :{there} leaves the others out" if there else ""
            raise UserError(
                f"the video {self.path} has pictures up to {end:.2f} s, but frame {frames[-1]} of {self.episode} is at "
                f"{last:.2f} s{leave}"
            )

    def _check_distance(self, frame: int, seconds: float, farthest: float = 0.0) -> None:
        """Raise UserError where the picture at `seconds` into the video is not the one of a frame.

        `farthest` is the largest distance of all frames that are asked for, in seconds, for the advice.
        """
        wanted = self.start + float(self.times[frame])
        distance = abs(seconds - wanted)
        if distance <= (TOLERANCE if self.tolerance is None else self.tolerance):
            return
        is_own_by_order = abs(seconds - self.start - frame / self.rate) < 0.5 / self.rate
        if self.tolerance is None and is_own_by_order and distance < 1 / self.rate:
            return
        why = "" if self.tolerance is not None else ", and is not its picture by order"
        advised = np.ceil(max(distance, farthest) * 1e3) / 1e3
        raise UserError(
            f"the picture of {self.path} that is nearest to frame {frame} of {self.episode}, at {wanted:.4f} s, is "
            f"{distance:.4f} s away{why}; --tolerance {advised:g} takes the nearest up to that distance, as "
            "lerobot's tolerance_s does"
        )


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

    def orientation(self) -> tuple[int, str]:
        (first,) = self.data.each(self.column, self.rows[:1])
        content, where = self._locate(first, 0)
        return picture_outline(content, where)[2], f"EXIF of the first picture in {self.data.path.name}"

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
        if isinstance(path, str) and (found := find_moved_file(self.folder, path)):
            return found, where
        raise UserError(f"{where} is not a picture" + (f" in {self.folder}: {path}" if isinstance(path, str) else ""))


def _describe_clock(farthest: float, slot: str, tolerance: float | None, *, has_clock: bool) -> Decision:
    """Return the decision on how rows are matched to pictures, with the largest distance in seconds."""
    clock = "the column timestamp" if has_clock else "the frame number"
    choice = f"the picture nearest to {clock}, at most {farthest:.2g} s away"
    if tolerance is not None:
        return Decision("clock", choice, f"by --tolerance {tolerance:g}", is_certain=True)
    if farthest <= TOLERANCE:
        return Decision("clock", choice, f"within lerobot's tolerance of {TOLERANCE:g} s", is_certain=True)
    reason = (
        f"{slot} is beyond lerobot's tolerance of {TOLERANCE:g} s, but the order of the pictures agrees; --tolerance "
        f"{TOLERANCE:g} refuses that"
    )
    return Decision("clock", choice, reason, is_certain=False)


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


def _list_files(episode: EpisodeMetadata, mapping: KeyMapping) -> dict[str, str]:
    """Return the files that an episode is read from, by their role."""
    needed = {"its data": episode.data}
    for slot, camera in mapping.cameras.items():
        if camera in episode.videos:
            needed[f"the video of {slot}"] = episode.videos[camera].path
    return needed


def _describe_missing_file(episode: EpisodeMetadata, mapping: KeyMapping, files: _FileNames) -> str | None:
    for what, file in _list_files(episode, mapping).items():
        if file not in files:
            return f"{what}, {files.root / file}, is missing"
    return None
