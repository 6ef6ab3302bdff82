"""Episode folders with an episode.json: their frames, and the errors for damaged ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from capture.datasets.base import SourceOptions
from capture.datasets.folder.reader import read_episode, read_episodes
from capture.datasets.registry import open_source
from capture.errors import UserError


@pytest.fixture
def episode(tmp_path):
    folder = tmp_path / "duck"
    folder.mkdir()
    for name, color in (("a.png", (255, 0, 0)), ("b.png", (0, 255, 0))):
        Image.new("RGB", (32, 18), color).save(folder / name)
    frames = [
        {"pictures": {"exterior": "a.png"}, "state": [0.1, 0.2], "actions": [[1, 2], [3, 4]], "time": 0.5, "mask": "?"},
        {"pictures": {"exterior": "b.png"}, "index": 8, "prompt": "another"},
    ]
    (folder / "episode.json").write_text(json.dumps({"prompt": "pick up the duck", "frames": frames}))
    return folder


def change_episode_json(folder, **changes):
    path = folder / "episode.json"
    content = json.loads(path.read_text())
    content["frames"][0].update(changes)
    path.write_text(json.dumps(content))


def test_read_episode_returns_every_field_of_each_frame(episode):
    first, second = read_episode(episode)
    assert first.pictures["exterior"].shape == (18, 32, 3)
    assert tuple(first.pictures["exterior"][0, 0]) == (255, 0, 0)
    assert (first.prompt, first.index, first.time, first.episode) == ("pick up the duck", 0, 0.5, "duck")
    assert first.state.tolist() == [0.1, 0.2]
    assert first.true_actions.dtype == np.float32
    assert first.true_actions.tolist() == [[1, 2], [3, 4]]
    assert (second.prompt, second.index, second.state, second.true_actions) == ("another", 8, None, None)


def test_read_episodes_sorts_by_name(episode):
    second = episode.parent / "another"
    second.mkdir()
    (second / "episode.json").write_text((episode / "episode.json").read_text())
    for name in ("a.png", "b.png"):
        (second / name).write_bytes((episode / name).read_bytes())
    assert [observation.episode for observation in read_episodes(episode.parent)] == [
        "another",
        "another",
        "duck",
        "duck",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures": {}}, "names no pictures"),
        ({"pictures": {"exterior": "../secret.png"}}, "outside its folder"),
        ({"pictures": {"exterior": "gone.png"}}, r"the picture .*gone\.png does not exist; check the path"),
        ({"state": [[[1, 2]]]}, "a state that is not one list"),
        ({"state": ["one"]}, "finite numbers"),
        ({"actions": [[1, 2], [3]]}, "actions"),
        ({"index": -1}, "index"),
        ({"prompt": 7}, "a prompt that is not a text: 7"),
    ],
)
def test_read_episode_reports_an_invalid_frame(episode, changes, words):
    change_episode_json(episode, **changes)
    with pytest.raises(UserError, match=words):
        read_episode(episode)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"frames": []}', "\xff\xfe", '{"frames": 3}'])
def test_read_episode_reports_an_invalid_file(episode, text):
    (episode / "episode.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"episode\.json"):
        read_episode(episode)


def test_frame_without_a_prompt_has_an_empty_one(episode):
    content = json.loads((episode / "episode.json").read_text())
    del content["prompt"]
    (episode / "episode.json").write_text(json.dumps(content))
    source = open_source(episode, SourceOptions(("exterior",), 1))
    assert source.episodes[0].prompts == ("another",)
    assert [picture.prompt for picture in source.episodes[0].read_without_pictures([0, 1])] == ["", "another"]
    assert source.episodes[0].shapes == {"exterior": (18, 32)}
    (episode / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png does not exist"):
        _ = source.episodes[0].shapes


def test_read_episodes_reports_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no episode"):
        read_episodes(tmp_path)
    with pytest.raises(UserError, match="missing"):
        read_episode(tmp_path)


def test_open_source_reads_a_folder_of_pictures(episode):
    source = open_source(episode, SourceOptions(("exterior",), 1))
    assert (source.kind, source.decisions[0].choice) == ("folder of pictures", "exterior")
    assert [(camera.name, camera.height, camera.width) for camera in source.cameras] == [("exterior", 18, 32)]
    (listed,) = source.episodes
    assert (listed.name, listed.length, listed.rate, listed.success) == ("duck", 2, None, None)
    assert listed.prompts == ("pick up the duck", "another")
    first, second = listed.read([0, 1])
    assert first.true_actions.tolist() == [[1, 2]]  # as many as a chunk has
    assert (second.index, second.prompt) == (8, "another")


def test_open_source_refuses_other_cameras_and_states(episode):
    with pytest.raises(UserError, match=r"state has 8 numbers, but .*duck has state \(2\)"):
        open_source(episode, SourceOptions(("exterior",), 1, 8))
    change_episode_json(episode, pictures={"front": "a.png", "side": "b.png"})
    with pytest.raises(UserError, match="choose one of front, side with"):
        open_source(episode, SourceOptions(("exterior",), 1))
    source = open_source(episode, SourceOptions(("exterior",), 1, camera_overrides={"exterior": "front"}))
    first = next(iter(source.episodes[0].read([0])))
    assert list(first.pictures) == ["exterior"]
    with pytest.raises(UserError, match="frame 1 of .* has no picture of front"):
        list(source.episodes[0].read([1]))


def test_damaged_episode_folder_is_unusable_and_the_others_are_usable(episode):
    for name, text in (("b", "{"), ("c", '{"frames": []}')):
        (episode.parent / name).mkdir()
        (episode.parent / name / "episode.json").write_text(text)
    source = open_source(episode.parent, SourceOptions(("exterior",), 1))
    assert [readable.name for readable in source.episodes] == ["duck"]
    assert set(source.unusable) == {"b", "c"}
    assert "no list of frames" in source.unusable["c"].reason


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_open_source_reads_a_folder_of_videos(tmp_path, codec):
    pytest.importorskip("av", reason="videos need the extra [datasets]")
    from episode_files import read_number, read_tint, write_videos

    source = open_source(write_videos(tmp_path / "duck", codec=codec), SourceOptions(("exterior", "wrist"), 3, 2, 2))
    assert source.kind == "folder of videos"
    (episode,) = source.episodes
    assert (episode.length, episode.rate, episode.prompts, episode.success) == (12, 12.0, ("find the duck",), True)
    for frame, observation in zip((0, 5, 11), episode.read([0, 5, 11]), strict=True):
        assert read_number(observation.pictures["exterior"]) == read_number(observation.pictures["wrist"]) == frame
        assert read_tint(observation.pictures["wrist"]) == 1
        assert observation.state.tolist() == [frame + 0.5, 1.0]
        assert observation.true_actions.tolist() == [[row + 0.5, 1.0] for row in range(frame, min(frame + 3, 12))]
        assert observation.time == pytest.approx(frame / 12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"videos": {"exterior": "../a.mp4"}}, "outside its folder"),
        ({"videos": {"exterior": "gone.mp4"}}, "the video .*gone.mp4 is missing"),
        ({"videos": {}}, "names no videos"),
        ({"videos": 3}, "'videos'"),
        ({"rate": "fast"}, "'rate'"),
        ({"states": [[1], [1, 2]]}, "states that are not lists of finite numbers"),
    ],
)
def test_open_source_reports_an_invalid_folder_of_videos(tmp_path, changes, words):
    pytest.importorskip("av", reason="videos need the extra [datasets]")
    from episode_files import write_videos

    with pytest.raises(UserError, match=words):
        open_source(write_videos(tmp_path / "duck", **changes), SourceOptions(("exterior",), 1))


def test_read_reports_states_and_actions_of_different_length(tmp_path):
    pytest.importorskip("av", reason="videos need the extra [datasets]")
    from episode_files import write_videos

    folder = write_videos(tmp_path / "duck", states=[[1.0, 2.0]] * 11)
    (episode,) = open_source(folder, SourceOptions(("exterior", "wrist"), 1)).episodes
    with pytest.raises(UserError, match="11 states but 12 actions"):
        list(episode.read(range(episode.length)))


def test_rows_without_a_picture_are_left_out(tmp_path):
    pytest.importorskip("av", reason="videos need the extra [datasets]")
    from episode_files import read_number, write_videos

    folder = write_videos(tmp_path / "duck", states=[[1.0, 2.0]] * 14, actions=None)
    (episode,) = open_source(folder, SourceOptions(("exterior", "wrist"), 1)).episodes
    assert episode.length == 12
    assert [read_number(observation.pictures["wrist"]) for observation in episode.read([3, 11])] == [3, 11]
    assert [decision.sentence for decision in episode.frame_decisions([3])] == [
        "frames: 0 to 11; 12 to 13 are left out (the exterior camera has 12, the wrist camera has 12, the list of "
        "states has 14 frames)"
    ]


def test_frames_that_one_camera_lacks_are_left_out(tmp_path):
    pytest.importorskip("av", reason="videos need the extra [datasets]")
    from episode_files import picture, write_video, write_videos

    folder = write_videos(tmp_path / "duck", states=None, actions=None)
    write_video(folder / "wrist.mp4", [picture(number) for number in range(9)])
    (episode,) = open_source(folder, SourceOptions(("exterior", "wrist"), 1)).episodes
    assert episode.length == 9
    assert len(list(episode.read([0, 8]))) == 2
    (left_out,) = episode.frame_decisions([0])
    assert left_out.choice == "0 to 8; 9 to 11 are left out"
    assert not left_out.is_certain
