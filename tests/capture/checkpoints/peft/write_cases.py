"""Write cases.json: adapters as PEFT saves them and the weights that its own merge gives. Run where peft is installed.

The modules have lerobot's names of a Pi0.5 and a few numbers each.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn

TARGETS = r"(.*\.gemma_expert\..*\.self_attn\.(q|v)_proj|model\.(action_in_proj))"
"""What lerobot adapts in a Pi0.5 by default, as far as it is in this tree."""

CASES = {
    "plain": {"r": 2, "lora_alpha": 6},
    "rank stabilised, with patterns": {
        "r": 4,
        "lora_alpha": 3,
        "use_rslora": True,
        "rank_pattern": {"v_proj": 2},
        "alpha_pattern": {"v_proj": 7},
    },
    "DoRA": {"r": 2, "lora_alpha": 4, "use_dora": True},
}


def build_module_tree(paths: dict[str, nn.Module]) -> nn.Module:
    """A module with submodules at dotted paths."""
    root = nn.Module()
    for path, module in paths.items():
        *parents, last = path.split(".")
        branch = root
        for name in parents:
            if not hasattr(branch, name):
                branch.add_module(name, nn.Module())
            branch = getattr(branch, name)
        branch.add_module(last, module)
    return root


def build_policy() -> nn.Module:
    attention = "model.paligemma_with_expert.gemma_expert.model.layers.0.self_attn."
    return build_module_tree(
        {
            attention + "q_proj": nn.Linear(3, 4, bias=False),
            attention + "v_proj": nn.Linear(3, 2, bias=False),
            "model.action_in_proj": nn.Linear(2, 3),
            "model.time_mlp_in": nn.Linear(2, 2),
        }
    )


def to_lists(tensors: dict[str, torch.Tensor]) -> dict[str, list[object]]:
    return {name: tensor.tolist() for name, tensor in sorted(tensors.items())}


def main() -> None:
    cases = {}
    for name, options in CASES.items():
        torch.manual_seed(0)
        base = build_policy()
        weights = {key: value.clone() for key, value in base.state_dict().items()}
        model = get_peft_model(base, LoraConfig(target_modules=TARGETS, modules_to_save=["time_mlp_in"], **options))
        for key, parameter in model.named_parameters():
            if "magnitude" in key:
                parameter.data *= 1.5
            elif "lora_" in key:
                parameter.data = torch.randn_like(parameter)
            elif "modules_to_save" in key:
                parameter.data += 1
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            saved = load_file(Path(folder) / "adapter_model.safetensors")
            config = json.loads((Path(folder) / "adapter_config.json").read_text())
        inside = {key: value.clone() for key, value in model.state_dict().items()}
        merged = model.merge_and_unload().state_dict()
        cases[name] = {
            "config": {key: value for key, value in config.items() if value and key != "auto_mapping"},
            "base": to_lists(weights),
            "adapter": to_lists(saved),
            "inside": to_lists(inside),
            "merged": to_lists(merged),
        }
    Path(__file__).with_name("cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


main()
