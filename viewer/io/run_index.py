"""A run over several episodes: its `index.json`, or a folder of results files without one. No Qt.

The index names the planned episodes. Which of them are done or being written is read from the folder itself. Both may
be damaged or harmful: nothing outside the folder is opened.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from capture.remote.address import RemotePath
from capture.results import schema
from viewer.errors import UserError
from viewer.io.open_file import Stamp, read_stamp
from viewer.io.run_folder import MAX_NAME, create_sort_key, is_inside, is_results_name, list_links, list_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.remote.address import Location

MAX_BYTES: Final = 64 << 20
MAX_EPISODES: Final = 200_000
MAX_PROMPTS: Final = 1000
MAX_SENTENCE: Final = 4000
UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\ud800-\udfff]")
RunStamp = tuple[Stamp | None, ...]
OPENABLE: Final = ("done", "writing")
"""States in which an episode can be opened."""

State = Literal["done", "writing", "to come", "failed"]


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode as the index describes it."""

    file: str
    """Path of its results file inside the folder, POSIX."""
    name: str
    prompts: tuple[str, ...] = ()
    frames: int | None = None
    """Planned frames: moments x prompts; None if unknown."""
    rate: float | None = None
    """Moments per second of the data set; None if unknown."""
    success: bool | None = None
    failed: str = ""
    """Why the capture could not record the episode; empty if it did not fail."""


class Status(NamedTuple):
    """State of one episode, from the files in the folder."""

    state: State
    sentence: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """Episodes in order, and the folder with their files."""

    folder: Location
    index: Location | None
    """The index file; None for a plain folder."""
    episodes: tuple[Episode, ...]
    uuid: str = ""
    source: str = ""
    """The data set's name."""
    is_rollouts: bool = False
    """Whether its episodes are recorded while a policy acts, so that their final number is unknown."""
    statuses: tuple[Status, ...] | None = None
    stamp: RunStamp | None = None
    """Of a run on another machine, what `statuses` and `changes` returned when it was read; else None."""

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.absolute().name or str(self.folder)

    def place_of(self, path: Location) -> str | None:
        """Return a file's path inside the folder, POSIX; None for a file that lies elsewhere."""
        try:
            if isinstance(path, RemotePath) and isinstance(self.folder, RemotePath):
                inner = path.relative_to(self.folder)
            elif isinstance(path, Path) and isinstance(self.folder, Path):
                inner = path.relative_to(self.folder).as_posix()
            else:
                return None
        except ValueError:
            return None
        return inner


def read_run(path: Location) -> Run:
    """Read the run in a folder or of an index file; UserError if it is none. For an address, waits for its server."""
    if isinstance(path, RemotePath):
        from viewer.io.remote_bytes import raise_plain_errors

        with raise_plain_errors(path):
            run = _read_remote(path)
            stamp = changes(run)
            return replace(run, statuses=statuses(run), stamp=stamp)
    if path.is_dir():
        index = path / schema.INDEX_NAME
        return _from_index(index) if index.exists() or index.is_symlink() else _from_folder(path)
    return _from_index(path)


def _read_remote(path: RemotePath) -> Run:
    if not path.name.endswith(".json"):
        if not path.remote_stat(is_fresh=True).is_folder:
            raise UserError(
                f"There is no run in {path.shown}; open a folder, its {schema.INDEX_NAME}, or a file that ends in .h5."
            )
        index = path / schema.INDEX_NAME
        return _from_index(index) if index.exists() else _from_folder(path)
    return _from_index(path)


# The index


def _from_index(path: Location) -> Run:
    try:
        file_stat = path.stat()
        if not stat.S_ISREG(file_stat.st_mode):
            raise UserError(f"{path} is not a file; open the folder of a run, or its {schema.INDEX_NAME}.")
        if file_stat.st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES >> 20} MB, which no index of a run has; open another.")
        text = path.read_bytes()
    except OSError as error:
        if isinstance(path, RemotePath):
            raise
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the path.") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _create_error(path, f"it is not JSON ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(value, dict) or value.get("format") != schema.INDEX_FORMAT:
        raise UserError(
            f"{path} is not the index of a run; open an {schema.INDEX_NAME} that pi0-capture wrote, or a results file."
        )
    version = value.get("format_version")
    if not isinstance(version, list) or not version or not all(type(part) is int for part in version):
        raise _create_error(path, "its format_version is not a list of whole numbers")
    if version[0] > schema.INDEX_VERSION[0]:
        raise UserError(
            f"{path} has format {'.'.join(map(str, version[:3]))}, and this viewer reads up to "
            f"{schema.INDEX_VERSION[0]}.x; install a newer pi0-attention."
        )
    listed = value.get("episodes")
    if not isinstance(listed, list) or len(listed) > MAX_EPISODES:
        raise _create_error(path, f"its episodes are not a list of at most {MAX_EPISODES}")
    episodes = []
    for number, entry in enumerate(listed, 1):
        try:
            episodes.append(_parse_one_episode(entry))
        except ValueError as error:
            raise _create_error(path, f"episode {number}: {error}") from None
    source = value.get("source")
    name = source.get("name") if isinstance(source, dict) else None
    is_rollouts = isinstance(source, dict) and source.get("kind") == schema.ROLLOUTS
    uuid, title = _words(value.get("uuid"), 100), _words(name, MAX_NAME)
    return Run(path.parent, path, tuple(episodes), uuid, title, is_rollouts)


def _create_error(path: Location, reason: str) -> UserError:
    return UserError(
        f"{path} is damaged: {reason}; run pi0-capture again to write it anew, or open a results file beside it."
    )


def _words(value: object, most: int) -> str:
    """Return a JSON value as one printable line of at most `most` characters; empty if it is no text."""
    if not isinstance(value, str):
        return ""
    value = value[:most]
    if not value.isascii():
        value = value.encode(errors="replace").decode()  # JSON may hold lone surrogates, which cannot be encoded
    if not value.isprintable():
        value = " ".join("".join(letter if letter.isprintable() else " " for letter in value).split())
    return value.strip()


def _parse_one_episode(value: object) -> Episode:
    """Return an episode from an entry of the index; ValueError if it does not fit."""
    if not isinstance(value, dict):
        raise ValueError("an object in braces is needed")  # noqa: TRY004 - one kind of error for the caller
    file = _check_path(value.get("file"))
    prompts = value.get("prompts", [])
    is_list = isinstance(prompts, list) and len(prompts) <= MAX_PROMPTS
    if not is_list or not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("its prompts are not a list of texts")
    return Episode(
        file,
        _words(_get_optional(value, "name", str), MAX_NAME) or Path(file).stem,
        tuple(_words(prompt, MAX_SENTENCE) for prompt in prompts),
        _check_count(_get_optional(value, "frames", int)),
        _check_rate(_get_optional(value, "rate", int, float)),
        _get_optional(value, "success", bool),
        _words(_get_optional(value, "failed", str), MAX_SENTENCE),
    )


def _get_optional(value: dict[str, Any], key: str, *kinds: type) -> Any:
    """Return the value of a key, None if it is null or absent; ValueError if it is of none of the types."""
    member = value.get(key)
    if member is not None and type(member) not in kinds:
        kind = {bool: "true or false", str: "a text", int: "a whole number"}[kinds[0]]
        raise ValueError(f"its {key} is neither {'a number' if float in kinds else kind} nor null")
    return member


def _check_count(value: int | None) -> int | None:
    if value is not None and not 0 <= value < 1 << 53:
        raise ValueError("its frames cannot be counted")
    return value


def _check_rate(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError("its rate is not above 0")
    return None if value is None else float(value)


def _check_path(value: object) -> str:
    """Return a relative path without `..`; ValueError for others. Links are checked when the file is opened."""
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError("it has no file")
    if UNNAMEABLE.search(value):
        raise ValueError("the name of its file cannot be one")
    parts = value.split("/")
    if "\\" in value or value.startswith("/") or value[1:2] == ":" or ".." in parts:
        raise ValueError(f"its file {value[:100]} leads out of the folder, which is not followed")
    normalised = "/".join(part for part in parts if part not in {"", "."})
    if not normalised:
        raise ValueError("it has no file")
    return normalised


# A folder without an index


def _from_folder(folder: Location) -> Run:
    names: set[str] = set()
    try:
        for entry in list_names(folder):
            name = entry.removesuffix(schema.PARTIAL_SUFFIX)
            if is_results_name(name) and len(names) < MAX_EPISODES:
                names.add(name)
    except OSError as error:
        if isinstance(folder, RemotePath):
            raise
        raise UserError(f"{folder} cannot be read ({error.strerror or error}); check its permissions.") from error
    if not names:
        raise UserError(
            f"{folder} holds neither an {schema.INDEX_NAME} nor results files; open the folder that pi0-capture wrote."
        )
    return Run(folder, None, tuple(Episode(name, Path(name).stem) for name in sorted(names, key=create_sort_key)))


def with_summary(episode: Episode, prompts: object, frames: object) -> Episode:
    """Return an episode with the prompts and number of frames that its own file holds."""
    if not isinstance(prompts, list) or type(frames) is not int:
        return episode
    words = [_words(prompt, MAX_SENTENCE) for prompt in prompts[:MAX_PROMPTS]]
    return replace(episode, prompts=tuple(word for word in words if word), frames=max(frames, 0))


# Files in the folder


def find_episode_path(run: Run, episode: Episode) -> Location:
    """Return the file of an episode, finished or partial; UserError if it is absent or outside the folder.

    Of a run on another machine it is the address of the finished file, without asking the server: links were looked at
    when the run was read, and opening finds the partial file.
    """
    if isinstance(run.folder, RemotePath):
        status = run.statuses[run.episodes.index(episode)] if run.statuses and episode in run.episodes else None
        if status is not None and status.state == "failed" and status.sentence != episode.failed:
            raise UserError(status.sentence)
        return run.folder / episode.file
    path = run.folder / episode.file
    for candidate in (path, path.with_name(path.name + schema.PARTIAL_SUFFIX)):
        if os.path.lexists(candidate):
            if not is_inside(candidate, run.folder):
                raise UserError(f"{candidate} is a link that leads out of the folder, which is not followed.")
            if candidate.is_file():
                return candidate
    why = f"the capture gave it up: {episode.failed}" if episode.failed else "it opens as soon as pi0-capture wrote it"
    raise UserError(f"{episode.name} is not there yet; {why}" + ("" if why.endswith(".") else "."))


def statuses(run: Run) -> tuple[Status, ...]:
    """Return the state of each episode. Each folder is listed once, so that thousands of episodes take milliseconds."""
    if run.statuses is not None:
        return run.statuses
    folders: dict[str, dict[str, bool]] = {}
    episode_statuses = []
    if isinstance(run.folder, RemotePath) and not run.folder.has_lists:  # only the index is known
        return tuple(Status("failed", episode.failed) if episode.failed else Status("done") for episode in run.episodes)
    for episode in run.episodes:
        parent, _, name = episode.file.rpartition("/")
        if parent not in folders:
            folders[parent] = list_links(run.folder, parent)
        episode_statuses.append(_status(run.folder, episode, parent, name, folders[parent]))
    return tuple(episode_statuses)


def _status(folder: Location, episode: Episode, parent: str, name: str, names: dict[str, bool]) -> Status:
    states: tuple[tuple[str, State], ...] = ((name, "done"), (name + schema.PARTIAL_SUFFIX, "writing"))
    for file_name, state in states:
        if file_name in names:
            if names[file_name] and not is_inside(folder / parent / file_name, folder):
                return Status("failed", f"{file_name} is a link that leads out of the folder, which is not followed.")
            return Status("failed", episode.failed) if episode.failed and state == "writing" else Status(state)
    return Status("failed", episode.failed) if episode.failed else Status("to come")


def changes(run: Run) -> RunStamp:
    """Return stamps that change when files of the run appear, vanish or get another name, or its index; may wait."""
    if isinstance(run.folder, RemotePath):
        watched = [*([run.folder] if run.folder.has_lists else []), *([run.index] if run.index else [])]
        return tuple(read_stamp(path) for path in watched)
    inner = {episode.file.rpartition("/")[0] for episode in run.episodes}
    paths = [run.folder, *(run.folder / name for name in sorted(inner - {""}))]
    return tuple(read_stamp(path) for path in (*paths, *([run.index] if run.index else [])))


# Groups and search


@dataclass(frozen=True, slots=True)
class Group:
    """Episodes of one task."""

    title: str
    """The prompt; empty if episodes are not grouped."""
    members: tuple[int, ...]
    """Indices of the episodes in the run, ascending."""


def grouped(run: Run, members: list[int]) -> tuple[Group, ...]:
    """Return episodes grouped by prompt if episodes share prompts, else in one group without a title.

    Episodes of a folder without an index are not grouped: their prompts are read while the list is shown.
    """
    if run.index is None:
        return (Group("", tuple(members)),) if members else ()
    shared: dict[tuple[str, ...], list[int]] = {}
    for number in range(len(run.episodes)):
        shared.setdefault(run.episodes[number].prompts, []).append(number)
    if () in shared or 2 * len(shared) > len(run.episodes):
        return (Group("", tuple(members)),) if members else ()
    chosen: dict[tuple[str, ...], list[int]] = {}
    for number in members:
        chosen.setdefault(run.episodes[number].prompts, []).append(number)
    return tuple(Group(" · ".join(prompts), tuple(chosen[prompts])) for prompts in shared if prompts in chosen)


def listed(run: Run, statuses: tuple[Status, ...], words: str = "") -> tuple[Group, ...]:
    """Return the episodes that match all words, grouped as `grouped` does."""
    return grouped(run, matching(run, statuses, words))


def first(groups: tuple[Group, ...], statuses: Sequence[Status]) -> int | None:
    """Return the episode to open first: the first that is done, else the first being written; None if there is none."""
    for state in OPENABLE:
        for group in groups:
            for number in group.members:
                if statuses[number].state == state:
                    return number
    return None


def outcome(episode: Episode) -> str:
    """Return `success`, `failure` or, if it is unknown, an empty text."""
    return "" if episode.success is None else "success" if episode.success else "failure"


def matching(run: Run, statuses: tuple[Status, ...], words: str) -> list[int]:
    """Return the indices of the episodes with every word in their name, prompts, outcome or state."""
    parts = words.lower().split()
    if not parts:
        return list(range(len(run.episodes)))
    found_words = (
        "\n".join((episode.name, *episode.prompts, outcome(episode), status.state)).lower()
        for episode, status in zip(run.episodes, statuses, strict=True)
    )
    return [number for number, words in enumerate(found_words) if all(part in words for part in parts)]
