"""Values of openpi's configurations, and how the configuration of a checkpoint is recognised."""

from __future__ import annotations

import pytest

from capture.checkpoints.openpi_configs import CONFIGS, config_of_asset, config_of_folder, find_config
from capture.errors import UserError


@pytest.mark.parametrize(
    ("name", "horizon", "state_in_prompt", "robot_dim", "relative_dims"),
    [
        ("pi05_droid", 15, True, 8, 0),
        ("pi05_libero", 10, False, 7, 0),
        ("pi05_base", 50, True, None, 0),
        ("pi05_aloha", 50, True, 14, 0),
        ("pi05_droid_finetune", 16, True, 8, 0),
        ("pi05_full_droid_finetune", 16, True, 8, 7),
        ("pi05_droid_jointpos_polaris", 15, True, 8, 7),
    ],
)
def test_known_configurations_have_the_values_of_openpi(name, horizon, state_in_prompt, robot_dim, relative_dims):
    config = find_config(name)
    assert config.name == name
    assert (config.horizon, config.state_in_prompt) == (horizon, state_in_prompt)
    assert (config.robot_dim, config.relative) == (robot_dim, (True,) * relative_dims)


def test_droid_and_libero_leave_the_masked_slot_out():
    assert find_config("pi05_droid").cameras == ("exterior", "wrist")
    assert find_config("pi05_libero").cameras == ("exterior", "wrist")
    assert find_config("pi05_base").cameras == ("exterior", "wrist", "right wrist")


def test_pi0_configuration_is_distinguished_from_an_unknown_one():
    with pytest.raises(UserError, match="--config pi0_droid is not a Pi0.5 configuration"):
        find_config("pi0_droid")
    with pytest.raises(
        UserError, match=r"--config pi05_kitchen is not known here; choose one of pi05_droid, .*--horizon"
    ):
        find_config("pi05_kitchen")


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("data", "pi05_droid"), "pi05_droid"),
        (("data", "pi05_droid_pytorch"), "pi05_droid"),
        (("checkpoints", "pi05_libero", "my_run", "20000"), "pi05_libero"),
        (("pi05_base", "pi05_libero"), "pi05_libero"),
        (("pi05_libero", "a", "b", "c", "d"), None),
        (("data", "pi05_droid_v2"), None),
        ((), None),
    ],
)
def test_folder_name_gives_the_configuration(parts, name):
    config = config_of_folder(parts)
    assert (config.name if config else None) == name


def test_asset_id_gives_the_released_checkpoint():
    assert config_of_asset("droid") is CONFIGS["pi05_droid"]
    assert config_of_asset("physical-intelligence/libero") is CONFIGS["pi05_libero"]
    assert config_of_asset("my_robot") is None
