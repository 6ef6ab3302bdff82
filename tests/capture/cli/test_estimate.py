"""Estimates of a run's duration, and what they are based on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint
from capture.cli.estimate import describe_time, frame_seconds
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.policies.tokenizer import find_tokenizer
from capture.results import schema


@pytest.fixture
def setup(checkpoint: Path) -> Setup:
    opened = open_checkpoint(checkpoint, options=CheckpointOptions(sizes=checkpoint / "sizes.json"))
    choices = RunOptions(torch.device("cpu"), torch.float32)
    return Setup(Pi05Spec(opened, find_tokenizer(None, opened.tokenizer_folder)), choices, "")


def write_results(path: Path, setup: Setup, seconds: object, **run: object) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["run"] = json.dumps({**setup.run, **run})
        file.attrs["checks"] = json.dumps({"seconds_a_frame": seconds})
        file.attrs["complete"] = True
        file[schema.FRAMES_DONE] = 1
        file[schema.FRAMES_INDEX] = [0]


def test_estimate_uses_results_with_same_settings(setup: Setup, tmp_path: Path) -> None:
    write_results(tmp_path / "a.h5", setup, 2.0)
    write_results(tmp_path / "b.h5", setup, 4.0, seed=7, layers=[0])
    write_results(tmp_path / "c.h5", setup, 100.0, device="cuda")
    write_results(tmp_path / "d.h5", setup, "nan")
    (tmp_path / "e.h5").write_bytes(b"no HDF5")
    assert frame_seconds(tmp_path, setup.run) == [2.0, 4.0]
    assert describe_time(setup, 1000, [tmp_path]) == (
        "about 50 min, if frames take 3 s each as in 2 files that the same policy made there"
    )
    assert "about 25 min on 2 processes, if" in describe_time(setup, 1000, [tmp_path], 2)


def test_estimate_says_whether_its_basis_is_known(setup: Setup, tmp_path: Path) -> None:
    assert describe_time(setup, 1000, [tmp_path]).startswith("how long it will take is not known")
    assert describe_time(setup, 0, [tmp_path]) == "nothing is left to be run"
    full = replace(setup.policy.checkpoint.config.vlm, width=2048, depth=18)
    expert = replace(setup.policy.checkpoint.config.expert, width=1024)
    config = replace(setup.policy.checkpoint.config, vlm=full, expert=expert, denoise_steps=10)
    large = replace(
        setup,
        policy=replace(setup.policy, checkpoint=replace(setup.policy.checkpoint, config=config)),
        options=replace(setup.options, dtype=torch.bfloat16),
    )
    assert "as measured once on two cores of a server" in describe_time(large, 10, [tmp_path])
    for choices, message in (
        ({"batch": 32}, "about 24 s, if frames take 0.024 s each as measured once on an NVIDIA H100 with --batch 16"),
        (
            {"graphs": False},
            "about 6 min, if frames take 0.35 s each as measured once on an NVIDIA H100 with --batch 1; your machine",
        ),
        (
            {"check": True},
            "about 12 min, if frames take 0.35 s each as measured once on an NVIDIA H100 with --batch 1, and twice that "
            "with --check; your machine",
        ),
    ):
        on_gpu = replace(large.options, device=torch.device("cuda"), **choices)
        assert describe_time(replace(large, options=on_gpu), 1000, [tmp_path]).startswith(message)
