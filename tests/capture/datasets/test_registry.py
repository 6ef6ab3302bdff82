"""Choice of a reader by the content of a path, and what every reader has in common."""

from __future__ import annotations

import json
import pickle
import re

import h5py
import numpy as np
import pytest
from PIL import ExifTags, Image

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import npz_arrays, picture, write_droid, write_lerobot, write_libero, write_videos

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

ANY = SourceOptions((), 1)


def write_pictures(folder):
    """Pictures frame by frame; the wrist camera's lie on their side and say so."""
    folder.mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    moments = []
    for number in range(4):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
        Image.fromarray(picture(number)).save(folder / f"{number}.jpg", exif=exif)
        pictures = {"exterior": f"{number}.png", "wrist": f"{number}.jpg"}
        moments.append({"pictures": pictures, "state": [number], "actions": [[number]], "time": number / 5})
    (folder / "episode.json").write_text(json.dumps({"prompt": "look", "frames": moments}))


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: write_droid(path / "here", 2, form="named"), "DROID episode"),
        (lambda path: write_droid(path / "here/lab/success/today/now", 2, form="named"), "folder of DROID episodes"),
        (lambda path: write_lerobot(path / "here", (2,), codec=None), "LeRobot data set v3.0"),
        (lambda path: write_lerobot(path / "here", (2,), codec=None, version="2.1"), "LeRobot data set v2.1"),
        (lambda path: write_libero(path / "here/a_demo.hdf5"), "LIBERO demonstrations"),
        (lambda path: write_videos(path / "here"), "folder of videos"),
        (lambda path: write_videos(path / "here/one"), "episode folders"),
        (lambda path: (path / "here").mkdir() or np.savez(path / "here/a.npz", **npz_arrays()), "npz episode"),
    ],
)
def test_open_source_detects_the_format(tmp_path, write, kind):
    write(tmp_path)
    source = open_source(tmp_path / "here", ANY)
    assert source.kind == kind
    assert len(source.cameras) >= 2
    assert not source.unusable
    assert len({episode.name for episode in source.episodes}) == len(source.episodes)


WRITERS = [
    lambda path: write_droid(path, 9),
    lambda path: write_droid(path, 9, form="stereo"),
    lambda path: write_lerobot(path, (9, 4)),
    lambda path: write_lerobot(path, (9, 4), codec=None, version="2.1"),
    lambda path: write_libero(path / "a_demo.hdf5", (9, 4)),
    lambda path: write_videos(path),
    lambda path: path.mkdir() or np.savez(path / "a.npz", **npz_arrays(9)),
    write_pictures,
]


@pytest.mark.parametrize("write", WRITERS)
def test_read_without_pictures_equals_read_but_for_pictures(tmp_path, write):
    write(tmp_path / "here")
    for episode in open_source(tmp_path / "here", SourceOptions(("exterior", "wrist"), 3)).episodes:
        frames = range(0, episode.length, 3)
        read, without_pictures = list(episode.read(frames)), list(episode.read_without_pictures(frames))
        assert len(read) == len(without_pictures) == len(frames)
        for first, second in zip(read, without_pictures, strict=True):
            assert second.pictures == {}
            assert {slot: picture.shape[:2] for slot, picture in first.pictures.items()} == episode.shapes
            assert np.array_equal(first.state, second.state)
            assert np.array_equal(first.true_actions, second.true_actions)
            for name in ("prompt", "index", "time", "episode", "is_upside_down"):
                assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("write", WRITERS)
def test_episodes_can_be_pickled_before_and_after_reading(tmp_path, write):
    write(tmp_path / "here")
    episodes = list(open_source(tmp_path / "here", SourceOptions(("exterior", "wrist"), 3)).episodes)
    for _ in range(2):  # before and after reading
        sent = pickle.loads(pickle.dumps(episodes))
        for episode, copy in zip(episodes, sent, strict=True):
            assert (copy.name, copy.length, copy.shapes) == (episode.name, episode.length, episode.shapes)
            for observation, copied_observation in zip(episode.read([1, 3]), copy.read([1, 3]), strict=True):
                assert all(
                    np.array_equal(observation.pictures[slot], copied_observation.pictures[slot])
                    for slot in observation.pictures
                )
                assert np.array_equal(observation.state, copied_observation.state)
                assert (observation.prompt, observation.index, observation.time) == (
                    copied_observation.prompt,
                    copied_observation.index,
                    copied_observation.time,
                )


@pytest.mark.parametrize("name", ["meta", "meta/info.json"])
def test_open_source_accepts_paths_inside_a_lerobot_data_set(tmp_path, name):
    write_lerobot(tmp_path / "set", (2,), codec=None)
    assert open_source(tmp_path / "set" / name, ANY).path == tmp_path / "set"


def write_results_file(path):
    with h5py.File(path / "here", "w") as file:
        file.attrs["format"] = "pi0-attention"


def write_other_file(path):
    with h5py.File(path / "here", "w") as file:
        file["images"] = [1]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: (path / "here").mkdir(), "it is empty; looked for meta/info.json"),
        (lambda path: (path / "here").write_text("?"), "a file of another kind; looked for"),
        (write_results_file, "a results file; open it with pi0-viewer"),
        (write_other_file, "HDF5 with images"),
        (lambda path: write_lerobot(path / "here/one", (2,), codec=None), "holds 1 LeRobot data sets; name one"),
        (lambda path: (path / "here/x").mkdir(parents=True), "it has x; looked for"),
    ],
)
def test_open_source_reports_a_path_of_no_known_format(tmp_path, write, words):
    write(tmp_path)
    with pytest.raises(UserError, match=words) as error:
        open_source(tmp_path / "here", ANY)
    assert "\n" not in str(error.value)


def test_open_source_reports_an_unreadable_folder(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(permission denied\)"):
        open_source(tmp_path, ANY)


def test_open_source_stops_after_too_many_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("capture.datasets.droid.MAX_FOLDERS", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="more than 3 folders below it"):
        open_source(tmp_path, ANY)


def test_open_source_names_the_converter_of_tfrecords(tmp_path):
    (tmp_path / "droid-train.tfrecord-00000-of-00001").write_bytes(b"")
    with pytest.raises(UserError, match="TFRecords"):
        open_source(tmp_path, ANY)


def droid_without_wrist(path):
    for name in ("a", "b", "c"):
        write_droid(path / name, 2, uuid=name)
    (path / "a/recordings/MP4/13062452.mp4").unlink()


def libero_without_state(path):
    write_libero(path / "x.hdf5", (2, 2, 2))
    with h5py.File(path / "x.hdf5", "a") as file:
        del file["data/demo_0/obs/gripper_states"]


def npz_without_wrist(path):
    for name in ("a", "b", "c"):
        arrays = npz_arrays(2)
        if name == "a":
            del arrays["wrist"]
        np.savez(path / f"{name}.npz", **arrays)


def folder_without_pictures(path):
    for name in ("a", "b", "c"):
        write_pictures(path / name)
    (path / "a/episode.json").write_text(json.dumps({"prompt": "look", "frames": [{"exterior": "0.png"}]}))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (droid_without_wrist, "there is no camera wrist_image_left"),
        (libero_without_state, "the state part gripper_states in data/demo_0 of .* is missing"),
        (npz_without_wrist, "there is no camera wrist in .*a.npz"),
        (folder_without_pictures, r"frame 0 of .*a/episode.json names no pictures; each frame has \"pictures\": {"),
    ],
)
def test_first_episode_does_not_decide_the_mapping_of_the_others(tmp_path, write, words):
    write(tmp_path)
    source = open_source(tmp_path, SourceOptions(("exterior", "wrist"), 1))
    [(name, unusable)] = source.unusable.items()
    assert name in {"a", "demo_0"}
    assert (unusable.number, bool(re.search(words, unusable.reason))) == (0, True)
    assert len(source.episodes) >= 1
    for episode in source.episodes:
        assert episode.name not in {"a", "demo_0"}
        (shown,) = episode.read([0])
        assert set(shown.pictures) == {"exterior", "wrist"}
        assert shown.state is not None
