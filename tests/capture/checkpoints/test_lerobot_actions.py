"""Lengths of states and actions in lerobot's folders, and actions relative to the state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from checkpoint_files import ODD_SIZES
from decisions import choices_by_subject, uncertain_choices
from lerobot_policy_files import NUMBERS, STATS_FILE, lerobot_config, write_lerobot_policy
from safetensors.torch import save_file

from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint

OPTIONS = CheckpointOptions(sizes=ODD_SIZES)


def write_shapes(folder, *, state, action, statistics_state, statistics_action, **changes):
    """A folder that declares these lengths and has statistics of those."""
    features = {**lerobot_config()["input_features"], "observation.state": {"type": "STATE", "shape": [state]}}
    outputs = {"action": {"type": "ACTION", "shape": [action]}}
    config = lerobot_config(input_features=features, output_features=outputs, max_action_dim=32, **changes)
    write_lerobot_policy(folder, configuration=config)
    stats = {f"observation.state.{name}": statistics_state * value for name, value in NUMBERS.items()}
    stats |= {f"action.{name}": statistics_action * value for name, value in NUMBERS.items()}
    save_file(stats, folder / STATS_FILE)
    save_file(stats, folder / "after.safetensors")
    return open_checkpoint(folder, options=OPTIONS)


@pytest.mark.parametrize(
    ("declared", "length", "filled", "robot", "states", "is_certain"),
    [
        (32, 7, 7, 7, (7,), True),  # lerobot/pi05_base declares 32, and policies tuned from it keep that
        (32, 32, 7, 7, (7, 32), False),  # zeros behind the robot's numbers
        (14, 14, 7, 7, (7, 14), False),
        (14, 14, 13, 14, (14,), True),  # the last joint of two arms that never moved
        (8, 7, 7, 7, (7,), False),
        (32, 32, 32, 32, (32,), True),
    ],
)
def test_statistics_take_precedence_over_a_declared_shape(
    tmp_path, declared, length, filled, robot, states, is_certain
):
    numbers = torch.cat([torch.ones(filled), torch.zeros(length - filled)])
    checkpoint = write_shapes(
        tmp_path, state=declared, action=declared, statistics_state=numbers, statistics_action=numbers
    )
    assert checkpoint.preprocessing.robot_dim == robot
    assert checkpoint.preprocessing.state_lengths == states
    assert ("action dimensions of the robot" in uncertain_choices(checkpoint.decisions)) != is_certain
    requested = Pi05Spec(checkpoint, None).source_options
    assert (requested.state_dim, requested.robot_dim) == (states[0], robot)
    assert requested.padded_state_dim == (states[1] if len(states) > 1 else None)


@pytest.mark.parametrize("name", ["actions", "action_joints"])
def test_action_feature_of_another_name_is_used(tmp_path, name):
    config = lerobot_config(output_features={name: {"type": "ACTION", "shape": [7]}})
    folder = write_lerobot_policy(tmp_path, configuration=config)
    save_file(
        {f"{name}.{key}": torch.full((7,), value) for key, value in NUMBERS.items()}, folder / "after.safetensors"
    )
    checkpoint = open_checkpoint(folder, options=OPTIONS)
    assert checkpoint.preprocessing.robot_dim == 7
    assert checkpoint.preprocessing.action.stats["q99"].tolist() == [1.0] * 7


NAMES = ["shoulder", "elbow", "wrist", "left_gripper.pos", "a", "b", "GRIPPER"]


@pytest.mark.parametrize(
    ("in_config", "step", "mask"),
    [
        ({"use_relative_actions": True}, None, (True,) * 7),
        (
            {"use_relative_actions": True, "relative_exclude_joints": ["gripper"], "action_feature_names": NAMES},
            None,
            (True, True, True, False, True, True, False),
        ),
        # As in lerobot: joints that no name tells apart are relative too.
        ({"use_relative_actions": True, "relative_exclude_joints": ["gripper"]}, None, (True,) * 7),
        (
            {},
            {"enabled": True, "exclude_joints": ["wrist"], "action_names": NAMES[:3]},
            (True, True, False, *(True,) * 4),
        ),
        ({"use_relative_actions": True}, {"enabled": False}, ()),
        ({}, None, ()),
    ],
)
def test_relative_actions_are_added_to_the_state_as_lerobot_does(tmp_path, in_config, step, mask):
    steps = [] if step is None else [{"registry_name": "relative_actions_processor", "config": step}]
    checkpoint = open_checkpoint(
        write_lerobot_policy(tmp_path, configuration=lerobot_config(**in_config), extra_steps=steps), options=OPTIONS
    )
    preprocessing = checkpoint.preprocessing
    assert preprocessing.relative == mask
    assert ("relative to the state" in choices_by_subject(checkpoint.decisions)["delta actions"]) == bool(mask)
    assert ("delta actions" in uncertain_choices(checkpoint.decisions)) == bool(mask)  # so that a run says it
    model, state = torch.rand(10, 32).numpy(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    absolute = replace(preprocessing, relative=()).actions(model, None)
    added = torch.tensor(state[:7]) * torch.tensor(mask or (False,) * 7)
    torch.testing.assert_close(torch.tensor(preprocessing.actions(model, state)), torch.tensor(absolute) + added)


def test_relative_actions_of_more_dimensions_than_the_state_stay_relative(tmp_path):
    ones = torch.ones(6)
    checkpoint = write_shapes(
        tmp_path, state=6, action=7, statistics_state=ones, statistics_action=torch.ones(7), use_relative_actions=True
    )
    assert checkpoint.preprocessing.relative == ()
    assert uncertain_choices(checkpoint.decisions)["delta actions"] == "predicted relative to the state, and given so"
