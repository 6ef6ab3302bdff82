"""What all tests share: where reference data lies, and the tiny policy whose tensors the reference computed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def shared_folder() -> Path:
    """The folder of reference data beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PI0_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set PI0_SHARED to its folder to run this test")
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    return shared_folder()


@dataclass(frozen=True)
class Tiny:
    """The tiny policy's model, its inputs, and the reference's tensors that are always at hand."""

    model: object
    pictures: list[object]
    inputs: dict[str, object]
    openpi: dict[str, object]


def tiny_config():
    from capture.model import Pi05Config, StackConfig, VisionConfig

    sizes = json.loads((GOLDEN / "sizes.json").read_text())

    def stack(part: dict[str, int]) -> StackConfig:
        return StackConfig(
            part["width"], part["depth"], part["num_heads"], part["num_kv_heads"], part["head_dim"], part["mlp_dim"]
        )

    vision = sizes["vision"]
    return Pi05Config(
        VisionConfig(
            vision["hidden_size"],
            vision["num_hidden_layers"],
            vision["num_attention_heads"],
            vision["intermediate_size"],
        ),
        stack(sizes["vlm"]),
        stack(sizes["action_expert"]),
        vocabulary=sizes["vocab_size"],
        horizon=sizes["action_horizon"],
    )


def tiny_model(dtype=None):
    """The tiny policy, built on the meta device as a checkpoint's is."""
    import torch
    from safetensors.torch import load_file

    from capture.model import Pi05, parameter_dtype

    dtype = dtype or torch.float32
    with torch.device("meta"):
        model = Pi05(tiny_config())
    weights = {}
    for name, tensor in load_file(GOLDEN / "weights.safetensors").items():
        ours = name.replace(".vision_model", "").replace(
            "paligemma.lm_head", "paligemma.model.language_model.embed_tokens"
        )
        weights[ours] = tensor.to(parameter_dtype(ours, dtype))
    model.load_state_dict(weights, assign=True)
    model.refill_buffers("cpu")
    return model


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    from safetensors.torch import load_file

    inputs = load_file(GOLDEN / "inputs.safetensors")
    pictures = [(inputs[f"image{slot}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for slot in range(2)]
    return Tiny(tiny_model(), pictures, inputs, load_file(GOLDEN / "openpi.safetensors"))
