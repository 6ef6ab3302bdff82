"""Loading weights: bit for bit, with little more memory than the model, and all of them or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    ODD,
    ODD_SIZES,
    jax_arrays,
    random_weights,
    write_openpi,
    write_orbax,
    write_stats,
)
from paths import ROOT

from capture.checkpoints import CheckpointOptions, open_checkpoint
from capture.checkpoints.key_names import openpi_name
from capture.checkpoints.safetensors_reader import StoredTensor
from capture.checkpoints.weights import SafetensorsWeights, load_model, parameter_bytes
from capture.errors import UserError
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig, parameter_dtype

OPTIONS = CheckpointOptions(sizes=ODD_SIZES)


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


@pytest.fixture
def checkpoint(weights, tmp_path):
    return open_checkpoint(str(write_openpi(tmp_path / "odd", weights)), options=OPTIONS)


def test_float32_weights_are_loaded_bit_for_bit(checkpoint, weights):
    model = checkpoint.load("cpu", torch.float32)
    tensors = {openpi_name(name): tensor for name, tensor in model.state_dict().items()}
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights.items())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_bfloat16_loading_rounds_only_bfloat16_parameters(checkpoint, weights):
    model = checkpoint.load("cpu", torch.bfloat16)
    tensors = {openpi_name(name): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in weights.items():
        dtype = parameter_dtype(name, torch.bfloat16)
        assert tensors[name].dtype == dtype
        assert torch.equal(tensors[name], tensor.to(dtype)), name
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32, torch.bfloat16}


def test_progress_counts_bytes_up_to_the_size_of_the_model(checkpoint):
    calls = []
    checkpoint.load("cpu", torch.bfloat16, lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (checkpoint.parameter_bytes(torch.bfloat16),) * 2


def test_parameter_bytes_depend_on_the_dtype():
    shapes = {
        "action_in_proj.bias": (10,),
        "paligemma_with_expert.gemma_expert.model.layers.0.mlp.up_proj.weight": (7, 3),
    }
    assert parameter_bytes(shapes, torch.float32) == 4 * 31
    assert parameter_bytes(shapes, torch.bfloat16) == 4 * 10 + 2 * 21


def test_other_dtypes_are_refused(checkpoint):
    with pytest.raises(UserError, match="runs in float32 or bfloat16, not in float16"):
        checkpoint.load("cpu", torch.float16)


def test_missing_device_is_one_sentence(checkpoint):
    with pytest.raises(UserError, match=r"no room for the policy's .* GB on cuda:93 .*choose another --device"):
        checkpoint.load("cuda:93", torch.float32)


def test_weights_of_other_sizes_are_refused_before_any_is_read(weights, tmp_path):
    nowhere = {name: StoredTensor(tmp_path / "gone", "F32", tuple(t.shape), 0, 0) for name, t in weights.items()}
    del nowhere["time_mlp_in.bias"]
    with pytest.raises(UserError, match="here lacks 1 of"):
        load_model(SafetensorsWeights(nowhere, "here"), ODD, "cpu", torch.float32)


def test_integer_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match="has number type 'I64', but weights must be one of F64, F32, F16, BF16"):
        SafetensorsWeights({"x": StoredTensor(tmp_path, "I64", (1,), 0, 8)}, "here")


def test_file_truncated_while_it_is_read_gives_no_model(checkpoint):
    path = checkpoint.path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10_000])
    with pytest.raises(UserError, match="became shorter"):
        checkpoint.load("cpu", torch.float32)


LARGE = Pi05Config(
    vision=VisionConfig(width=144, depth=2, heads=2, mlp=512),
    vlm=StackConfig(width=1024, depth=2, heads=4, kv_heads=1, head_dim=256, mlp=4096),
    expert=StackConfig(width=512, depth=2, heads=4, kv_heads=1, head_dim=256, mlp=1024),
    vocabulary=10_000,
)
"""48 million parameters in the proportions of the real policy."""

MEASURE = """
import json, re, sys, torch, psutil
from capture.checkpoints import CheckpointOptions, open_checkpoint

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

small, large, dtype = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3])
options = CheckpointOptions(horizon=2)
open_checkpoint(small, options=options).load("cpu", dtype)  # what is imported and set up once is no cost of the loading
checkpoint = open_checkpoint(large, options=options)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts again from here
before = psutil.Process().memory_info().rss
model = checkpoint.load("cpu", dtype)
print(json.dumps({"growth": peak() - before, "model": checkpoint.parameter_bytes(dtype)}))
"""


@pytest.fixture(scope="module")
def large_weights():
    return random_weights(LARGE)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("stored", "dtype"), [(torch.float32, "bfloat16"), (torch.bfloat16, "bfloat16"), ("jax", "bfloat16")]
)
def test_loading_takes_little_more_memory_than_the_model(large_weights, tmp_path, stored, dtype):
    small_config = Pi05Config(VisionConfig(72, 1, 1, 8), *(StackConfig(16, 1, 2, 1, 8, 8),) * 2, vocabulary=8)
    if stored == "jax":
        small, large = tmp_path / "small", tmp_path / "large"
        for folder, config, weights in (
            (small, small_config, random_weights(small_config)),
            (large, LARGE, large_weights),
        ):
            stored_weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights.items()}
            write_orbax(folder / "params", jax_arrays(stored_weights, config))
            write_stats(folder / "assets" / "droid" / "norm_stats.json")
    else:
        small = write_openpi(tmp_path / "small", random_weights(small_config, stored))
        large = write_openpi(tmp_path / "large", {name: tensor.to(stored) for name, tensor in large_weights.items()})
        for folder, config in ((small, small_config), (large, LARGE)):
            config_json = json.loads((folder / "config.json").read_text())
            config_json["vision"] = {"num_attention_heads": config.vision.heads}
            (folder / "config.json").write_text(json.dumps(config_json))
    command = [sys.executable, "-c", MEASURE, str(small), str(large), dtype]
    # tensorstore unpacks in threads, for each of which glibc would keep freed memory; what counts is what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"} if stored == "jax" else None
    completed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert completed.returncode == 0, completed.stderr
    measured = json.loads(completed.stdout)
    assert measured["model"] > 90_000_000
    assert 0.9 < measured["growth"] / measured["model"] < 1.15
