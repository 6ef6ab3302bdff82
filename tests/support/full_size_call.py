"""A recorded call with tensors of a full-size policy's shapes, filled with random weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from toy_policy import ToySpec

from capture.observation import Observation
from capture.policies.attention_hooks import Recording
from capture.policies.base import Layout, Norms, Prepared, RecordedCall, TokenTable
from capture.policies.letterbox import Picture, letterbox
from capture.results import schema

LAYERS, HEADS, STEPS, HORIZON, DIM, GRID = 18, 8, 10, 15, 32, (16, 16)


def make_full_size_call(
    cameras: int = 2, text: int = 60, regions: int = 3, seed: int = 0, layers: int = LAYERS
) -> RecordedCall:
    """One observation of 16:9 pictures; every region is known in every camera. Weights are those of sharp heads."""
    draw = torch.Generator().manual_seed(seed)
    patches = cameras * GRID[0] * GRID[1]
    keys = patches + text

    def rows(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=draw) * 2.5).softmax(-1).to(torch.bfloat16)

    names = tuple(f"camera {number}" for number in range(cameras))
    recording = Recording(
        prefix=rows(1, layers, HEADS, text, keys),
        suffix_steps=tuple(rows(1, layers, HEADS, HORIZON, keys + HORIZON) for _ in range(STEPS)),
        layers=tuple(range(layers)),
        steps=tuple(range(STEPS)),
        steps_taken=STEPS,
        prefix_valid=None,
    )
    prepared = _prepared(names, text, regions, seed)
    size = GRID[0] * GRID[1]
    patch_slices = tuple(slice(size * number, size * (number + 1)) for number in range(cameras))
    norm = torch.ones(1, layers, HEADS, keys)
    return RecordedCall(
        prepared=(prepared,),
        seeds=(0,),
        to_robot=lambda actions, _: actions[:, :8],
        layout=Layout(names, patch_slices, GRID, slice(patches, keys), torch.arange(keys)[None]),
        recording=recording,
        norms=Norms(norm, norm, torch.ones(1, layers, STEPS, HEADS, HORIZON)),
        path=torch.zeros(STEPS + 1, 1, HORIZON, DIM),
        time=torch.linspace(1, 0.1, STEPS),
    )


def _prepared(cameras: tuple[str, ...], text: int, regions: int, seed: int) -> Prepared:
    table = ToySpec().tokenise(" ".join(["word"] * (text - 1)), np.zeros(8))
    box = letterbox(180, 320)
    picture = Picture(np.zeros((224, 224, 3), np.uint8), torch.zeros(3, 224, 224), box)
    coverage = np.zeros((regions, len(cameras), *GRID), np.float32)
    rng = np.random.default_rng(seed)
    for region in range(regions):
        for camera in range(len(cameras)):
            row, col = rng.integers(4, 10), rng.integers(0, 12)
            coverage[region, camera, row : row + 2, col : col + 3] = 1
    source = np.zeros((180, 320, 3), np.uint8)
    shown = Observation(dict.fromkeys(cameras, source), "the task", np.zeros(8), episode="episode")
    assert isinstance(table, TokenTable)
    return Prepared(shown, dict.fromkeys(cameras, picture), table, coverage if regions else None)


def make_full_size_sizes(call: RecordedCall, frames: int, **changes: object) -> schema.Sizes:
    """The sizes of a file for such calls."""
    cameras, [prepared] = call.layout.cameras, call.prepared
    coverage = prepared.coverage
    sizes = schema.Sizes(
        frames=frames,
        cameras=cameras,
        layers=call.recording.layers,
        steps=tuple(range(STEPS)),
        heads=HEADS,
        tokens=len(prepared.tokens),
        horizon=HORIZON,
        denoise_steps=STEPS,
        state_dim=8,
        robot_dim=8,
        model_dim=DIM,
        pictures=((180, 320),) * len(cameras),
        regions=() if coverage is None else tuple(f"region {number}" for number in range(len(coverage))),
        words=len(prepared.tokens),
    )
    return dataclasses.replace(sizes, **changes)  # type: ignore[arg-type]
