"""Episodes of random pictures, and a checkpoint without files; a module, so that child processes can import it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import wait
from typing import Any, ClassVar

import numpy as np

from capture.checkpoints.load import Checkpoint
from capture.datasets.base import Episode
from capture.observation import Observation
from capture.pipeline.planning.plan import FileOutline
from capture.pipeline.reader import ReaderProcess
from capture.policies.pi05.model import Pi05
from capture.provenance import Decision

TASK_PLACEHOLDER = "put the yellow rubber duck in the bowl beside the mug"
STATE = np.array([0.1, -0.4, 0.05, -2.1, 0.02, 1.7, 0.2, 0.0])


@dataclasses.dataclass(frozen=True)
class RandomEpisode:
    """An episode of random pictures, each frame's a little different."""

    name: str
    number: int
    length: int
    height: int
    width: int
    rate: float | None = 15.0
    prompts: tuple[str, ...] = (TASK_PLACEHOLDER,)
    success: bool | None = None

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return {"exterior": (self.height, self.width), "wrist": (self.height, self.width)}

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        return ()

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        for frame in frames:
            state = STATE + 0.01 * frame
            yield Observation({}, TASK_PLACEHOLDER, state, np.zeros((15, 8), np.float32), frame, frame / 15, self.name)

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        rough = np.random.default_rng(self.number).integers(0, 255, (self.height, self.width, 3), dtype=np.uint8)
        for observation in self.read_without_pictures(frames):
            pictures = {camera: np.roll(rough, observation.index, axis=1) for camera in self.shapes}
            yield dataclasses.replace(observation, pictures=pictures)


class LoadedCheckpoint(Checkpoint):
    """A checkpoint whose model is there already."""

    model: ClassVar[Pi05 | None]

    def load(self, *_: Any, **__: Any) -> Any:
        return type(self).model


class StartedReader(ReaderProcess):
    """A reader that is ready at once, as in a run that has spent seconds on loading weights."""

    def plan(self, number: int, episode: Episode) -> FileOutline:
        wait([self._ready])
        return super().plan(number, episode)
