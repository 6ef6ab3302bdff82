"""Where summaries of a run are kept, and their list of episodes, which is checked while it is read. No Qt.

A summary is a folder for one subject: `summary.json` lists the episodes, and Parquet files hold their numbers.
FORMAT.md describes both.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viewer.io import run_index
from viewer.io.open_file import read_stamp
from viewer.io.user_cache import find_user_cache
from viewer.regions.file_versions import default_path
from viewer.runs import named_object
from viewer.runs.query import MAX_TEXT, Subject, is_actions

if TYPE_CHECKING:
    from collections.abc import Collection

    from capture.remote.address import Location
    from viewer.io.run_index import Run

FORMAT: Final = "pi0-attention-run-summary"
FORMAT_VERSION: Final = (1, 0)
FOLDER: Final = "summary"
"""In the run's folder, where it can be written to."""
LIST_NAME: Final = "summary.json"
OBJECTS_NAMES: Final = ("objects.json", "objects.yaml", "objects.yml")
"""In the run's folder, or a summary's: what `{object}` stands for in each prompt."""
PARTS: Final = 20
"""Parts of equal length into which the time of an episode is divided."""
WHOLE: Final = -1
"""In the column `part`: all of the episode; in the column `step`: the mean of the denoise steps."""
MOMENTS_KEY: Final = "moments"
"""In the metadata of a Parquet file: the parts that it has rows of, in their order, as JSON."""
MAX_BYTES: Final = 256 << 20
"""Largest size of the list of episodes."""
MAX_DATA_BYTES: Final = 4 << 30
"""Largest size of one Parquet file."""
MAX_EPISODES: Final = 200_000
MAX_AXIS: Final = 10_000
MAX_CELLS: Final = 1_000_000
MAX_PROMPTS: Final = 100_000
MAX_EPISODE_PROMPTS: Final = 64
MAX_PROMPT: Final = 4000
"""Characters of a prompt or a reason that are kept."""
_DATA_NAME: Final = re.compile(r"data-\d{6,12}\.parquet")


@dataclass(frozen=True, slots=True)
class SummaryEpisode:
    """What a summary holds of one episode."""

    file: str
    """Path of its results file inside the run's folder."""
    stamp: str
    """Of the files that it was made from; it differs once they have changed."""
    number: int = -1
    """In the column `episode`; -1 where the episode has no numbers."""
    data: str = ""
    """Name of the Parquet file with its numbers; empty where it has none."""
    frames: int = 0
    """Frames that the episode has."""
    reason: str = ""
    """Why it has no numbers; empty if it has some."""
    is_damaged: bool = False
    """Whether the reason is that its file cannot be read."""


@dataclass(frozen=True)
class SummaryList:
    """What a summary is about, and the episodes that it holds."""

    subject: Subject
    layers: tuple[int, ...] = ()
    heads: int = 0
    steps: tuple[int, ...] = ()
    """Numbers of the recorded denoise steps; empty for words."""
    prompts: tuple[str, ...] = ()
    """What the column `prompt` counts."""
    objects: str = ""
    """Digest of what `{object}` stands for; it differs once that has changed."""
    next_number: int = 0
    """What the next episode's number will be; numbers are never used again."""
    episodes: dict[str, SummaryEpisode] = field(default_factory=dict)
    """By the path of their results file."""

    def to_json(self) -> str:
        """Return the text of `summary.json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                **asdict(self),
                "parts": PARTS,
                "episodes": [asdict(episode) for episode in self.episodes.values()],
            }
        )


@dataclass(frozen=True)
class SummaryState:
    """How much of a run a summary holds."""

    total: int
    """Finished episodes of the run."""
    done: int
    """Those that the summary has read as they are now, with numbers or not."""
    left_out: tuple[SummaryEpisode, ...]
    """Those without numbers, and why."""
    signature: str
    """Changes when an episode is finished, replaced or removed, or gets other regions, objects, outcome or prompts."""

    @property
    def is_complete(self) -> bool:
        """Whether every finished episode was read."""
        return self.done >= self.total


def list_done(run: Run) -> list[run_index.Episode]:
    """Return the finished episodes of a run."""
    states = run_index.statuses(run)
    return [episode for episode, status in zip(run.episodes, states, strict=True) if status.state == "done"]


def read_state(
    run: Run, subject: Subject, listed: SummaryList | None, missing_data: Collection[str] = ()
) -> SummaryState:
    """Return how much of a run a summary holds.

    Args:
        run: The run.
        subject: What is summarised.
        listed: The summary's list of episodes; None for no summary yet.
        missing_data: Names of Parquet files that the list names and that are not there.
    """
    done = list_done(run)
    objects = named_object.digest_objects(find_objects_file(run, subject))
    known = {} if listed is None or listed.objects != objects else listed.episodes
    is_here = isinstance(run.folder, Path)  # a server would be asked about every file
    stamps = {episode.file: make_stamp(run.folder / episode.file) if is_here else "" for episode in done}
    read = [known[file] for file, stamp in stamps.items() if file in known and stamp in {known[file].stamp, ""}]
    about = [(episode, stamps[episode.file]) for episode in done]
    read = [episode for episode in read if episode.data not in missing_data]
    left_out = tuple(episode for episode in read if not episode.data)
    return SummaryState(len(stamps), len(read), left_out, _compute_digest(f"{objects} {about}"))


def make_stamp(location: Location) -> str:
    """Return what changes when a results file or the regions beside it change."""
    beside = find_regions_path(location)
    stamps = [read_stamp(location), read_stamp(beside) if beside is not None else None]
    return " ".join("-" if file_stamp is None else f"{file_stamp.size}:{file_stamp.written}" for file_stamp in stamps)


def find_regions_path(file: Location) -> Path | None:
    """Return where the named regions of a results file lie; None for a file on another machine."""
    return default_path(file) if isinstance(file, Path) else None


def find_objects_file(run: Run, subject: Subject) -> Path | None:
    """Return the file that says what `{object}` stands for; None if there is none.

    It lies in the run's folder, else in that of the subject's summary, which keeps what its builder was given.
    """
    folders = (*([run.folder] if isinstance(run.folder, Path) else []), choose_folder(run, subject))
    return next((path for folder in folders for name in OBJECTS_NAMES if (path := folder / name).is_file()), None)


def list_folders(run: Run, subject: Subject) -> tuple[Path, ...]:
    """Return where the summary of a subject may lie: beside the run if it is on this machine, and in the cache."""
    name = name_folder(subject)
    beside = (run.folder / FOLDER / name,) if isinstance(run.folder, Path) else ()
    return (*beside, cache_folder() / _compute_digest(str(run.folder.absolute())) / name)


def choose_folder(run: Run, subject: Subject) -> Path:
    """Return where a summary is written: beside the run if it can be written to, else in the user's cache."""
    first, *others = list_folders(run, subject)
    if not others:
        return first
    existing = next(folder for folder in (first, *first.parents) if folder.exists())
    return first if os.access(existing, os.W_OK) and not existing.is_symlink() else others[0]


def find_list(run: Run, subject: Subject) -> tuple[Path, SummaryList] | None:
    """Return the folder of a subject's summary and its list of episodes; None where there is none that can be read."""
    chosen = choose_folder(run, subject)
    for folder in dict.fromkeys((chosen, *list_folders(run, subject))):
        summary_list = read_list(folder)
        if summary_list is not None and summary_list.subject == subject:
            return folder, summary_list
    return None


def name_folder(subject: Subject) -> str:
    """Return the name of the folder of a subject's summary: readable, and different for different subjects."""
    words = " ".join(filter(None, (subject.words, subject.actions and f"actions {subject.actions}", subject.region)))
    readable = re.sub(r"[^\w-]+", "_", words).strip("_")[:60]
    return f"{readable}-{_compute_digest(json.dumps(asdict(subject)))}"


def cache_folder() -> Path:
    """Return the folder in the user's cache for summaries of runs that cannot be written to."""
    return find_user_cache("runs")


def read_list(folder: Path) -> SummaryList | None:
    """Return the list of episodes of a summary; None where there is none, or it is damaged or of another version."""
    path = folder / LIST_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return _parse(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return None


def find_data(folder: Path, names: set[str]) -> list[Path]:
    """Return the Parquet files of these names that are there: regular files of a bounded size, no links."""
    paths = []
    for name in sorted(names):
        path = folder / name
        is_data = _DATA_NAME.fullmatch(name) and path.is_file() and not path.is_symlink()
        if is_data and path.stat().st_size <= MAX_DATA_BYTES:
            paths.append(path)
    return paths


def _parse(value: dict[str, Any]) -> SummaryList:
    """Return a list of episodes from its JSON; ValueError, TypeError or KeyError if it does not fit."""
    if value["format"] != FORMAT or value["format_version"][0] != FORMAT_VERSION[0] or value["parts"] != PARTS:
        raise ValueError("another format")
    words, actions, region = (_check_text(value["subject"][name]) for name in ("words", "actions", "region"))
    if not is_actions(actions):
        raise ValueError("actions")
    layers, steps = _check_numbers(value["layers"]), _check_numbers(value["steps"])
    heads = _check_count(value["heads"], MAX_AXIS)
    if len(layers) * max(heads, 1) > MAX_CELLS or sorted(set(layers)) != list(layers):
        raise ValueError("axes")
    prompts, listed = value["prompts"], value["episodes"]
    if len(prompts) > MAX_PROMPTS or len(listed) > MAX_EPISODES:
        raise ValueError("too long")
    episodes = [_parse_episode(entry) for entry in listed]
    return SummaryList(
        Subject(words, actions, region),
        layers,
        heads,
        steps,
        tuple(_check_text(prompt, MAX_PROMPT) for prompt in prompts),
        _check_text(value["objects"]),
        _check_count(value["next_number"]),
        {episode.file: episode for episode in episodes},
    )


def _parse_episode(value: dict[str, Any]) -> SummaryEpisode:
    number = value["number"]
    data = _check_text(value["data"])
    if type(number) is not int or not -1 <= number < 1 << 31 or (data and not _DATA_NAME.fullmatch(data)):
        raise ValueError("number")
    return SummaryEpisode(
        _check_text(value["file"]),
        _check_text(value["stamp"]),
        number,
        data,
        _check_count(value["frames"]),
        _check_text(value["reason"], MAX_PROMPT),
        bool(value["is_damaged"]),
    )


def _check_text(value: object, most: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError("text")
    return value


def _check_count(value: object, most: int = 1 << 53) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("count")
    return value


def _check_numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_AXIS:
        raise ValueError("numbers")
    return tuple(_check_count(number, MAX_AXIS) for number in value)


def _compute_digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:10]
