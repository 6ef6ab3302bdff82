"""Mapping of cameras, states and actions by the tables of names and by the user's choice; names of episodes."""

from __future__ import annotations

import pytest
from decisions import choices_by_subject

from capture.datasets.base import SourceOptions
from capture.datasets.episode_list import file_names
from capture.datasets.key_mapping import map_keys
from capture.errors import UserError
from capture.provenance import Decision


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
def test_map_keys_finds_cameras_by_the_table_of_names(cameras, exterior, wrist):
    mapping = map_keys("here", SourceOptions(("exterior", "wrist"), 1), cameras, state={}, actions={})
    assert mapping.cameras == {"exterior": exterior, "wrist": wrist}
    assert choices_by_subject(mapping.decisions) == {
        "exterior camera": exterior,
        "wrist camera": wrist,
        "state": "none",
        "true actions": "none",
    }


def test_map_keys_finds_a_camera_with_the_policys_own_name():
    assert map_keys("here", SourceOptions(("front",), 1), ("side", "front"), state={}, actions={}).cameras == {
        "front": "front"
    }


def test_map_keys_leaves_out_a_camera_chosen_as_none():
    mapping = map_keys(
        "here",
        SourceOptions(("exterior", "wrist"), 1, None, None, {"wrist": "none"}),
        ("image", "x"),
        state={},
        actions={},
    )
    assert mapping.cameras == {"exterior": "image"}
    assert mapping.decisions[1].sentence == "wrist camera: masked (by --camera)"
    assert mapping.decisions[1].is_certain


def test_map_keys_leaves_out_states_and_actions_chosen_as_none():
    options = SourceOptions((), 1, 8, 7, state_keys=("none",), action_keys=("none",))
    mapping = map_keys("here", options, (), state={"state": 8}, actions={"actions": 7})
    assert (mapping.state, mapping.actions) == ((), ())
    assert [decision.sentence for decision in mapping.decisions] == [
        "state: none (by --state-keys)",
        "true actions: none (by --action-keys)",
    ]


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
def test_map_keys_chooses_state_parts_of_the_policys_length(state, length, parts):
    assert map_keys("here", SourceOptions((), 1, length), (), state=state, actions={}).state == parts


@pytest.mark.parametrize(
    ("actions", "length", "parts"),
    [
        ({"joint_velocity": 7, "gripper_position": 1, "action": 8}, 8, ("joint_velocity", "gripper_position")),
        ({"action": 7}, 7, ("action",)),
        ({"actions": 8, "action": 7}, 7, ("action",)),
        ({}, 7, ()),
    ],
)
def test_map_keys_chooses_action_parts_of_the_policys_length(actions, length, parts):
    assert map_keys("here", SourceOptions((), 1, None, length), (), state={}, actions=actions).actions == parts


@pytest.mark.parametrize(
    ("actions", "keys", "choice", "reason", "is_certain"),
    [
        (
            {"joint_velocity": 7, "gripper_position": 1, "joint_position": 7},
            (),
            "joint_position (7), gripper_position (1)",
            "the policy acts in joint positions",
            True,
        ),
        (
            {"joint_velocity": 7, "gripper_position": 1, "joint_position": 7},
            ("joint_velocity", "gripper_position"),
            "joint_velocity (7), gripper_position (1)",
            "by --action-keys",
            True,
        ),
        (
            {"joint_velocity": 7, "gripper_position": 1},
            (),
            "joint_velocity (7), gripper_position (1)",
            "which the source lacks",
            False,
        ),
        ({"actions": 8}, (), "actions (8)", "the only parts", True),
        ({}, (), "none", "the source has none", True),
    ],
)
def test_map_keys_prefers_joint_positions_for_policies_that_act_in_them(actions, keys, choice, reason, is_certain):
    options = SourceOptions((), 1, None, 8, action_keys=keys, has_joint_actions=True)
    decision = map_keys("here", options, (), state={}, actions=actions).decisions[-1]
    assert (decision.subject, decision.choice, decision.is_certain) == ("true actions", choice, is_certain)
    assert reason in decision.reason


def test_map_keys_leaves_true_actions_out_of_a_policy_without_robot_units():
    options = SourceOptions((), 1, action_keys=("none",))
    mapping = map_keys("here", options, (), state={}, actions={"action": 7})
    assert mapping.actions == ()
    assert mapping.decisions[-1].sentence == "true actions: none (the policy's actions are not in robot units)"


def test_map_keys_refuses_a_source_without_cameras():
    with pytest.raises(UserError, match="here has no camera for the policy"):
        map_keys("here", SourceOptions(("exterior",), 1), (), state={}, actions={})


def test_names_become_fit_for_files_and_differ():
    assert file_names(["a/b", "a b", "A_B", "", "..", "ü" * 3, "x" * 300]) == [
        *("a_b", "a_b_2", "A_B_3", "episode", "episode_2", "üüü", "x" * 120),
    ]


def test_names_keep_letters_of_any_script_within_their_bytes():
    assert file_names(["b ü", "b u\u0308", "Straße", "STRASSE", "任务/一"]) == [
        "b_ü",
        "b_ü_2",
        "Straße",
        "STRASSE_2",
        "任务_一",
    ]
    [name] = file_names(["任" * 100])
    assert name == "任" * 40
    assert file_names(["a\u202eb\ud800"]) == ["a_b"]


RENAMED = {
    "exterior": ("observation.images.exterior_2_left",),
    "wrist": ("observation.images.side",),
}


@pytest.mark.parametrize(
    ("cameras", "aliases", "exterior", "wrist"),
    [
        (("exterior_1_left", "exterior_2_left", "wrist_left", "side"), {}, "exterior_2_left", "side"),
        (
            ("far", "near"),
            {"observation.images.exterior_2_left": "far", "observation.images.side": "near"},
            "far",
            "near",
        ),
        # Already called what the map renames to, as after lerobot's own conversion.
        (("base_0_rgb", "exterior_1_left", "side"), {}, "base_0_rgb", "side"),
    ],
)
def test_map_keys_follows_the_rename_map_of_the_checkpoint(cameras, aliases, exterior, wrist):
    options = SourceOptions(
        ("exterior", "wrist"),
        1,
        renamed_cameras=RENAMED,
        camera_features={"exterior": "observation.images.base_0_rgb", "wrist": "observation.images.left_wrist_0_rgb"},
    )
    mapping = map_keys("here", options, cameras, state={}, actions={}, aliases=aliases)
    assert mapping.cameras == {"exterior": exterior, "wrist": wrist}
    reason = "by the checkpoint's rename_map"
    assert mapping.decisions[0] == Decision("exterior camera", exterior, reason, is_certain=True)


def test_map_keys_refuses_a_source_without_the_renamed_camera():
    options = SourceOptions(("exterior", "wrist"), 1, renamed_cameras=RENAMED)
    with pytest.raises(UserError, match=r"feeds its exterior from observation.images.exterior_2_left, .*exterior_1"):
        map_keys("here", options, ("exterior_1_left", "side"), state={}, actions={})
    options = SourceOptions(("exterior", "wrist"), 1, None, None, {"exterior": "exterior_1_left"}, RENAMED)
    assert map_keys("here", options, ("exterior_1_left", "side"), state={}, actions={}).cameras == {
        "exterior": "exterior_1_left",
        "wrist": "side",
    }


def test_map_keys_gives_no_second_slot_a_renamed_camera():
    options = SourceOptions(("exterior", "wrist"), 1, renamed_cameras={"wrist": ("exterior_1_left",)})
    mapping = map_keys("here", options, ("exterior_1_left", "exterior_2_left"), state={}, actions={})
    assert mapping.cameras == {"exterior": "exterior_2_left", "wrist": "exterior_1_left"}


def test_map_keys_prefers_the_checkpoints_own_name_of_a_camera():
    options = SourceOptions(("exterior",), 1, camera_features={"exterior": "observation.images.cam_high"})
    assert map_keys("here", options, ("image", "cam_high"), state={}, actions={}).cameras == {"exterior": "cam_high"}


@pytest.mark.parametrize(
    ("state", "parts"), [({"state": 7}, ("state",)), ({"state": 32}, ("state",)), ({"state": 7, "x": 25}, ("state",))]
)
def test_map_keys_takes_a_state_that_is_padded_as_the_statistics_are(state, parts):
    options = SourceOptions((), 1, 7, padded_state_dim=32)
    assert map_keys("here", options, (), state=state, actions={}).state == parts
    with pytest.raises(UserError, match="the policy's state has 7 numbers, but here has state .8."):
        map_keys("here", options, (), state={"state": 8}, actions={})
