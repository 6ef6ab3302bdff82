"""DROID's raw episodes: folders with `trajectory.h5` and `recordings/`, alone or nested as the release nests them.

What lies where is DROID's own (droid-dataset/droid, `trajectory_utils` and `postprocessing/schema.py`): serials of the
three cameras and the length in `metadata_*.json`, states and actions in `trajectory.h5`, one MP4 a camera and, for
both eyes side by side, `<serial>-stereo.mp4`. Frame i of a video belongs to row i, as DROID's own loader has it.
Rows during which the operator held the robot still (`skip_action`) are kept, with the zero actions stored for them.
Cameras are called as in DROID's published set (`exterior_image_1_left`), since serials differ from lab to lab.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from capture.datasets import hdf5
from capture.datasets.base import Source, SourceCamera, SourceOptions, UnusableEpisode
from capture.datasets.camera_frames import FilesFilm, Film, VideoFilm, together
from capture.datasets.episode_names import file_names
from capture.datasets.key_mapping import Chosen, choose, lacking, typical
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json
from capture.observation import Observation

TRAJECTORY: Final = "trajectory.h5"
RATE: Final = 15.0
"""Frames a second of DROID's control loop."""

STATE_PARTS: Final = {"joint_position": 7, "gripper_position": 1, "cartesian_position": 6}
ACTION_PARTS: Final = {
    "joint_velocity": 7,
    "gripper_position": 1,
    "joint_position": 7,
    "gripper_velocity": 1,
    "cartesian_velocity": 6,
    "cartesian_position": 6,
}
_STORED: Final = {"joint_position": "joint_positions"}
"""State parts that `observation/robot_state` calls otherwise."""

MOST_FOLDERS: Final = 300_000
"""Folders that are searched for episodes, three times those of DROID's release; more is a slip, such as a disk."""

DEPTH: Final = 6
"""Folders that may lie between the given one and an episode: release, lab, success or failure, date, time."""

_ROLES: Final = {
    "wrist_cam_serial": "wrist_image",
    "ext1_cam_serial": "exterior_image_1",
    "ext2_cam_serial": "exterior_image_2",
}
_FOLDERS: Final = {
    "hand_camera": "wrist_image",
    "varied_camera_1": "exterior_image_1",
    "varied_camera_2": "exterior_image_2",
}
_EYES: Final = ("left", "right")
_SIDES: Final = {"left": "exterior_image_1_left", "right": "exterior_image_2_left"}
"""openpi's names for the two exterior cameras (`--external-camera left`)."""


def find_droid(path: Path) -> list[Path]:
    """The episode folders at or below `path`, in the order of their names."""
    found = []
    for number, (place, folders, files) in enumerate(os.walk(path)):
        folder = Path(place)
        if number >= MOST_FOLDERS:
            raise UserError(f"{path} has more than {MOST_FOLDERS} folders below it; name the folder of the episodes")
        if TRAJECTORY in files:
            found.append(folder)
        if TRAJECTORY in files or len(folder.relative_to(path).parts) >= DEPTH:
            folders.clear()
    return sorted(found)


def open_droid(path: Path, found: Sequence[Path], wanted: SourceOptions) -> Source:
    """The episodes that `find_droid` found. Raises UserError where none of them can be used, or nothing is mapped."""
    annotations = _annotations(path)
    names = file_names(["_".join(folder.relative_to(path).parts) or folder.resolve().name for folder in found])
    broken: dict[str, UnusableEpisode] = {}
    opened: list[_Opened] = []
    for number, (folder, name) in enumerate(zip(found, names, strict=True)):
        try:
            opened.append(_look(folder, number, name))
        except UserError as error:
            broken[name] = UnusableEpisode(number, str(error))
    if not opened:
        reason = next(iter(broken.values())).reason
        raise UserError(f"none of the {len(found)} DROID episodes in {path} can be used: {reason}")
    first = typical(opened, lambda one: [list(one.films)])
    chosen = choose(
        str(path),
        wanted,
        list(first.films),
        state=STATE_PARTS,
        actions=ACTION_PARTS,
        aliases={**_SIDES, **first.aliases},
    )
    episodes = []
    for one in opened:
        if why := lacking(chosen, one.films, one.folder):
            broken[one.name] = UnusableEpisode(one.number, why)
        else:
            episodes.append(DroidEpisode(one, chosen, wanted.horizon, annotations))
    kind = "DROID episode" if found == [path] else "folder of DROID episodes"
    return Source(kind, path, _cameras(opened), chosen.mapped, episodes, broken, STATE_PARTS, ACTION_PARTS)


@dataclass(frozen=True)
class _Opened:
    """An episode folder whose names were read, and its small metadata."""

    folder: Path
    number: int
    name: str
    metadata: JsonObject
    films: Mapping[str, Film]
    aliases: Mapping[str, str]
    """Serial number, with or without its eye -> camera."""


class DroidEpisode:
    """One DROID episode; `trajectory.h5` is opened when it is read, or where the metadata do not tell."""

    rate = RATE

    def __init__(self, opened: _Opened, chosen: Chosen, horizon: int, annotations: Mapping[str, Any]) -> None:
        self._opened, self._chosen, self._horizon, self._annotations = opened, chosen, horizon, annotations
        self.name, self.number = opened.name, opened.number

    @cached_property
    def length(self) -> int:
        """Rows of the trajectory."""
        told = self._opened.metadata.integer("trajectory_length", most=1 << 30)
        if told is not None:
            return told
        with hdf5.opened(self._opened.folder / TRAJECTORY) as file:
            return len(hdf5.numbers(file, "observation/robot_state/gripper_position"))

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Instructions: DROID's annotations, the metadata's, or the task that the operator had chosen."""
        metadata = self._opened.metadata
        told = self._annotations.get(metadata.text("uuid") or "")
        texts = list(told.values()) if isinstance(told, dict) else []
        for key in ("language_instruction", "language_instruction_2", "language_instruction_3", "instruction"):
            value = metadata.values.get(key)
            texts += value if isinstance(value, list) else [value]
        texts += metadata.texts("language_instructions") or ()
        if not any(isinstance(text, str) and text.strip() for text in texts):
            texts = [metadata.text("current_task")]
        return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text.strip()))

    @cached_property
    def success(self) -> bool | None:
        """What the metadata say, or the folder that it lies in."""
        told = self._opened.metadata.values.get("success")
        if isinstance(told, bool):
            return told
        parts = self._opened.folder.absolute().parts
        return True if "success" in parts else False if "failure" in parts else None

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width), by the headers of its pictures."""
        return {slot: film.size() for slot, film in self._films().items()}

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        pictures = together(self.name, self._films(), frames, self.length)
        for told, seen in zip(self.read_without_pictures(frames), pictures, strict=True):
            yield replace(told, pictures=seen)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """See `Episode`."""
        folder, chosen = self._opened.folder, self._chosen
        with hdf5.opened(folder / TRAJECTORY) as file:
            robot = "observation/robot_state"
            columns = {f"{robot}/{_STORED.get(part, part)}": STATE_PARTS[part] for part in chosen.state}
            columns |= {f"action/{part}": ACTION_PARTS[part] for part in chosen.actions}
            columns.setdefault(f"{robot}/gripper_position", 1)
            values = {name: hdf5.numbers(file, name) for name in columns}
            stamps = "observation/timestamp/control/step_start"
            times = np.arange(self.length) / RATE
            if hdf5.dataset(file, stamps) is not None:
                milliseconds = hdf5.numbers(file, stamps)[:, 0]
                times = (milliseconds - milliseconds[:1]) / 1e3 if len(milliseconds) == self.length else times
        for name, dims in columns.items():
            if values[name].shape != (self.length, dims):
                raise UserError(
                    f"{name} in {folder / TRAJECTORY} is of shape {values[name].shape}, not {(self.length, dims)}"
                )
        state = _joined([values[f"{robot}/{_STORED.get(part, part)}"] for part in chosen.state])
        actions = _joined([values[f"action/{part}"] for part in chosen.actions])
        prompt = self.prompts[0] if self.prompts else ""
        for frame in frames:
            yield Observation(
                pictures={},
                prompt=prompt,
                state=None if state is None else state[frame],
                true_actions=None if actions is None else actions[frame : frame + self._horizon].astype(np.float32),
                index=frame,
                time=float(times[frame]),
                episode=self.name,
            )

    def _films(self) -> dict[str, Film]:
        return {slot: self._opened.films[camera] for slot, camera in self._chosen.cameras.items()}


def _look(folder: Path, number: int, name: str) -> _Opened:
    """What an episode folder has, by its names and its metadata."""
    told = sorted(folder.glob("metadata_*.json")) or sorted(folder.glob("metadata.json"))
    metadata = read_json(told[0]) if told else JsonObject({}, str(folder))
    serials = {metadata.text(key): role for key, role in _ROLES.items()}
    recordings = folder / "recordings"
    videos = _names(recordings / "MP4")
    if not any(serials) and (videos or _names(recordings / "frames")):
        serials, metadata = _from_trajectory(folder, metadata)
    films: dict[str, Film] = {}
    aliases: dict[str, str] = {}
    for serial, role in serials.items():
        for eye in _EYES:
            film: Film | None = None
            if f"{serial}.mp4" in videos and eye == "left":
                film = VideoFilm(recordings / "MP4" / f"{serial}.mp4")
            elif f"{serial}-stereo.mp4" in videos:
                film = VideoFilm(recordings / "MP4" / f"{serial}-stereo.mp4", "left" if eye == "left" else "right")
            if film is not None and serial:
                films[f"{role}_{eye}"] = film
                aliases[f"{serial}_{eye}"] = f"{role}_{eye}"
                aliases.setdefault(serial, f"{role}_{eye}")
    for camera in sorted(_names(recordings / "frames")):
        stem, _, eye = camera.rpartition("_") if camera.endswith(("_left", "_right")) else (camera, "", "left")
        owner = serials.get(stem) or _FOLDERS.get(stem)
        known = f"{owner}_{eye}" if owner else camera
        if (recordings / "frames" / camera).is_dir() and known not in films:
            films[known] = FilesFilm(recordings / "frames" / camera)
            if known != camera:
                aliases[camera] = known
    if not films:
        if any(name.endswith((".svo", ".svo2")) for name in _names(recordings / "SVO")):
            raise UserError(
                f"{recordings} has SVO files alone; convert them with DROID's scripts/convert/svo_to_mp4.py"
            )
        raise UserError(
            f"{recordings} has no pictures: MP4/<serial>.mp4 or frames/<camera>/00000.jpg of the episode's cameras "
            f"({', '.join(serial for serial in serials if serial) or 'which nothing names'}) were looked for"
        )
    films = {known: films[known] for known in sorted(films)}
    return _Opened(folder, number, name, metadata, films, aliases)


def _from_trajectory(folder: Path, metadata: JsonObject) -> tuple[dict[str | None, str], JsonObject]:
    """Camera serials and the task where no metadata file tells: the camera of type 0 is the wrist's."""
    with hdf5.opened(folder / TRAJECTORY) as file:
        types = hdf5.group(file, "observation/camera_type")
        exterior = ["exterior_image_1", "exterior_image_2"]
        serials: dict[str | None, str] = {}
        for serial in sorted(types) if types is not None else ():
            kind = hdf5.numbers(file, f"observation/camera_type/{serial}")
            if len(kind) and kind[0, 0] == 0:
                serials[serial] = "wrist_image"
            elif exterior:
                serials[serial] = exterior.pop(0)
        task = hdf5.text(file, "current_task")
        success = file.attrs.get("success")
    told = dict(metadata.values)
    if task:
        told.setdefault("current_task", task)
    if isinstance(success, bool | np.bool_):
        told.setdefault("success", bool(success))
    return serials, replace(metadata, values=told)


def _cameras(opened: Sequence[_Opened]) -> tuple[SourceCamera, ...]:
    """The cameras of the first episode whose pictures can be opened."""
    for one in opened[:20]:
        try:
            return tuple(SourceCamera(name, *film.size()) for name, film in one.films.items())
        except UserError:
            continue
    return tuple(SourceCamera(name, 0, 0) for name in opened[0].films)


def _annotations(path: Path) -> Mapping[str, Any]:
    """DROID's language annotations, uuid -> instructions, from their file at the root of the release."""
    above = [path, *path.absolute().parents[:DEPTH]]
    for file in (file for folder in above for file in sorted(folder.glob("aggregated-annotations-*.json"))):
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{file} cannot be read as JSON ({error}); fetch it again or remove it") from error
    return {}


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts, axis=1) if parts else None
