"""Two small policies: a tiny one that the reference ran, and one whose sizes tell mistakes apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from paths import DATA, GOLDEN
from safetensors.torch import load_file, save_file

from capture.checkpoints.key_names import openpi_name, parameter_name
from capture.observation import Observation
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig, parameter_dtype
from capture.policies.pi05.model import Pi05
from capture.policies.pi05.policy import Pi05Policy
from capture.policies.pi05.preprocessing import Normaliser, Preprocessing
from capture.policies.tokenizer import read_tokenizer

TOKENIZER = DATA / "tokenizer.json"


def tiny_config() -> Pi05Config:
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
    dtype = dtype or torch.float32
    with torch.device("meta"):
        model = Pi05(tiny_config())
    weights = {}
    for name, tensor in load_file(GOLDEN / "weights.safetensors").items():
        name_in_model = name.replace(".vision_model", "").replace(
            "paligemma.lm_head", "paligemma.model.language_model.embed_tokens"
        )
        name_in_model = parameter_name(name_in_model)
        weights[name_in_model] = tensor.to(parameter_dtype(name_in_model, dtype))
    model.load_state_dict(weights, assign=True)
    model.refill_buffers("cpu")
    return model


def small_config():
    """Sizes that keep apart what real ones confuse: o_proj is not square, widths differ, two heads share a key."""
    return Pi05Config(
        vision=VisionConfig(width=24, depth=2, heads=3, mlp=40),
        vlm=StackConfig(width=40, depth=3, heads=4, kv_heads=2, head_dim=8, mlp=56),
        expert=StackConfig(width=20, depth=3, heads=4, kv_heads=2, head_dim=8, mlp=36),
        vocabulary=512,
        horizon=6,
        denoise_steps=4,
    )


def small_model(seed=0):
    """A seeded random policy whose attention is far from uniform."""
    torch.manual_seed(seed)
    model = Pi05(small_config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.6 * parameter[0].numel() ** -0.5)
            elif "norm" in name and name.endswith("weight") and "vision" in name:
                parameter.normal_(mean=1.0, std=0.1)
            else:
                parameter.normal_(std=0.1)
    return model


def small_policy(**options):
    """The small model with openpi's preprocessing, DROID's cameras and the small tokenizer."""
    stats = {"q01": np.array([-1.0, -2.0, 0.0, 0.5]), "q99": np.array([1.0, 2.0, 4.0, 0.9])}
    preprocessing = Preprocessing(
        resize="pil",
        slots=("exterior", "wrist", "right wrist"),
        state_in_prompt=True,
        pad_state_to=None,
        state=Normaliser("openpi_quantile", stats),
        action=Normaliser("openpi_quantile", stats),
        robot_dim=4,
        **options,
    )
    return Pi05Policy(small_model(), preprocessing, read_tokenizer(TOKENIZER))


def make_observation(prompt="pick up the red block", **given):
    """Two pictures of different shape, 16:9 and 4:3, and a state of four numbers."""
    draw = np.random.default_rng(3)
    pictures = {
        "exterior": draw.integers(0, 255, (90, 160, 3), dtype=np.uint8),
        "wrist": draw.integers(0, 255, (96, 128, 3), dtype=np.uint8),
    }
    return Observation(given.pop("pictures", pictures), prompt, np.array([0.1, -0.4, 2.0, 0.7]), **given)


def write_small_checkpoint(folder: Path) -> Path:
    """The small policy as openpi's converter would have written it, with a tokenizer and statistics."""
    folder.mkdir(parents=True)
    weights = {}
    for name, tensor in small_model().state_dict().items():
        stored = openpi_name(name).replace(".vision_tower.", ".vision_tower.vision_model.")
        stored = stored.replace("paligemma.model.language_model.embed_tokens", "paligemma.lm_head")
        weights[stored] = tensor.to(torch.float32).contiguous()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"action_dim": 32, "action_horizon": 6, "precision": "float32"}))
    heads = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 8}
    sizes = {"vision": {"num_attention_heads": 3}, "vlm": heads, "action_expert": heads}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    statistics = {"mean": [0] * 4, "std": [1] * 4, "q01": [-1, -2, 0, 0.5], "q99": [1, 2, 4, 0.9]}
    assets = folder / "assets" / "droid"
    assets.mkdir(parents=True)
    (assets / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": statistics, "actions": statistics}}))
    shutil.copy(TOKENIZER, folder)
    return folder
