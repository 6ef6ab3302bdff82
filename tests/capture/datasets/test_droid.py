"""DROID's raw episodes: frames, states and actions match, and damage is reported."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from decisions import choices_by_subject, uncertain_choices

pytest.importorskip("av", reason="videos need the extra [datasets]")

from episode_files import CAMERAS, picture, read_number, read_tint, truncate, write_droid, write_video

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

DROID = SourceOptions(("exterior", "wrist"), 15, 8, 8)


@pytest.mark.parametrize("form", ["mp4", "stereo", "serials", "named"])
def test_read_returns_matching_frames_states_and_actions(tmp_path, form):
    source = open_source(write_droid(tmp_path / "episode", 20, form=form), DROID)
    assert source.kind == "DROID episode"
    assert set(CAMERAS) <= {camera.name for camera in source.cameras}
    assert {(camera.height, camera.width) for camera in source.cameras} == {(32, 80)}
    (episode,) = source.episodes
    assert (episode.name, episode.number, episode.length, episode.rate) == ("episode", 0, 20, 15.0)
    assert episode.prompts == ("Move the duck",)
    assert episode.success
    read = list(episode.read([0, 1, 7, 12, 19]))
    assert [observation.index for observation in read] == [0, 1, 7, 12, 19]
    for observation in read:
        assert (
            read_number(observation.pictures["exterior"])
            == read_number(observation.pictures["wrist"])
            == observation.index
        )
        assert (read_tint(observation.pictures["exterior"]), read_tint(observation.pictures["wrist"])) == (1, 0)
        assert observation.pictures["wrist"].shape == (32, 80, 3)
        np.testing.assert_allclose(observation.state[:7], observation.index + 0.1 * np.arange(7))
        assert observation.state[7] == pytest.approx(observation.index / 19)
        assert observation.true_actions.shape == (min(15, 20 - observation.index), 8)
        np.testing.assert_allclose(
            observation.true_actions[0, :7], -(observation.index + 0.1 * np.arange(7)), rtol=1e-6
        )
        assert observation.true_actions[0, 7] == pytest.approx(1 - observation.index / 19)
        assert observation.time == pytest.approx(observation.index * 0.067)
        assert (observation.prompt, observation.episode, observation.is_upside_down) == (
            "Move the duck",
            "episode",
            False,
        )


def test_open_source_accepts_a_trajectory_file(tmp_path):
    folder = write_droid(tmp_path / "episode", 3, form="named")
    assert open_source(folder / "trajectory.h5", DROID).path == folder


@pytest.mark.parametrize(
    ("camera", "tint", "first"),
    [("exterior_image_2_left", 2, 0), ("right", 2, 0), ("24259877", 2, 0), ("24259877_right", 2, 500), ("left", 1, 0)],
)
def test_camera_override_chooses_another_exterior_camera_or_eye(tmp_path, camera, tint, first):
    options = SourceOptions(("exterior", "wrist"), 15, 8, 8, {"exterior": camera})
    source = open_source(write_droid(tmp_path / "episode", 4, form="stereo"), options)
    (observation,) = source.episodes[0].read([2])
    assert (read_tint(observation.pictures["exterior"]), read_number(observation.pictures["exterior"])) == (
        tint,
        first + 2,
    )
    assert choices_by_subject(source.decisions)["exterior camera"].startswith("exterior_image_")


def test_state_and_action_keys_choose_parts_and_their_order(tmp_path):
    folder = write_droid(tmp_path / "episode", 4, form="named")
    keys = ("gripper_position", "joint_position")
    source = open_source(folder, SourceOptions(("wrist",), 2, 8, 8, state_keys=keys, action_keys=keys))
    (observation,) = source.episodes[0].read([3])
    assert observation.state.tolist()[:2] == [1.0, 3.0]
    assert observation.true_actions[0, :2].tolist() == [0.0, 103.0]
    assert choices_by_subject(source.decisions)["state"] == "gripper_position (1), joint_position (7)"
    (observation,) = (
        open_source(folder, SourceOptions(("wrist",), 2, 8, 8, action_keys=("none",))).episodes[0].read([3])
    )
    assert observation.true_actions is None


def write_release(tmp_path):
    root = tmp_path / "droid_raw"
    for parent, uuid in (("success/2023-07-07/Fri_Jul__7_09:42:23_2023", "A+1"), ("failure/2023-07-07/Fri_7", "A+2")):
        write_droid(root / "LAB" / parent, 4, form="named", uuid=uuid, metadata={"success": None})
    return root


def test_episodes_of_a_release_have_names_success_and_annotations(tmp_path):
    root = write_release(tmp_path)
    annotations = {"A+1": {"language_instruction1": "move it", "language_instruction2": "move the duck"}}
    (root / "aggregated-annotations-030724.json").write_text(json.dumps(annotations))
    source = open_source(root, DROID)
    assert source.kind == "folder of DROID episodes"
    assert [episode.name for episode in source.episodes] == [
        "LAB_failure_2023-07-07_Fri_7",
        "LAB_success_2023-07-07_Fri_Jul__7_09_42_23_2023",
    ]
    assert [episode.number for episode in source.episodes] == [0, 1]
    assert [episode.success for episode in source.episodes] == [False, True]
    assert [episode.prompts for episode in source.episodes] == [("Move the duck",), ("move it", "move the duck")]


def test_annotations_are_found_in_folders_above_the_episode(tmp_path):
    root = write_release(tmp_path)
    (root / "aggregated-annotations-030724.json").write_text(json.dumps({"A+2": {"language_instruction1": "drop it"}}))
    assert open_source(root / "LAB/failure/2023-07-07/Fri_7", DROID).episodes[0].prompts == ("drop it",)
    (root / "aggregated-annotations-030724.json").write_text("[")
    with pytest.raises(UserError, match="aggregated-annotations-030724.json cannot be read as JSON"):
        open_source(root, DROID)


def test_cameras_are_told_apart_by_the_trajectory_without_metadata(tmp_path):
    folder = write_droid(tmp_path / "episode", 4)
    next(folder.glob("metadata_*.json")).unlink()
    (episode,) = open_source(folder, DROID).episodes
    (observation,) = episode.read([3])
    assert (read_tint(observation.pictures["exterior"]), read_tint(observation.pictures["wrist"])) == (1, 0)
    assert (episode.length, episode.prompts, episode.success) == (4, ("Move the duck",), None)


def test_missing_video_makes_only_its_episode_unusable(tmp_path):
    for name in ("a", "b", "c"):
        write_droid(tmp_path / name, 4, uuid=name)
    (tmp_path / "b/recordings/MP4/13062452.mp4").unlink()
    for file in (tmp_path / "c/recordings/MP4").iterdir():
        file.unlink()
    source = open_source(tmp_path, DROID)
    assert [episode.name for episode in source.episodes] == ["a"]
    assert set(source.unusable) == {"b", "c"}
    assert "there is no camera wrist_image_left" in source.unusable["b"].reason
    assert "has no pictures" in source.unusable["c"].reason
    assert "13062452" in source.unusable["c"].reason


def test_empty_task_attribute_means_no_prompt(tmp_path):
    folder = write_droid(tmp_path / "a", 2)
    next(folder.glob("metadata_*.json")).unlink()  # leaves the trajectory's attributes as the only source
    with h5py.File(folder / "trajectory.h5", "a") as file:
        file.attrs["current_task"] = np.zeros(0)
    (episode,) = open_source(folder, DROID).episodes
    assert (episode.prompts, len(list(episode.read([0, 1])))) == ((), 2)


def test_episode_with_only_svo_files_names_the_converter(tmp_path):
    folder = write_droid(tmp_path / "episode", 2)
    (folder / "recordings/MP4").rename(folder / "recordings/SVO")
    for file in (folder / "recordings/SVO").iterdir():
        file.rename(file.with_suffix(".svo"))
    with pytest.raises(
        UserError, match=r"has only SVO files; convert them with DROID's scripts/convert/svo_to_mp4\.py"
    ):
        open_source(folder, DROID)


def removing(name):
    def change(folder):
        with h5py.File(folder / "trajectory.h5", "a") as file:
            del file[name]

    return change


def widen_state(folder):
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file["observation/robot_state/joint_positions"]
        file["observation/robot_state/joint_positions"] = np.zeros((20, 6))


def write_nan(folder):
    with h5py.File(folder / "trajectory.h5", "a") as file:
        file["action/joint_velocity"][5, 3] = np.nan


def link_outside(folder):
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file["action/joint_velocity"]
        file["action/joint_velocity"] = h5py.ExternalLink("other.h5", "secret")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: truncate(folder / "recordings/MP4/13062452.mp4"), r"13062452\.mp4.*cut off or damaged"),
        (lambda folder: (folder / "recordings/MP4/13062452.mp4").write_bytes(b"#EXTM3U\n/etc/passwd"), "not a video"),
        (lambda folder: (folder / "recordings/MP4/13062452.mp4").write_bytes(b"version https://git-lfs"), "git lfs"),
        (lambda folder: truncate(folder / "trajectory.h5"), r"trajectory\.h5 cannot be read as HDF5"),
        (removing("observation/robot_state/joint_positions"), r"joint_positions in .*trajectory\.h5 is missing"),
        (removing("action"), r"action/joint_velocity in .*trajectory\.h5 is missing"),
        (widen_state, r"\(20, 6\), not \(20, 7\)"),
        (write_nan, "not finite"),
        (link_outside, r"action/joint_velocity in .* is missing"),
    ],
)
def test_read_reports_damage_in_one_sentence(tmp_path, damage, words):
    folder = write_droid(tmp_path / "episode", 20)
    damage(folder)
    (episode,) = open_source(folder, DROID).episodes
    with pytest.raises(UserError, match=words):
        list(episode.read([0, 5]))


def test_rows_after_the_end_of_a_video_are_left_out(tmp_path):
    folder = write_droid(tmp_path / "episode", 20)
    write_video(folder / "recordings/MP4/13062452.mp4", [picture(number, tint=2) for number in range(19)])
    write_video(folder / "recordings/MP4/24259877.mp4", [picture(number) for number in range(5)])  # not mapped
    (episode,) = open_source(folder, DROID).episodes
    assert episode.length == 19
    last = list(episode.read([0, 18]))[-1]
    assert read_number(last.pictures["exterior"]) == read_number(last.pictures["wrist"]) == 18
    assert len(last.true_actions) == 2  # the actions of the row without a picture are kept
    assert uncertain_choices(episode.frame_decisions([0])) == {"frames": "0 to 18; 19 is left out"}


@pytest.mark.parametrize("length_in_metadata", [21, 19, 0, "many"])
def test_length_comes_from_the_trajectory_where_the_metadata_disagree(tmp_path, length_in_metadata):
    folder = write_droid(tmp_path / "episode", 20, metadata={"trajectory_length": length_in_metadata})
    (episode,) = open_source(folder, DROID).episodes
    assert episode.length == 20
    assert len(list(episode.read([0, 19]))) == 2
    assert uncertain_choices(episode.frame_decisions([0])) == {"rows of the episode": "20 by trajectory.h5"}


@pytest.mark.parametrize("serial", [None, "99999999", ""])
@pytest.mark.parametrize(
    ("key", "camera"), [("wrist_cam_serial", "wrist_image"), ("ext1_cam_serial", "exterior_image_1")]
)
def test_missing_or_wrong_serial_is_read_from_the_trajectory(tmp_path, key, camera, serial):
    folder = write_droid(tmp_path / "episode", 4, metadata={key: serial})
    source = open_source(folder, DROID)
    tints = {"exterior": 1, "wrist": 0}
    (observation,) = source.episodes[0].read([2])
    assert {slot: read_tint(shown) for slot, shown in observation.pictures.items()} == tints
    uncertain = uncertain_choices(source.episodes[0].frame_decisions([2]))
    number = {"wrist_image": "13062452", "exterior_image_1": "20036094"}[camera]
    assert uncertain == {"serials": f"{number} is {camera}"}


def test_serials_may_be_numbers(tmp_path):
    folder = write_droid(tmp_path / "episode", 4, metadata={"wrist_cam_serial": 13062452})
    assert len(open_source(folder, DROID).cameras) == 3


def test_missing_camera_is_named_and_another_known_one_is_used(tmp_path):
    for name in ("a", "b", "c", "d", "e"):
        write_droid(tmp_path / name, 3, uuid=name)
    (tmp_path / "a/recordings/MP4/20036094.mp4").unlink()
    (tmp_path / "b/recordings/MP4/24259877.mp4").unlink()
    (tmp_path / "c/recordings/MP4/13062452.mp4").unlink()
    source = open_source(tmp_path, replace(DROID, camera_overrides={}))
    assert [episode.name for episode in source.episodes] == ["a", "b", "d", "e"]
    assert "there is no camera wrist_image_left in" in source.unusable["c"].reason
    shown = [next(iter(episode.read([1]))).pictures["exterior"] for episode in source.episodes]
    assert [read_tint(picture) for picture in shown] == [2, 1, 1, 1]
    assert uncertain_choices(source.episodes[0].frame_decisions([1])) == {
        "exterior camera of a": "exterior_image_2_left",
        "cameras without pictures": "exterior_image_1 (20036094)",
    }
    assert uncertain_choices(source.episodes[1].frame_decisions([1])) == {
        "cameras without pictures": "exterior_image_2 (24259877)"
    }
    chosen = open_source(tmp_path, replace(DROID, camera_overrides={"exterior": "exterior_image_1_left"}))
    assert [episode.name for episode in chosen.episodes] == ["b", "d", "e"]  # a choice is not replaced


def test_read_reports_a_truncated_video(tmp_path):
    folder = write_droid(tmp_path / "episode", 20)
    video = folder / "recordings/MP4/13062452.mp4"
    write_video(video, [picture(number) for number in range(20)], movflags="faststart", g="1")
    truncate(video, 0.7)
    with pytest.raises(UserError, match=r"cut off: \d+ of the 20 frames"):
        list(open_source(folder, DROID).episodes[0].read([0]))


def test_read_reports_a_gap_in_numbered_pictures(tmp_path):
    folder = write_droid(tmp_path / "episode", 20, form="named")
    (folder / "recordings/frames/wrist_image_left/00007.jpg").unlink()
    with pytest.raises(UserError, match="picture of frame 7 is missing"):
        list(open_source(folder, DROID).episodes[0].read([0]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            SourceOptions(("exterior", "wrist"), 15, 8, 8, {"wrist": "head"}),
            r"no camera 'head' in .* it has exterior_image_1",
        ),
        (SourceOptions(("exterior", "wrist"), 15, 8, 8, {"head": "wrist"}), "the policy has no camera 'head'"),
        (SourceOptions(("exterior", "head"), 15, 8, 8), 'policy\'s head; choose one of .* with --camera "head=NAME"'),
        (SourceOptions(("exterior",), 15, 14, 8), "state has 14 numbers, but .* another robot"),
        (SourceOptions(("exterior",), 15, 8, 14), "action has 14 numbers, but .* another robot"),
        (
            SourceOptions(("exterior",), 15, 8, 8, state_keys=("torque",)),
            "no state part 'torque' in .* it has joint_pos",
        ),
        (
            SourceOptions(("exterior",), 15, 8, 8, state_keys=("joint_position",)),
            "gives 7 numbers, but the policy's state has 8",
        ),
    ],
)
def test_open_source_refuses_a_mapping_that_does_not_fit(tmp_path, options, words):
    folder = write_droid(tmp_path / "episode", 3, form="named")
    with pytest.raises(UserError, match=words):
        open_source(folder, options)


def test_right_wrist_is_masked_where_the_source_has_none(tmp_path):
    folder = write_droid(tmp_path / "episode", 3, form="named")
    source = open_source(folder, SourceOptions(("exterior", "wrist", "right wrist"), 15))
    assert choices_by_subject(source.decisions)["right wrist camera"] == "masked"
    (observation,) = source.episodes[0].read([1])
    assert set(observation.pictures) == {"exterior", "wrist"}


def test_damaged_metadata_breaks_the_only_episode_in_a_sentence(tmp_path):
    folder = write_droid(tmp_path / "episode", 3, form="named")
    next(folder.glob("metadata_*.json")).write_text("{")
    with pytest.raises(UserError, match="none of the 1 episodes .* is not valid JSON"):
        open_source(folder, DROID)
