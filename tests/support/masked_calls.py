"""Calls with masks of objects: the same frames for a client, a loop around the policy and an offline capture."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from policy_server import make_client_observation
from synthetic_episodes import ProgressLog
from toy_policy import ToySpec

from capture.datasets.in_memory import InMemoryEpisode
from capture.datasets.regions.segmentation import DatasetRegions
from capture.observation import Observation
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.results import scores_schema

FRAMES = 5
CAMERAS = {"observation/exterior_image_1_left": "front", "observation/wrist_image_left": "top"}
"""Key of a picture of `make_client_observation` -> camera of the toy policy."""
VALUES: dict[str, Any] = {"duck": 3, "bowl": [5, 6]}
PROMPT = "pick up the red block"


def make_labels(frame: int) -> dict[str, Any]:
    """Pictures of labels of a frame: none in frame 2, of one camera in frame 3, without the bowl in frame 4."""
    front, top = np.zeros((90, 160), np.int32), np.zeros((96, 128), np.int32)
    front[10 + 5 * frame : 50, 20:70], top[30:70, 8 * frame : 60] = 3, 3
    if frame != 4:
        front[40:80, 60 + frame : 120], front[60:90, 120:], top[:40, 90:] = 5, 6, 6
    found = {"observation/exterior_image_1_left": front, "observation/wrist_image_left": top}
    return {} if frame == 2 else dict(list(found.items())[: 1 if frame == 3 else 2])


LABELS_SOURCE = inspect.getsource(make_labels).replace("Any", "object")


def make_masks(frame: int) -> dict[str, dict[str, Any]]:
    """The same with a mask for each object, by the policy's names of the cameras."""
    labels = make_labels(frame)
    return {CAMERAS[key]: {"duck": each == 3, "bowl": (each == 5) | (each == 6)} for key, each in labels.items()}


def make_observation(frame: int) -> Observation:
    """The observation that the server makes of `make_client_observation(frame)`."""
    message = make_client_observation(frame)
    pictures = {camera: message[key] for key, camera in CAMERAS.items()}
    state = np.concatenate([message["observation/joint_position"], message["observation/gripper_position"]])
    return Observation(pictures, PROMPT, state, index=frame)


@dataclass(frozen=True)
class _Pictures:
    names = {3: "duck", 5: "bowl", 6: "bowl"}  # noqa: RUF012 - of a protocol

    def read(self, index: int) -> Mapping[str, Any]:
        return {CAMERAS[key]: labels.astype(np.uint8) for key, labels in make_labels(index).items()}


class MaskedEpisode(InMemoryEpisode):
    """The frames as an episode with masks of its own."""

    @property
    def masks(self) -> _Pictures:
        return _Pictures()


def capture_offline(path: Path, maps_every: int = 0) -> None:
    """Capture the frames with `--regions dataset --store float32`."""
    options = RunOptions(
        torch.device("cpu"), torch.float32, store="float32", maps_every=maps_every, regions=DatasetRegions()
    )
    episode = MaskedEpisode([make_observation(frame) for frame in range(FRAMES)])
    outcome = run_jobs(Setup(ToySpec(), options, "none"), [Job(path, episode)], ProgressLog())
    assert outcome.files[0].failure is None


def assert_same_scores(recorded: Path, offline: Path) -> None:
    """Assert that a recording has the scores of the offline capture; words of a recording have room for more."""
    with h5py.File(recorded) as first, h5py.File(offline) as second:
        names = first[scores_schema.COVERAGE].attrs["regions"].tolist()
        assert names == ["duck", "bowl"] == second[scores_schema.COVERAGE].attrs["regions"].tolist()
        np.testing.assert_array_equal(first[scores_schema.COVERAGE], second[scores_schema.COVERAGE])
        for name in scores_schema.AXES:
            found, expected = first[name][...], second[name][...]
            if "word" in scores_schema.AXES[name]:
                axis = scores_schema.AXES[name].split(", ").index("word")
                found = found.take(range(expected.shape[axis]), axis)
            assert np.isfinite(expected).any(), name
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=name)
        mass = first[scores_schema.region_score("action", "mass")]  # (frames, regions, layers, actions, steps, heads)
        assert np.isnan(mass[2]).all()  # not known
        assert (mass[4, 1] == 0).all()  # known not to be seen
        assert (mass[0] > 0).all()
