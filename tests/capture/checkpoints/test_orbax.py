"""openpi's JAX checkpoints: every array in its place, whatever its layout, and damaged ones refused."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from checkpoint_files import ODD, jax_arrays, random_weights, write_orbax, write_stats

from capture.checkpoints import CheckpointOptions, open_checkpoint
from capture.checkpoints.key_names import openpi_name
from capture.checkpoints.orbax import open_orbax
from capture.errors import UserError

HORIZON = CheckpointOptions(horizon=10)


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


@pytest.fixture(scope="module")
def arrays(weights):
    return jax_arrays(weights, ODD)


@pytest.fixture(scope="module")
def step(arrays, tmp_path_factory):
    """A training step's folder, its name as awkward as a path may be."""
    folder = tmp_path_factory.mktemp("runs") / "my run #1 100%" / "20000"
    write_orbax(folder / "params", arrays)
    write_stats(folder / "assets" / "droid" / "norm_stats.json")
    return folder


def load_weights(folder, dtype=torch.float32):
    model = open_checkpoint(str(folder), options=HORIZON).load("cpu", dtype)
    return {openpi_name(name): tensor for name, tensor in model.state_dict().items()}


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def test_sizes_are_inferred_from_the_arrays(step):
    checkpoint = open_checkpoint(str(step), options=HORIZON)
    assert checkpoint.config == ODD
    assert checkpoint.kind == "jax"
    assert checkpoint.name == "my run #1 100%/20000"


@pytest.mark.parametrize(
    ("ending", "zarr3", "layers_a_chunk"),
    [("", False, None), (".value", False, None), ("", False, 1), ("", True, 2), (".value", True, None)],
)
def test_every_array_layout_gives_the_same_weights(weights, arrays, tmp_path, ending, zarr3, layers_a_chunk):
    write_orbax(tmp_path / "params", arrays, ending=ending, zarr3=zarr3, layers_a_chunk=layers_a_chunk)
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    assert_same(load_weights(tmp_path), weights)


def test_params_folder_is_accepted_with_assets_beside_it(step, weights):
    assert_same(load_weights(step / "params"), weights)
    assert open_checkpoint(str(step / "params"), options=HORIZON).path == step


def test_bfloat16_arrays_are_widened_exactly(tmp_path):
    rounded = random_weights(ODD, torch.bfloat16)
    write_orbax(tmp_path / "params", jax_arrays(rounded, ODD))
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    assert_same(load_weights(tmp_path), {name: tensor.float() for name, tensor in rounded.items()})


def test_a_large_embedding_is_read_in_blocks(step, weights, monkeypatch):
    monkeypatch.setattr("capture.checkpoints.orbax.BLOCK", 1000)
    assert_same(load_weights(step), weights)


def test_missing_array_is_named(arrays, tmp_path):
    fewer = {name: tensor for name, tensor in arrays.items() if name != "time_mlp_out.bias"}
    write_orbax(tmp_path, fewer)
    with pytest.raises(UserError, match=r"lacks 1 of 51 tensors \('params.time_mlp_out.bias'\)"):
        open_orbax(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("state_proj.kernel", "a Pi0 policy, not a Pi0.5 one"),
        ("action_time_mlp_in.kernel", "a Pi0 policy, not a Pi0.5 one"),
        ("PaliGemma.llm.layers.attn.q_einsum.lora_a", "LoRA adapter of '.*q_einsum.w' in .* lacks its A or its B"),
        ("PaliGemma.llm.layers.attn.q_einsum.lora_c", "that Pi0.5 does not have"),
        ("PaliGemma.llm.layers.pre_attention_norm_1.scale", "a Pi0 policy"),
        ("something.kernel", "that Pi0.5 does not have"),
    ],
)
def test_unknown_array_error_names_the_model_it_belongs_to(arrays, tmp_path, name, message):
    write_orbax(tmp_path, {**arrays, name: torch.zeros(2, 2)})
    with pytest.raises(UserError, match=message):
        open_orbax(tmp_path)


def test_paligemma_checkpoint_is_recognised(arrays, tmp_path):
    write_orbax(tmp_path, {name: a for name, a in arrays.items() if "_1." not in name and name.startswith("PaliGemma")})
    with pytest.raises(UserError, match="no action expert"):
        open_orbax(tmp_path)


def test_arrays_of_another_shape_are_refused(arrays, tmp_path):
    write_orbax(tmp_path, {**arrays, "time_mlp_in.kernel": torch.zeros(32, 31)})
    write_stats(tmp_path / "norm_stats.json")
    options = CheckpointOptions(horizon=3, norm_stats=tmp_path / "norm_stats.json")
    with pytest.raises(UserError, match=r"'time_mlp_in.weight' in .* has shape \[31, 32\] where"):
        open_checkpoint(str(tmp_path), options=options)


@pytest.mark.parametrize("shape", [[3, 2], [3, 3, 2, 64, 20], [1001, 2, 2, 1, 1]])
def test_array_of_other_axes_is_refused(arrays, tmp_path, shape):
    write_orbax(tmp_path, {**arrays, "PaliGemma.llm.layers.attn.kv_einsum.w": torch.zeros(shape)})
    with pytest.raises(UserError) as error:
        open_checkpoint(str(tmp_path), options=HORIZON)
    assert f"kv_einsum.w' in {tmp_path} has shape {shape}, which no Pi0.5 has" in str(error.value)


def test_stated_heads_unlike_the_arrays_are_refused(step):
    options = CheckpointOptions(horizon=3, sizes={"vision": {"heads": 4}})
    with pytest.raises(
        UserError, match="heads of 'vision' is 4 according to the sizes given, but the weights in .* have 3"
    ):
        open_checkpoint(str(step), options=options)


def test_missing_horizon_is_refused(step, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(step, folder)
    (folder / "assets" / "droid").rename(folder / "assets" / "mine")
    with pytest.raises(UserError, match="give --horizon, or --config"):
        open_checkpoint(str(folder))
    assert open_checkpoint(str(folder), options=CheckpointOptions(config="pi05_libero")).config.horizon == 10


def test_integer_arrays_are_refused(arrays, tmp_path):
    write_orbax(tmp_path, arrays)
    metadata = tmp_path / "int"
    metadata.mkdir()
    import tensorstore

    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{tmp_path}/"}}
    spec = {"driver": "zarr", "kvstore": {**store, "path": "params.time_mlp_in.bias/"}}
    spec["metadata"] = {"shape": [32], "chunks": [32], "dtype": "<i4"}
    tensorstore.open(spec, create=True, delete_existing=True).result()
    with pytest.raises(UserError, match="number type '<i4', but weights must be floats"):
        open_orbax(tmp_path)


def test_missing_chunk_is_reported(arrays, tmp_path):
    write_orbax(tmp_path, arrays)
    import tensorstore

    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": {"driver": "file", "path": f"{tmp_path}/"}}).result()
    store.write("params.time_mlp_in.bias/0", None).result()
    with pytest.raises(UserError, match="0 of 1 chunks"):
        open_orbax(tmp_path)


@pytest.mark.parametrize("file", ["manifest.ocdbt", "_METADATA", "d"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise"])
def test_damaged_store_is_refused_before_the_model_is_built(step, tmp_path, file, damage):
    folder = tmp_path / "params"
    shutil.copytree(step / "params", folder)
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    paths = sorted((folder / "d").iterdir()) if file == "d" else [folder / file]
    for path in paths:
        content = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes(
                {"empty": b"", "cut": content[: len(content) // 2], "noise": b"\xff" * len(content)}[damage]
            )
    if file == "_METADATA" and damage == "gone":  # only its flags are lost
        open_orbax(folder)
        return
    with pytest.raises(UserError) as error:
        open_checkpoint(str(tmp_path), options=HORIZON).load("cpu", torch.float32)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_metadata_without_arrays_is_refused(step, tmp_path):
    folder = tmp_path / "params"
    shutil.copytree(step / "params", folder)
    (folder / "_METADATA").write_text(json.dumps({"use_zarr3": "yes"}))
    with pytest.raises(UserError, match="'use_zarr3' in .* is 'yes', but should be true or false"):
        open_orbax(folder)


def test_missing_tensorstore_error_says_what_to_install(step, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(UserError, match=r"pip install 'pi0-attention\[jax\]'"):
        open_orbax(step / "params")
