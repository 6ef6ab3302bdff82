"""Helpers of tests that run the pipeline: synthetic episodes, a small policy and the comparison of results files."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import torch

from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.types import Job
from capture.policies.tokenizer import find_tokenizer
from capture.provenance import Decision


class ProgressLog:
    """Progress that records what it is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.decisions: list[Decision] = []
        self.expected = 0
        self.steps: list[float] = []

    def loading(self, done: int, total: int) -> None:
        pass

    def expect(self, frames: int) -> None:
        self.expected += frames

    def step(self, frames: float) -> None:
        self.steps.append(frames)

    def log(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)


LENGTHS = {"a": 5, "b": 2, "c": 4}
"""Frames of the episodes of `jobs`."""


@dataclass
class SyntheticEpisode:
    """An episode of random pictures, which are created when they are read; reading may fail at a given frame."""

    name: str = "episode_000003"
    number: int = 3
    length: int = 6
    task: str = "pick up the red block"
    breaks_at: int | None = None
    rate: float | None = 15.0
    success: bool | None = True
    alive: list[weakref.ref[np.ndarray]] = field(default_factory=list)
    max_alive: int = 0

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.task,)

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return {"exterior": (90, 160), "wrist": (96, 128)}

    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        return ()

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        for frame in frames:
            truth = np.full((2, 4), frame, np.float32)
            state = np.array([0.1 * frame, -0.4, 2.0, 0.7])
            yield Observation({}, self.task, state, truth, frame, frame / 15, self.name)

    def read(self, frames: Sequence[int]) -> Iterator[Observation]:
        for observation in self.read_without_pictures(frames):
            if observation.index == self.breaks_at:
                raise UserError(f"the video of frame {observation.index} is cut off")
            pictures = {
                camera: np.random.default_rng([observation.index, height]).integers(
                    0, 255, (height, width, 3), dtype=np.uint8
                )
                for camera, (height, width) in self.shapes.items()
            }
            self.alive = [ref for ref in self.alive if ref() is not None]
            self.alive += [weakref.ref(picture) for picture in pictures.values()]
            self.max_alive = max(self.max_alive, len(self.alive))
            yield replace(observation, pictures=pictures)


def small_setup(checkpoint: Path) -> Setup:
    found = open_checkpoint(checkpoint, options=CheckpointOptions(sizes=checkpoint / "sizes.json", denoise_steps=2))
    choices = RunOptions(torch.device("cpu"), torch.float32, layers=(0, 2), steps=(1,), store="float32")
    return Setup(Pi05Spec(found, find_tokenizer(None, found.tokenizer_folder)), choices, "the weights")


def with_options(setup: Setup, **choices: object) -> Setup:
    return replace(setup, options=replace(setup.options, **choices))


def make_jobs(folder: Path, **more: object) -> list[Job]:
    """Return jobs of three episodes whose results files lie in `folder`."""
    folder.mkdir(exist_ok=True)
    return [Job(folder / f"{name}.h5", SyntheticEpisode(name, length=length)) for name, length in LENGTHS.items()]


def assert_same_results(first: Path, second: Path, exactly: bool = True) -> None:
    """Assert that two results files have equal contents, bit for bit or up to rounding."""
    with h5py.File(first) as first_file, h5py.File(second) as second_file:
        names: list[str] = []
        first_file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) > 40
        for name in names:
            if exactly or first_file[name].dtype.kind != "f":
                np.testing.assert_array_equal(first_file[name][...], second_file[name][...], err_msg=name)
            else:
                np.testing.assert_allclose(
                    first_file[name][...], second_file[name][...], rtol=1e-5, atol=1e-4, err_msg=name
                )
        assert first_file.attrs["run"] == second_file.attrs["run"]
        assert first_file.attrs["complete"]
        assert second_file.attrs["complete"]


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait until `reached` returns True, for at most a minute."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class ActAfterFrames(ProgressLog):
    """Progress that calls `act` once `after` frames were run."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.after, self.act = after, act

    def step(self, frames: float) -> None:
        if frames >= self.after:
            self.after = 1 << 30
            self.act()
