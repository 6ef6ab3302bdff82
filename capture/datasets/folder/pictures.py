"""Episodes with picture files for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from capture.datasets.folder.episode_file import NAME, NO_PICTURES, EpisodeFile, count_numbers, make_parts, read_numbers
from capture.datasets.images import ORIENTATIONS, picture_outline, picture_size, read_picture
from capture.datasets.key_mapping import KeyMapping
from capture.datasets.masks.label_pictures import LabelPictures
from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.observation import Observation
from capture.provenance import Decision


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
        self.state_parts = make_parts("state", count_numbers(first.get("state")))
        self.action_parts = make_parts(
            "actions", count_numbers(actions[0]) if isinstance(actions, list) and actions else 0
        )

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
        decisions = list(self._mapping.episode_decisions)
        for slot, file in self._find_pictures(frames[0]).items() if frames else ():
            orientation = picture_outline(file, file)[2]
            if orientation != 1:
                subject = f"orientation of the {slot} pictures"
                decisions.append(
                    Decision(subject, ORIENTATIONS[orientation], f"by EXIF in {file.name}", is_certain=True)
                )
        return tuple(decisions)

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
        state = read_numbers(entry.get("state"), 1, where, "state")
        actions = read_numbers(entry.get("actions"), 2, where, "actions")
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
