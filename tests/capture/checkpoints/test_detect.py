"""The kind of a checkpoint is detected from the content of its folder, not from its name."""

from __future__ import annotations

import json

import pytest

from capture.checkpoints import CheckpointOptions
from capture.checkpoints.detect import recognise, refuse_options
from capture.errors import UserError


@pytest.mark.parametrize(
    ("files", "config", "kind"),
    [
        (["model.safetensors"], {"action_horizon": 15}, "openpi"),
        (["model.safetensors"], None, "openpi"),
        (["model.safetensors.index.json"], {"precision": "bfloat16"}, "openpi"),
        (["model.safetensors"], {"type": "pi05"}, "lerobot"),
        (["model.safetensors"], {"kind": "demo"}, "demo"),
        (["params/manifest.ocdbt"], None, "jax"),
        (["manifest.ocdbt"], None, "jax"),
        (["params/_METADATA", "train_state/_METADATA"], {"action_horizon": 10}, "jax"),
        (["model.safetensors", "params/manifest.ocdbt"], None, "openpi"),
    ],
)
def test_recognise_returns_checkpoint_kind(tmp_path, files, config, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    recognised, read = recognise(tmp_path)
    assert recognised == kind
    assert dict(read.values) == (config or {})


def test_find_suggests_the_last_of_several_training_steps(tmp_path):
    for step in (5000, 20000, 900):
        (tmp_path / str(step) / "params").mkdir(parents=True)
        (tmp_path / str(step) / "params" / "_METADATA").touch()
    with pytest.raises(UserError, match="holds 3 training steps; give one of them, such as .*/20000$"):
        recognise(tmp_path)


def test_unreadable_folder_error_gives_the_reason(tmp_path):
    with pytest.raises(UserError, match="cannot read .*gone: No such file"):
        recognise(tmp_path / "gone")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("openpi", {"config": "pi05_droid", "asset_id": "droid"}, None),
        ("jax", {"config": "pi05_droid", "asset_id": "droid"}, None),
        ("lerobot", {"lerobot_version": "0.4"}, None),
        ("demo", {"asset_id": "arm"}, None),
        ("demo", {"config": "pi05_droid"}, "--config"),
        ("lerobot", {"asset_id": "droid"}, "--asset"),
        ("jax", {"lerobot_version": "0.4"}, "--lerobot-version"),
    ],
)
def test_options_of_another_kind_of_checkpoint_are_refused(kind, options, message):
    if message is None:
        refuse_options(kind, CheckpointOptions(**options))
        return
    with pytest.raises(UserError, match=f"{message} .* says nothing about a checkpoint of kind {kind}; leave it out"):
        refuse_options(kind, CheckpointOptions(**options))


def create_files(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


STEPS = "outputs/train/10-00-00_pi05/checkpoints"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            "outputs/train/10-00-00_pi05",
            f"holds 2 checkpoints; give one of them, such as .*{STEPS}/last/pretrained_model",
        ),
        (STEPS, f"holds 2 checkpoints; give one of them, such as .*{STEPS}/last/pretrained_model"),
        (f"{STEPS}/005000", "give .*005000/pretrained_model, or .*005000/pretrained_model_ema for averaged weights"),
        (
            f"{STEPS}/005000/training_state",
            "a part of a checkpoint without its weights; give .*005000/pretrained_model",
        ),
    ],
)
def test_folder_of_a_training_run_error_names_its_checkpoint(tmp_path, chosen, message):
    for step in ("005000", "010000"):
        create_files(
            tmp_path,
            f"{STEPS}/{step}/pretrained_model/model.safetensors",
            f"{STEPS}/{step}/training_state/rng.safetensors",
        )
    create_files(tmp_path, f"{STEPS}/005000/pretrained_model_ema/model.safetensors")
    (tmp_path / STEPS / "last").symlink_to("010000")
    with pytest.raises(UserError, match=message) as error:
        recognise(tmp_path / chosen)
    assert "\n" not in str(error.value)


def test_openpi_run_or_part_of_a_step_error_names_the_step(tmp_path):
    create_files(tmp_path, "pi05_droid/mine/5000/params/_METADATA", "pi05_droid/mine/20000/params/_METADATA")
    create_files(tmp_path, "pi05_droid/mine/20000/assets/droid/norm_stats.json", "pi05_droid/mine/wandb_id.txt")
    with pytest.raises(UserError, match="such as .*mine/20000$"):
        recognise(tmp_path / "pi05_droid")
    with pytest.raises(UserError, match="part of a checkpoint without its weights; give .*20000$"):
        recognise(tmp_path / "pi05_droid/mine/20000/assets")


@pytest.mark.parametrize(
    ("files", "config", "chosen", "message"),
    [
        (
            ["p/pytorch_model_fsdp_0/__0_0.distcp", "p/pytorch_model_fsdp_0/.metadata"],
            {"type": "pi05"},
            "p",
            "`lerobot-convert-dcp --checkpoint_dir=.*/p`, then give .*/p$",
        ),
        (["p/pytorch_model_fsdp_0/__0_0.distcp"], {"type": "pi05"}, "p/pytorch_model_fsdp_0", "lerobot-convert-dcp"),
        (["p/model/__0_0.distcp"], None, "p", "`accelerate merge-weights .*/p/model MERGED`"),
        (
            ["p/zero_to_fp32.py", "p/global_step10/mp_rank_00_model_states.pt"],
            None,
            "p",
            "DeepSpeed's pieces.*zero_to_fp32",
        ),
    ],
)
def test_sharded_weights_of_other_formats_error_names_the_converter(tmp_path, files, config, chosen, message):
    create_files(tmp_path, *files)
    if config is not None:
        (tmp_path / "p" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        recognise(tmp_path / chosen)
