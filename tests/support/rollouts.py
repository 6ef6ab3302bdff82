"""Helpers of tests that record rollouts: the toy policy, its observations and a disk that writes when the test lets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from toy_policy import ToyPolicy, ToySpec

from capture.observation import Observation
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.policies.base import Prepared, RecordedCall
from capture.rollouts.episode_file import EpisodeFile
from capture.rollouts.run_description import RolloutRun

SETUP = Setup(ToySpec(), RunOptions(torch.device("cpu"), torch.float32, store="float32"), "none")


def describe_toy_run(**changes: Any) -> RolloutRun:
    return RolloutRun.from_setup(SETUP, **changes)


def record_toy_call(
    seed: int = 0, prompt: str = "stack the cups", height: int = 48, state: tuple[float, ...] = (0.25, -1.0)
) -> RecordedCall:
    """A recorded call of the toy policy with two cameras."""
    draw = np.random.default_rng(seed)
    pictures = {
        "front": draw.integers(0, 255, (60, 60, 3), dtype=np.uint8),
        "top": draw.integers(0, 255, (height, 96, 3), dtype=np.uint8),
    }
    observation = Observation(pictures, prompt, np.array(state))
    spec, policy = ToySpec(), ToyPolicy()
    prepared = Prepared(observation, spec.prepare_pictures(observation), spec.tokenise(prompt, observation.state))
    with policy.recorder() as recorder:
        return policy.run([prepared], recorder, seeds=[seed])


class HeldDisk:
    """Makes writing a frame wait until `release`; `failure` is then raised once instead."""

    def __init__(self, monkeypatch: Any) -> None:
        self._released = threading.Event()
        self.failure: Callable[[], BaseException] | None = None
        original = EpisodeFile.write

        def write(file: EpisodeFile, *arguments: Any) -> None:
            self._released.wait(60)
            if self.failure is not None:
                make, self.failure = self.failure, None
                raise make()
            original(file, *arguments)

        monkeypatch.setattr(EpisodeFile, "write", write)

    def release(self) -> None:
        self._released.set()
