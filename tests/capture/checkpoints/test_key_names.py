"""Foreign weight names: the rule for prefixes and embeddings, and other models recognised."""

from __future__ import annotations

import re

import pytest
import torch
from checkpoint_files import ODD, TIED, lerobot_names, openpi_names, random_weights
from small_policy import small_config

from capture.checkpoints.infer_config import EMBEDDING, VISION
from capture.checkpoints.key_names import openpi_name, other_model, parameter_name, to_our_names
from capture.errors import UserError
from capture.policies.pi05.model import Pi05


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


@pytest.mark.parametrize("write", [openpi_names, lerobot_names, lambda w: lerobot_names(w, tied=True), dict])
def test_map_names_accepts_every_known_spelling(weights, write):
    renamed = to_our_names(write(weights), "here")
    assert renamed.tensors.keys() == weights.keys()
    assert all(renamed.tensors[name] is weights[name] for name in weights)


def test_only_the_tied_spelling_is_recognised_as_lerobot_04(weights):
    assert to_our_names(lerobot_names(weights, tied=True), "here").tied_by_lerobot
    assert not to_our_names(lerobot_names(weights), "here").tied_by_lerobot
    assert not to_our_names(openpi_names(weights), "here").tied_by_lerobot


def test_untied_embedding_takes_precedence_over_the_output_head(weights):
    foreign = openpi_names(weights)
    foreign[EMBEDDING] = foreign[TIED] * 2
    assert to_our_names(foreign, "here").tensors[EMBEDDING] is foreign[EMBEDDING]


def test_newer_vision_names_are_mapped(weights):
    foreign = {name.replace("vision_model.", ""): tensor for name, tensor in lerobot_names(weights).items()}
    assert to_our_names(foreign, "here").tensors.keys() == weights.keys()


def test_name_with_and_without_prefix_is_refused(weights):
    foreign = openpi_names(weights)
    foreign["model.time_mlp_in.bias"] = foreign["time_mlp_in.bias"]
    with pytest.raises(UserError, match="holds 'time_mlp_in.bias' twice"):
        to_our_names(foreign, "here")


@pytest.mark.parametrize(
    ("prefix", "removed"),
    [
        ("_orig_mod.", ("_orig_mod.",)),
        ("module.", ("module.",)),
        ("_orig_mod.model.", ("_orig_mod.",)),
        ("model._orig_mod.", ("_orig_mod.",)),
        ("module._orig_mod.model.", ("module.", "_orig_mod.")),
        ("_fsdp_wrapped_module.model.", ("_fsdp_wrapped_module.",)),
        ("policy.", ("policy.",)),
        ("ema_model.module.", ("module.", "ema_model.")),
        ("base_model.model.model.", ("base_model.model.model.",)),
    ],
)
def test_prefixes_of_wrappers_and_trainers_are_removed(weights, prefix, removed):
    renamed = to_our_names({prefix + name: tensor for name, tensor in openpi_names(weights).items()}, "here")
    assert renamed.tensors.keys() == weights.keys()
    assert all(renamed.tensors[name] is weights[name] for name in weights)
    assert renamed.removed == removed


def test_wrappers_inside_the_model_are_removed(weights):
    foreign = {
        re.sub(r"(layers[.]\d+[.])", r"\1_checkpoint_wrapped_module._orig_mod.", name): tensor
        for name, tensor in lerobot_names(weights, tied=True).items()
    }
    renamed = to_our_names(foreign, "here")
    assert renamed.tensors.keys() == weights.keys()
    assert renamed.tied_by_lerobot
    assert renamed.removed == ("_checkpoint_wrapped_module.", "_orig_mod.")


def test_two_policies_in_one_file_are_refused(weights):
    both = {prefix + name: tensor for prefix in ("model.", "ema_model.") for name, tensor in weights.items()}
    with pytest.raises(UserError, match=r"twice, with different prefixes \('model.', 'ema_model.'\)"):
        to_our_names(both, "here")


EXPERT = "paligemma_with_expert.gemma_expert.model."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("state_proj.weight", "a Pi0 policy, not a Pi0.5 one"),
        ("model.action_time_mlp_in.weight", "a Pi0 policy"),
        (EXPERT + "norm.weight", "a Pi0 policy"),
        (EXPERT + "layers.0.input_layernorm.weight", "a Pi0 policy"),
        ("model.proprio_history_proj.weight", "MEM"),
        (EXPERT + "layers.0.mlp.up_proj.weight_scale", "quantised"),
    ],
)
def test_unknown_name_error_names_the_model_it_belongs_to(weights, name, message):
    with pytest.raises(UserError, match=f"here holds .*{message}.*{name.replace('.', '[.]')}"):
        to_our_names({**openpi_names(weights), name: None}, "here")


def test_checkpoints_of_other_models_are_recognised():
    assert "PaliGemma alone" in other_model(["language_model.model.layers.0.x", "vision_tower.y"])
    assert "PaliGemma alone" in other_model(["model.language_model.layers.0.x"])
    assert "none of Pi0.5's weights, but 2 tensors ('bert.a', 'bert.b')" in other_model(["bert.a", "bert.b"])
    assert other_model([VISION + "x", EXPERT + "norm.dense.weight"]) is None


def test_parameter_names_map_to_openpi_names_and_back():
    with torch.device("meta"):
        names = list(Pi05(small_config()).state_dict())
    stored = [openpi_name(name) for name in names]
    assert stored[0] == "paligemma_with_expert.paligemma.model.vision_tower.embeddings.patch_embedding.weight"
    assert "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.weight" in stored
    assert "paligemma_with_expert.gemma_expert.model.norm.dense.bias" in stored
    assert {"action_in_proj.weight", "time_mlp_out.bias"} <= set(stored)
    assert [parameter_name(name) for name in stored] == names
    assert len(set(stored)) == len(names)
