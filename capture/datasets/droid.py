"""DROID's raw episodes: folders with `trajectory.h5` and `recordings/`, single or nested as in the release.

The layout is DROID's own (droid-dataset/droid, `trajectory_utils` and `postprocessing/schema.py`): the serials of the
three cameras are in `metadata_*.json` and in `trajectory.h5`, which also holds states and actions, and the pictures
are in one MP4 per camera or, with both eyes side by side, `<serial>-stereo.mp4`. Frame i of a video belongs to row i,
as in DROID's own loader; where a video is shorter, the rows after its end are left out. Rows in which the operator
held the robot still (`skip_action`) are kept, with the zero actions stored for them. Cameras are named as in DROID's
published data set (`exterior_image_1_left`), since serials differ between labs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets import hdf5
from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times, join_columns
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.camera_frames import (
    CameraFrames,
    PictureFolder,
    VideoFile,
    count_common_frames,
    describe_orientations,
    read_cameras,
)
from capture.datasets.episode_list import EpisodeList, file_names
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json
from capture.provenance import Decision

TRAJECTORY: Final = "trajectory.h5"
RATE: Final = 15.0
"""Frames per second of DROID's control loop."""

STATE_PARTS: Final = {"joint_position": 7, "gripper_position": 1, "cartesian_position": 6}
ACTION_PARTS: Final = {
    "joint_velocity": 7,
    "gripper_position": 1,
    "joint_position": 7,
    "gripper_velocity": 1,
    "cartesian_velocity": 6,
    "cartesian_position": 6,
}
_STORED_NAMES: Final = {"joint_position": "joint_positions"}
"""State parts that have another name in `observation/robot_state`."""

MAX_FOLDERS: Final = 300_000
"""Limit of folders searched for episodes, three times those of DROID's release; more is a mistake, such as a disk."""

MAX_DEPTH: Final = 6
"""Folders between the given one and an episode: release, lab, success or failure, date, time."""

_CAMERA_BY_SERIAL_KEY: Final = {
    "wrist_cam_serial": "wrist_image",
    "ext1_cam_serial": "exterior_image_1",
    "ext2_cam_serial": "exterior_image_2",
}
_CAMERA_BY_FOLDER: Final = {
    "hand_camera": "wrist_image",
    "varied_camera_1": "exterior_image_1",
    "varied_camera_2": "exterior_image_2",
}
_EYES: Final = ("left", "right")
_OPENPI_NAMES: Final = {"left": "exterior_image_1_left", "right": "exterior_image_2_left"}
"""openpi's names of the two exterior cameras (`--external-camera left`)."""


class DroidReader:
    """Reader of DROID's raw episodes."""

    name = "DROID"
    looks_for = "trajectory.h5, also in folders below"

    def detect(self, path: Path) -> bool:
        """Return whether `path` is a trajectory file or has one at or below it."""
        return path.name == TRAJECTORY if path.is_file() else next(_walk_episodes(path), None) is not None

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open the episodes at or below `path`. Raises UserError where none can be used or mapped."""
        path = path.parent if path.is_file() else path
        folders = sorted(_walk_episodes(path))
        annotations = _read_annotations(path)
        names = file_names(["_".join(folder.relative_to(path).parts) or folder.resolve().name for folder in folders])
        listing: EpisodeList[_EpisodeFolder] = EpisodeList()
        for folder, name in zip(folders, names, strict=True):
            listing.add(name, partial(_read_folder, folder, name))

        def create(info: _EpisodeFolder, mapping: KeyMapping) -> DroidEpisode:
            return DroidEpisode(info, mapping, options.horizon, annotations)

        _, mapping, episodes = listing.map_episodes(
            path, options, create, lambda info: {**_OPENPI_NAMES, **info.aliases}
        )
        kind = "DROID episode" if folders == [path] else "folder of DROID episodes"
        cameras = _list_cameras(listing.usable)
        return Source(kind, path, cameras, mapping.decisions, episodes, listing.unusable, STATE_PARTS, ACTION_PARTS)


@dataclass(frozen=True)
class _EpisodeFolder:
    """The cameras and the metadata of an episode folder."""

    folder: Path
    number: int
    name: str
    metadata: JsonObject
    cameras: Mapping[str, CameraFrames]
    aliases: Mapping[str, str]
    """Serial number, with or without `_left` and `_right` -> camera."""
    decisions: tuple[Decision, ...] = ()
    """Which of the episode's cameras have no pictures, and whose serials the metadata lack."""

    state_parts = STATE_PARTS
    action_parts = ACTION_PARTS

    @property
    def place(self) -> str:
        return str(self.folder)


class DroidEpisode(ArrayEpisode):
    """One DROID episode; `trajectory.h5` is opened when frames are read, or where the metadata state no length."""

    rate = RATE

    def __init__(self, info: _EpisodeFolder, mapping: KeyMapping, horizon: int, annotations: Mapping[str, Any]) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self._info, self._annotations = info, annotations

    @cached_property
    def length(self) -> int:
        """Number of frames that the trajectory and every mapped camera have."""
        return self._common_frames[0]

    @cached_property
    def _rows(self) -> int:
        """Number of rows of the trajectory."""
        with hdf5.opened(self._info.folder / TRAJECTORY) as file:
            return len(hdf5.numbers(file, "observation/robot_state/gripper_position"))

    @cached_property
    def _common_frames(self) -> tuple[int, Decision | None]:
        return count_common_frames({TRAJECTORY: self._rows}, self._cameras())

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return which rows are left out, what the metadata state otherwise, which cameras are missing or turned."""
        decisions = [*super().frame_decisions(frames), *self._info.decisions]
        if left_out := self._common_frames[1]:
            decisions.append(left_out)
        stated = self._info.metadata.values.get("trajectory_length")
        if stated not in (None, self._rows):
            choice, reason = f"{self._rows} by {TRAJECTORY}", f"the metadata state {stated}"
            decisions.append(Decision("rows of the episode", choice, reason, is_certain=False))
        if self.prompts:
            decisions.append(Decision("task", f"from {self._prompt_origin}", "", is_certain=True))
        return (*decisions, *describe_orientations(self._cameras()))

    @property
    def _prompt_origin(self) -> str:
        """What states the first prompt."""
        if any(self.prompts[0] == text for text in self._annotated_texts):
            return "DROID's language annotations"
        is_current = self.prompts[0] == self._info.metadata.text("current_task")
        return "current_task, which the operator chose" if is_current else "the metadata"

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Instructions from DROID's annotations and the metadata, else the task that the operator chose."""
        metadata = self._info.metadata
        texts = list(self._annotated_texts)
        for key in ("language_instruction", "language_instruction_2", "language_instruction_3", "instruction"):
            value = metadata.values.get(key)
            texts += value if isinstance(value, list) else [value]
        texts += metadata.texts("language_instructions") or ()
        if not any(isinstance(text, str) and text.strip() for text in texts):
            texts = [metadata.text("current_task")]
        return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text.strip()))

    @property
    def _annotated_texts(self) -> Sequence[Any]:
        annotated = self._annotations.get(self._info.metadata.text("uuid") or "")
        return list(annotated.values()) if isinstance(annotated, dict) else []

    @cached_property
    def success(self) -> bool | None:
        """Whether the episode succeeded, by the metadata or by the name of a folder above it."""
        success = self._info.metadata.values.get("success")
        if isinstance(success, bool):
            return success
        parts = self._info.folder.absolute().parts
        return True if "success" in parts else False if "failure" in parts else None

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), from the headers of its files."""
        return {slot: camera.size() for slot, camera in self._cameras().items()}

    def _open(self) -> AbstractContextManager[EpisodeData]:
        path, mapping = self._info.folder / TRAJECTORY, self._mapping
        robot_state = "observation/robot_state"
        state = {f"{robot_state}/{_STORED_NAMES.get(part, part)}": STATE_PARTS[part] for part in mapping.state}
        actions = {f"action/{part}": ACTION_PARTS[part] for part in mapping.actions}
        # The gripper is read even where it is not mapped, so that the number of rows is always checked.
        expected = {**state, **actions, f"{robot_state}/gripper_position": 1}
        with hdf5.opened(path) as file:
            values = {name: hdf5.numbers(file, name) for name in expected}
            times = self._read_times(file)
        for name, dims in expected.items():
            if values[name].shape != (self._rows, dims):
                raise UserError(f"{name} in {path} is of shape {values[name].shape}, not {(self._rows, dims)}")
        data = EpisodeData(
            [self.prompts[0] if self.prompts else ""] * self._rows,
            times,
            join_columns([values[name] for name in state]),
            join_columns([values[name] for name in actions]),
            partial(read_cameras, self._cameras()),
        )
        return nullcontext(data)

    def _read_times(self, file: Any) -> npt.NDArray[np.float64]:
        stamps = "observation/timestamp/control/step_start"
        if hdf5.dataset(file, stamps) is not None:
            milliseconds = hdf5.numbers(file, stamps)[:, 0]
            if len(milliseconds) == self._rows:
                seconds: npt.NDArray[np.float64] = (milliseconds - milliseconds[0]) / 1e3
                return seconds
        return frame_times(self._rows, RATE)

    def _cameras(self) -> dict[str, CameraFrames]:
        return {slot: self._info.cameras[camera] for slot, camera in self._mapping.cameras.items()}


def _walk_episodes(path: Path) -> Iterator[Path]:
    """Yield the episode folders at or below `path`. Raises UserError where there are too many folders to search."""
    for number, (name, folders, files) in enumerate(os.walk(path)):
        folder = Path(name)
        if number >= MAX_FOLDERS:
            raise UserError(f"{path} has more than {MAX_FOLDERS} folders below it; name the folder of the episodes")
        if TRAJECTORY in files:
            yield folder
        if TRAJECTORY in files or len(folder.relative_to(path).parts) >= MAX_DEPTH:
            folders.clear()


def _read_folder(folder: Path, name: str, number: int) -> _EpisodeFolder:
    """Return the cameras and metadata of an episode folder. Raises UserError where it has no pictures."""
    files = sorted(folder.glob("metadata_*.json")) or sorted(folder.glob("metadata.json"))
    metadata = read_json(files[0]) if files else JsonObject({}, str(folder))
    camera_of_serial = {
        str(serial): camera for key, camera in _CAMERA_BY_SERIAL_KEY.items() if (serial := metadata.values.get(key))
    }
    recordings = folder / "recordings"
    videos = _list_names(recordings / "MP4")
    recorded = {re.sub(r"(-stereo)?\.mp4$", "", name) for name in videos if name.endswith(".mp4")}
    stated = camera_of_serial
    if (not stated and _list_names(recordings / "frames")) or recorded - stated.keys():
        used = {serial: camera for serial, camera in stated.items() if serial in recorded or not recorded}
        camera_of_serial, metadata = _complete_from_trajectory(folder, metadata, used)
    cameras: dict[str, CameraFrames] = {}
    aliases: dict[str, str] = {}
    for serial, camera in camera_of_serial.items():
        for eye in _EYES:
            frames: CameraFrames | None = None
            if f"{serial}.mp4" in videos and eye == "left":
                frames = VideoFile(recordings / "MP4" / f"{serial}.mp4")
            elif f"{serial}-stereo.mp4" in videos:
                frames = VideoFile(recordings / "MP4" / f"{serial}-stereo.mp4", "left" if eye == "left" else "right")
            if frames is not None:
                cameras[f"{camera}_{eye}"] = frames
                aliases[f"{serial}_{eye}"] = f"{camera}_{eye}"
                aliases.setdefault(serial, f"{camera}_{eye}")
    for stored in sorted(_list_names(recordings / "frames")):
        stem, _, eye = stored.rpartition("_") if stored.endswith(("_left", "_right")) else (stored, "", "left")
        known_camera = camera_of_serial.get(stem) or _CAMERA_BY_FOLDER.get(stem)
        name_of_camera = f"{known_camera}_{eye}" if known_camera else stored
        if (recordings / "frames" / stored).is_dir() and name_of_camera not in cameras:
            cameras[name_of_camera] = PictureFolder(recordings / "frames" / stored)
            if name_of_camera != stored:
                aliases[stored] = name_of_camera
    if not cameras:
        if any(file.endswith((".svo", ".svo2")) for file in _list_names(recordings / "SVO")):
            raise UserError(f"{recordings} has only SVO files; convert them with DROID's scripts/convert/svo_to_mp4.py")
        raise UserError(
            f"{recordings} has no pictures: MP4/<serial>.mp4 or frames/<camera>/00000.jpg of the episode's cameras "
            f"({', '.join(camera_of_serial) or 'no serials known'}) were looked for"
        )
    decisions = []
    missing = [
        camera for camera in _CAMERA_BY_SERIAL_KEY.values() if not any(name.startswith(camera) for name in cameras)
    ]
    if missing:
        serials = {camera: serial for serial, camera in (stated | camera_of_serial).items()}
        listed = ", ".join(f"{camera} ({serials.get(camera, 'no serial known')})" for camera in missing)
        decisions.append(Decision("cameras without pictures", listed, f"not in {recordings}", is_certain=False))
    added = {serial: camera for serial, camera in camera_of_serial.items() if serial not in stated}
    if added and stated:
        listed = ", ".join(f"{serial} is {camera}" for serial, camera in added.items())
        reason = f"by the camera types in {TRAJECTORY}; the metadata do not name them"
        decisions.append(Decision("serials", listed, reason, is_certain=False))
    return _EpisodeFolder(folder, number, name, metadata, dict(sorted(cameras.items())), aliases, tuple(decisions))


def _complete_from_trajectory(
    folder: Path, metadata: JsonObject, stated: Mapping[str, str]
) -> tuple[dict[str, str], JsonObject]:
    """Return the cameras by serial and the metadata, completed from `trajectory.h5`.

    The camera of type 0 is the wrist's. A camera whose serial is stated keeps it.
    """
    with hdf5.opened(folder / TRAJECTORY) as file:
        types = hdf5.group(file, "observation/camera_type")
        unknown = [camera for camera in _CAMERA_BY_SERIAL_KEY.values() if camera not in stated.values()]
        camera_of_serial = dict(stated)
        for serial in sorted(types) if types is not None else ():
            if serial in stated:
                continue
            kind = hdf5.numbers(file, f"observation/camera_type/{serial}")
            is_wrist = bool(len(kind)) and kind[0, 0] == 0
            camera = next((name for name in unknown if (name == "wrist_image") == is_wrist), None)
            if camera:
                camera_of_serial[serial] = camera
                unknown.remove(camera)
        task = hdf5.text(file, "current_task")
        success = file.attrs.get("success")
    values = dict(metadata.values)
    if task:
        values.setdefault("current_task", task)
    if isinstance(success, bool | np.bool_):
        values.setdefault("success", bool(success))
    return camera_of_serial, replace(metadata, values=values)


def _list_cameras(infos: Sequence[_EpisodeFolder]) -> tuple[SourceCamera, ...]:
    """Return the cameras of the first of 20 episodes whose pictures can be opened."""
    for info in infos[:20]:
        try:
            return tuple(SourceCamera(name, *camera.size()) for name, camera in info.cameras.items())
        except UserError:
            continue
    return tuple(SourceCamera(name, 0, 0) for name in infos[0].cameras)


def _read_annotations(path: Path) -> Mapping[str, Any]:
    """Return DROID's language annotations, uuid -> instructions, from their file at the root of the release."""
    above = [path, *path.absolute().parents[:MAX_DEPTH]]
    for file in (file for folder in above for file in sorted(folder.glob("aggregated-annotations-*.json"))):
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{file} cannot be read as JSON ({error}); fetch it again or remove it") from error
    return {}


def _list_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()
