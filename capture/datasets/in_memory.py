"""An episode of observations in memory, such as two picture files and a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from capture.errors import UserError
from capture.observation import Observation
from capture.provenance import Decision


@dataclass(frozen=True)
class InMemoryEpisode:
    """An `Episode` that holds its observations in memory."""

    observations: Sequence[Observation]
    name: str = ""
    number: int = 0
    rate: float | None = None
    success: bool | None = None
    decisions: tuple[Decision, ...] = ()
    """What was decided when the observations were made."""

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.observations)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Distinct prompts in order."""
        return tuple(dict.fromkeys(observation.prompt for observation in self.observations if observation.prompt))

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Camera -> (height, width). Raises UserError where these differ between observations."""
        first = self.observations[0]
        shapes = {camera: (picture.shape[0], picture.shape[1]) for camera, picture in first.pictures.items()}
        for observation in self.observations:
            check_pictures(observation, shapes)
        return shapes

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames` with empty `pictures`."""
        return (replace(self.observations[frame], pictures={}) for frame in frames)

    def check_files(self) -> None:
        """Do nothing: all is in memory."""

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:  # noqa: ARG002 - of the protocol
        """Return the decisions about the observations."""
        return self.decisions

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        """Yield the observations of `frames`."""
        return (self.observations[frame] for frame in frames)


def check_pictures(observation: Observation, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise UserError if the observation has other cameras than `shapes`, or pictures of another size."""
    where = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
    if observation.pictures.keys() != shapes.keys():
        raise UserError(f"{where} has other cameras than the first frame; a results file holds one set of cameras")
    for camera, picture in observation.pictures.items():
        height, width = shapes[camera]
        if picture.shape[:2] != (height, width):
            raise UserError(
                f"the {camera} picture of {where} is {picture.shape[1]} x {picture.shape[0]} pixels, the first one "
                f"{width} x {height}; a results file holds one size"
            )
