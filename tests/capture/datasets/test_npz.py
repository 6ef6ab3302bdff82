"""Episodes as .npz: frames are streamed, and damage is reported in one sentence."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import npz_arrays, read_number, read_tint, truncate

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

OPTIONS = SourceOptions(("exterior", "wrist"), 4, 8, 7)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_returns_matching_frames_states_and_actions(tmp_path, save):
    save(tmp_path / "duck.npz", **npz_arrays())
    source = open_source(tmp_path / "duck.npz", OPTIONS)
    (episode,) = source.episodes
    assert (source.kind, episode.name, episode.length, episode.rate) == ("npz episode", "duck", 6, 10.0)
    assert (episode.prompts, episode.success) == (("find the duck",), False)
    for frames in ([0], [5], [1, 2, 4], range(6)):
        read = list(episode.read(frames))
        assert [read_number(observation.pictures["exterior"]) for observation in read] == list(frames)
        for observation in read:
            assert read_tint(observation.pictures["wrist"]) == 1
            np.testing.assert_allclose(observation.state, observation.index + 0.1 * np.arange(8))
            assert observation.true_actions.shape == (min(4, 6 - observation.index), 7)
            assert observation.time == pytest.approx(observation.index / 10)


def test_folder_source_has_one_episode_per_file(tmp_path):
    for name in ("b", "a"):
        np.savez(tmp_path / f"{name}.npz", **npz_arrays())
    (tmp_path / "c.npz").write_bytes(b"PK no")
    arrays = npz_arrays()
    del arrays["wrist"]
    np.savez(tmp_path / "d.npz", **arrays)
    source = open_source(tmp_path, OPTIONS)
    assert [episode.name for episode in source.episodes] == ["a", "b"]
    assert set(source.unusable) == {"c", "d"}
    assert "there is no camera wrist in" in source.unusable["d"].reason


def test_states_actions_and_prompt_are_optional(tmp_path):
    np.savez(tmp_path / "a.npz", exterior=npz_arrays()["exterior"])
    (episode,) = open_source(tmp_path / "a.npz", SourceOptions(("exterior",), 4)).episodes
    (observation,) = episode.read([3])
    assert (observation.state, observation.true_actions, observation.prompt, episode.rate, episode.success) == (
        None,
        None,
        "",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exterior": np.zeros((6, 8, 8, 3))}, "exterior in .* pictures are uint8"),
        ({"exterior": np.zeros((5, 8, 8, 3), np.uint8)}, "differ in length: exterior 5, wrist 6"),
        ({"exterior": np.zeros((6, 8000, 8000, 3), np.uint8)[:0]}, "too large"),
        ({"prompt": 3}, "prompt in .* is not text"),
        ({"rate": -1.0}, "rate in .* frames"),
        ({"exterior": np.zeros((6, 3)), "wrist": np.zeros((6, 3))}, "has no pictures"),
        ({"state": np.array([None] * 6)}, "state in .* stored in a way"),
    ],
)
def test_open_source_reports_unusable_arrays(tmp_path, changes, words):
    np.savez(tmp_path / "a.npz", **(npz_arrays() | changes))
    with pytest.raises(UserError, match=words):
        open_source(tmp_path / "a.npz", OPTIONS)


def test_read_reports_values_that_are_not_finite(tmp_path):
    np.savez(tmp_path / "a.npz", **(npz_arrays() | {"state": np.full((6, 8), np.inf)}))
    with pytest.raises(UserError, match="frame 0 of a has a state .* not finite"):
        list(open_source(tmp_path / "a.npz", OPTIONS).episodes[0].read([0]))


def test_open_source_reports_a_truncated_file(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **npz_arrays())
    truncate(path)
    with pytest.raises(UserError, match="cut off or damaged"):
        open_source(path, OPTIONS)


def test_read_reports_an_array_shorter_than_its_header(tmp_path):
    path, damaged = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(path, **npz_arrays())
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(damaged, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name == "exterior.npy" else content)
    with pytest.raises(UserError, match="ends before frame"):
        list(open_source(damaged, OPTIONS).episodes[0].read(range(6)))
