"""Observations that are at hand already, such as two picture files and a prompt, as an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from capture.errors import UserError
from capture.observation import Observation


@dataclass(frozen=True)
class InMemoryEpisode:
    """An episode that holds its observations in memory; frames count from 0 in the order given."""

    observations: Sequence[Observation]
    name: str = ""
    number: int = 0
    rate: float | None = None
    success: bool | None = None

    @property
    def length(self) -> int:
        """Frames."""
        return len(self.observations)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Its tasks."""
        return tuple(dict.fromkeys(one.prompt for one in self.observations if one.prompt))

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Camera -> (height, width), of the first observation. Raises UserError if another one differs."""
        first = self.observations[0]
        shapes = {camera: (picture.shape[0], picture.shape[1]) for camera, picture in first.pictures.items()}
        for one in self.observations:
            check_pictures(one, shapes)
        return shapes

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """The observations without their pictures."""
        return (replace(self.observations[frame], pictures={}) for frame in frames)

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """The observations."""
        return (self.observations[frame] for frame in frames)


def check_pictures(observation: Observation, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise UserError if the observation has other cameras than `shapes`, or pictures of another size."""
    where = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
    if observation.pictures.keys() != shapes.keys():
        raise UserError(f"{where} has other cameras than the first frame; a results file holds one set")
    for camera, picture in observation.pictures.items():
        height, width = shapes[camera]
        if picture.shape[:2] != (height, width):
            raise UserError(
                f"the {camera} picture of {where} is {picture.shape[1]} x {picture.shape[0]} pixels, the first one "
                f"{width} x {height}; a results file holds one size"
            )
