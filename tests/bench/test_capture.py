"""What recording costs beside the same call unrecorded, and what a full-size frame costs to sum up and to write.

pytest tests/bench --benchmark-enable --benchmark-only --benchmark-group-by=group
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from small_policy import make_observation, small_policy

from capture.pipeline.frame_builder import build_frames
from capture.policies.attention_hooks import Recording
from capture.policies.base import Layout, Norms
from capture.results import schema
from capture.results.writer import ResultsWriter

LAYERS, HEADS, STEPS, HORIZON, TEXT, DIM = 18, 8, 10, 15, 60, 32
KEYS = 512 + TEXT


@pytest.fixture(scope="module")
def make_full_call():
    """A recorded call with the tensors of a full-size one: heavy-tailed weights, not uniform noise."""
    policy = small_policy()
    recorder = policy.recorder()
    with recorder:
        call = policy.run([policy.prepare(make_observation())], recorder, seeds=[0])
    draw = torch.Generator().manual_seed(0)

    def rows(*shape):
        return (torch.randn(shape, generator=draw) * 2.5).softmax(-1).to(torch.bfloat16)

    table = call.prepared[0].tokens
    repeat = np.resize(np.arange(1, len(table)), TEXT - 1)
    fields = ("ids", "start", "stop", "role", "word", "state_index")
    longer = {name: np.concatenate([getattr(table, name)[:1], getattr(table, name)[repeat]]) for name in fields}
    pieces = (table.pieces[0], *(table.pieces[place] for place in repeat))
    recording = Recording(
        prefix=rows(1, LAYERS, HEADS, TEXT, KEYS),
        suffix_steps=tuple(rows(1, LAYERS, HEADS, HORIZON, KEYS + HORIZON) for _ in range(STEPS)),
        layers=tuple(range(LAYERS)),
        steps=tuple(range(STEPS)),
        steps_taken=STEPS,
        prefix_valid=None,
    )
    return dataclasses.replace(
        call,
        prepared=(dataclasses.replace(call.prepared[0], tokens=dataclasses.replace(table, pieces=pieces, **longer)),),
        recording=recording,
        layout=Layout(
            ("exterior", "wrist"),
            (slice(0, 256), slice(256, 512)),
            (16, 16),
            slice(512, KEYS),
            torch.arange(KEYS)[None],
        ),
        norms=Norms(
            torch.ones(1, LAYERS, HEADS, KEYS),
            torch.ones(1, LAYERS, HEADS, KEYS),
            torch.ones(1, LAYERS, STEPS, HEADS, HORIZON),
        ),
        path=torch.zeros(STEPS + 1, 1, HORIZON, DIM),
        time=torch.linspace(1, 0.1, STEPS),
    )


@pytest.mark.benchmark(group="one call of a small policy")
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_recorded_and_plain_call(benchmark, recorded):
    policy = small_policy()
    prepared = policy.prepare(make_observation())
    recorder = policy.recorder()

    def run():
        if recorded:
            with recorder:
                policy.run([prepared], recorder, seeds=[0])
        else:
            policy.plain([prepared], seeds=[0])

    benchmark(run)


@pytest.mark.benchmark(group="one full-size frame")
def test_frame_summaries(benchmark, make_full_call):
    [(frame, errors)] = benchmark(build_frames, make_full_call)
    assert errors.row_sum < 1e-2
    assert frame[schema.ACTION_TO_IMAGE].shape == (LAYERS, HORIZON, STEPS, HEADS, 2, 16, 16)


@pytest.mark.benchmark(group="ten full-size frames")
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_frame_writing(benchmark, make_full_call, tmp_path, compress):
    [(frame, _)] = build_frames(make_full_call)
    sizes = schema.Sizes(
        frames=10,
        cameras=("exterior", "wrist"),
        layers=tuple(range(LAYERS)),
        steps=tuple(range(STEPS)),
        heads=HEADS,
        tokens=TEXT,
        horizon=HORIZON,
        denoise_steps=STEPS,
        state_dim=4,
        robot_dim=4,
        model_dim=DIM,
        pictures=((90, 160), (96, 128)),
    )
    numbers = iter(range(100))

    def write():
        path = tmp_path / f"{next(numbers)}.h5"
        with ResultsWriter(path, sizes, model={}, generator="bench", compress=compress) as writer:
            for _ in range(sizes.frames):
                writer.write(frame)
            writer.finish({})
        return path

    path = benchmark.pedantic(write, rounds=3)
    benchmark.extra_info["MB a frame"] = path.stat().st_size / sizes.frames / 1e6
    assert path.stat().st_size / sizes.frames < 40e6


def test_throughput_script_runs(tmp_path):
    """With a small policy for a moment: it is run by hand, on other machines, and must be ready then."""
    script = Path(__file__).with_name("throughput.py")
    command = [
        sys.executable,
        str(script),
        *["--small", "--layers", "0", "--batches", "2", "--seconds", "0.1", "--folder"],
    ]
    ended = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "frames a second, recorded and written to" in ended.stdout
    assert "[" not in ended.stdout.partition("recorded and written")[2]  # no file failed
