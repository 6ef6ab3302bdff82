"""Episodes as folders with an `episode.json`: pictures frame by frame, or a video a camera.

    {"prompt": "pick up the duck",
     "frames": [{"index": 0, "time": 0.0, "pictures": {"exterior": "exterior_00.jpg", "wrist": "wrist_00.jpg"},
                 "state": [0.1, ...], "actions": [[0.1, ...], ...]}, ...]}

    {"prompt": "pick up the duck", "videos": {"exterior": "ext.mp4", "wrist": "wrist.mp4"},
     "states": [[0.1, ...], ...], "actions": [[0.1, ...], ...]}

`time` (seconds), `state` and `actions` (of a frame: true actions from this moment on; beside videos: one row a frame,
as `states`; in robot units) may be left out, and so may `index` (the frames' own order then), `rate` (frames a second)
and `success`. Further keys are ignored. The files lie in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.datasets.base import Source, SourceCamera, SourceOptions, UnusableEpisode
from capture.datasets.camera_frames import VideoFilm, together
from capture.datasets.episode_names import file_names
from capture.datasets.images import picture_size, read_picture
from capture.datasets.key_mapping import Chosen, choose, lacking, typical
from capture.datasets.video import Video
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path, read_json
from capture.observation import Observation

NAME = "episode.json"
NO_PICTURES = 'names no pictures; each frame has "pictures": {"exterior": "FILE", "wrist": "FILE"}'


def read_episodes(folder: Path) -> list[Observation]:
    """Every frame of every episode folder below `folder`, in name order. Raises UserError if there is none."""
    found = find_folders(folder)
    if not found:
        raise UserError(f"there is no episode in {folder}: no folder in it has an {NAME}")
    return [frame for episode in found for frame in read_episode(episode)]


def read_episode(folder: Path) -> list[Observation]:
    """The frames of one episode folder. Raises UserError for a file that is missing or not of this form."""
    episode = _open(folder, 0, folder.name)
    return list(episode.read(range(episode.length)))


def find_folders(folder: Path) -> list[Path]:
    """The episode folders right below `folder`, in name order."""
    return [path.parent for path in sorted(folder.glob(f"*/{NAME}"))]


def open_folders(path: Path, folders: Sequence[Path], wanted: SourceOptions) -> Source:
    """The episodes of these folders. Raises UserError where none can be used."""
    broken: dict[str, UnusableEpisode] = {}
    opened: list[PicturesEpisode | VideosEpisode] = []
    names = file_names([folder.resolve().name for folder in folders])
    for number, (folder, name) in enumerate(zip(folders, names, strict=True)):
        try:
            opened.append(_open(folder, number, name))
        except UserError as error:
            broken[name] = UnusableEpisode(number, str(error))
    if not opened:
        raise UserError(f"none of the episodes in {path} can be used: {next(iter(broken.values())).reason}")
    first = typical(opened, lambda one: (one.cameras, one.state_parts, one.action_parts))
    chosen = choose(str(path), wanted, first.cameras, state=first.state_parts, actions=first.action_parts)
    episodes = []
    for episode in opened:
        if why := lacking(chosen, episode.cameras, episode.folder):
            broken[episode.name] = UnusableEpisode(episode.number, why)
        else:
            episode.chosen, episode.horizon = chosen, wanted.horizon
            episodes.append(episode)
    what = "folder of pictures" if isinstance(first, PicturesEpisode) else "folder of videos"
    kind = what if folders == [path] else "episode folders"
    cameras = tuple(SourceCamera(name, *_size(first, name)) for name in first.cameras)
    parts = (first.state_parts, first.action_parts)
    return Source(kind, path, cameras, chosen.mapped, episodes, broken, *parts)


class _Told:
    """What the two kinds of episode share: an episode.json and what it tells of the whole."""

    def __init__(self, told: JsonObject, folder: Path, number: int, name: str) -> None:
        self.told, self.folder, self.number, self.name = told, folder, number, name
        self.chosen: Chosen | None = None
        """None gives all cameras under their own names."""
        self.horizon: int | None = None
        self.success = told.flag("success")
        rate = told.values.get("rate")
        if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < 10_000):
            raise UserError(f"'rate' in {told.where} is {rate!r}, but should be how many frames there are in a second")
        self.told_rate = None if rate is None else float(rate)

    def file(self, name: Any, where: str) -> Path:
        """A file that the episode names, inside its folder."""
        if not isinstance(name, str) or not is_safe_relative_path(name):
            raise UserError(f"{where} names a file outside its folder: {name}")
        return self.folder / name

    def slots(self, cameras: Sequence[str]) -> dict[str, str]:
        """Policy camera -> camera of the episode."""
        return dict(self.chosen.cameras) if self.chosen else {camera: camera for camera in cameras}

    def cut(self, actions: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float32] | None:
        """True actions as far as they are asked for."""
        if actions is None or (self.chosen is not None and not self.chosen.actions):
            return None
        return actions[: self.horizon].astype(np.float32)

    def keep(self, state: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
        """The state, unless there is nothing to be taken for one."""
        return None if self.chosen is not None and not self.chosen.state else state


class PicturesEpisode(_Told):
    """An episode whose frames are listed, each with its pictures."""

    def __init__(self, told: JsonObject, folder: Path, number: int, name: str) -> None:
        super().__init__(told, folder, number, name)
        frames = told.values["frames"]
        self._frames: list[Any] = frames if isinstance(frames, list) else []
        self.length, self.rate = len(self._frames), self.told_rate
        first = self._frames[0] if isinstance(self._frames[0], dict) else {}
        pictures = first.get("pictures")
        if not isinstance(pictures, dict) or not pictures:
            raise UserError(f"frame 0 of {folder / NAME} {NO_PICTURES}")
        self.cameras = tuple(pictures)
        self.state_parts = _part("state", _dims(first.get("state")))
        actions = first.get("actions")
        self.action_parts = _part("actions", _dims(actions[0]) if isinstance(actions, list) and actions else 0)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Every prompt that a frame has."""
        told = (one.get("prompt", self.told.values.get("prompt")) for one in self._frames if isinstance(one, dict))
        return tuple(dict.fromkeys(text for text in told if isinstance(text, str)))

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width) of the first frame's pictures."""
        files = self._files(0)
        return {slot: picture_size(file, file) for slot, file in files.items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        for frame, told in zip(frames, self.read_without_pictures(frames), strict=True):
            seen = {slot: read_picture(file) for slot, file in self._files(frame).items()}
            yield replace(told, pictures=seen)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        return (self._frame(frame) for frame in frames)

    def _files(self, number: int) -> dict[str, Path]:
        where, told = f"frame {number} of {self.folder / NAME}", self._frames[number]
        if not isinstance(told, dict) or not isinstance(told.get("pictures"), dict) or not told["pictures"]:
            raise UserError(f"{where} {NO_PICTURES}")
        files = {}
        for slot, camera in self.slots(tuple(told["pictures"])).items():
            if camera not in told["pictures"]:
                raise UserError(f"{where} has no picture of {camera}")
            files[slot] = self.file(told["pictures"][camera], where)
        return files

    def _frame(self, number: int) -> Observation:
        where, told = f"frame {number} of {self.folder / NAME}", self._frames[number]
        if not isinstance(told, dict):
            raise UserError(f"{where} {NO_PICTURES}")
        prompt = told.get("prompt", self.told.values.get("prompt", ""))
        if not isinstance(prompt, str):
            raise UserError(f"{where} has a prompt that is not a text: {prompt!r}")
        index, time = told.get("index", number), told.get("time", number / self.rate if self.rate else 0.0)
        if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(time, int | float):
            raise UserError(f"{where} has an index or a time that is not a number from 0 on")
        return Observation(
            pictures={},
            prompt=prompt,
            state=self.keep(_numbers(told.get("state"), 1, where, "state")),
            true_actions=self.cut(_numbers(told.get("actions"), 2, where, "actions")),
            index=index,
            time=float(time),
            episode=self.name,
        )

    def picture(self, camera: str) -> Path:
        """The first picture file of a camera."""
        return self.file(self._frames[0]["pictures"][camera], f"frame 0 of {self.folder / NAME}")


class VideosEpisode(_Told):
    """An episode with one video a camera, all of the same frames."""

    def __init__(self, told: JsonObject, folder: Path, number: int, name: str) -> None:
        super().__init__(told, folder, number, name)
        videos = told.section("videos")
        where = str(folder / NAME)
        self._films = (
            {camera: VideoFilm(self.file(file, where)) for camera, file in videos.values.items()} if videos else {}
        )
        for film in self._films.values():
            if not film.path.is_file():
                raise UserError(f"the video {film.path} is missing")
        if not self._films:
            raise UserError(f"{where} names no videos")
        self.cameras = tuple(self._films)
        self._states = _numbers(told.values.get("states"), 2, where, "states")
        self._actions = _numbers(told.values.get("actions"), 2, where, "actions")
        self.state_parts = _part("state", 0 if self._states is None else self._states.shape[1])
        self.action_parts = _part("actions", 0 if self._actions is None else self._actions.shape[1])
        prompt = told.text("prompt")
        self.prompts = (prompt,) if prompt else ()

    @cached_property
    def length(self) -> int:
        """Rows of states or actions, or frames of the first video where there are none."""
        rows = [len(one) for one in (self._states, self._actions) if one is not None]
        if len(set(rows)) > 1:
            raise UserError(
                f"{self.folder / NAME} has {rows[0]} states but {rows[1]} actions; give one row a frame each"
            )
        return rows[0] if rows else next(iter(self._films.values())).length()

    @cached_property
    def rate(self) -> float | None:
        """What is told, or the rate of the first video."""
        if self.told_rate is None:
            with Video(next(iter(self._films.values())).path) as video:
                return video.rate
        return self.told_rate

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), by the videos' headers."""
        return {slot: self.size(camera) for slot, camera in self.slots(self.cameras).items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        films = {slot: self._films[camera] for slot, camera in self.slots(self.cameras).items()}
        known = self.length if self._states is not None or self._actions is not None else None
        for told, seen in zip(
            self.read_without_pictures(frames), together(self.name, films, frames, known), strict=True
        ):
            yield replace(told, pictures=seen)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        for frame in frames:
            yield Observation(
                pictures={},
                prompt=self.prompts[0] if self.prompts else "",
                state=self.keep(None if self._states is None else self._states[frame]),
                true_actions=self.cut(None if self._actions is None else self._actions[frame:]),
                index=frame,
                time=frame / self.rate if self.rate else 0.0,
                episode=self.name,
            )

    def size(self, camera: str) -> tuple[int, int]:
        """Height and width of a camera's video."""
        return self._films[camera].size()


def _open(folder: Path, number: int, name: str) -> PicturesEpisode | VideosEpisode:
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{path} is missing")
    told = read_json(path)
    if "videos" in told.values:
        return VideosEpisode(told, folder, number, name)
    if not isinstance(told.values.get("frames"), list) or not told.values["frames"]:
        raise UserError(f"{path} has no list of frames, and no videos")
    return PicturesEpisode(told, folder, number, name)


def _size(episode: PicturesEpisode | VideosEpisode, camera: str) -> tuple[int, int]:
    try:
        if isinstance(episode, VideosEpisode):
            return episode.size(camera)
        path = episode.picture(camera)
        return picture_size(path, path)
    except UserError:  # said when the frame is read
        return 0, 0


def _dims(row: Any) -> int:
    return len(row) if isinstance(row, list) else 0


def _part(name: str, dims: int) -> dict[str, int]:
    return {name: dims} if dims else {}


def _numbers(given: Any, axes: int, where: str, what: str) -> npt.NDArray[np.float64] | None:
    if given is None:
        return None
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.ndim != axes or not np.isfinite(values).all():
        of = "a state that is not one list" if axes == 1 else f"{what} that are not lists"
        raise UserError(f"{where} has {of} of finite numbers")
    return values
