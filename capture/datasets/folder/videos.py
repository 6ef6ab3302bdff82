"""Episodes with one video per camera, all of the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path

from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times
from capture.datasets.camera_frames import VideoFile, count_common_frames, describe_orientations, read_cameras
from capture.datasets.folder.episode_file import NAME, EpisodeFile, make_parts, read_numbers
from capture.datasets.key_mapping import KeyMapping
from capture.datasets.video import read_outline
from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.provenance import Decision


class VideosFile(EpisodeFile):
    """An `episode.json` that names one video per camera, all of the same frames."""

    kind = "folder of videos"

    def __init__(self, content: JsonObject, folder: Path, number: int, name: str) -> None:
        super().__init__(content, folder, number, name)
        where = str(folder / NAME)
        videos = content.section("videos")
        names = videos.values if videos else {}
        self.videos = {camera: VideoFile(self.find_file(file, where)) for camera, file in names.items()}
        for video in self.videos.values():
            if not video.path.is_file():
                raise UserError(f"the video {video.path} is missing")
        if not self.videos:
            raise UserError(f"{where} names no videos")
        self.cameras = tuple(self.videos)
        self.states = read_numbers(content.values.get("states"), 2, where, "states", may_be_infinite=True)
        self.actions = read_numbers(content.values.get("actions"), 2, where, "actions", may_be_infinite=True)
        self.state_parts = make_parts("state", 0 if self.states is None else self.states.shape[1])
        self.action_parts = make_parts("actions", 0 if self.actions is None else self.actions.shape[1])
        prompt = content.text("prompt")
        self.prompts = (prompt,) if prompt else ()

    @property
    def first_video(self) -> VideoFile:
        """The first camera's video."""
        return next(iter(self.videos.values()))

    def size(self, camera: str) -> tuple[int, int]:
        """Return height and width of a camera's video."""
        return self.videos[camera].size()

    def create(self, mapping: KeyMapping, horizon: int | None) -> VideosEpisode:
        """Return the episode; `horizon` None returns all true actions of each frame."""
        return VideosEpisode(self, mapping, horizon)


class VideosEpisode(ArrayEpisode):
    """An episode with one video per camera."""

    def __init__(self, info: VideosFile, mapping: KeyMapping, horizon: int | None) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self._info = info
        self.prompts, self.success = info.prompts, info.success

    @cached_property
    def length(self) -> int:
        """Number of frames that all videos have, and the states and actions where there are some."""
        return self._common_frames[0]

    @cached_property
    def _common_frames(self) -> tuple[int, Decision | None]:
        rows = self._rows
        if len(set(rows.values())) > 1:
            raise UserError(
                f"{self._info.place}/{NAME} has {rows['states']} states but {rows['actions']} actions; give one row a "
                "frame"
            )
        listed = {f"the list of {name}": count for name, count in rows.items()}
        return count_common_frames(listed, self._cameras() or self._info.videos)

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return which frames are left out, and which videos are shown turned."""
        decisions = list(super().frame_decisions(frames))
        if left_out := self._common_frames[1]:
            decisions.append(left_out)
        return (*decisions, *describe_orientations(self._cameras()))

    @cached_property
    def rate(self) -> float | None:
        """Frames per second as stated, or of the first video."""
        if self._info.stated_rate is None:
            return read_outline(self._info.first_video.path).rate
        return self._info.stated_rate

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), from the videos' headers."""
        return {slot: self._info.size(camera) for slot, camera in self._mapping.cameras.items()}

    @property
    def _rows(self) -> dict[str, int]:
        columns = {"states": self._info.states, "actions": self._info.actions}
        return {name: len(rows) for name, rows in columns.items() if rows is not None}

    def _cameras(self) -> dict[str, VideoFile]:
        return {slot: self._info.videos[camera] for slot, camera in self._mapping.cameras.items()}

    def _open(self) -> AbstractContextManager[EpisodeData]:
        data = EpisodeData(
            [self.prompts[0] if self.prompts else ""] * self.length,
            frame_times(self.length, self.rate),
            self._info.states if self._mapping.state else None,
            self._info.actions if self._mapping.actions else None,
            partial(read_cameras, self._cameras()),
        )
        return nullcontext(data)
