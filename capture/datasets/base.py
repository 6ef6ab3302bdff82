"""What every reader of episodes offers: a source with its episodes, each of which gives observations. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capture.observation import Observation


@dataclass(frozen=True)
class Wanted:
    """What a policy needs of a source, and what the user said of where to find it."""

    cameras: tuple[str, ...]
    """The policy's camera slots in order, such as ("exterior", "wrist")."""
    horizon: int
    """Actions in a chunk: how many true actions a frame brings along, fewer at the episode's end."""
    state_dim: int | None = None
    """Length of the policy's state; None where any will do."""
    robot_dim: int | None = None
    """Action dimensions that go to the robot; None where any will do."""
    chosen_cameras: Mapping[str, str] = field(default_factory=dict)
    """Policy camera -> camera of the source, where the user overrules the table (`--camera exterior=NAME`)."""
    state_keys: tuple[str, ...] = ()
    """Names of the source's state parts in order, where the user overrules the table (`--state-keys`)."""
    action_keys: tuple[str, ...] = ()
    """The same for its true actions (`--action-keys`); ("none",) goes without them."""
    acts_in_joints: bool = False
    """Whether the policy's actions are joint positions and a gripper, where a source has these beside others."""


@dataclass(frozen=True)
class CameraFound:
    """A camera of a source."""

    name: str
    height: int
    width: int


class Episode(Protocol):
    """One episode of a source. Opening it reads no picture."""

    @property
    def name(self) -> str:
        """Name that no other episode of the source has, fit for a file's name."""

    @property
    def number(self) -> int:
        """The source's own number of it."""

    @property
    def length(self) -> int:
        """Frames."""

    @property
    def rate(self) -> float | None:
        """Frames a second; None where the source does not tell."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """Its tasks; empty where the source has none."""

    @property
    def success(self) -> bool | None:
        """Whether it ended well; None where the source does not tell."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width) of the pictures that `read` will give. Raises UserError for bad data."""

    def outline(self, frames: Sequence[int]) -> Iterator[Observation]:
        """As `read`, with all that it gives but pictures, which are not decoded. Raises UserError for bad data."""

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """The observations of these frames, rising, each decoded as it is asked for. Raises UserError for bad data."""


@dataclass(frozen=True)
class Broken:
    """An episode that cannot be used."""

    number: int
    """The source's own number of it, as for those that can be used: it stays when the episode is mended."""
    why: str
    """One sentence."""


class Source(Protocol):
    """One path that a reader understood."""

    @property
    def kind(self) -> str:
        """What it is, in words: "LeRobot data set v3.0"."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def cameras(self) -> tuple[CameraFound, ...]:
        """Every camera that it has, used or not."""

    @property
    def mapped(self) -> tuple[str, ...]:
        """Sentences: which camera, state part and action it takes for which of the policy's."""

    @property
    def episodes(self) -> Sequence[Episode]:
        """Its episodes in order."""

    @property
    def broken(self) -> Mapping[str, Broken]:
        """Episodes that cannot be used, by name."""


@dataclass(frozen=True)
class OpenedSource:
    """A source as the readers of this package return it."""

    kind: str
    path: Path
    cameras: tuple[CameraFound, ...]
    mapped: tuple[str, ...]
    episodes: Sequence[Episode]
    broken: Mapping[str, Broken] = field(default_factory=dict)
    state_parts: Mapping[str, int] = field(default_factory=dict)
    """Every part of a state that it has -> how many numbers."""
    action_parts: Mapping[str, int] = field(default_factory=dict)
