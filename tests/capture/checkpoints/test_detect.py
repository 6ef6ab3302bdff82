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
