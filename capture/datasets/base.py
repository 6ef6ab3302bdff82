"""The interface of dataset readers: a reader opens a path as a source of episodes. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capture.observation import Observation
from capture.provenance import Decision


@dataclass(frozen=True)
class SourceOptions:
    """What the policy needs from a source, and the user's choices that override the tables of names."""

    cameras: tuple[str, ...]
    """The policy's camera slots in order, such as ("exterior", "wrist")."""
    horizon: int
    """Length of an action chunk: the number of true actions returned with a frame, fewer at the episode's end."""
    state_dim: int | None = None
    """Length of the policy's state; None accepts any length."""
    robot_dim: int | None = None
    """Number of action dimensions that go to the robot; None accepts any number."""
    camera_overrides: Mapping[str, str] = field(default_factory=dict)
    """Policy camera -> camera of the source, or "none" (`--camera exterior=NAME`)."""
    renamed_cameras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Policy camera -> names of the only cameras that the checkpoint itself says may feed it, best first."""
    camera_features: Mapping[str, str] = field(default_factory=dict)
    """Policy camera -> the checkpoint's own name of it, preferred to the table of names."""
    state_keys: tuple[str, ...] = ()
    """Names of the source's state parts in order (`--state-keys`); empty to choose by the table of names."""
    action_keys: tuple[str, ...] = ()
    """Names of the source's action parts in order (`--action-keys`); ("none",) for no true actions."""
    tolerance: float | None = None
    """Largest distance of a picture from its row's time in seconds (`--tolerance`); None for lerobot's, 1e-4, beyond
    which only a picture that is also the row's by order is taken."""
    has_files: bool = True
    """Whether the files of the episodes are on this machine; False to look at the metadata alone."""
    turned: bool | None = None
    """Whether pictures are to be turned by 180 degrees (`--turned`); None to decide by what the source says."""
    has_joint_actions: bool = False
    """Whether the policy's actions are joint positions and a gripper; prefer these where a source has several kinds."""
    padded_state_dim: int | None = None
    """Length of a state padded with zeros behind its `state_dim` numbers, which is accepted too; None for none."""


@dataclass(frozen=True)
class SourceCamera:
    """A camera of a source; height and width in pixels are 0 where they are unknown."""

    name: str
    height: int
    width: int


class Episode(Protocol):
    """One episode of a source. Creating it decodes no picture."""

    @property
    def name(self) -> str:
        """Name, unique in the source and valid as a file name."""

    @property
    def number(self) -> int:
        """The source's own episode number."""

    @property
    def length(self) -> int:
        """Number of frames."""

    @property
    def rate(self) -> float | None:
        """Frames per second; None where the source does not state it."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """Task instructions; empty where the source has none."""

    @property
    def success(self) -> bool | None:
        """Whether the episode succeeded; None where the source does not state it."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Policy camera -> (height, width) of the pictures that `read` returns. Raises UserError for bad data."""

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return the decisions about these frames that the source's other episodes need not share.

        Called once while a results file is planned, with the chosen frames and after `read_without_pictures`: frames
        that are left out, the largest distance of a picture from its row's time. Decodes no picture.
        """

    def check_files(self) -> None:
        """Raise UserError where a file of any frame is missing. Opens none; does nothing where few files hold all."""

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `read` with empty `pictures`, decoding none. Raises UserError for bad data."""

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` (ascending), each decoded on demand. Raises UserError for bad data."""


@dataclass(frozen=True)
class UnusableEpisode:
    """An episode that cannot be read or lacks what the policy needs."""

    number: int
    """The source's own episode number, which stays the same when the episode is repaired."""
    reason: str
    """One sentence for the user."""


@dataclass(frozen=True)
class Source:
    """The episodes at one path, mapped to what a policy needs."""

    kind: str
    """Description of the format: "LeRobot data set v3.0"."""
    path: Path
    cameras: tuple[SourceCamera, ...]
    """Every camera of the source, used or not."""
    decisions: tuple[Decision, ...]
    """What holds for all episodes: which camera, state part and action part of the source serves as which of the
    policy's (`KeyMapping.decisions`), whether pictures are turned, and why."""
    episodes: Sequence[Episode]
    """Usable episodes in order."""
    unusable: Mapping[str, UnusableEpisode] = field(default_factory=dict)
    """Unusable episodes by name."""
    state_parts: Mapping[str, int] = field(default_factory=dict)
    """Name of each state part of the source -> its length."""
    action_parts: Mapping[str, int] = field(default_factory=dict)
    """Name of each action part of the source -> its length."""
    name: str | None = None
    """Name on Hugging Face; None for a data set that is known by its folder."""

    @property
    def title(self) -> str:
        """Name for the index of a run."""
        return self.name or self.path.resolve().name


class Reader(Protocol):
    """A reader of one format of data set; `registry.register` makes it known."""

    @property
    def name(self) -> str:
        """Name of the format, as in the README's table."""

    @property
    def looks_for(self) -> str:
        """What makes a path this format, for the error message that a path has no known format."""

    def detect(self, path: Path) -> bool:
        """Return whether `path` (an existing file or folder) has this format. Raises OSError where it is unreadable."""

    def open(self, path: Path, options: SourceOptions) -> Source:
        """Open a path that `detect` accepted. Raises UserError where no episode can be used, or no camera is mapped."""
