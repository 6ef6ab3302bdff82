"""Data sets by their name on Hugging Face: found in its cache, and only what a run reads is asked for."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")

from decisions import choices_by_subject
from episode_files import read_number, write_lerobot, write_libero

from capture.__main__ import main
from capture.cli.dataset_location import open_dataset
from capture.datasets.base import SourceOptions
from capture.errors import UserError

COMMIT = "c" * 40
LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)
CAMERAS = ("observation.images.image", "observation.images.image2", "observation.images.side")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository that is fetched file by file into a cache as it lies on disk; returns its folder and the cache."""
    remote, cache = tmp_path / "remote", tmp_path / "hub"
    snapshot = cache / "datasets--someone--ducks" / "snapshots" / COMMIT
    real = huggingface_hub.snapshot_download

    def download(name, *, repo_type, revision, allow_patterns, local_files_only):
        assert repo_type == "dataset"
        if name == "someone/ducks" and revision in (None, "v3.0"):
            snapshot.mkdir(parents=True, exist_ok=True)
            (snapshot.parents[1] / "refs").mkdir(exist_ok=True)
            (snapshot.parents[1] / "refs" / (revision or "main")).write_text(COMMIT)
            for file in remote.rglob("*"):
                relative_path = file.relative_to(remote)
                if file.is_file() and any(fnmatch(str(relative_path), pattern) for pattern in allow_patterns):
                    (snapshot / relative_path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, snapshot / relative_path)
        return real(name, repo_type=repo_type, revision=revision, cache_dir=cache, local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path / "lerobot"))
    monkeypatch.chdir(tmp_path)
    return remote, snapshot


@pytest.mark.parametrize("version", ["2.1", "3.0"])
def test_only_the_files_of_the_chosen_episodes_and_cameras_are_fetched(hub, version):
    remote, snapshot = hub
    write_lerobot(remote, (3, 3, 3, 3), version=version, cameras=CAMERAS)
    source = open_dataset(Path("someone/ducks"), LIBERO, (2, 3))
    assert source.title == "someone/ducks"
    assert choices_by_subject(source.decisions)["data set"] == "someone/ducks"
    assert source.decisions[0].reason == "from Hugging Face's cache, revision cccccccccccc"
    assert [episode.number for episode in source.episodes] == [2, 3]
    assert [read_number(observation.pictures["wrist"]) for observation in source.episodes[0].read([0, 2])] == [200, 202]
    fetched = {str(file.relative_to(snapshot)) for file in snapshot.rglob("*.mp4")}
    if version == "3.0":
        assert fetched == {f"videos/{camera}/chunk-000/file-001.mp4" for camera in CAMERAS[:2]}
    else:
        assert fetched == {
            f"videos/chunk-000/{camera}/episode_00000{number}.mp4" for camera in CAMERAS[:2] for number in (2, 3)
        }


def test_many_episodes_are_asked_for_by_pattern(hub, monkeypatch):
    monkeypatch.setattr("capture.cli.dataset_location.MAX_PATTERNS", 2)
    remote, snapshot = hub
    write_lerobot(remote, (3, 3), version="2.1", cameras=CAMERAS)
    assert len(open_dataset(Path("someone/ducks@v3.0"), LIBERO).episodes) == 2
    assert not list(snapshot.glob("videos/*/*side/*"))


def test_data_sets_of_other_kinds_are_fetched_whole(hub):
    remote, _ = hub
    write_libero(remote / "a_demo.hdf5", (2,))
    assert open_dataset(Path("someone/ducks"), LIBERO).kind == "LIBERO demonstrations"


def test_a_repository_of_nothing_that_is_read_says_how_to_fetch_it(hub):
    remote, _ = hub
    remote.mkdir()
    (remote / "train.tfrecord").touch()
    with pytest.raises(UserError, match="neither meta/info.json of LeRobot nor HDF5 or npz files; fetch it with `hf d"):
        open_dataset(Path("someone/ducks"), LIBERO)


def test_the_folder_of_lerobot_is_looked_into_first(hub, tmp_path):
    write_lerobot(tmp_path / "lerobot/someone/ducks", (3,), codec=None)
    source = open_dataset(Path("someone/ducks"), LIBERO)
    assert source.path == tmp_path / "lerobot/someone/ducks"
    assert source.decisions[0].reason.startswith("as lerobot keeps it in ")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("someone/geese", "neither a folder 'someone/geese' here|someone/geese is not in Hugging Face's cache"),
        ("https://huggingface.co/datasets/someone/ducks", "web address; .*: --dataset someone/ducks"),
        ("hf://datasets/someone/ducks", "web address; .*: --dataset someone/ducks"),
        ("nowhere", "nowhere does not exist"),
        ("a/b/c", "a/b/c does not exist"),
        ("../a/b", "does not exist"),
    ],
)
def test_neither_path_nor_repository_is_refused(hub, location, message):
    with pytest.raises(UserError, match=message):
        open_dataset(Path(location), LIBERO)


def test_a_folder_wins_over_a_repository_of_its_name(hub, tmp_path):
    write_lerobot(tmp_path / "someone/ducks", (3,), codec=None)
    source = open_dataset(Path("someone/ducks"), LIBERO)
    assert (source.path, source.name) == (Path("someone/ducks"), None)


def test_sources_reads_only_the_metadata_of_a_repository(hub, capsys):
    remote, snapshot = hub
    write_lerobot(remote, (3, 4), cameras=CAMERAS)
    assert main(["sources", "someone/ducks"]) == 0
    page = capsys.readouterr().out
    assert "2 of 3 to 4 frames each, 7 in all, at 10 frames a second" in page
    assert "only the metadata were fetched; a run fetches the files of its episodes" in page
    assert "--dataset someone/ducks --episodes 0-1 " in page
    assert not list(snapshot.rglob("*.mp4"))
