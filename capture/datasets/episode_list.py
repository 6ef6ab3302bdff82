"""Collect the episodes of a source: those that can be used, mapped to the policy's names, and why the others cannot."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from capture.datasets.base import Episode, SourceOptions, UnusableEpisode
from capture.datasets.key_mapping import NONE, KeyMapping, map_keys
from capture.errors import UserError
from capture.provenance import Decision


class EpisodeInfo(Protocol):
    """What a reader knows of an episode before its cameras and parts are mapped."""

    @property
    def name(self) -> str:
        """Episode name."""

    @property
    def number(self) -> int:
        """Episode number."""

    @property
    def place(self) -> str:
        """File or folder, for error messages."""

    @property
    def cameras(self) -> Collection[str]:
        """Names of the cameras."""

    @property
    def state_parts(self) -> Mapping[str, int]:
        """Name -> length of each part of the state."""

    @property
    def action_parts(self) -> Mapping[str, int]:
        """Name -> length of each part of the actions."""


Info = TypeVar("Info", bound=EpisodeInfo)

MAX_LENGTH = 120
"""Limit of a name in bytes of UTF-8, which leaves room for endings in a file name of 255 bytes."""


class EpisodeList(Generic[Info]):
    """The usable and the unusable episodes of a source, in the order in which they are added."""

    def __init__(self) -> None:
        self.usable: list[Info] = []
        self.unusable: dict[str, UnusableEpisode] = {}

    def add(self, name: str, read_info: Callable[[int], Info], number: int | None = None) -> None:
        """Add the episode that `read_info(number)` returns, as unusable where it raises UserError.

        Without a number of its own, it is counted.
        """
        number = len(self.usable) + len(self.unusable) if number is None else number
        try:
            self.usable.append(read_info(number))
        except UserError as error:
            self.add_unusable(name, str(error), number)

    def add_unusable(self, name: str, reason: str, number: int | None = None) -> None:
        """Add an episode that cannot be used, or a file of episodes."""
        number = len(self.usable) + len(self.unusable) if number is None else number
        self.unusable[name] = UnusableEpisode(number, reason)

    def map_episodes(
        self,
        path: Path,
        options: SourceOptions,
        create: Callable[[Info, KeyMapping], Episode],
        aliases: Callable[[Info], Mapping[str, str]] = lambda _: {},
        *,
        has_optional_parts: bool = False,
    ) -> tuple[Info, KeyMapping, list[Episode]]:
        """Return the typical episode, its mapping, and the episodes that this mapping fits.

        `create` makes an episode of its info and the mapping. `aliases` gives further camera names that the user may
        choose. Episodes that the mapping does not fit become unusable; with `has_optional_parts` only a missing
        camera makes them so. Raises UserError where no episode is usable, or the policy's needs cannot be mapped.
        """
        if not self.usable:
            reason = next((error.reason for error in self.unusable.values()), "there are none")
            raise UserError(f"none of the {len(self.unusable)} episodes in {path} can be used: {reason}")
        typical = find_typical(self.usable)
        mapping = map_keys(
            str(path),
            options,
            list(typical.cameras),
            state=typical.state_parts,
            actions=typical.action_parts,
            aliases=aliases(typical),
        )
        episodes: list[Episode] = []
        for info in self.usable:
            own_mapping, problem = mapping, _missing_camera(mapping, info)
            if problem and (other_mapping := _map_other_cameras(mapping, info, options, aliases(info))):
                own_mapping, problem = other_mapping, None
            if problem is None and not has_optional_parts:
                problem = _missing_part(mapping, info, typical)
            if problem is None:
                episodes.append(create(info, own_mapping))
            else:
                self.unusable[info.name] = UnusableEpisode(info.number, problem)
        return typical, mapping, episodes


def file_names(names: Sequence[str]) -> list[str]:
    """Return the names reduced to letters and digits of any script and `+-_.`, with a number where two are the same."""
    taken_names: set[str] = set()
    result = []
    for name in names:
        safe = _cut(re.sub(r"[^\w+.-]+", "_", unicodedata.normalize("NFC", name)).strip("._")) or "episode"
        unique, number = safe, 2
        while unique.casefold() in taken_names:  # some file systems ignore case
            unique, number = f"{safe}_{number}", number + 1
        taken_names.add(unique.casefold())
        result.append(unique)
    return result


def _cut(name: str) -> str:
    """Return the beginning of a name, of at most `MAX_LENGTH` bytes; what cannot be encoded is left out."""
    return name.encode(errors="ignore")[:MAX_LENGTH].decode(errors="ignore")


def find_typical(infos: Sequence[Info]) -> Info:
    """Return the first episode with the most common cameras, state parts and action parts.

    The mapping is made for this episode, so that one that lacks a camera, even the first, does not decide for the
    others. Among equally common ones, the one with more cameras and parts is taken.
    """
    contents = [(tuple(i.cameras), tuple(i.state_parts.items()), tuple(i.action_parts.items())) for i in infos]
    count = Counter(contents)
    typical = max(contents, key=lambda content: (count[content], *(len(names) for names in content)))
    return infos[contents.index(typical)]


def _missing_camera(mapping: KeyMapping, info: EpisodeInfo) -> str | None:
    for camera in mapping.cameras.values():
        if camera not in info.cameras:
            return f"there is no camera {camera} in {info.place}; it has {', '.join(info.cameras)}"
    return None


def _map_other_cameras(
    mapping: KeyMapping, info: EpisodeInfo, options: SourceOptions, aliases: Mapping[str, str]
) -> KeyMapping | None:
    """Return the mapping with other cameras of known names for those that an episode lacks; None if it has none."""
    try:
        own_mapping = map_keys(
            info.place,
            replace(options, state_keys=(NONE,), action_keys=(NONE,)),
            list(info.cameras),
            state={},
            actions={},
            aliases=aliases,
        )
    except UserError:
        return None
    if own_mapping.cameras.keys() != mapping.cameras.keys():
        return None
    decisions = tuple(
        Decision(f"{slot} camera of {info.name}", camera, f"it has no {mapping.cameras[slot]}", is_certain=False)
        for slot, camera in own_mapping.cameras.items()
        if camera != mapping.cameras[slot]
    )
    return replace(mapping, cameras=own_mapping.cameras, episode_decisions=decisions)


def _missing_part(mapping: KeyMapping, info: EpisodeInfo, typical: EpisodeInfo) -> str | None:
    for noun, names, parts, expected in (
        ("state", mapping.state, info.state_parts, typical.state_parts),
        ("action", mapping.actions, info.action_parts, typical.action_parts),
    ):
        for name in names:
            if parts.get(name) != expected[name]:
                actual = f"of length {parts[name]}" if name in parts else "missing"
                return (
                    f"the {noun} part {name} in {info.place} is {actual}; the other episodes have it with length "
                    f"{expected[name]}"
                )
    return None
