"""Checkpoints end to end: the references' own files, every kind told by content, and a corpus of broken ones."""

from __future__ import annotations

import json
import shutil
import struct

import pytest
import torch
from checkpoint_files import ODD, ODD_SIZES, openpi_names, random_weights, write_openpi, write_orbax, write_stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from small_policy import GOLDEN

from capture.checkpoints import CheckpointOptions, open_checkpoint
from capture.checkpoints.key_names import openpi_name
from capture.errors import UserError

OPTIONS = CheckpointOptions(sizes=ODD_SIZES)


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


@pytest.fixture(scope="module")
def complete_folder(weights, tmp_path_factory):
    return write_openpi(tmp_path_factory.mktemp("whole") / "pi05_droid", weights)


@pytest.fixture
def copied_folder(complete_folder, tmp_path):
    """A copy of a whole openpi folder, to be broken."""
    copy = tmp_path / "broken"
    shutil.copytree(complete_folder, copy)
    return copy


@pytest.mark.parametrize("reference", ["openpi", "lerobot", "jax", "jax/checkpoint/params"])
def test_reference_checkpoints_hold_the_same_weights(shared, reference):
    golden = shared / "reference/golden"
    path = golden / reference if "params" in reference else golden / reference / "checkpoint"
    options = CheckpointOptions(sizes=golden / "tiny_config.json")
    checkpoint = open_checkpoint(str(path), options=options)
    assert checkpoint.kind == reference.split("/")[0]
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps) == (15, 10)
    tensors = checkpoint.load("cpu", torch.float32).state_dict()
    expected = (
        open_checkpoint(str(golden / "openpi/checkpoint"), options=options).load("cpu", torch.float32).state_dict()
    )
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_loaded_policy_computes_the_reference_actions(tmp_path, tiny):
    for name, source in (("model.safetensors", "weights.safetensors"), ("sizes.json", "sizes.json")):
        shutil.copy(GOLDEN / source, tmp_path / name)
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    checkpoint = open_checkpoint(tmp_path, options=CheckpointOptions(sizes=tmp_path / "sizes.json"))
    chunk = checkpoint.load("cpu", torch.float32).sample_actions(
        [*tiny.pictures, None], tiny.inputs["tokens"], tiny.inputs["token_mask"], tiny.inputs["noise"]
    )
    torch.testing.assert_close(chunk.actions, tiny.openpi["actions"], rtol=0, atol=1e-5)


def test_path_of_the_weights_file_is_accepted(complete_folder):
    assert open_checkpoint(complete_folder / "model.safetensors", options=OPTIONS).kind == "openpi"


def test_shards_load_like_one_file(weights, copied_folder):
    foreign = openpi_names(weights)
    (copied_folder / "model.safetensors").unlink()
    shard_of_name = {}
    for number in range(3):
        part = dict(list(foreign.items())[number::3])
        file = f"model-{number + 1:05}-of-00003.safetensors"
        save_file(part, copied_folder / file)
        shard_of_name.update(dict.fromkeys(part, file))
    (copied_folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of_name}))
    model = open_checkpoint(copied_folder, options=OPTIONS).load("cpu", torch.float32)
    tensors = {openpi_name(name): tensor for name, tensor in model.state_dict().items()}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights.items())


def test_safetensors_take_precedence_over_jax_weights(copied_folder):
    (copied_folder / "params").mkdir()
    (copied_folder / "params" / "manifest.ocdbt").touch()
    assert open_checkpoint(copied_folder, options=OPTIONS).kind == "openpi"


def test_config_hash_depends_on_the_configuration_alone(complete_folder, copied_folder):
    first, second = open_checkpoint(complete_folder, options=OPTIONS), open_checkpoint(copied_folder, options=OPTIONS)
    changed = open_checkpoint(complete_folder, options=CheckpointOptions(sizes=ODD_SIZES, horizon=3))
    assert len(first.config_hash) == 64
    assert first.config_hash == second.config_hash != changed.config_hash


def test_tokenizer_in_the_folder_is_found(copied_folder):
    assert open_checkpoint(copied_folder, options=OPTIONS).tokenizer_folder is None
    (copied_folder / "tokenizer").mkdir()
    (copied_folder / "tokenizer" / "tokenizer.json").touch()
    assert open_checkpoint(copied_folder, options=OPTIONS).tokenizer_folder == copied_folder


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def empty_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def writing_file(name, content=""):
    def change(folder):
        empty_folder(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return change


def changing_config(**content):
    return lambda folder: (folder / "config.json").write_text(json.dumps(content))


def changing_weights(change):
    def rewrite(folder):
        foreign = openpi_names(random_weights(ODD))
        change(foreign)
        save_file(foreign, folder / "model.safetensors")

    return rewrite


def truncate_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


EXPERT = "paligemma_with_expert.gemma_expert.model."

CORPUS = {
    "empty folder": (empty_folder, "is empty; give the folder that holds model.safetensors or params/"),
    "no weights": (remove_weights, "has a config.json but no weights"),
    "something else": (writing_file("notes.txt"), "is no checkpoint: it has neither .* nor params/, but notes.txt"),
    "pickled": (writing_file("pytorch_model.bin"), "only as a pickled file .pytorch_model.bin."),
    "adapters": (writing_file("adapter_config.json", "{}"), "has no adapter_model.safetensors; save the adapter again"),
    "shards without index": (writing_file("model-00001-of-00002.safetensors"), "but no model.safetensors.index.json"),
    "a run's folder": (
        writing_file("20000/params/manifest.ocdbt"),
        "is a training run's folder; give .*20000$",
    ),
    "a lerobot run": (writing_file("pretrained_model/config.json"), "give .*pretrained_model"),
    "half a download": (writing_file("params/d/abc"), "has no manifest.ocdbt"),
    "act": (changing_config(type="act"), "of type 'act'; this program runs 'pi05' only"),
    "pi0": (changing_config(type="pi0"), "is of a pi0 policy"),
    "transformers": (changing_config(model_type="paligemma"), "a transformers model of type 'paligemma'"),
    "config not JSON": (lambda folder: (folder / "config.json").write_text("{oops"), "is not valid JSON"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "holds list where a JSON object"),
    "config not text": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "is not valid JSON"),
    "config nested": (lambda folder: (folder / "config.json").write_text("[" * 10**6), "is not valid JSON"),
    "config a folder": (
        lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").mkdir()),
        "cannot read .*config.json",
    ),
    "horizon a word": (
        changing_config(action_horizon="ten"),
        "'action_horizon' in .* is 'ten', but should be a whole number",
    ),
    "horizon negative": (changing_config(action_horizon=-1), "should be a whole number from 1"),
    "truncated": (truncate_weights, "is cut off: it has"),
    "weights empty": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "is not a whole safetensors file",
    ),
    "weights a pointer": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "only a Git LFS pointer",
    ),
    "missing": (
        changing_weights(lambda w: w.pop("time_mlp_in.bias")),
        r"lacks 1 of 111 tensors \('time_mlp_in.bias'\)",
    ),
    "extra": (changing_weights(lambda w: w.update(x=torch.zeros(1))), r"has 1 tensor \('x'\) that Pi0.5 does not have"),
    "misshapen": (
        changing_weights(lambda w: w.update({"time_mlp_in.bias": torch.zeros(3)})),
        r"'time_mlp_in.bias' in .* has shape \[3\] where its other tensors call for \[32\]",
    ),
    "whole numbers": (
        changing_weights(lambda w: w.update({"time_mlp_in.bias": torch.zeros(32, dtype=torch.int64)})),
        "number type 'I64', but weights must be",
    ),
    "Pi0": (
        changing_weights(lambda w: w.update({"state_proj.weight": torch.zeros(1)})),
        "a Pi0 policy, not a Pi0.5 one",
    ),
    "LoRA": (
        changing_weights(lambda w: w.update({"a.lora_A.weight": torch.zeros(1)})),
        "the LoRA adapter of 'a' in .* lacks its A or its B",
    ),
    "MEM": (changing_weights(lambda w: w.update({"proprio_history_proj.bias": torch.zeros(1)})), "MEM"),
    "PaliGemma": (
        changing_weights(lambda w: [w.pop(n) for n in list(w) if not n.startswith("paligemma_with_expert.paligemma")]),
        "no action expert",
    ),
    "another model": (
        changing_weights(lambda w: (w.clear(), w.update({"bert.x": torch.zeros(1)}))),
        "none of Pi0.5's weights",
    ),
    "no tensors": (changing_weights(dict.clear), "none of Pi0.5's weights"),
    "no statistics": (lambda folder: shutil.rmtree(folder / "assets"), "--norm-stats"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_broken_checkpoint_error_names_the_fault(copied_folder, name):
    breaking, message = CORPUS[name]
    breaking(copied_folder)
    with pytest.raises(UserError, match=message) as error:
        open_checkpoint(str(copied_folder), options=OPTIONS)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert str(copied_folder) in sentence


def test_unknown_sizes_error_names_the_option(copied_folder):
    with pytest.raises(UserError, match="how many attention heads the picture encoder .* --sizes"):
        open_checkpoint(copied_folder)


# Whatever one bit or a missing tail makes of a header or a configuration: one sentence, or a checkpoint.
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 1 << 20), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.just(0)),
    st.tuples(st.just("put"), st.integers(0, 1 << 20), st.sampled_from(list(b'0-9"{}[]:,.e\x00\xff'))),
)


def apply_damage(content: bytes, damage: tuple[str, int, int]) -> bytes:
    kind, offset, content_byte = damage
    offset %= max(1, len(content))
    if kind == "cut":
        return content[:offset]
    changed = bytearray(content)
    if changed:
        changed[offset] = changed[offset] ^ (1 << content_byte) if kind == "flip" else content_byte
    return bytes(changed)


def assert_opens_or_raises_user_error(folder):
    try:
        checkpoint = open_checkpoint(str(folder), options=OPTIONS)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert checkpoint.config.vlm == ODD.vlm


SEARCH = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
@SEARCH
def test_damaged_header_opens_or_raises_user_error(complete_folder, tmp_path, damages):
    content = (complete_folder / "model.safetensors").read_bytes()
    length = 8 + struct.unpack("<Q", content[:8])[0]
    header = content[:length]
    for damage in damages:
        header = apply_damage(header, damage)
    (tmp_path / "model.safetensors").write_bytes(header + (content[length:] if len(header) == length else b""))
    (tmp_path / "config.json").write_bytes((complete_folder / "config.json").read_bytes())
    write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    assert_opens_or_raises_user_error(tmp_path)


@given(
    damages=st.lists(DAMAGE, min_size=1, max_size=3),
    file=st.sampled_from(["config.json", "assets/droid/norm_stats.json"]),
)
@SEARCH
def test_damaged_configuration_opens_or_raises_user_error(complete_folder, tmp_path, damages, file):
    for name in ("config.json", "assets/droid/norm_stats.json"):
        content = (complete_folder / name).read_bytes()
        if name == file:
            for damage in damages:
                content = apply_damage(content, damage)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    if not (tmp_path / "model.safetensors").exists():
        shutil.copy(complete_folder / "model.safetensors", tmp_path)
    assert_opens_or_raises_user_error(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("type", "kind", "action_horizon", "chunk_size", "input_features", "output_features", "normalization_mapping",
        "vision", "vlm", "action_expert", "image_resolution", "max_token_len", "cameras", "robot_dim", "use_peft")  # fmt: skip


@given(content=st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(["pi05", "demo", 3])))
@SEARCH
def test_arbitrary_configuration_opens_or_raises_user_error(complete_folder, tmp_path, content):
    (tmp_path / "config.json").write_text(json.dumps(content))
    if not (tmp_path / "model.safetensors").exists():
        shutil.copy(complete_folder / "model.safetensors", tmp_path)
        write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    assert_opens_or_raises_user_error(tmp_path)


@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
@settings(SEARCH, max_examples=20)
def test_damaged_orbax_store_opens_or_raises_user_error(weights, tmp_path_factory, damages):
    import checkpoint_files

    base = tmp_path_factory.getbasetemp() / "orbax whole"
    if not base.exists():
        write_orbax(base / "params", checkpoint_files.jax_arrays(weights, ODD))
        write_stats(base / "assets" / "droid" / "norm_stats.json")
    folder = tmp_path_factory.mktemp("orbax")
    shutil.copytree(base, folder, dirs_exist_ok=True)
    files = sorted(path for path in (folder / "params").rglob("*") if path.is_file())
    for damage in damages:
        file = files[damage[1] % len(files)]
        file.write_bytes(apply_damage(file.read_bytes(), damage))
    try:
        checkpoint = open_checkpoint(str(folder), options=CheckpointOptions(horizon=2))
        checkpoint.load("cpu", torch.float32)
    except UserError as error:
        assert "\n" not in str(error)
    shutil.rmtree(folder)
