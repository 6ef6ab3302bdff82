"""Which kind of checkpoint lies in a folder is told by what is in it, not by its name."""

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
    found, read = recognise(tmp_path)
    assert found == kind
    assert dict(read.values) == (config or {})


def test_of_several_training_steps_the_last_is_suggested(tmp_path):
    for step in (5000, 20000, 900):
        (tmp_path / str(step) / "params").mkdir(parents=True)
        (tmp_path / str(step) / "params" / "_METADATA").touch()
    with pytest.raises(UserError, match="holds 3 training steps; give one of them, such as .*/20000$"):
        recognise(tmp_path)


def test_a_folder_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(UserError, match="cannot read .*gone: No such file"):
        recognise(tmp_path / "gone")


@pytest.mark.parametrize(
    ("kind", "options", "refused"),
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
def test_options_that_would_do_nothing_are_refused(kind, options, refused):
    if refused is None:
        refuse_options(kind, CheckpointOptions(**options))
        return
    with pytest.raises(UserError, match=f"{refused} .* says nothing about a checkpoint of kind {kind}; leave it out"):
        refuse_options(kind, CheckpointOptions(**options))


def touch(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


STEPS = "outputs/train/10-00-00_pi05/checkpoints"


@pytest.mark.parametrize(
    ("given", "said"),
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
def test_a_folder_of_a_training_run_names_the_checkpoint_to_give(tmp_path, given, said):
    for step in ("005000", "010000"):
        touch(
            tmp_path,
            f"{STEPS}/{step}/pretrained_model/model.safetensors",
            f"{STEPS}/{step}/training_state/rng.safetensors",
        )
    touch(tmp_path, f"{STEPS}/005000/pretrained_model_ema/model.safetensors")
    (tmp_path / STEPS / "last").symlink_to("010000")
    with pytest.raises(UserError, match=said) as caught:
        recognise(tmp_path / given)
    assert "\n" not in str(caught.value)


def test_openpis_runs_and_the_parts_of_a_step_name_the_step(tmp_path):
    touch(tmp_path, "pi05_droid/mine/5000/params/_METADATA", "pi05_droid/mine/20000/params/_METADATA")
    touch(tmp_path, "pi05_droid/mine/20000/assets/droid/norm_stats.json", "pi05_droid/mine/wandb_id.txt")
    with pytest.raises(UserError, match="such as .*mine/20000$"):
        recognise(tmp_path / "pi05_droid")
    with pytest.raises(UserError, match="part of a checkpoint without its weights; give .*20000$"):
        recognise(tmp_path / "pi05_droid/mine/20000/assets")


@pytest.mark.parametrize(
    ("files", "config", "given", "said"),
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
def test_weights_in_pieces_name_their_converter(tmp_path, files, config, given, said):
    touch(tmp_path, *files)
    if config is not None:
        (tmp_path / "p" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        recognise(tmp_path / given)
