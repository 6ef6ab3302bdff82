"""Damaged LeRobot data sets: the sentence names the damage, and other episodes stay readable."""

from __future__ import annotations

import pytest

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")
import pyarrow as pa
from episode_files import picture, read_number, rewrite_parquet, truncate, write_lerobot, write_video

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)


@pytest.mark.parametrize("version", ["2.1", "3.0"])
def test_missing_video_makes_only_its_episodes_unusable(tmp_path, version):
    folder = write_lerobot(tmp_path / "set", (3, 3, 3), version=version)
    file = sorted(folder.glob("videos/**/*.mp4"))[0 if version == "3.0" else 1]
    file.unlink()
    source = open_source(folder, LIBERO)
    missing = {"episode_000000", "episode_000001"} if version == "3.0" else {"episode_000001"}
    assert set(source.unusable) == missing
    reasons = [episode.reason for episode in source.unusable.values()]
    assert all(str(file) in reason and reason.startswith("the video of exterior") for reason in reasons)
    assert {episode.name for episode in source.episodes} == {f"episode_{n:06d}" for n in range(3)} - missing


def drop_state(folder, data, video):
    rewrite_parquet(data, lambda table: table.drop_columns(["observation.state"]))


def shorten_state(folder, data, video):
    column = pa.array([[1.0] * 6] * 10, pa.list_(pa.float32()))
    rewrite_parquet(
        data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column)
    )


def write_null_state(folder, data, video):
    column = pa.array([None] + [[1.0] * 8] * 9, pa.list_(pa.float32()))
    rewrite_parquet(
        data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column)
    )


def write_uneven_state(folder, data, video):
    column = pa.array([[1.0] * 7] + [[1.0] * 9] + [[1.0] * 8] * 8, pa.list_(pa.float32()))
    rewrite_parquet(
        data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column)
    )


def write_text_state(folder, data, video):
    column = pa.array(["one"] * 10)
    rewrite_parquet(
        data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column)
    )


def drop_rows(folder, data, video):
    rewrite_parquet(data, lambda table: table.slice(0, 8))


def shuffle_rows(folder, data, video):
    rewrite_parquet(data, lambda table: table.take([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]))


def shorten_video(folder, data, video):
    write_video(video, [picture(number) for number in range(6)], rate=10)


@pytest.mark.parametrize("version", ["2.1", "3.0"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (drop_state, r"\.parquet has no column observation\.state; it has action"),
        (shorten_state, r"observation\.state in .* does not have lists of 8 numbers"),
        (write_null_state, r"frame 0 of episode_000000 has a state \(state\) with numbers that are not finite"),
        (write_uneven_state, r"observation\.state in .* does not have lists of 8 numbers"),
        (write_text_state, r"observation\.state in .* has one value a row, but should have lists of 8"),
        (drop_rows, "has 8 rows of episode_000000, but the metadata state 10"),
        (shuffle_rows, "frames of episode_000000 .* are not numbered from 0"),
        (lambda folder, data, video: truncate(data), r"\.parquet cannot be read as parquet"),
        (lambda folder, data, video: data.write_bytes(b"version https://git-lfs.github"), "Git LFS pointer"),
        (lambda folder, data, video: truncate(video), r"\.mp4 cannot be read, it may be cut off"),
        (lambda folder, data, video: video.write_bytes(b"version https://git-lfs.github"), "Git LFS pointer"),
        (lambda folder, data, video: video.write_bytes(b"\0" * 99), "is not a video"),
        (shorten_video, r"has pictures up to 0\.59 s, but frame 9 of episode_000000 is at 0\.90 s; --frames :6"),
    ],
)
def test_read_reports_damage_and_other_episodes_stay_readable(tmp_path, version, damage, words):
    folder = write_lerobot(tmp_path / "set", (10, 10), version=version, per_file=1)
    data = sorted(folder.glob("data/*/*.parquet"))[0]
    video = next(file for file in sorted(folder.glob("videos/**/*.mp4")) if "image2" in str(file))
    damage(folder, data, video)
    first, second = open_source(folder, LIBERO).episodes
    with pytest.raises(UserError, match=words) as error:
        list(first.read(range(10)))
    assert "\n" not in str(error.value)
    assert [read_number(observation.pictures["wrist"]) for observation in second.read([2, 9])] == [102, 109]


def test_frames_with_a_picture_are_read_from_a_short_video(tmp_path):
    folder = write_lerobot(tmp_path / "set", (10,), version="2.1")
    shorten_video(folder, None, next(folder.glob("videos/**/*image2/*.mp4")))
    (episode,) = open_source(folder, LIBERO).episodes
    assert [read_number(observation.pictures["wrist"]) for observation in episode.read([0, 5])] == [0, 5]
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=r"pictures up to 0\.59 s, but frame 9 .* at 0\.90 s; --frames :6 leaves"):
            ask([0, 9])


def test_read_reports_a_video_truncated_after_its_header(tmp_path):
    folder = write_lerobot(tmp_path / "set", (40,), movflags="faststart", g="4")
    video = next(folder.glob("videos/*image2/*/*.mp4"))
    truncate(video, 0.6)
    (episode,) = open_source(folder, LIBERO).episodes
    with pytest.raises(UserError, match="cut off or damaged"):
        list(episode.read(range(40)))


def test_read_reports_damaged_pictures_in_parquet(tmp_path):
    folder = write_lerobot(tmp_path / "set", (4,), codec=None)
    stored = [
        {"bytes": b"\x89PNG", "path": "x"},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": None, "path": "a.png"},
    ]
    column = pa.array([*stored, None], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    key = "observation.images.image"
    rewrite_parquet(
        folder / "data/chunk-000/file-000.parquet", lambda table: table.drop_columns([key]).append_column(key, column)
    )
    (episode,) = open_source(folder, LIBERO).episodes
    for frame, words in enumerate(
        (r"image of frame 0 in .*parquet is not a picture", "not a picture", "not exist", "not a")
    ):
        with pytest.raises(UserError, match=words):
            list(episode.read([frame]))


@pytest.mark.parametrize("text", ["", "{", '{"episode_index": 0}', '{"episode_index": -1, "length": 3}', "[1]"])
def test_open_source_reports_damaged_episode_lists(tmp_path, text):
    folder = write_lerobot(tmp_path / "set", (3,), version="2.1", codec=None)
    (folder / "meta/episodes.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"episodes\.jsonl|metadata list none"):
        open_source(folder, LIBERO)


def test_open_source_reports_missing_episode_lists(tmp_path):
    for version, path in (("2.1", "episodes.jsonl"), ("3.0", "episodes/chunk-000/file-000.parquet")):
        folder = write_lerobot(tmp_path / version, (3,), version=version, codec=None)
        (folder / "meta" / path).unlink()
        with pytest.raises(UserError, match="episodes"):
            open_source(folder, LIBERO)


def test_frames_without_the_missing_state_are_read(tmp_path):
    folder = write_lerobot(tmp_path / "set", (10,), codec=None)
    write_null_state(folder, folder / "data/chunk-000/file-000.parquet", None)
    (episode,) = open_source(folder, LIBERO).episodes
    assert [observation.state.tolist() for observation in episode.read([1, 9])] == [[1.0] * 8] * 2
