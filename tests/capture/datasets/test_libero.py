"""LIBERO's and robomimic's files: rows match, and upside-down pictures are marked."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from decisions import choices_by_subject, uncertain_choices

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import read_number, read_tint, truncate, write_libero

from capture.datasets.base import SourceOptions
from capture.datasets.libero import axis_angle
from capture.datasets.registry import open_source
from capture.errors import UserError

LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)


def test_read_returns_matching_frames_states_and_actions(tmp_path):
    source = open_source(write_libero(tmp_path / "KITCHEN_SCENE1_put_the_bowl_demo.hdf5"), LIBERO)
    assert source.kind == "LIBERO demonstrations"
    assert choices_by_subject(source.decisions) == {
        "exterior camera": "agentview_rgb",
        "wrist camera": "eye_in_hand_rgb",
        "state": "ee_pos (3), ee_ori (3), gripper_states (2)",
        "true actions": "actions (7)",
        "turn of the pictures": "by 180 degrees",
    }
    assert (
        source.decisions[-1].reason == "LIBERO stores pictures upside down, and the attribute problem_info is LIBERO's"
    )
    assert (source.cameras[0].name, source.cameras[0].height, source.cameras[0].width) == ("agentview_rgb", 32, 80)
    assert [(episode.name, episode.number, episode.length, episode.rate) for episode in source.episodes] == [
        ("demo_0", 0, 6, 25.0),
        ("demo_1", 1, 9, 25.0),
    ]
    assert [episode.success for episode in source.episodes] == [True, False]
    assert source.episodes[1].prompts == ("put the bowl on the plate",)
    for frame, observation in zip((0, 4, 8), source.episodes[1].read([0, 4, 8]), strict=True):
        assert (
            read_number(observation.pictures["exterior"]) == read_number(observation.pictures["wrist"]) == 100 + frame
        )
        assert read_tint(observation.pictures["wrist"]) == 1
        np.testing.assert_allclose(observation.state, 100 + frame + 0.1 * np.arange(8))
        np.testing.assert_allclose(observation.true_actions[0], -(100 + frame + 0.1 * np.arange(7)), rtol=1e-6)
        assert len(observation.true_actions) == 9 - frame
        assert (observation.prompt, observation.index, observation.is_upside_down) == (
            "put the bowl on the plate",
            frame,
            True,
        )
        assert observation.time == pytest.approx(frame / 25)


def test_robomimic_is_upright_and_its_quaternion_becomes_an_axis_angle(tmp_path):
    source = open_source(write_libero(tmp_path / "lift.hdf5", libero=False, convention=None), LIBERO)
    assert source.kind == "robomimic demonstrations"
    chosen = choices_by_subject(source.decisions)
    assert chosen["state"] == "robot0_eef_pos (3), robot0_eef_axis_angle (3), robot0_gripper_qpos (2)"
    assert chosen["turn of the pictures"] == "none"
    (observation,) = source.episodes[0].read([2])
    assert not observation.is_upside_down
    np.testing.assert_allclose(observation.state, [2.0, 2.1, 2.2, 0, 0, 1.0, 2.6, 2.7])
    assert source.episodes[0].prompts == ()


def test_libero_files_in_opencvs_orientation_are_upright(tmp_path):
    source = open_source(write_libero(tmp_path / "a_demo.hdf5", convention="opencv"), LIBERO)
    assert (
        source.decisions[-1].sentence
        == "turn of the pictures: none (macros_image_convention is opencv, so LIBERO stored them upright)"
    )
    assert not next(iter(source.episodes[0].read([0]))).is_upside_down


def test_libero_files_without_attributes_are_known_by_their_names(tmp_path):
    path = write_libero(tmp_path / "KITCHEN_SCENE3_put_the_bowl_on_the_plate_demo.hdf5", has_attributes=False)
    source = open_source(path, LIBERO)
    assert source.kind == "LIBERO demonstrations"
    assert uncertain_choices(source.decisions)["turn of the pictures"] == "by 180 degrees"
    assert source.decisions[-1].reason.startswith("its pictures have LIBERO's names (agentview_rgb, eye_in_hand_rgb)")
    assert source.decisions[-1].reason.endswith("; --turned no if that is wrong")
    (observation,) = source.episodes[0].read([1])
    assert observation.is_upside_down
    assert observation.prompt == "put the bowl on the plate"
    assert uncertain_choices(source.episodes[0].frame_decisions([1]))["task"] == "from the name of the file"


@pytest.mark.parametrize(
    ("has_attributes", "libero", "cameras"),
    [
        (False, False, None),  # names that LIBERO's simulator and robomimic share
        (False, True, ("front_rgb", "hand_rgb")),
        (True, True, ("agentview_image", "robot0_eye_in_hand_image")),  # LIBERO's attributes, another writer's names
    ],
)
def test_open_source_asks_for_the_orientation_where_nothing_decides_it(tmp_path, has_attributes, libero, cameras):
    path = write_libero(tmp_path / "x.hdf5", libero=libero, has_attributes=has_attributes, cameras=cameras)
    choice = {} if cameras is None else dict(zip(("exterior", "wrist"), cameras, strict=True))
    options = replace(LIBERO, camera_overrides=choice)
    with pytest.raises(
        UserError, match=r"does not tell whether its pictures .* --turned yes .* or --turned no"
    ) as error:
        open_source(path, options)
    assert "\n" not in str(error.value)
    assert len(open_source(path, SourceOptions((), 1)).episodes) == 2  # what it holds can still be told
    for is_turned in (True, False):
        source = open_source(path, replace(options, turned=is_turned))
        assert next(iter(source.episodes[0].read([0]))).is_upside_down is is_turned
        assert source.decisions[-1].reason == f"by --turned {'yes' if is_turned else 'no'}"
        assert source.decisions[-1].is_certain


@pytest.mark.parametrize("is_turned", [True, False])
@pytest.mark.parametrize("libero", [True, False])
def test_turned_option_takes_precedence(tmp_path, libero, is_turned):
    path = write_libero(tmp_path / "x.hdf5", libero=libero, convention=None)
    source = open_source(path, replace(LIBERO, turned=is_turned))
    assert next(iter(source.episodes[0].read([0]))).is_upside_down is is_turned


def test_folder_of_both_kinds_turns_only_libero_pictures(tmp_path):
    write_libero(tmp_path / "a_demo.hdf5", (2,))
    write_libero(tmp_path / "b.hdf5", (2, 2), libero=False, convention=None)
    options = replace(LIBERO, state_keys=("none",), state_dim=None, cameras=())
    source = open_source(tmp_path, options)
    assert source.kind == "LIBERO and robomimic files of demonstrations"
    turns = [choices_by_subject(episode.frame_decisions([0]))["turn of the pictures"] for episode in source.episodes]
    assert turns == ["by 180 degrees", "none", "none"]


def test_each_demonstration_of_robocasa_has_its_own_prompt(tmp_path):
    path = write_libero(tmp_path / "demo_im128.hdf5", (2, 2, 2), libero=False, convention=None)
    with h5py.File(path, "a") as file:
        file["data/demo_0"].attrs["ep_meta"] = json.dumps({"layout_id": 3, "lang": "pick the apple"})
        file["data/demo_1"].attrs["ep_meta"] = json.dumps({"layout_id": 1, "lang": "pick the mug"})
        file["data/demo_2"].attrs["language_instruction"] = "open the drawer"
    source = open_source(path, LIBERO)
    assert source.kind == "RoboCasa and robomimic demonstrations"
    assert [episode.prompts for episode in source.episodes] == [
        ("pick the apple",),
        ("pick the mug",),
        ("open the drawer",),
    ]
    assert (
        choices_by_subject(source.episodes[0].frame_decisions([0]))["task"]
        == "from ep_meta of the demonstration (lang)"
    )
    (observation,) = source.episodes[1].read([1])
    assert (observation.prompt, observation.is_upside_down) == ("pick the mug", False)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 0.3, np.pi, 5.0])
def test_axis_angle_has_the_angle_as_its_length(angle):
    axis = np.array([0.6, 0.0, -0.8])
    (rotation,) = axis_angle(np.array([[*(axis * np.sin(angle / 2)), np.cos(angle / 2)]]))
    np.testing.assert_allclose(rotation, axis * angle, atol=1e-7)


def test_folder_source_has_the_demonstrations_of_all_files(tmp_path):
    for name in ("b_demo", "a_demo"):
        write_libero(tmp_path / f"{name}.hdf5", (3, 4))
    (tmp_path / "c_demo.hdf5").write_bytes(b"no")
    source = open_source(tmp_path, LIBERO)
    assert [episode.name for episode in source.episodes] == [
        "a_demo_demo_0",
        "a_demo_demo_1",
        "b_demo_demo_0",
        "b_demo_demo_1",
    ]
    assert [episode.number for episode in source.episodes] == [0, 1, 2, 3]
    assert set(source.unusable) == {"c_demo"}
    assert "cannot be read as HDF5" in source.unusable["c_demo"].reason


def test_demonstrations_are_sorted_by_number(tmp_path):
    source = open_source(write_libero(tmp_path / "x.hdf5", (2,) * 12), LIBERO)
    assert [episode.name for episode in source.episodes] == [f"demo_{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("info", "prompt"),
    [
        (json.dumps({"language_instruction": ["pick ", "it up"]}), "pick it up"),
        ("{", "turn on the stove"),
        ("{}", "turn on the stove"),
    ],
)
def test_prompt_comes_from_the_file_or_its_name(tmp_path, info, prompt):
    path = write_libero(tmp_path / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5", problem_info=info)
    assert open_source(path, LIBERO).episodes[0].prompts == (prompt,)


def set_dataset(path, name, values):
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("data/demo_1/obs/agentview_rgb", np.zeros((5, 32, 80, 3), np.uint8), "differ in length: .*agentview_rgb 5"),
        (
            "data/demo_1/obs/ee_pos",
            None,
            "the state part ee_pos in data/demo_1 of .* is missing; the other episodes have it with length 3",
        ),
        ("data/demo_1/obs/ee_pos", np.zeros((9, 4)), "ee_pos in data/demo_1 of .* is of length 4"),
        ("data/demo_1/obs/eye_in_hand_rgb", None, "there is no camera eye_in_hand_rgb in data/demo_1 of"),
        ("data/demo_1/obs", None, "has no group obs"),
        (
            "data/demo_1/actions",
            np.zeros((9, 3)),
            "the action part actions in .* is of length 3; the other episodes have it with length 7",
        ),
        ("data/demo_1/obs/agentview_rgb", h5py.ExternalLink("other.h5", "x"), "there is no camera agentview_rgb"),
    ],
)
def test_damaged_demonstration_is_unusable_and_the_others_are_usable(tmp_path, name, values, words):
    import re

    path = write_libero(tmp_path / "x.hdf5")
    set_dataset(path, name, values)
    source = open_source(path, LIBERO)
    assert [episode.name for episode in source.episodes] == ["demo_0"]
    assert re.search(words, source.unusable["demo_1"].reason)
    assert str(path) in source.unusable["demo_1"].reason


def test_read_reports_values_that_are_not_finite(tmp_path):
    path = write_libero(tmp_path / "x.hdf5")
    set_dataset(path, "data/demo_0/obs/ee_pos", np.full((6, 3), np.nan))
    first, second = open_source(path, LIBERO).episodes
    with pytest.raises(
        UserError, match=r"frame 0 of demo_0 has a state \(ee_pos, .*\) with numbers that are not finite"
    ):
        list(first.read([0]))
    assert len(list(second.read([0]))) == 1


def test_frames_without_the_values_that_are_not_finite_are_read(tmp_path):
    path = write_libero(tmp_path / "x.hdf5")
    with h5py.File(path, "a") as file:
        file["data/demo_1/obs/ee_pos"][4, 1] = np.nan
        file["data/demo_1/actions"][6] = np.inf
    episode = open_source(path, LIBERO).episodes[1]
    assert [len(observation.true_actions) for observation in episode.read([0, 3, 7])] == [6, 3, 2]
    assert uncertain_choices(episode.frame_decisions([0, 3, 7]))["true actions"] == "end early in 2 frames"
    for frame, words in ((4, "a state"), (6, r"an action \(actions\)")):
        with pytest.raises(UserError, match=f"frame {frame} of demo_1 has {words}.* not finite; leave it out"):
            list(episode.read([frame]))


def test_axes_of_two_arms_are_joined(tmp_path):
    path = write_libero(tmp_path / "x.hdf5", (6,))
    set_dataset(path, "data/demo_0/obs/arms", np.arange(84.0).reshape(6, 2, 7))
    set_dataset(path, "data/demo_0/actions", np.arange(84.0).reshape(6, 2, 7))
    source = open_source(path, replace(LIBERO, state_dim=14, robot_dim=14, state_keys=("arms",)))
    (observation,) = source.episodes[0].read([1])
    assert observation.state.tolist() == list(range(14, 28))
    assert observation.true_actions.shape == (5, 14)


def test_open_source_refuses_values_stored_in_another_file(tmp_path):
    path = write_libero(tmp_path / "x.hdf5", (3,))
    set_dataset(path, "data/demo_0/obs/ee_pos", None)
    (tmp_path / "secret").write_bytes(bytes(72))
    with h5py.File(path, "a") as file:
        file["data/demo_0/obs"].create_dataset("ee_pos", (3, 3), "f8", external=[(str(tmp_path / "secret"), 0, 72)])
    with pytest.raises(UserError, match="keeps its values in another file"):
        open_source(path, LIBERO)


def test_open_source_reports_truncated_files_and_other_robots(tmp_path):
    path = write_libero(tmp_path / "x_demo.hdf5")
    with pytest.raises(UserError, match="state has 14 numbers"):
        open_source(path, replace(LIBERO, state_dim=14))
    with pytest.raises(UserError, match="action has 8 numbers"):
        open_source(path, replace(LIBERO, robot_dim=8))
    truncate(path)
    with pytest.raises(UserError, match="cannot be read as HDF5, it may be cut off"):
        open_source(path, LIBERO)
