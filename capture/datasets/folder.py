"""Episodes as folders with an `episode.json`: picture files for each frame, or a video for each camera.

    {"prompt": "pick up the duck",
     "frames": [{"index": 0, "time": 0.0, "pictures": {"exterior": "exterior_00.jpg", "wrist": "wrist_00.jpg"},
                 "state": [0.1, ...], "actions": [[0.1, ...], ...]}, ...]}

    {"prompt": "pick up the duck", "videos": {"exterior": "ext.mp4", "wrist": "wrist.mp4"},
     "states": [[0.1, ...], ...], "actions": [[0.1, ...], ...]}

Optional are `time` (seconds), `state`, `index` (the position in the list by default), `rate` (frames per second),
`success`, `actions` (in robot units; of a frame: the true actions from this frame on; beside videos: one row per frame,
as `states`) and masks (`masks.label_pictures`). Further keys are ignored. The files lie in the folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.camera_frames import VideoFile, count_common_frames, describe_orientations, read_cameras
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.images import ORIENTATIONS, picture_outline, picture_size, read_picture
from capture.datasets.key_mapping import KeyMapping
from capture.datasets.masks.label_pictures import LabelPictures
from capture.datasets.video import read_outline
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path, read_json
from capture.observation import Observation
from capture.provenance import Decision

NAME = "episode.json"
NO_PICTURES = 'names no pictures; each frame has "pictures": {"exterior": "FILE", "wrist": "FILE"}'


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


class EpisodeFile(ABC):
    """An `episode.json` before its cameras are mapped; subclasses are the two kinds."""

    kind: str
    cameras: tuple[str, ...]
    state_parts: Mapping[str, int]
    action_parts: Mapping[str, int]

    def __init__(self, content: JsonObject, folder: Path, number: int, name: str) -> None:
        self.content, self.folder, self.number, self.name = content, folder, number, name
        self.success = content.flag("success")
        rate = content.values.get("rate")
        if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < 10_000):
            raise UserError(f"'rate' in {content.where} is {rate!r}, but should be a number of frames per second")
        self.stated_rate = None if rate is None else float(rate)

    @property
    def place(self) -> str:
        """The episode's folder."""
        return str(self.folder)

    def find_file(self, name: Any, where: str) -> Path:
        """Return the path of a file that the episode names. Raises UserError for one outside its folder."""
        if not isinstance(name, str) or not is_safe_relative_path(name):
            raise UserError(f"{where} names a file outside its folder: {name}")
        return self.folder / name

    @abstractmethod
    def size(self, camera: str) -> tuple[int, int]:
        """Return height and width of a camera's first picture."""

    @abstractmethod
    def create(self, mapping: KeyMapping, horizon: int | None) -> PicturesEpisode | VideosEpisode:
        """Return the episode; `horizon` None returns all true actions of each frame."""


class PicturesFile(EpisodeFile):
    """An `episode.json` that lists frames, each with its picture files."""

    kind = "folder of pictures"

    def __init__(self, content: JsonObject, folder: Path, number: int, name: str) -> None:
        super().__init__(content, folder, number, name)
        frames = content.values.get("frames")
        if not isinstance(frames, list) or not frames:
            raise UserError(f"{folder / NAME} has no list of frames, and no videos")
        self.frames: list[Any] = frames
        pictures = self.read_pictures(0)
        first = frames[0]
        actions = first.get("actions")
        self.cameras = tuple(pictures)
        self.state_parts = _part("state", _count(first.get("state")))
        self.action_parts = _part("actions", _count(actions[0]) if isinstance(actions, list) and actions else 0)

    def read_pictures(self, frame: int) -> dict[str, Any]:
        """Return camera -> file name of a frame. Raises UserError where it has none."""
        entry = self.frames[frame]
        pictures = entry.get("pictures") if isinstance(entry, dict) else None
        if not isinstance(pictures, dict) or not pictures:
            raise UserError(f"frame {frame} of {self.folder / NAME} {NO_PICTURES}")
        return pictures

    def size(self, camera: str) -> tuple[int, int]:
        """Return height and width of a camera's first picture."""
        path = self.find_file(self.read_pictures(0)[camera], f"frame 0 of {self.folder / NAME}")
        return picture_size(path, path)

    def create(self, mapping: KeyMapping, horizon: int | None) -> PicturesEpisode:
        """Return the episode; `horizon` None returns all true actions of each frame."""
        return PicturesEpisode(self, mapping, horizon)


class PicturesEpisode:
    """An episode with picture files for each frame."""

    def __init__(self, info: PicturesFile, mapping: KeyMapping, horizon: int | None) -> None:
        self._info, self._mapping, self._horizon = info, mapping, horizon
        self.name, self.number, self.rate, self.success = info.name, info.number, info.stated_rate, info.success
        self.length = len(info.frames)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Every prompt of a frame."""
        default = self._info.content.values.get("prompt")
        prompts = (entry.get("prompt", default) for entry in self._info.frames if isinstance(entry, dict))
        return tuple(dict.fromkeys(prompt for prompt in prompts if isinstance(prompt, str)))

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width) of the first frame's pictures."""
        return {slot: picture_size(file, file) for slot, file in self._find_pictures(0).items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames`. Raises UserError for bad data."""
        for frame, observation in zip(frames, self.read_without_pictures(frames), strict=True):
            pictures = {slot: read_picture(file) for slot, file in self._find_pictures(frame).items()}
            yield replace(observation, pictures=pictures)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` with empty `pictures`. Raises UserError for bad data."""
        return (self._read_frame(frame) for frame in frames)

    def check_files(self) -> None:
        """Raise UserError where a picture of a frame is missing; no picture is opened."""
        missing = [
            (frame, file)
            for frame in range(self.length)
            for file in self._find_pictures(frame).values()
            if not file.is_file()
        ]
        if missing:
            frame, file = missing[0]
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(f"the picture {file} of frame {frame} does not exist{more}")

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return which pictures are stored turned, by the first of these frames."""
        found = list(self._mapping.episode_decisions)
        for slot, file in self._find_pictures(frames[0]).items() if frames else ():
            orientation = picture_outline(file, file)[2]
            if orientation != 1:
                subject = f"orientation of the {slot} pictures"
                found.append(Decision(subject, ORIENTATIONS[orientation], f"by EXIF in {file.name}", is_certain=True))
        return tuple(found)

    @property
    def masks(self) -> LabelPictures:
        """The objects in its pictures."""
        indices = [frame.index for frame in self.read_without_pictures(range(self.length))]
        return LabelPictures(self._info.content.values, indices, self._mapping.cameras, self._info.folder / NAME)

    def _find_pictures(self, frame: int) -> dict[str, Path]:
        where = f"frame {frame} of {self._info.folder / NAME}"
        pictures = self._info.read_pictures(frame)
        files = {}
        for slot, camera in self._mapping.cameras.items():
            if camera not in pictures:
                raise UserError(f"{where} has no picture of {camera}")
            files[slot] = self._info.find_file(pictures[camera], where)
        return files

    def _read_frame(self, frame: int) -> Observation:
        where, entry = f"frame {frame} of {self._info.folder / NAME}", self._info.frames[frame]
        if not isinstance(entry, dict):
            raise UserError(f"{where} {NO_PICTURES}")
        prompt = entry.get("prompt", self._info.content.values.get("prompt", ""))
        if not isinstance(prompt, str):
            raise UserError(f"{where} has a prompt that is not a text: {prompt!r}")
        index, time = entry.get("index", frame), entry.get("time", frame / self.rate if self.rate else 0.0)
        if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(time, int | float):
            raise UserError(f"{where} has an index or a time that is not a number from 0 on")
        state = _read_numbers(entry.get("state"), 1, where, "state")
        actions = _read_numbers(entry.get("actions"), 2, where, "actions")
        actions = actions if self._mapping.actions else None
        return Observation(
            pictures={},
            prompt=prompt,
            state=state if self._mapping.state else None,
            true_actions=None if actions is None else actions[: self._horizon].astype(np.float32),
            index=index,
            time=float(time),
            episode=self.name,
        )


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
        self.states = _read_numbers(content.values.get("states"), 2, where, "states", may_be_infinite=True)
        self.actions = _read_numbers(content.values.get("actions"), 2, where, "actions", may_be_infinite=True)
        self.state_parts = _part("state", 0 if self.states is None else self.states.shape[1])
        self.action_parts = _part("actions", 0 if self.actions is None else self.actions.shape[1])
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
        stated = {f"the list of {what}": count for what, count in rows.items()}
        return count_common_frames(stated, self._cameras() or self._info.videos)

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return which frames are left out, and which videos are shown turned."""
        found = list(super().frame_decisions(frames))
        if left_out := self._common_frames[1]:
            found.append(left_out)
        return (*found, *describe_orientations(self._cameras()))

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
        values = {"states": self._info.states, "actions": self._info.actions}
        return {what: len(rows) for what, rows in values.items() if rows is not None}

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


def _count(row: Any) -> int:
    """Return how many numbers a list holds, or the lists in it."""
    return sum(max(1, _count(value)) for value in row) if isinstance(row, list) else 0


def _part(name: str, dims: int) -> dict[str, int]:
    return {name: dims} if dims else {}


def _read_numbers(
    values: Any, axes: int, where: str, what: str, *, may_be_infinite: bool = False
) -> npt.NDArray[np.float64] | None:
    """Return nested lists as an array; None for None. Raises UserError for anything else.

    The array has so many axes: those after, such as that of two arms, are joined to the last one.
    """
    if values is None:
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim == axes + 1:
        array = array.reshape(*array.shape[: axes - 1], -1)
    if array.ndim != axes or not (may_be_infinite or np.isfinite(array).all()):
        of = "a state that is not one list" if axes == 1 else f"{what} that are not lists"
        raise UserError(f"{where} has {of} of finite numbers")
    return array
