"""Episode folders: what is read, and what is refused in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from capture.episodes.folder import read_episode, read_episodes
from capture.errors import UserError


@pytest.fixture
def episode(tmp_path):
    folder = tmp_path / "duck"
    folder.mkdir()
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 255, 0))):
        Image.new("RGB", (32, 18), colour).save(folder / name)
    frames = [
        {"pictures": {"exterior": "a.png"}, "state": [0.1, 0.2], "actions": [[1, 2], [3, 4]], "time": 0.5, "mask": "?"},
        {"pictures": {"exterior": "b.png"}, "index": 8, "prompt": "another"},
    ]
    (folder / "episode.json").write_text(json.dumps({"prompt": "pick up the duck", "frames": frames}))
    return folder


def change(folder, **changes):
    path = folder / "episode.json"
    told = json.loads(path.read_text())
    told["frames"][0].update(changes)
    path.write_text(json.dumps(told))


def test_frames_come_in_order_with_all_that_is_told(episode):
    first, second = read_episode(episode)
    assert first.pictures["exterior"].shape == (18, 32, 3)
    assert tuple(first.pictures["exterior"][0, 0]) == (255, 0, 0)
    assert (first.prompt, first.index, first.time, first.episode) == ("pick up the duck", 0, 0.5, "duck")
    assert first.state.tolist() == [0.1, 0.2]
    assert first.truth.dtype == np.float32
    assert first.truth.tolist() == [[1, 2], [3, 4]]
    assert (second.prompt, second.index, second.state, second.truth) == ("another", 8, None, None)


def test_episodes_come_in_name_order(episode):
    other = episode.parent / "another"
    other.mkdir()
    (other / "episode.json").write_text((episode / "episode.json").read_text())
    for name in ("a.png", "b.png"):
        (other / name).write_bytes((episode / name).read_bytes())
    assert [one.episode for one in read_episodes(episode.parent)] == ["another", "another", "duck", "duck"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures": {}}, "names no pictures"),
        ({"pictures": {"exterior": "../secret.png"}}, "outside its folder"),
        ({"pictures": {"exterior": "gone.png"}}, "gone.png"),
        ({"state": [[1, 2]]}, "state that are not one list"),
        ({"state": ["one"]}, "finite numbers"),
        ({"actions": [[1, 2], [3]]}, "actions"),
        ({"index": -1}, "index"),
        ({"prompt": 7}, "no prompt"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(episode, changes, words):
    change(episode, **changes)
    with pytest.raises(UserError, match=words):
        read_episode(episode)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"frames": []}', "\xff\xfe", '{"frames": 3}'])
def test_what_is_no_episode_is_said(episode, text):
    (episode / "episode.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"episode\.json"):
        read_episode(episode)


def test_empty_folders_are_said(tmp_path):
    with pytest.raises(UserError, match="no episode"):
        read_episodes(tmp_path)
    with pytest.raises(UserError, match="missing"):
        read_episode(tmp_path)
