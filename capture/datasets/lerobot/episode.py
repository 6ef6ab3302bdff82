"""One episode of a LeRobot data set: its rows of parquet and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import SourceOptions
from capture.datasets.camera_frames import CameraFrames, describe_orientations, read_cameras
from capture.datasets.key_mapping import KeyMapping
from capture.datasets.lerobot.cameras import PictureColumn, VideoCamera, describe_clock
from capture.datasets.lerobot.metadata import EpisodeMetadata, Metadata
from capture.datasets.parquet import Parquet
from capture.errors import UserError
from capture.provenance import Decision


def list_files(episode: EpisodeMetadata, mapping: KeyMapping) -> dict[str, str]:
    """Return the files that an episode is read from, by their role."""
    needed = {"its data": episode.data}
    for slot, camera in mapping.cameras.items():
        if camera in episode.videos:
            needed[f"the video of {slot}"] = episode.videos[camera].path
    return needed


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
        return list(list_files(self._metadata, self._mapping).values())

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
        decisions = list(super().frame_decisions(frames))
        videos = {slot: camera for slot, camera in cameras.items() if isinstance(camera, VideoCamera)}
        if videos and frames:
            farthest, slot = max((video.find_distance(frames), slot) for slot, video in videos.items())
            decisions.append(describe_clock(farthest, slot, self._tolerance, has_clock="timestamp" in data.columns))
        return (*decisions, *describe_orientations(cameras))

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
        positions = np.flatnonzero(data.integers("episode_index") == self.number)
        if len(positions) != self.length or positions[-1] - positions[0] != self.length - 1:
            raise UserError(
                f"{data.path} has {len(positions)} rows of {self.name}, but the metadata state {self.length} in a row; "
                "fetch the data set again"
            )
        rows = range(int(positions[0]), int(positions[-1]) + 1)
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
                cameras[slot] = PictureColumn(self._source.folder, data, rows, self._source.features[camera])
            else:
                path = self._source.folder / part.path
                cameras[slot] = VideoCamera(self.name, path, part.start, times, self.rate, self._tolerance)
        return cameras
