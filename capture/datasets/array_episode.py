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
    """(frames, action dims) in robot units; None where the source has none."""
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

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:  # noqa: ARG002 - of the protocol
        """Return the decisions that concern these frames of this episode alone: cameras that only it gets."""
        return self._mapping.episode_decisions

    @abstractmethod
    def _open(self) -> AbstractContextManager[EpisodeData]:
        """Read the arrays, and keep open what the pictures are read from. Raises UserError for bad data."""

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` (ascending). Raises UserError for bad data."""
        with self._open() as data:
            for frame, pictures in zip(frames, data.read_pictures(frames), strict=True):
                yield self._observe(data, frame, pictures)

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` with empty `pictures`. Raises UserError for bad data."""
        with self._open() as data:
            for frame in frames:
                yield self._observe(data, frame, {})

    def _observe(self, data: EpisodeData, frame: int, pictures: Mapping[str, Pixels8]) -> Observation:
        stop = None if self._horizon is None else frame + self._horizon
        return Observation(
            pictures=pictures,
            prompt=data.prompts[frame],
            state=None if data.state is None else data.state[frame],
            true_actions=None if data.actions is None else data.actions[frame:stop].astype(np.float32),
            index=frame,
            time=float(data.times[frame] - data.times[0]),
            episode=self.name,
            is_upside_down=self.is_upside_down,
        )


def join_columns(columns: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64] | None:
    """Return columns (frames, dims of each) side by side, (frames, sum of dims); None if there are none."""
    return np.concatenate(columns, axis=1) if columns else None


def frame_times(length: int, rate: float | None) -> npt.NDArray[np.float64]:
    """Return the seconds of frames at a constant rate, (length,); zeros where the rate is unknown."""
    return np.arange(length) / rate if rate else np.zeros(length)
