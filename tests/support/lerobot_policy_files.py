"""Folders of Pi0.5 policies as lerobot saves them."""

from __future__ import annotations

import json

import torch
from checkpoint_files import ODD, lerobot_names, random_weights
from safetensors.torch import save_file

IMAGE = {"type": "VISUAL", "shape": [3, 224, 224]}


STATS_FILE = "policy_preprocessor_step_2_normalizer_processor.safetensors"


def lerobot_config(**changes):
    """Return the content of `config.json`; a change to "absent" leaves a key out."""
    values = {
        "type": "pi05",
        "chunk_size": 10,
        "num_inference_steps": 7,
        "tokenizer_max_length": 180,
        "use_relative_actions": False,
        "max_state_dim": 32,
        "input_features": {
            "observation.images.image": IMAGE,
            "observation.state": {"type": "STATE", "shape": [8]},
            "observation.images.image2": IMAGE,
            "observation.images.empty_camera_0": IMAGE,
        },
        "output_features": {"action": {"type": "ACTION", "shape": [7]}},
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES"},
        **changes,
    }
    return {key: value for key, value in values.items() if value != "absent"}


def write_lerobot_policy(folder, *, configuration=None, modes=None, tied=False, statistics=True, extra_steps=()):
    """Write a folder as lerobot's `save_pretrained` leaves it."""
    folder.mkdir(exist_ok=True)
    save_file(lerobot_names(random_weights(ODD), tied=tied), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(lerobot_config() if configuration is None else configuration))
    norm_map = {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES", **(modes or {})}
    state_file = {"state_file": STATS_FILE} if statistics else {}
    before = [
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "normalizer_processor", "config": {"norm_map": norm_map}, **state_file},
        {"registry_name": "tokenizer_processor", "config": {"max_length": 200}},
        *extra_steps,
    ]
    after_file = {"state_file": "after.safetensors"} if statistics else {}
    after = [{"registry_name": "unnormalizer_processor", "config": {"norm_map": norm_map}, **after_file}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"name": "policy_preprocessor", "steps": before}))
    (folder / "policy_postprocessor.json").write_text(json.dumps({"name": "policy_postprocessor", "steps": after}))
    if statistics:
        state = {f"observation.state.{name}": torch.full((8,), value) for name, value in NUMBERS.items()}
        action = {f"action.{name}": torch.full((7,), value) for name, value in NUMBERS.items()}
        save_file({**state, **action}, folder / STATS_FILE)
        save_file({name: tensor * 2 for name, tensor in action.items()}, folder / "after.safetensors")
    return folder


NUMBERS = {"mean": 0.5, "std": 2.0, "min": -3.0, "max": 3.0, "q01": -1.0, "q10": -0.5, "q90": 0.5, "q99": 1.0}
