"""Whether a policy reads the state, told by names and config.json alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capture.checkpoints.state_need import is_state_required


def make_folder(folder: Path, config: object | None = None) -> Path:
    """Return a folder with a config.json, as converted and lerobot checkpoints have."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({} if config is None else config))
    return folder


def test_pi05_policies_need_the_state(tmp_path: Path) -> None:
    assert is_state_required(make_folder(tmp_path / "mine"), None, None)
    assert is_state_required(make_folder(tmp_path / "pi05_droid_pytorch"), None, None)
    (tmp_path / "jax" / "params").mkdir(parents=True)
    assert is_state_required(tmp_path / "jax", None, None)


@pytest.mark.parametrize(
    ("name", "config", "options"),
    [
        ("pi05_libero", {}, (None, None)),
        ("mine", {"state_in_prompt": False}, (None, None)),
        ("mine", {}, ("pi05_libero", None)),
        ("mine", {}, (None, "physical-intelligence/libero")),
        ("mine", {}, ("not_known", None)),
    ],
)
def test_policies_that_may_need_no_state_are_accepted(tmp_path: Path, name, config, options) -> None:
    assert not is_state_required(make_folder(tmp_path / name, config), *options)


@pytest.mark.parametrize("location", ["assets", "../assets", "../../assets"])
def test_libero_statistics_beside_the_checkpoint_leave_the_need_open(tmp_path: Path, location: str) -> None:
    folder = make_folder(tmp_path / "run" / "mine")
    (folder / location / "physical-intelligence" / "libero").mkdir(parents=True)
    assert not is_state_required(folder, None, None)


def test_folder_that_is_no_checkpoint_needs_no_state(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{damaged")
    assert not is_state_required(tmp_path, None, None)
    assert not is_state_required(tmp_path / "absent", None, None)
