"""The index of a run: any content is checked, and the state of an episode follows from the files in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viewer.errors import UserError
from viewer.io import run_index
from viewer.io.run_index import Status


def write_entry(number: int, **more: object) -> dict[str, Any]:
    return {
        "file": f"e{number}.h5",
        "name": f"e{number}",
        "number": number,
        "prompts": [f"task {number % 2}"],
        "frames": 5,
        "rate": 15.0,
        "success": [True, False, None][number % 3],
        **more,
    }


def write_index_file(folder: Path, episodes: object, **more: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "index.json"
    value = {
        "format": "pi0-attention-index",
        "format_version": [1, 0],
        "uuid": "run",
        "source": {"kind": "LeRobot data set v3.0", "name": "libero_10"},
        "episodes": episodes,
        **more,
    }
    path.write_text(json.dumps(value))
    return path


def test_an_index_is_read_and_unknown_keys_are_ignored(tmp_path: Path) -> None:
    write_index_file(tmp_path, [write_entry(0, color="red"), write_entry(1, success=None, rate=None)], added="later")
    run = run_index.read_run(tmp_path)
    assert run == run_index.read_run(tmp_path / "index.json")
    assert (run.uuid, run.source, run.name) == ("run", "libero_10", tmp_path.name)
    assert run.episodes[0] == run_index.Episode("e0.h5", "e0", ("task 0",), 5, 15.0, True)
    assert (run.episodes[1].success, run.episodes[1].rate) == (None, None)


def test_states_of_episodes_follow_from_their_files(tmp_path: Path) -> None:
    write_index_file(
        tmp_path,
        [write_entry(n) for n in range(4)]
        + [write_entry(4, failed="a video is missing"), write_entry(5, file="in/e5.h5")],
    )
    (tmp_path / "e0.h5").touch()
    (tmp_path / "e1.h5.partial").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "e5.h5").touch()
    run = run_index.read_run(tmp_path)
    states = run_index.statuses(run)
    assert [state.state for state in states] == ["done", "writing", "to come", "to come", "failed", "done"]
    assert states[4].sentence == "a video is missing"
    assert run_index.find_episode_path(run, run.episodes[1]) == tmp_path / "e1.h5.partial"
    assert run_index.find_episode_path(run, run.episodes[5]) == tmp_path / "in" / "e5.h5"
    with pytest.raises(UserError, match="e2 is not there yet; it opens as soon as pi0-capture wrote it."):
        run_index.find_episode_path(run, run.episodes[2])
    with pytest.raises(UserError, match="gave it up: a video is missing."):
        run_index.find_episode_path(run, run.episodes[4])
    before = run_index.changes(run)
    os.utime(tmp_path, ns=(1, 1))
    assert run_index.changes(run) != before


def test_a_folder_without_an_index_is_a_list_of_its_files(tmp_path: Path) -> None:
    for name in ("b_10.h5", "b_9.h5", "c.hdf5.partial", "notes.txt", ".hidden.h5", "b_9.h5.partial",
                 "b_9.effects.h5", "b_9.1.effects.h5", "c.effects.h5.partial", "b_9.regions.h5",
                 "b_9.regions.previous.h5"):  # fmt: skip
        (tmp_path / name).touch()
    run = run_index.read_run(tmp_path)
    assert [episode.name for episode in run.episodes] == ["b_9", "b_10", "c"]
    assert [status.state for status in run_index.statuses(run)] == ["done", "done", "writing"]
    assert run.index is None


FAULTS: dict[str, tuple[object, str]] = {
    "an absolute path": (
        [write_entry(0, file="/etc/passwd")],
        "episode 1: its file /etc/passwd leads out of the folder",
    ),
    "a way up": ([write_entry(0), write_entry(1, file="a/../../b.h5")], "episode 2: its file a/../../b.h5 leads out"),
    "a drive": ([write_entry(0, file="C:x.h5")], "leads out"),
    "a backslash": ([write_entry(0, file="..\\x.h5")], "leads out"),
    "a null": ([write_entry(0, file="a\0b")], "the name of its file cannot be one"),
    "half a pair": ([write_entry(0, file="a\ud800")], "the name of its file cannot be one"),
    "the folder itself": ([write_entry(0, file="./.")], "it has no file"),
    "no file": ([{"name": "a"}], "it has no file"),
    "no object": (["a.h5"], "an object in braces"),
    "no list": ({"a": 1}, "its episodes are not a list"),
    "a text for frames": ([write_entry(0, frames="5")], "its frames is neither a whole number nor null"),
    "true for frames": ([write_entry(0, frames=True)], "its frames is neither a whole number nor null"),
    "frames below 0": ([write_entry(0, frames=-1)], "its frames cannot be counted"),
    "1 for success": ([write_entry(0, success=1)], "its success is neither true or false nor null"),
    "a text for rate": ([write_entry(0, rate="fast")], "its rate is neither a number nor null"),
    "rate 0": ([write_entry(0, rate=0)], "its rate is not above 0"),
    "an endless rate": ([write_entry(0, rate=float("inf"))], "its rate is not above 0"),
    "prompts of numbers": ([write_entry(0, prompts=[1])], "its prompts are not a list of texts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_index_is_one_sentence(tmp_path: Path, fault: str) -> None:
    episodes, words = FAULTS[fault]
    path = write_index_file(tmp_path, episodes)
    with pytest.raises(UserError) as error:
        run_index.read_run(path)
    assert words in str(error.value)
    assert "is damaged" in str(error.value)
    assert "\n" not in str(error.value)


def test_foreign_newer_large_and_broken_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[str, str]] = [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not the index of a run"),
        ('{"format": "other"}', "is not the index of a run"),
        (json.dumps({"format": "pi0-attention-index", "format_version": [2, 0]}), "reads up to 1.x; install a newer"),
        (json.dumps({"format": "pi0-attention-index", "format_version": "1"}), "format_version"),
    ]
    path = tmp_path / "index.json"
    for text, words in cases:
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            run_index.read_run(tmp_path)
    write_index_file(tmp_path, [write_entry(0)])
    monkeypatch.setattr(run_index, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="which no index of a run has"):
        run_index.read_run(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="holds neither an index.json nor results files"):
        run_index.read_run(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        run_index.read_run(path)
    os.mkfifo(path)
    with pytest.raises(UserError, match="is not a file"):
        run_index.read_run(tmp_path)


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    (outside / "secret.h5").touch()
    write_index_file(folder, [write_entry(0), write_entry(1), write_entry(2, file="deep/secret.h5"), write_entry(3)])
    (folder / "e0.h5").symlink_to(outside / "secret.h5")
    (folder / "e1.h5").symlink_to(folder / "real.h5")
    (folder / "real.h5").touch()
    (folder / "deep").symlink_to(outside)
    (folder / "e3.h5.partial").symlink_to(outside / "secret.h5")
    run = run_index.read_run(folder)
    statuses = run_index.statuses(run)
    assert [status.state for status in statuses] == ["failed", "done", "to come", "failed"]
    assert "leads out of the folder" in statuses[0].sentence
    assert run_index.find_episode_path(run, run.episodes[1]) == folder / "e1.h5"
    for number in (0, 2, 3):
        with pytest.raises(UserError, match="leads out of the folder"):
            run_index.find_episode_path(run, run.episodes[number])
    (tmp_path / "again").symlink_to(folder)  # the folder itself may be a link: it is what the user named
    assert run_index.statuses(run_index.read_run(tmp_path / "again"))[1] == Status("done")


def test_episodes_are_grouped_where_they_share_prompts(tmp_path: Path) -> None:
    write_index_file(tmp_path, [write_entry(n) for n in range(6)])
    run = run_index.read_run(tmp_path)
    assert [(g.title, g.members) for g in run_index.grouped(run, [0, 1, 2, 5])] == [
        ("task 0", (0, 2)),
        ("task 1", (1, 5)),
    ]
    write_index_file(tmp_path, [write_entry(n, prompts=[f"task {n}"]) for n in range(6)])
    single = run_index.read_run(tmp_path)
    assert [(g.title, g.members) for g in run_index.grouped(single, [1, 3])] == [("", (1, 3))]


def test_filter_matches_names_prompts_outcomes_and_states(tmp_path: Path) -> None:
    write_index_file(tmp_path, [write_entry(n) for n in range(6)])
    (tmp_path / "e4.h5.partial").touch()
    run = run_index.read_run(tmp_path)
    statuses = run_index.statuses(run)
    assert run_index.matching(run, statuses, "") == list(range(6))
    assert run_index.matching(run, statuses, "TASK 1 success") == [3]
    assert run_index.matching(run, statuses, "failure") == [1, 4]
    assert run_index.matching(run, statuses, "writing") == [4]
    assert run_index.matching(run, statuses, "e5") == [5]
    assert run_index.matching(run, statuses, "nothing") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("file", "name", "number", "prompts", "frames", "rate", "success", "failed")
ENTRY = st.fixed_dictionaries(
    {"file": st.sampled_from(["a.h5", "b/c.h5", "../a.h5", "/a", "a//./b.h5"]) | st.text(max_size=12)},
    optional=dict.fromkeys(KEYS[1:], JSON),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(episodes=st.lists(ENTRY | JSON, max_size=4), more=st.dictionaries(st.text(max_size=12), JSON, max_size=3))
def test_any_json_is_a_run_or_one_sentence(tmp_path: Path, episodes: list[object], more: dict[str, object]) -> None:
    path = write_index_file(tmp_path, episodes, **{key: value for key, value in more.items() if key != "format"})
    try:
        run = run_index.read_run(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    statuses = run_index.statuses(run)
    assert len(statuses) == len(run.episodes)
    assert sorted(n for group in run_index.grouped(run, list(range(len(statuses)))) for n in group.members) == list(
        range(len(statuses))
    )
    root = os.path.realpath(tmp_path)
    for episode in run.episodes:
        assert Path(os.path.realpath(tmp_path / episode.file)).is_relative_to(root)
        (episode.name + "".join(episode.prompts) + episode.failed).encode()
        with pytest.raises(UserError):
            run_index.find_episode_path(run, episode)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_index_is_a_run_or_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    path = write_index_file(tmp_path, [write_entry(n) for n in range(3)])
    text = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text)
    try:
        assert len(run_index.statuses(run_index.read_run(path))) <= 3
    except UserError as error:
        assert "\n" not in str(error)
