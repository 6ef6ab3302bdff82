"""ALOHA's raw HDF5: three or four cameras, RGB or encoded pictures, 14 joints."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from decisions import choices_by_subject

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import read_number, read_tint, truncate, write_aloha

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

ALOHA = SourceOptions(("exterior", "wrist", "right wrist"), 4, 14, 14)


@pytest.mark.parametrize("form", ["rgb", "padded", "variable"])
def test_read_returns_matching_frames_states_and_actions(tmp_path, form):
    source = open_source(write_aloha(tmp_path / "episode_0.hdf5", form=form), ALOHA)
    assert source.kind == "ALOHA episode"
    assert [(camera.name, camera.height, camera.width) for camera in source.cameras] == [
        ("cam_high", 32, 80),
        ("cam_left_wrist", 32, 80),
        ("cam_low", 32, 80),
        ("cam_right_wrist", 32, 80),
    ]
    assert choices_by_subject(source.decisions) == {
        "exterior camera": "cam_high",
        "wrist camera": "cam_left_wrist",
        "right wrist camera": "cam_right_wrist",
        "state": "qpos (14)",
        "true actions": "action (14)",
    }
    (episode,) = source.episodes
    assert (episode.name, episode.length, episode.rate, episode.prompts) == ("episode_0", 6, 50.0, ())
    assert dict(episode.shapes) == dict.fromkeys(("exterior", "wrist", "right wrist"), (32, 80))
    for frame, observation in zip((0, 3, 5), episode.read([0, 3, 5]), strict=True):
        assert {read_number(shown) for shown in observation.pictures.values()} == {frame}
        assert [read_tint(observation.pictures[slot]) for slot in ALOHA.cameras] == [0, 2, 3]
        np.testing.assert_allclose(observation.state, frame + 0.1 * np.arange(14), rtol=1e-6)
        np.testing.assert_allclose(observation.true_actions[0], -(frame + 0.1 * np.arange(14)), rtol=1e-6)
        assert len(observation.true_actions) == min(4, 6 - frame)
        assert (observation.index, observation.time, observation.is_upside_down) == (
            frame,
            pytest.approx(frame / 50),
            False,
        )


def test_three_cameras_and_a_prompt_in_an_attribute(tmp_path):
    path = write_aloha(tmp_path / "x.hdf5", cameras=("cam_high", "cam_left_wrist", "cam_right_wrist"))
    with h5py.File(path, "a") as file:
        file.attrs["language_instruction"] = "fold the towel"
    (episode,) = open_source(path, ALOHA).episodes
    (observation,) = episode.read([1])
    assert observation.prompt == "fold the towel"
    assert set(observation.pictures) == set(ALOHA.cameras)


def test_folder_is_sorted_by_episode_number(tmp_path):
    for number in (0, 2, 10):
        write_aloha(tmp_path / f"episode_{number}.hdf5", 2, first=number)
    (tmp_path / "episode_1.hdf5").write_bytes(b"no")
    source = open_source(tmp_path, ALOHA)
    assert [episode.name for episode in source.episodes] == ["episode_0", "episode_2", "episode_10"]
    assert [episode.number for episode in source.episodes] == [0, 2, 3]
    assert "cannot be read as HDF5" in source.unusable["episode_1"].reason
    assert [read_number(next(iter(episode.read([0]))).pictures["wrist"]) for episode in source.episodes] == [0, 2, 10]


def test_damage_is_reported_in_one_sentence(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5", form="padded")
    with h5py.File(path, "a") as file:
        file["observations/images/cam_high"][3] = 0
    (episode,) = open_source(path, ALOHA).episodes
    assert len(list(episode.read([2]))) == 1
    with pytest.raises(UserError, match=r"cam_high of frame 3 in .*episode_0.hdf5 is not a picture"):
        list(episode.read([3]))
    with h5py.File(path, "a") as file:
        del file["observations/images/cam_low"]
        file["observations/images/cam_low"] = np.zeros((6, 32, 80), np.float32)
    with pytest.raises(UserError, match="cam_low in .* holds neither"):
        open_source(path, ALOHA)
    with h5py.File(path, "a") as file:
        del file["observations/images/cam_low"]
        del file["action"]
        file["action"] = np.zeros((5, 14))
    with pytest.raises(UserError, match="parts of .* differ in length: .* action 5 frames"):
        open_source(path, ALOHA)
    truncate(path)
    with pytest.raises(UserError):
        open_source(path, ALOHA)
