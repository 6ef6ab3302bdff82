"""The whole pipeline with a policy that is not Pi0.5: its sizes decide the file, and the file holds its attention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from synthetic_episodes import ProgressLog, SyntheticEpisode
from toy_policy import GRID, PATCH, SIZES, ToyPolicy, ToySpec, attention

from capture.__main__ import main
from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.policies.base import Policy, PolicySpec
from capture.results import schema
from capture.results.schema import model_picture_name

PROMPTS = ("stack the cups", "go")
LAYERS, STEPS = (1, 0), (0, 2)


@dataclass
class ToyEpisode(SyntheticEpisode):
    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return {"top": (48, 96), "front": (60, 60)}


@pytest.fixture(scope="module", params=[(0, False), (1, True)], ids=["threads", "processes, full"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results file of the toy policy: three frames of an episode, two prompts each, in padded batches."""
    workers, full = request.param
    path = tmp_path_factory.mktemp("toy") / "toy.h5"
    choices = RunOptions(
        torch.device("cpu"),
        torch.float32,
        layers=LAYERS,
        steps=STEPS,
        store="float32",
        batch=2,
        workers=workers,
        full=full,
        prompts=Prompts(PROMPTS),
    )
    outcome = run_jobs(Setup(ToySpec(), choices, "none"), [Job(path, ToyEpisode(length=3))], ProgressLog())
    assert outcome.files[0].failure is None
    return path


def patch_values(file: h5py.File, frame: int) -> np.ndarray:
    """(cameras, rows, cols): mean of each patch in [-1, 1], of the stored pictures."""
    means = []
    for camera in ("front", "top"):
        picture = file[model_picture_name(camera)][frame] / 127.5 - 1
        means.append(picture.reshape(GRID[0], PATCH, GRID[1], PATCH, 3).mean((1, 3, 4)))
    return np.stack(means)


def test_toy_policy_satisfies_the_protocols() -> None:
    policy: Policy = ToyPolicy()
    spec: PolicySpec = ToySpec()
    assert policy.sizes == spec.sizes


def test_file_has_the_axes_of_the_policy(results: Path) -> None:
    with h5py.File(results) as file:
        assert list(file.attrs["cameras"]) == ["front", "top"]
        assert file[model_picture_name("top")].shape == (6, 96, 96, 3)
        assert file[model_picture_name("top")].attrs["description"].endswith("a patch is 12 x 12 pixels")
        assert file[schema.TEXT_TO_IMAGE].shape == (6, 2, 4, 3, 2, 8, 8)
        assert file[schema.ACTION_TO_IMAGE].shape == (6, 2, 5, 2, 3, 2, 8, 8)
        assert file[schema.ACTION_TO_ACTION].shape == (6, 2, 5, 2, 3, 5)
        assert file[schema.ACTION_PREDICTED].shape == (6, 5, 2)
        assert file[schema.ACTION_X].shape == (6, 4, 5, 6)
        assert file[schema.IMAGE_POSITION][0].ravel().tolist() == list(range(128))
        if schema.IMAGE_TO_IMAGE in file:
            assert file[schema.IMAGE_TO_IMAGE].shape == (6, 2, 3, 2, 8, 8, 2, 8, 8)


@pytest.mark.parametrize("frame", range(6))
def test_stored_attention_is_what_the_policy_computed(results: Path, frame: int) -> None:
    with h5py.File(results) as file:
        assert file[schema.FRAMES_PROMPT].asstr()[frame] == PROMPTS[frame % 2]
        tokens = len(PROMPTS[frame % 2].split()) + 1
        patches = patch_values(file, frame)
        ids = file[schema.TEXT_ID][frame, :tokens]
        prefix = np.concatenate([patches.ravel(), ids / 10])
        state = file[schema.FRAMES_STATE][frame].sum()
        groups = list(file[schema.ACTION_MASS].attrs["groups"])
        for index, layer in enumerate(LAYERS):
            for head in range(SIZES.heads):
                text = attention(torch.from_numpy(prefix[128:]), torch.from_numpy(prefix), layer, head).numpy()
                stored = file[schema.TEXT_TO_IMAGE][frame, index, :tokens, head].reshape(tokens, -1)
                np.testing.assert_allclose(stored, text[:, :128], atol=1e-6)
                stored = file[schema.TEXT_TO_TEXT][frame, index, :tokens, head, :tokens]
                np.testing.assert_allclose(stored, text[:, 128:], atol=1e-6)
                for number, step in enumerate(STEPS):
                    actions = file[schema.ACTION_X][frame, step].mean(-1)
                    # Padded text keys, where the batch has a longer prompt, count in the toy's key numbers.
                    gap = file[schema.ACTION_TO_TEXT].shape[-1] - tokens
                    keys = np.concatenate([prefix, np.zeros(gap), [state], actions])
                    masked = (np.arange(len(keys)) >= 128 + tokens) & (np.arange(len(keys)) < 128 + tokens + gap)
                    rows = attention(
                        torch.from_numpy(actions), torch.from_numpy(keys), layer, head, torch.from_numpy(masked)
                    ).numpy()
                    where = (frame, index, slice(None), number, head)
                    stored = file[schema.ACTION_TO_IMAGE][where].reshape(5, -1)
                    np.testing.assert_allclose(stored, rows[:, :128], atol=1e-6)
                    np.testing.assert_allclose(file[schema.ACTION_TO_ACTION][where], rows[:, -5:], atol=1e-6)
                    mass = file[schema.ACTION_MASS][where]
                    np.testing.assert_allclose(mass[:, groups.index("state")], rows[:, -6], atol=1e-6)
                    np.testing.assert_allclose(mass[:, groups.index("action")], rows[:, -5:].sum(-1), atol=1e-6)


def test_masses_follow_the_letterbox_of_each_camera(results: Path) -> None:
    with h5py.File(results) as file:
        groups = list(file[schema.TEXT_MASS].attrs["groups"])
        weights = file[schema.TEXT_TO_IMAGE][0]  # (L, T, N, C, rows, cols)
        mass = file[schema.TEXT_MASS][0]
        # A picture of 48 x 96 fills rows 24 to 72 of the square: patch rows 2 to 5.
        inside = weights[..., 1, 2:6, :].sum((-1, -2))
        np.testing.assert_allclose(mass[..., groups.index("top")], inside, atol=1e-6)
        np.testing.assert_allclose(
            mass[..., groups.index("top bars")], weights[..., 1, :, :].sum((-1, -2)) - inside, atol=1e-6
        )
        assert np.all(mass[..., groups.index("front bars")] == 0)
        np.testing.assert_allclose(mass.sum(-1), 1, atol=1e-6)


def test_actions_are_in_robot_units(results: Path) -> None:
    with h5py.File(results) as file:
        np.testing.assert_allclose(file[schema.ACTION_PREDICTED][...], 10 * file[schema.ACTION_X][:, -1, :, :2])
        assert file.attrs["complete"]


def test_command_captures_with_the_policy_that_open_policy_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.full((30, 40, 3), 90, np.uint8)
    assert cv2.imwrite(str(tmp_path / "seen.png"), picture)
    pictures = dict.fromkeys(SIZES.cameras, "seen.png")
    frames = [{"pictures": pictures, "state": [0.1, 0.2]}]
    (tmp_path / "episode.json").write_text(json.dumps({"prompt": "stack the cups", "rate": 10, "frames": frames}))
    monkeypatch.setattr("capture.cli.setup.open_policy", lambda _: ToySpec())
    output = tmp_path / "toy.h5"
    assert main(["--checkpoint", "toy", "--episode", str(tmp_path), "-o", str(output)]) == 0, capsys.readouterr().err
    with h5py.File(output) as file:
        assert json.loads(file.attrs["model"])["kind"] == "toy"
        assert file["frames/done"][()] == 1
        assert file[schema.ACTION_TO_IMAGE].shape == (1, 2, 5, 3, 3, 3, 8, 8)
