"""Metadata of a LeRobot data set, versions 2.0, 2.1 and 3.0, from its `meta/` folder alone.

The layout is LeRobot's own (lerobot, `datasets/utils.py` and `datasets/dataset_metadata.py`; 2.1 as of lerobot 0.3):
version 2 has a parquet file and a video per episode and lists the episodes in JSON lines, version 3 joins many episodes
in a file and lists in parquet where each begins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from capture.datasets.base import SourceCamera
from capture.datasets.parquet import Parquet
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path, parse_json, read_json

INFO: Final = "meta/info.json"

MAX_EPISODES: Final = 10_000_000
MAX_DIMS: Final = 4096
MAX_LINES_BYTES: Final = 1 << 30
"""Limit of a file of JSON lines, in bytes."""

_DEFAULT_DATA: Final = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
_DEFAULT_VIDEO: Final = {
    2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
_FIELD: Final = re.compile(r"\{(\w+)(?::0?(\d{1,2})d?)?\}")

_STATE_PREFIXES: Final = ("observation.state.", "observation.")
_ACTION_PREFIXES: Final = ("action.", "actions.")
_PICTURE_PREFIXES: Final = ("observation.images.", "observation.image.", "observation.")
_NOT_STATE_PREFIXES: Final = (
    "timestamp",
    "next.",
    "reward",
    "discount",
    "camera_extrinsics",
    "observation.environment_state",
)
SUCCESS_COLUMNS: Final = ("next.success", "is_episode_successful", "success")
"""Columns that state whether an episode succeeded."""


@dataclass(frozen=True)
class VideoPart:
    """The part of a video that belongs to an episode."""

    path: str
    """Relative to the data set's folder."""
    start: float
    """Seconds into the video at which the episode begins."""


@dataclass(frozen=True)
class EpisodeMetadata:
    """Metadata of one episode."""

    number: int
    length: int
    tasks: tuple[str, ...]
    data: str
    """Parquet file, relative to the data set's folder."""
    videos: Mapping[str, VideoPart]
    """Camera -> part of a video; cameras stored as single pictures have no entry."""
    success: bool | None

    @property
    def name(self) -> str:
        """Name of the episode's files."""
        return f"episode_{self.number:06d}"


@dataclass(frozen=True)
class Metadata:
    """Metadata of a data set."""

    folder: Path
    version: str
    rate: float
    cameras: tuple[SourceCamera, ...]
    features: Mapping[str, str]
    """Camera -> its key: a column, or the name of its videos' folder."""
    videos: frozenset[str]
    """Cameras that are stored as videos."""
    state: Mapping[str, int]
    """State part -> length."""
    state_columns: Mapping[str, str]
    actions: Mapping[str, int]
    action_columns: Mapping[str, str]
    success_column: str | None
    tasks: Mapping[int, str]
    episodes: tuple[EpisodeMetadata, ...]


def read_metadata(folder: Path) -> Metadata:
    """Read `folder/meta`. Raises UserError for what is missing, damaged or of another version."""
    info = read_json(folder / INFO)
    version = re.fullmatch(r"v?([23])\.(\d+)(?:\.\d+)?", info.text("codebase_version") or "")
    if not version:
        raise UserError(
            f"{folder} is a LeRobot data set of version {info.text('codebase_version')}; 2.0, 2.1 and 3.0 are read, "
            "and lerobot converts older ones"
        )
    rate = info.values.get("fps")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < 10_000:
        raise UserError(f"'fps' in {info.where} is {rate!r}, but should be a number of frames per second")
    features = _read_features(info)
    read_episodes = _read_episodes_2 if version[1] == "2" else _read_episodes_3
    video_keys = {name: features.picture_keys[name] for name in features.videos}
    episodes = tuple(sorted(read_episodes(folder, info, video_keys), key=lambda episode: episode.number))
    if len({episode.number for episode in episodes}) != len(episodes):
        raise UserError(f"{folder / 'meta'} lists one episode twice; fetch the data set again")
    return Metadata(
        folder=folder,
        version=f"{version[1]}.{version[2]}",
        rate=float(rate),
        cameras=tuple(features.cameras.values()),
        features=features.picture_keys,
        videos=frozenset(features.videos),
        state=features.states,
        state_columns=features.state_columns,
        actions=features.actions,
        action_columns=features.action_columns,
        success_column=features.success_column,
        tasks=_read_tasks(folder),
        episodes=episodes,
    )


@dataclass
class _Features:
    """Cameras and columns of numbers that `features` in info.json lists, by their short names."""

    success_column: str | None
    cameras: dict[str, SourceCamera] = field(default_factory=dict)
    picture_keys: dict[str, str] = field(default_factory=dict)
    videos: set[str] = field(default_factory=set)
    states: dict[str, int] = field(default_factory=dict)
    state_columns: dict[str, str] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    action_columns: dict[str, str] = field(default_factory=dict)


def _read_features(info: JsonObject) -> _Features:
    section = info.section("features") or JsonObject({}, info.where)
    features = _Features(next((key for key in SUCCESS_COLUMNS if key in section.values), None))
    for key in section.values:
        feature = section.section(key) or JsonObject({}, section.where)
        dtype, shape = feature.text("dtype") or "", feature.numbers("shape") or ()
        if dtype in ("video", "image"):
            if not _is_depth(feature) and is_safe_relative_path(key):
                name = _shorten(key, _PICTURE_PREFIXES, features.picture_keys)
                features.picture_keys[name] = key
                features.cameras[name] = SourceCamera(name, *_read_size(feature, shape))
                if dtype == "video":
                    features.videos.add(name)
        elif dtype in ("float32", "float64") and shape and 1 <= (dims := int(math.prod(shape))) <= MAX_DIMS:
            if key in ("action", "actions") or key.startswith(_ACTION_PREFIXES):
                name = _shorten(key, _ACTION_PREFIXES, features.action_columns)
                features.action_columns[name], features.actions[name] = key, dims
            elif not key.startswith(_NOT_STATE_PREFIXES):
                name = _shorten(key, _STATE_PREFIXES, features.state_columns)
                features.state_columns[name], features.states[name] = key, dims
    return features


def _shorten(key: str, prefixes: tuple[str, ...], short_names: Mapping[str, str]) -> str:
    for prefix in prefixes:
        if key.startswith(prefix) and key != prefix and key[len(prefix) :] not in short_names:
            return key[len(prefix) :]
    return key


def _is_depth(feature: JsonObject) -> bool:
    infos = (feature.values.get("info"), feature.values.get("video_info"))
    return any(
        isinstance(info, dict) and (info.get("is_depth_map") is True or info.get("video.is_depth_map") is True)
        for info in infos
    )


def _read_size(feature: JsonObject, shape: tuple[float, ...]) -> tuple[int, int]:
    """Return height and width; 0 where the shape does not state them."""
    names = feature.values.get("names")
    if len(shape) != 3 or not all(1 <= side <= 1 << 20 for side in shape):
        return 0, 0
    if isinstance(names, list) and "height" in names and "width" in names and len(names) == 3:
        return int(shape[names.index("height")]), int(shape[names.index("width")])
    first = 1 if shape[0] == 3 else 0
    return int(shape[first]), int(shape[first + 1])


def _read_episodes_2(folder: Path, info: JsonObject, videos: Mapping[str, str]) -> Iterator[EpisodeMetadata]:
    size = info.integer("chunks_size", most=MAX_EPISODES) or 1000
    data, video = info.text("data_path") or _DEFAULT_DATA[2], info.text("video_path") or _DEFAULT_VIDEO[2]
    for line in _read_lines(folder / "meta/episodes.jsonl"):
        number = _require_integer(line, "episode_index", 0)
        # Version 3 calls the chunk chunk_index, and data sets of version 2 with that name in their patterns exist.
        fields = {"episode_chunk": number // size, "chunk_index": number // size}
        fields |= {"episode_index": number, "file_index": number}
        tasks = line.values.get("tasks")
        yield EpisodeMetadata(
            number,
            _require_integer(line, "length", 1),
            tuple(task for task in tasks if isinstance(task, str)) if isinstance(tasks, list) else (),
            _fill_pattern(data, fields, info.where),
            {
                name: VideoPart(_fill_pattern(video, {**fields, "video_key": key}, info.where), 0.0)
                for name, key in videos.items()
            },
            _bool_or_none(line.values.get("success")),
        )


def _read_episodes_3(folder: Path, info: JsonObject, videos: Mapping[str, str]) -> Iterator[EpisodeMetadata]:
    data, video = info.text("data_path") or _DEFAULT_DATA[3], info.text("video_path") or _DEFAULT_VIDEO[3]
    files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise UserError(f"{folder / 'meta/episodes'} has no parquet file with the places of the episodes")
    for file in files:
        table = Parquet(file)
        numbers, lengths = table.integers("episode_index").tolist(), table.integers("length").tolist()
        places = zip(
            table.integers("data/chunk_index").tolist(), table.integers("data/file_index").tolist(), strict=True
        )
        tasks = table.values("tasks") if "tasks" in table.columns else [()] * len(numbers)
        successes = table.values("success") if "success" in table.columns else [None] * len(numbers)
        parts: dict[str, list[tuple[int, int, float]]] = {}
        for name, key in videos.items():
            prefix = f"videos/{key}/"
            starts = table.numbers(f"{prefix}from_timestamp", 1)[:, 0].tolist()
            chunk_indices, file_indices = (
                table.integers(f"{prefix}chunk_index").tolist(),
                table.integers(f"{prefix}file_index").tolist(),
            )
            parts[name] = list(zip(chunk_indices, file_indices, starts, strict=True))
        for row, (number, length, (chunk_index, file_index)) in enumerate(zip(numbers, lengths, places, strict=True)):
            if number < 0 or length < 1:
                raise UserError(f"{file} lists an episode {number} with {length} frames; fetch it again")
            video_parts = {}
            for name, key in videos.items():
                video_chunk, video_file, start = parts[name][row]
                if not math.isfinite(start):
                    raise UserError(f"{file} does not say where episode {number} begins in {name}; fetch it again")
                fields = {"video_key": key, "chunk_index": video_chunk, "file_index": video_file}
                fields |= {"episode_chunk": video_chunk, "episode_index": number}
                video_parts[name] = VideoPart(_fill_pattern(video, fields, info.where), start)
            texts = tasks[row] if isinstance(tasks[row], list) else [tasks[row]]
            yield EpisodeMetadata(
                number,
                length,
                tuple(text for text in texts if isinstance(text, str)),
                _fill_pattern(
                    data,
                    {
                        "chunk_index": chunk_index,
                        "file_index": file_index,
                        "episode_chunk": chunk_index,
                        "episode_index": number,
                    },
                    info.where,
                ),
                video_parts,
                _bool_or_none(successes[row]),
            )


def _fill_pattern(pattern: str, fields: Mapping[str, Any], where: str) -> str:
    """Return a path of the data set from its pattern, without Python's formatting, which could read attributes."""

    def fill(match: re.Match[str]) -> str:
        name, width = match.groups()
        if name not in fields:
            raise UserError(f"the path {pattern!r} in {where} asks for {name!r}, which is not known")
        value = fields[name]
        return f"{value:0{int(width)}d}" if width and isinstance(value, int) else str(value)

    path = _FIELD.sub(fill, pattern)
    if not is_safe_relative_path(path) or "{" in path:
        raise UserError(f"the path {pattern!r} in {where} leads out of the data set; it is not followed")
    return path


def _read_tasks(folder: Path) -> dict[int, str]:
    table, lines = folder / "meta/tasks.parquet", folder / "meta/tasks.jsonl"
    if table.exists():
        file = Parquet(table)
        texts = next((file.values(name) for name in ("task", "__index_level_0__") if name in file.columns), None)
        if texts is None:
            raise UserError(f"{table} has no column task; it has {', '.join(file.columns)}")
        return {index: str(text) for index, text in zip(file.integers("task_index").tolist(), texts, strict=True)}
    if not lines.exists():
        return {}
    return {_require_integer(line, "task_index", 0): line.text("task") or "" for line in _read_lines(lines)}


def _read_lines(path: Path) -> Iterator[JsonObject]:
    try:
        if path.stat().st_size > MAX_LINES_BYTES:
            raise UserError(f"{path} is larger than {MAX_LINES_BYTES >> 20} MB, so it is no list of LeRobot")
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield parse_json(line, f"line {number} of {path}")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from error


def _require_integer(line: JsonObject, key: str, least: int) -> int:
    value = line.integer(key, least=least, most=MAX_EPISODES)
    if value is None:
        raise UserError(f"{line.where} has no {key!r}; fetch the file again")
    return value


def _bool_or_none(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
