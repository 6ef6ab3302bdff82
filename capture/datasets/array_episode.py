"""Shared base of episodes whose states, actions and times are read as arrays over all frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.datasets.images import Pixels8
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError
from capture.observation import Observation
from capture.provenance import Decision


@dataclass(frozen=True)
class EpisodeData:
    """Prompt, time, state and action of every frame of an episode, and access to its pictures."""

    prompts: Sequence[str]
    """One per frame."""
    times: npt.NDArray[np.float64]
    """(frames,) seconds; the first frame is at 0 in the observations."""
    state: npt.NDArray[np.float64] | None
    """(frames, state dims) in robot units; None where the source has none."""
    actions: npt.NDArray[np.float64] | None
    """(frames, action dims) in robot units; None where the source has none. Rows may hold NaN, as those of states."""
    read_pictures: Callable[[Sequence[int]], Iterator[Mapping[str, Pixels8]]]
    """Yields policy camera -> picture for each of the given frames (ascending)."""


class ArrayEpisode(ABC):
    """Implementation of `Episode.read` and `Episode.read_without_pictures` by one method, `_open`.

    Subclasses add the other properties of `Episode`.
    """

    is_upside_down = False

    def __init__(self, name: str, number: int, mapping: KeyMapping, horizon: int | None) -> None:
        self.name, self.number = name, number
        self._mapping, self._horizon = mapping, horizon
        self._shortened: set[int] = set()
        """Frames whose true actions end before a row that is not finite."""

    def check_files(self) -> None:  # noqa: B027 - subclasses need not override it
        """Do nothing: few files hold all frames, and opening them finds one that is missing."""

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        """Return the decisions that concern these frames of this episode alone: its cameras, shortened actions."""
        count = len(self._shortened.intersection(frames))
        if not count:
            return self._mapping.episode_decisions
        choice = f"end early in {count} frame{'s' * (count != 1)}"
        reason = "a later row of them holds numbers that are not finite"
        return (*self._mapping.episode_decisions, Decision("true actions", choice, reason, is_certain=False))

    @abstractmethod
    def _open(self) -> AbstractContextManager[EpisodeData]:
        """Read the arrays, and keep open what the pictures are read from. Raises UserError for bad data."""

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` (ascending). Raises UserError for bad data."""
        with self._open() as data:
            is_finite = _is_finite(data)
            for frame, pictures in zip(frames, data.read_pictures(frames), strict=True):
                yield self._observe(data, frame, pictures, is_finite=is_finite)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` with empty `pictures`. Raises UserError for bad data."""
        with self._open() as data:
            is_finite = _is_finite(data)
            for frame in frames:
                yield self._observe(data, frame, {}, is_finite=is_finite)

    def _observe(
        self, data: EpisodeData, frame: int, pictures: Mapping[str, Pixels8], *, is_finite: bool
    ) -> Observation:
        """Return one frame; `is_finite` where the numbers are known to be finite."""
        stop = None if self._horizon is None else frame + self._horizon
        actions = None if data.actions is None else data.actions[frame:stop]
        if not is_finite:
            if data.state is not None:
                self._check_finite(data.state[frame], frame, f"a state ({', '.join(self._mapping.state)})")
            self._check_finite(data.times[[0, frame]], frame, "a time")
            actions = None if actions is None else self._shorten_actions(actions, frame)
        return Observation(
            pictures=pictures,
            prompt=data.prompts[frame],
            state=None if data.state is None else data.state[frame],
            true_actions=None if actions is None else actions.astype(np.float32),
            index=frame,
            time=float(data.times[frame] - data.times[0]),
            episode=self.name,
            is_upside_down=self.is_upside_down,
        )

    def _shorten_actions(self, chunk: npt.NDArray[np.float64], frame: int) -> npt.NDArray[np.float64]:
        """Return the actions of a frame up to the first one that is not finite."""
        is_finite = np.isfinite(chunk).all(axis=1)
        if is_finite.all():
            return chunk
        self._check_finite(chunk[0], frame, f"an action ({', '.join(self._mapping.actions)})")
        self._shortened.add(frame)
        return chunk[: int(np.argmin(is_finite))]

    def _check_finite(self, values: npt.NDArray[np.float64], frame: int, noun: str) -> None:
        if not np.isfinite(values).all():
            raise UserError(
                f"frame {frame} of {self.name} has {noun} with numbers that are not finite; leave it out of --frames, "
                "or mend the data"
            )


def _is_finite(data: EpisodeData) -> bool:
    return all(
        bool(np.isfinite(values).all()) for values in (data.times, data.state, data.actions) if values is not None
    )


def join_columns(columns: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64] | None:
    """Return columns (frames, dims of each) side by side, (frames, sum of dims); None if there are none."""
    return np.concatenate(columns, axis=1) if columns else None


def frame_times(length: int, rate: float | None) -> npt.NDArray[np.float64]:
    """Return the seconds of frames at a constant rate, (length,); zeros where the rate is unknown."""
    return np.arange(length) / rate if rate else np.zeros(length)
