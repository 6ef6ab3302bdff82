"""The table of names, and how a user overrules it."""

from __future__ import annotations

import pytest

from capture.datasets.base import SourceOptions
from capture.datasets.episode_names import file_names
from capture.datasets.key_mapping import choose
from capture.errors import UserError


@pytest.mark.parametrize(
    ("cameras", "exterior", "wrist"),
    [
        (
            ("wrist_image_left", "exterior_image_2_left", "exterior_image_1_left"),
            "exterior_image_1_left",
            "wrist_image_left",
        ),
        (("wrist_left", "exterior_2_left"), "exterior_2_left", "wrist_left"),
        (("image", "wrist_image"), "image", "wrist_image"),
        (("image", "image2"), "image", "image2"),
        (("agentview_rgb", "eye_in_hand_rgb"), "agentview_rgb", "eye_in_hand_rgb"),
        (("agentview_image", "robot0_eye_in_hand_image"), "agentview_image", "robot0_eye_in_hand_image"),
        (("wrist", "exterior", "image"), "exterior", "wrist"),
        (("cam_high", "cam_left_wrist", "cam_right_wrist", "cam_low"), "cam_high", "cam_left_wrist"),
        (("base_0_rgb", "left_wrist_0_rgb"), "base_0_rgb", "left_wrist_0_rgb"),
    ],
)
def test_known_cameras_are_found(cameras, exterior, wrist):
    chosen = choose("here", SourceOptions(("exterior", "wrist"), 1), cameras, state={}, actions={})
    assert chosen.cameras == {"exterior": exterior, "wrist": wrist}
    assert chosen.mapped == (
        *(f"exterior is {exterior}", f"wrist is {wrist}", "state is not there", "true actions are not there"),
    )


def test_a_policys_own_camera_name_is_found():
    assert choose("here", SourceOptions(("front",), 1), ("side", "front"), state={}, actions={}).cameras == {
        "front": "front"
    }


def test_a_camera_can_be_left_out_by_the_user():
    chosen = choose(
        "here",
        SourceOptions(("exterior", "wrist"), 1, None, None, {"wrist": "none"}),
        ("image", "x"),
        state={},
        actions={},
    )
    assert chosen.cameras == {"exterior": "image"}
    assert chosen.mapped[1] == "wrist is masked, as --camera says"


def test_states_and_actions_can_be_left_out_by_the_user():
    wanted = SourceOptions((), 1, 8, 7, state_keys=("none",), action_keys=("none",))
    chosen = choose("here", wanted, (), state={"state": 8}, actions={"actions": 7})
    assert (chosen.state, chosen.actions) == ((), ())
    assert chosen.mapped == (
        "state is left out, as --state-keys says",
        "true actions are left out, as --action-keys says",
    )


@pytest.mark.parametrize(
    ("state", "length", "parts"),
    [
        ({"joint_position": 7, "gripper_position": 1, "state": 8}, 8, ("joint_position", "gripper_position")),
        ({"joint_position": 7, "gripper_position": 1, "state": 14}, 14, ("state",)),
        ({"ee_pos": 3, "ee_ori": 3, "gripper_states": 2, "joint_states": 7}, 8, ("ee_pos", "ee_ori", "gripper_states")),
        ({"ee_states": 6, "gripper_states": 2}, None, ("ee_states", "gripper_states")),
        ({"torque": 7}, None, ()),
        ({}, 8, ()),
    ],
)
def test_states_of_the_policys_length_are_found(state, length, parts):
    assert choose("here", SourceOptions((), 1, length), (), state=state, actions={}).state == parts


@pytest.mark.parametrize(
    ("actions", "length", "parts"),
    [
        ({"joint_velocity": 7, "gripper_position": 1, "action": 8}, 8, ("joint_velocity", "gripper_position")),
        ({"action": 7}, 7, ("action",)),
        ({"actions": 8, "action": 7}, 7, ("action",)),
        ({}, 7, ()),
    ],
)
def test_actions_of_the_policys_length_are_found(actions, length, parts):
    assert choose("here", SourceOptions((), 1, None, length), (), state={}, actions=actions).actions == parts


@pytest.mark.parametrize(
    ("actions", "keys", "said"),
    [
        (
            {"joint_velocity": 7, "gripper_position": 1, "joint_position": 7},
            (),
            "joint_position (7), gripper_position (1), since the policy acts in joint positions",
        ),
        (
            {"joint_velocity": 7, "gripper_position": 1, "joint_position": 7},
            ("joint_velocity", "gripper_position"),
            "joint_velocity (7), gripper_position (1)",
        ),
        (
            {"joint_velocity": 7, "gripper_position": 1},
            (),
            "joint_velocity (7), gripper_position (1), although the policy acts in joint positions",
        ),
        ({"actions": 8}, (), "actions (8)"),
        ({}, (), "not there"),
    ],
)
def test_policies_that_act_in_joint_positions_are_compared_with_them(actions, keys, said):
    wanted = SourceOptions((), 1, None, 8, action_keys=keys, has_joint_actions=True)
    assert choose("here", wanted, (), state={}, actions=actions).mapped[-1] == f"true actions are {said}"


def test_a_source_without_any_camera_is_said():
    with pytest.raises(UserError, match="has no camera that the policy could be shown"):
        choose("here", SourceOptions(("exterior",), 1), (), state={}, actions={})


def test_names_become_fit_for_files_and_differ():
    assert file_names(["a/b", "a b", "A_B", "", "..", "ü" * 3, "x" * 300]) == [
        *("a_b", "a_b_2", "A_B_3", "episode", "episode_2", "episode_3", "x" * 120),
    ]
