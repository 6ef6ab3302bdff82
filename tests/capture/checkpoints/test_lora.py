"""LoRA adapters are merged as PEFT and openpi's model apply them, whatever their names, layout and number types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    ODD,
    ODD_SIZES,
    jax_arrays,
    lerobot_names,
    openpi_names,
    random_weights,
    write_openpi,
    write_orbax,
    write_stats,
)
from decisions import choices_by_subject, uncertain_choices
from lerobot_policy_files import write_lerobot_policy
from safetensors.torch import save_file

from capture.checkpoints import CheckpointOptions, open_checkpoint
from capture.checkpoints.infer_config import EXPERT, LANGUAGE
from capture.checkpoints.jax_keys import RULES
from capture.checkpoints.key_names import openpi_name, remove_prefixes
from capture.checkpoints.lora import fit_adapters, read_adapter_folder, split_adapters
from capture.checkpoints.safetensors_reader import read_header
from capture.errors import UserError

CASES = json.loads((Path(__file__).parent / "peft" / "cases.json").read_text())
"""Written by peft/write_cases.py."""


def to_tensors(listed):
    return {name: torch.tensor(values) for name, values in listed.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", ["a folder of its own", "inside the checkpoint"])
def test_merge_equals_the_merge_of_peft(tmp_path, name, layout):
    case = CASES[name]
    (tmp_path / "adapter_config.json").write_text(json.dumps(case["config"]))
    save_file(to_tensors(case["adapter"]), tmp_path / "adapter_model.safetensors")
    folder = read_adapter_folder(tmp_path, None)
    if layout == "inside the checkpoint":
        save_file(to_tensors(case["inside"]), tmp_path / "model.safetensors")
        stored = remove_prefixes(read_header(tmp_path / "model.safetensors"), "here").tensors
        plain, adapters = split_adapters(stored, "here")
    else:
        save_file(to_tensors(case["base"]), tmp_path / "model.safetensors")
        plain = dict(remove_prefixes(read_header(tmp_path / "model.safetensors"), "here").tensors)
        trained, adapters = split_adapters(remove_prefixes(folder.tensors, "here").tensors, "here")
        plain.update(trained)
    fitted = fit_adapters(
        adapters, {key: stored_tensor.shape for key, stored_tensor in plain.items()}, folder.scale, "here"
    )
    expected = {key.removeprefix("model."): value for key, value in to_tensors(case["merged"]).items()}
    assert plain.keys() == expected.keys()
    assert sorted(fitted) == sorted(key for key in expected if "_proj.weight" in key)
    for key, adapter in fitted.items():
        out = torch.empty(expected[key].shape)
        adapter.merge(plain[key], out)
        torch.testing.assert_close(out, expected[key], rtol=1e-6, atol=1e-6)


Q_PROJ = EXPERT + "layers.0.self_attn.q_proj"
DOWN_PROJ = LANGUAGE + "layers.2.mlp.down_proj"


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


def factors(weight, rank=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    rows, columns = weight.shape
    return torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)


def load_weights(folder, dtype=torch.float32, **options):
    checkpoint = open_checkpoint(folder, options=CheckpointOptions(**{"sizes": ODD_SIZES, **options}))
    model = checkpoint.load("cpu", dtype)
    return checkpoint, {openpi_name(name): tensor for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("a_name", "b_name", "base", "is_transposed"),
    [
        ("lora_A.weight", "lora_B.weight", "weight", False),
        ("lora_A.default.weight", "lora_B.default.weight", "base_layer.weight", False),
        ("lora_a", "lora_b", "weight", False),
        ("lora_A", "lora_B", "base.weight", True),
        ("lora_a.weight", "lora_b.weight", "linear.weight", False),
    ],
)
def test_adapters_inside_an_openpi_checkpoint_are_merged(weights, tmp_path, a_name, b_name, base, is_transposed):
    changed, expected = dict(weights), dict(weights)
    for module in (Q_PROJ, DOWN_PROJ):
        a, b = factors(weights[f"{module}.weight"])
        expected[f"{module}.weight"] = weights[f"{module}.weight"] + 2.0 * b @ a
        changed[f"{module}.{base}"] = changed.pop(f"{module}.weight")
        changed[f"{module}.{a_name}"], changed[f"{module}.{b_name}"] = (a.T, b.T) if is_transposed else (a, b)
    folder = write_openpi(tmp_path / "pi05_droid", weights)
    save_file(
        {name: tensor.contiguous() for name, tensor in openpi_names(changed).items()}, folder / "model.safetensors"
    )
    checkpoint, merged = load_weights(folder, lora_alpha=6.0)
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-6, atol=1e-5)
    assert "LoRA adapters" not in uncertain_choices(checkpoint.decisions)
    assert choices_by_subject(checkpoint.decisions)["LoRA adapters"] == (
        "merged into 2 weights in float32 (rank 3 with scale 2)"
    )


def test_missing_alpha_is_the_rank_with_a_decision(weights, tmp_path):
    a, b = factors(weights[Q_PROJ + ".weight"])
    folder = write_openpi(tmp_path / "pi05_droid", weights)
    save_file(
        openpi_names({**weights, Q_PROJ + ".lora_A.weight": a, Q_PROJ + ".lora_B.weight": b}),
        folder / "model.safetensors",
    )
    checkpoint, merged = load_weights(folder)
    torch.testing.assert_close(merged[Q_PROJ + ".weight"], weights[Q_PROJ + ".weight"] + b @ a, rtol=1e-6, atol=1e-5)
    assert (
        uncertain_choices(checkpoint.decisions)["LoRA adapters"]
        == "merged into 1 weight in float32 (rank 3 with scale 1)"
    )
    assert (
        open_checkpoint(folder, options=CheckpointOptions(sizes=ODD_SIZES, lora_alpha=9)).config_hash
        != checkpoint.config_hash
    )
    (folder / "adapter_config.json").write_text('{"lora_alpha": 12}')
    checkpoint, merged = load_weights(folder)
    torch.testing.assert_close(
        merged[Q_PROJ + ".weight"], weights[Q_PROJ + ".weight"] + 4 * b @ a, rtol=1e-6, atol=1e-5
    )
    assert "LoRA adapters" not in uncertain_choices(checkpoint.decisions)


def test_merged_weights_are_rounded_once(weights, tmp_path):
    """In float32, then to bfloat16: adding to a rounded weight would round twice."""
    stored = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    a, b = (factor.to(torch.bfloat16) for factor in factors(weights[Q_PROJ + ".weight"]))
    folder = write_openpi(tmp_path / "pi05_droid", weights)
    save_file(
        openpi_names({**stored, Q_PROJ + ".lora_A.weight": a, Q_PROJ + ".lora_B.weight": b}),
        folder / "model.safetensors",
    )
    _, merged = load_weights(folder, torch.bfloat16, lora_alpha=1)
    exact = stored[Q_PROJ + ".weight"].float() + (1 / 3) * (b.float() @ a.float())
    assert torch.equal(merged[Q_PROJ + ".weight"], exact.to(torch.bfloat16))


PEFT = "base_model.model.model."


def write_adapter(folder, weights, base, **config):
    """lerobot's folder of an adapter: PEFT's two files, and the policy's configuration without weights."""
    write_lerobot_policy(folder)
    (folder / "model.safetensors").unlink()
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**own, "use_peft": True}))
    a, b = factors(weights[Q_PROJ + ".weight"])
    adapter = {f"{PEFT}{Q_PROJ}.lora_A.weight": a, f"{PEFT}{Q_PROJ}.lora_B.weight": b}
    adapter[f"{PEFT}time_mlp_in.bias"] = weights["time_mlp_in.bias"] + 5  # of modules_to_save
    save_file(adapter, folder / "adapter_model.safetensors")
    adapter_config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "base_model_name_or_path": base, **config}
    (folder / "adapter_config.json").write_text(json.dumps(adapter_config))
    return a, b


def test_adapter_folder_is_merged_into_its_base_policy(weights, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"type": "pi05"}')
    save_file(lerobot_names(weights), tmp_path / "base" / "model.safetensors")
    a, b = write_adapter(tmp_path / "adapter", weights, str(tmp_path / "base"))
    checkpoint, merged = load_weights(tmp_path / "adapter")
    expected = weights[Q_PROJ + ".weight"] + 2 * b @ a
    torch.testing.assert_close(merged[Q_PROJ + ".weight"], expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(merged["time_mlp_in.bias"], weights["time_mlp_in.bias"] + 5)
    assert torch.equal(merged["time_mlp_out.bias"], weights["time_mlp_out.bias"])
    assert (checkpoint.kind, checkpoint.config.horizon) == ("lerobot", 10)
    assert choices_by_subject(checkpoint.decisions)["base policy of the adapter"] == str(tmp_path / "base")
    before = checkpoint.fingerprint()
    save_file(
        lerobot_names({**weights, "time_mlp_out.bias": weights["time_mlp_out.bias"] + 1}),
        tmp_path / "base" / "model.safetensors",
    )
    assert checkpoint.fingerprint() != before


def test_base_of_an_adapter_can_be_given(weights, tmp_path):
    write_adapter(tmp_path / "adapter", weights, "lerobot/pi05_base")
    base = write_openpi(tmp_path / "base", weights)
    (base / "tokenizer.json").write_text("{}")
    checkpoint, merged = load_weights(tmp_path / "adapter", base=base)
    assert (checkpoint.path, checkpoint.tokenizer_folder) == (tmp_path / "adapter", base)
    assert not torch.equal(merged[Q_PROJ + ".weight"], weights[Q_PROJ + ".weight"])


@pytest.mark.parametrize(
    ("base", "config", "message"),
    [
        ("/nowhere/pi05_base", {}, "was trained on '/nowhere/pi05_base', which cannot be used .*--base"),
        (None, {}, "does not name its base policy; give its folder with --base"),
        ("base", {"peft_type": "LOHA"}, "an adapter with LOHA, which is not merged here; merge it with PEFT"),
        ("base", {"lora_alpha": None}, "has no number 'lora_alpha'"),
        ("base", {"alpha_pattern": {"(": 2}}, "is no pattern of names"),
    ],
)
def test_unusable_adapter_error_says_what_to_do(weights, tmp_path, base, config, message):
    write_adapter(tmp_path / "adapter", weights, base, **config)
    with pytest.raises(UserError, match=message) as error:
        open_checkpoint(tmp_path / "adapter", options=CheckpointOptions(sizes=ODD_SIZES, offline=True))
    assert "\n" not in str(error.value)


def test_factors_of_another_shape_are_refused(weights, tmp_path):
    a, b = factors(weights[DOWN_PROJ + ".weight"])
    folder = write_openpi(tmp_path / "pi05_droid", weights)
    save_file(
        openpi_names({**weights, Q_PROJ + ".lora_A.weight": a, Q_PROJ + ".lora_B.weight": b}),
        folder / "model.safetensors",
    )
    with pytest.raises(UserError, match=r"q_proj' in .* has shapes .* which do not fit the weight \[120, 32\]"):
        open_checkpoint(folder, options=CheckpointOptions(sizes=ODD_SIZES))


@pytest.mark.parametrize(
    ("config", "doubt"),
    [
        ({"action_expert_variant": "gemma_300m_lora"}, "none in the weights"),
        ({"action_expert_variant": "gemma_300m"}, None),
    ],
)
def test_missing_adapters_of_the_configuration_are_named(weights, tmp_path, config, doubt):
    folder = write_openpi(tmp_path / "pi05_droid", weights)
    (folder / "config.json").write_text(json.dumps({"action_horizon": 15, **config}))
    checkpoint = open_checkpoint(folder, options=CheckpointOptions(sizes=ODD_SIZES))
    assert uncertain_choices(checkpoint.decisions).get("LoRA adapters") == doubt


ATTENTION, MLP = "PaliGemma.llm.layers.attn.", "PaliGemma.llm.layers.mlp"


@pytest.fixture(scope="module")
def jax_lora(weights):
    """Arrays of openpi's LoRA variant: adapters of every projection of both stacks, ranks 4 and 2."""
    arrays = jax_arrays(weights, ODD)
    generator = torch.Generator().manual_seed(2)
    for ending, rank in (("", 4), ("_1", 2)):
        for name in ("q_einsum", "kv_einsum", "attn_vec_einsum"):
            *outer, rows, columns = arrays[f"{ATTENTION}{name}{ending}.w"].shape
            arrays[f"{ATTENTION}{name}{ending}.lora_a"] = torch.randn(*outer, rows, rank, generator=generator)
            arrays[f"{ATTENTION}{name}{ending}.lora_b"] = torch.randn(*outer, rank, columns, generator=generator)
        for name in ("gating_einsum", "linear"):
            *outer, rows, columns = arrays[f"{MLP}{ending}.{name}"].shape
            arrays[f"{MLP}{ending}.{name}_lora_a"] = torch.randn(*outer, rows, rank, generator=generator)
            arrays[f"{MLP}{ending}.{name}_lora_b"] = torch.randn(*outer, rank, columns, generator=generator)
    return arrays


def einsum_with_lora(equation_a, equation_b, x, a, b):
    """What openpi's lora.Einsum adds, step by step."""
    return torch.einsum(equation_b, torch.einsum(equation_a, x, a), b)


@pytest.mark.parametrize(("alpha", "by_rank"), [(None, {4: 1.0, 2: 1.0}), (8.0, {4: 2.0, 2: 4.0})])
@pytest.mark.parametrize("ending", ["", ".value"])
def test_jax_adapters_are_merged_as_openpi_applies_them(weights, jax_lora, tmp_path, alpha, by_rank, ending):
    write_orbax(tmp_path / "params", jax_lora, ending=ending)
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    checkpoint, merged = load_weights(tmp_path, sizes=None, horizon=10, lora_alpha=alpha)
    generator = torch.Generator().manual_seed(3)
    layer = 1
    for prefix, size, end in ((LANGUAGE, ODD.vlm, ""), (EXPERT, ODD.expert, "_1")):
        scale = by_rank[4 if end == "" else 2]
        ours = {name: merged[f"{prefix}layers.{layer}.{name}.weight"] for name in (
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
            "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}  # fmt: skip
        base = {name: weights[f"{prefix}layers.{layer}.{name}.weight"] for name in ours}

        def factor(name):
            return jax_lora[name][layer]

        x = torch.randn(1, 5, size.width, generator=generator)
        a, b = factor(f"{ATTENTION}q_einsum{end}.lora_a"), factor(f"{ATTENTION}q_einsum{end}.lora_b")
        change = einsum_with_lora("BTD,NDL->BTNL", "BTNL,NLH->BTNH", x, a, b).flatten(2)
        assert_close(x @ ours["self_attn.q_proj"].T, x @ base["self_attn.q_proj"].T + scale * change)
        a, b = factor(f"{ATTENTION}kv_einsum{end}.lora_a"), factor(f"{ATTENTION}kv_einsum{end}.lora_b")
        change = einsum_with_lora("BSD,GKDL->GBSKL", "GBSKL,GKLH->GBSKH", x, a, b).flatten(3)
        assert_close(x @ ours["self_attn.k_proj"].T, x @ base["self_attn.k_proj"].T + scale * change[0])
        assert_close(x @ ours["self_attn.v_proj"].T, x @ base["self_attn.v_proj"].T + scale * change[1])
        heads = torch.randn(1, 5, size.heads, size.head_dim, generator=generator)
        a, b = factor(f"{ATTENTION}attn_vec_einsum{end}.lora_a"), factor(f"{ATTENTION}attn_vec_einsum{end}.lora_b")
        change = einsum_with_lora("BTNH,NHL->BTL", "BTL,NLD->BTD", heads, a, b)
        flat = heads.flatten(2)
        assert_close(flat @ ours["self_attn.o_proj"].T, flat @ base["self_attn.o_proj"].T + scale * change)
        # Feed-forward layers are not scaled by openpi.
        a, b = factor(f"{MLP}{end}.gating_einsum_lora_a"), factor(f"{MLP}{end}.gating_einsum_lora_b")
        for number, name in enumerate(("mlp.gate_proj", "mlp.up_proj")):
            assert_close(x @ ours[name].T, x @ base[name].T + x @ a[number] @ b[number])
        hidden = torch.randn(1, 5, size.mlp, generator=generator)
        a, b = factor(f"{MLP}{end}.linear_lora_a"), factor(f"{MLP}{end}.linear_lora_b")
        assert_close(hidden @ ours["mlp.down_proj"].T, hidden @ base["mlp.down_proj"].T + hidden @ a @ b)
    adapted = {
        rule.parameter.format(layer) for rule in RULES if ".self_attn." in rule.parameter or ".mlp." in rule.parameter
    }
    for name, tensor in weights.items():
        if name not in adapted and "layers." not in name:
            assert torch.equal(merged[name], tensor), name
    assert ("LoRA adapters" in uncertain_choices(checkpoint.decisions)) == (alpha is None)


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)


def test_jax_adapter_of_another_shape_is_refused(jax_lora, tmp_path):
    name = f"{ATTENTION}q_einsum.lora_b"
    write_orbax(tmp_path / "params", {**jax_lora, name: jax_lora[name][:, :, :, :5]})
    with pytest.raises(UserError, match=r"LoRA adapter of '.*q_einsum.w' in .* has shapes .* not fit the array's"):
        open_checkpoint(tmp_path, options=CheckpointOptions(horizon=10))
