"""LeRobot data sets of every version and kind of picture: frames, states, actions and prompts match."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from decisions import choices, doubts
from PIL import Image

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")

import pyarrow as pa
import pyarrow.parquet as pq
from episode_files import cut, number_of, picture, tint_of, write_lerobot, write_video

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)
LENGTHS = (7, 12, 5)


@pytest.mark.parametrize("version", ["2.0", "2.1", "3.0"])
@pytest.mark.parametrize("codec", ["libx264", "libsvtav1", None])
def test_read_returns_matching_frames_states_and_actions(tmp_path, version, codec):
    source = open_source(write_lerobot(tmp_path / "set", LENGTHS, version=version, codec=codec), LIBERO)
    assert source.kind == f"LeRobot data set v{version}"
    assert [(one.name, one.height, one.width) for one in source.cameras] == [("image", 32, 80), ("image2", 32, 80)]
    assert choices(source.decisions) == {
        "exterior camera": "image",
        "wrist camera": "image2",
        "state": "state (8)",
        "true actions": "action (7)",
    }
    assert not doubts(source.decisions)
    assert [one.name for one in source.episodes] == ["episode_000000", "episode_000001", "episode_000002"]
    assert [(one.number, one.length, one.rate) for one in source.episodes] == [
        (0, 7, 10.0),
        (1, 12, 10.0),
        (2, 5, 10.0),
    ]
    tasks = ["pick up the duck", "put it in the bowl", "pick up the duck"]
    assert [one.prompts for one in source.episodes] == [(task,) for task in tasks]
    for episode in source.episodes:
        read = list(episode.read(range(episode.length)))
        assert len(read) == episode.length
        for frame, one in enumerate(read):
            value = 100 * episode.number + frame
            assert number_of(one.pictures["exterior"]) == number_of(one.pictures["wrist"]) == value
            assert (tint_of(one.pictures["exterior"]), tint_of(one.pictures["wrist"])) == (0, 1)
            np.testing.assert_allclose(one.state, value + 0.1 * np.arange(8), rtol=1e-6)
            assert one.true_actions.shape == (min(10, episode.length - frame), 7)
            np.testing.assert_allclose(
                one.true_actions[-1, 0], -(100 * episode.number + min(frame + 9, episode.length - 1))
            )
            assert one.prompt == tasks[episode.number]
            assert one.time == pytest.approx(frame / 10)
            assert (one.index, one.episode, one.is_upside_down) == (frame, episode.name, False)


@pytest.mark.parametrize("codec", ["libx264", None])
def test_read_of_some_frames_equals_reading_all(tmp_path, codec):
    source = open_source(write_lerobot(tmp_path / "set", (60, 90), codec=codec, g="12", bf="3"), LIBERO)
    for frames in ([0], [89], [3, 4, 88], range(0, 90, 8), [0, 30, 31, 75]):
        read = list(source.episodes[1].read(frames))
        assert [number_of(one.pictures["wrist"]) for one in read] == [100 + frame for frame in frames]
        assert [one.index for one in read] == list(frames)


def test_open_source_reads_only_metadata(tmp_path):
    folder = write_lerobot(tmp_path / "set", LENGTHS)
    for file in [*folder.glob("videos/*/*/*.mp4"), *folder.glob("data/*/*.parquet")]:
        file.write_bytes(b"")
    source = open_source(folder, LIBERO)
    assert [one.length for one in source.episodes] == list(LENGTHS)
    assert source.episodes[0].prompts == ("pick up the duck",)


@pytest.mark.parametrize("path", ["set", "set/meta/info.json"])
def test_open_source_accepts_the_info_file(tmp_path, path):
    write_lerobot(tmp_path / "set", (3,), codec=None)
    assert open_source(tmp_path / path, LIBERO).path == tmp_path / "set"


def test_openpis_column_names_are_mapped(tmp_path):
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    folder = write_lerobot(
        tmp_path, (3,), version="2.1", codec=None, cameras=cameras, state=("joint_position", 8), action=("actions", 8)
    )
    source = open_source(folder, SourceOptions(("exterior", "wrist"), 15, 8, 8, state_keys=("joint_position",)))
    assert choices(source.decisions[:2]) == {
        "exterior camera": "exterior_image_1_left",
        "wrist camera": "wrist_image_left",
    }
    assert doubts(source.decisions) == {"exterior camera": "exterior_image_1_left"}
    assert "takes another of exterior_image_2_left" in source.decisions[0].reason
    (one,) = source.episodes[0].read([2])
    assert tint_of(one.pictures["wrist"]) == 2
    assert one.true_actions.shape == (1, 8)


def test_lerobots_droid_columns_map_to_velocities_and_success(tmp_path):
    """Names as in lerobot's examples/port_datasets/port_droid.py, scalars as lerobot stores shapes of one number."""
    cameras = tuple(f"observation.images.{name}" for name in ("wrist_left", "exterior_1_left", "exterior_2_left"))
    folder = write_lerobot(tmp_path, (4,), codec=None, cameras=cameras, action=("action", 8))
    more = {
        "observation.state.joint_position": np.ones((4, 7)),
        "observation.state.gripper_position": np.arange(4.0),
        "action.joint_velocity": np.full((4, 7), 5.0),
        "action.gripper_position": np.arange(4.0) + 10,
        "is_episode_successful": np.array([True] * 4),
    }
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    for key, values in more.items():
        dtype = "bool" if values.dtype == bool else "float32"
        features[key] = {"dtype": dtype, "shape": list(values.shape[1:]) or [1]}
        column = pa.array(list(values) if values.ndim == 2 else values)
        rewrite(
            folder / "data/chunk-000/file-000.parquet",
            lambda table, key=key, column=column: table.append_column(key, column),
        )
    change_info(folder, features=features)
    source = open_source(folder, SourceOptions(("exterior", "wrist", "right wrist"), 2, 8, 8))
    assert choices(source.decisions) == {
        "exterior camera": "exterior_1_left",
        "wrist camera": "wrist_left",
        "right wrist camera": "masked",
        "state": "joint_position (7), gripper_position (1)",
        "true actions": "joint_velocity (7), gripper_position (1)",
    }
    (one,) = source.episodes[0].read([2])
    assert one.state.tolist() == [1.0] * 7 + [2.0]
    assert one.true_actions.tolist() == [[5.0] * 7 + [12.0], [5.0] * 7 + [13.0]]
    assert tint_of(one.pictures["exterior"]) == 1
    assert source.episodes[0].success


@pytest.mark.parametrize("camera", ["image2", "observation.images.image2"])
def test_overrides_accept_short_and_full_column_names(tmp_path, camera):
    folder = write_lerobot(tmp_path, (3,))
    options = SourceOptions(("exterior",), 2, 8, 7, {"exterior": camera}, ("observation.state",), ("action",))
    source = open_source(folder, options)
    (one,) = source.episodes[0].read([1])
    assert tint_of(one.pictures["exterior"]) == 1
    assert source.decisions[0].sentence == "exterior camera: image2 (by --camera)"


def change_info(folder, **changes):
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codebase_version": "v1.6"}, "version v1.6; 2.0, 2.1 and 3.0 are read"),
        ({"fps": 0}, "'fps'"),
        ({"data_path": "/etc/{file_index}"}, "leads out of the data set"),
        ({"video_path": "../{video_key}.mp4"}, "leads out of the data set"),
        ({"data_path": "{file_index.__class__}"}, "leads out of the data set"),
        ({"data_path": "{secret}"}, "asks for 'secret'"),
        ({"features": {}}, "has no camera for the policy"),
        ({"features": 3}, "'features'"),
    ],
)
def test_open_source_reports_unusable_metadata(tmp_path, changes, words):
    folder = write_lerobot(tmp_path / "set", (3,), codec="libx264")
    change_info(folder, **changes)
    with pytest.raises(UserError, match=words):
        open_source(folder, LIBERO)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            SourceOptions(("exterior", "wrist"), 10, 14, 7),
            r"state has 14 numbers, but .*set has state \(8\): it is of another",
        ),
        (
            SourceOptions(("exterior", "wrist"), 10, 8, 8),
            r"action has 8 numbers, but .*set has action \(7\): it is of another",
        ),
        (
            SourceOptions(("exterior", "wrist"), 10, 8, 7, {"wrist": "hand"}),
            "no camera 'hand' in .*; it has image, image2",
        ),
        (
            SourceOptions(("top",), 10, 8, 7),
            'known to be the policy\'s top; choose one of image, image2 with --camera "top=NAME"',
        ),
    ],
)
def test_open_source_refuses_a_data_set_of_another_robot(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        open_source(write_lerobot(tmp_path / "set", (3,), codec=None), options)


def rewrite(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


@pytest.mark.parametrize("version", ["2.1", "3.0"])
def test_missing_video_makes_only_its_episodes_unusable(tmp_path, version):
    folder = write_lerobot(tmp_path / "set", (3, 3, 3), version=version)
    file = sorted(folder.glob("videos/**/*.mp4"))[0 if version == "3.0" else 1]
    file.unlink()
    source = open_source(folder, LIBERO)
    missing = {"episode_000000", "episode_000001"} if version == "3.0" else {"episode_000001"}
    assert set(source.unusable) == missing
    reasons = [one.reason for one in source.unusable.values()]
    assert all(str(file) in reason and reason.startswith("the video of exterior") for reason in reasons)
    assert {one.name for one in source.episodes} == {f"episode_{n:06d}" for n in range(3)} - missing


def no_state(folder, data, video):
    rewrite(data, lambda table: table.drop_columns(["observation.state"]))


def short_state(folder, data, video):
    column = pa.array([[1.0] * 6] * 10, pa.list_(pa.float32()))
    rewrite(data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column))


def null_state(folder, data, video):
    column = pa.array([None] + [[1.0] * 8] * 9, pa.list_(pa.float32()))
    rewrite(data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column))


def uneven_state(folder, data, video):
    column = pa.array([[1.0] * 7] + [[1.0] * 9] + [[1.0] * 8] * 8, pa.list_(pa.float32()))
    rewrite(data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column))


def text_state(folder, data, video):
    column = pa.array(["one"] * 10)
    rewrite(data, lambda table: table.drop_columns(["observation.state"]).append_column("observation.state", column))


def fewer_rows(folder, data, video):
    rewrite(data, lambda table: table.slice(0, 8))


def shuffled(folder, data, video):
    rewrite(data, lambda table: table.take([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]))


def short_video(folder, data, video):
    write_video(video, [picture(number) for number in range(6)], rate=10)


@pytest.mark.parametrize("version", ["2.1", "3.0"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_state, r"\.parquet has no column observation\.state; it has action"),
        (short_state, r"observation\.state in .* does not have lists of 8 numbers"),
        (null_state, r"frame 0 of episode_000000 has a state \(state\) with numbers that are not finite"),
        (uneven_state, r"observation\.state in .* does not have lists of 8 numbers"),
        (text_state, r"observation\.state in .* has one value a row, but should have lists of 8"),
        (fewer_rows, "has 8 rows of episode_000000, but the metadata state 10"),
        (shuffled, "frames of episode_000000 .* are not numbered from 0"),
        (lambda folder, data, video: cut(data), r"\.parquet cannot be read as parquet"),
        (lambda folder, data, video: data.write_bytes(b"version https://git-lfs.github"), "Git LFS pointer"),
        (lambda folder, data, video: cut(video), r"\.mp4 cannot be read, it may be cut off"),
        (lambda folder, data, video: video.write_bytes(b"version https://git-lfs.github"), "Git LFS pointer"),
        (lambda folder, data, video: video.write_bytes(b"\0" * 99), "is not a video"),
        (short_video, r"has pictures up to 0\.59 s, but frame 9 of episode_000000 is at 0\.90 s; --frames :6"),
    ],
)
def test_read_reports_damage_and_other_episodes_stay_readable(tmp_path, version, damage, words):
    folder = write_lerobot(tmp_path / "set", (10, 10), version=version, per_file=1)
    data = sorted(folder.glob("data/*/*.parquet"))[0]
    video = next(file for file in sorted(folder.glob("videos/**/*.mp4")) if "image2" in str(file))
    damage(folder, data, video)
    first, second = open_source(folder, LIBERO).episodes
    with pytest.raises(UserError, match=words) as caught:
        list(first.read(range(10)))
    assert "\n" not in str(caught.value)
    assert [number_of(one.pictures["wrist"]) for one in second.read([2, 9])] == [102, 109]


def jitter(_episode, count):
    """Rows up to 20 ms late at 10 frames a second, the first frame the most."""
    return np.arange(count) / 10 + np.linspace(0.020, 0, count)


def test_frame_gets_the_picture_nearest_to_its_time(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=jitter), LIBERO).episodes
    assert [number_of(one.pictures["wrist"]) for one in episode.read(range(12))] == list(range(12))
    assert [number_of(one.pictures["wrist"]) for one in episode.read([0, 4, 8])] == [0, 4, 8]
    clock = next(one for one in episode.frame_decisions([0, 4, 8]) if one.subject == "clock")
    assert clock.choice == "the picture nearest to the column timestamp, at most 0.02 s away"
    assert not clock.is_certain
    assert "beyond lerobot's tolerance of 0.0001 s" in clock.reason


def test_regular_clock_is_certain(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,)), LIBERO).episodes
    clock = next(one for one in episode.frame_decisions([3, 11]) if one.subject == "clock")
    assert clock.is_certain
    assert clock.reason == "within lerobot's tolerance of 0.0001 s"


def late(_episode, count):
    """Rows 60 ms late at 10 frames a second, so that the next picture is nearer than the row's own."""
    return np.arange(count) / 10 + 0.060


def test_frame_whose_time_and_order_disagree_is_refused_unless_a_tolerance_is_given(tmp_path):
    folder = write_lerobot(tmp_path / "set", (12, 12), stamps=late)
    episode = open_source(folder, LIBERO).episodes[0]
    words = r"nearest to frame 4 of episode_000000, at 0\.4600 s, is 0\.0400 s away, and is not its picture by order; "
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=words + r"--tolerance 0\.04 takes the nearest"):
            ask([4, 8])
    episode = open_source(folder, replace(LIBERO, tolerance=0.041)).episodes[0]
    assert [number_of(one.pictures["wrist"]) for one in episode.read([4, 8])] == [5, 9]
    clock = next(one for one in episode.frame_decisions([4, 8]) if one.subject == "clock")
    assert (clock.reason, clock.is_certain) == ("by --tolerance 0.041", True)
    assert "at most 0.04 s away" in clock.choice


def very_late_at_the_end(_episode, count):
    """Rows 10 ms late at 10 frames a second, but the last one 60 ms."""
    return np.arange(count) / 10 + np.where(np.arange(count) < count - 1, 0.010, 0.060)


def test_the_advised_tolerance_holds_for_all_frames_that_are_asked_for(tmp_path):
    def varied(_episode, count):
        return np.arange(count) / 10 + np.where(np.arange(count) == 6, 0.045, 0.060)

    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=varied), LIBERO).episodes
    with pytest.raises(UserError, match=r"frame 4 .* is 0\.0400 s away, .*; --tolerance 0\.045 takes"):
        episode.frame_decisions([4, 6])


def test_a_last_row_that_is_late_is_no_missing_picture(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=very_late_at_the_end), LIBERO).episodes
    (one,) = episode.read([11])
    assert number_of(one.pictures["wrist"]) == 11  # nearest in time and by order
    clock = next(one for one in episode.frame_decisions([0, 11]) if one.subject == "clock")
    assert (clock.choice, clock.is_certain) == (
        "the picture nearest to the column timestamp, at most 0.06 s away",
        False,
    )


def test_a_tolerance_refuses_pictures_beyond_it(tmp_path):
    folder = write_lerobot(tmp_path / "set", (12,), stamps=jitter)
    (episode,) = open_source(folder, replace(LIBERO, tolerance=0.01)).episodes
    assert len(list(episode.read([8, 10]))) == 2
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=r"nearest to frame 4 .* is 0\.0127 s away; --tolerance 0\.013"):
            ask([4])


def test_frames_with_a_picture_are_read_from_a_short_video(tmp_path):
    folder = write_lerobot(tmp_path / "set", (10,), version="2.1")
    short_video(folder, None, next(folder.glob("videos/**/*image2/*.mp4")))
    (episode,) = open_source(folder, LIBERO).episodes
    assert [number_of(one.pictures["wrist"]) for one in episode.read([0, 5])] == [0, 5]
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=r"pictures up to 0\.59 s, but frame 9 .* at 0\.90 s; --frames :6 leaves"):
            ask([0, 9])


def test_read_reports_a_video_truncated_after_its_header(tmp_path):
    folder = write_lerobot(tmp_path / "set", (40,), movflags="faststart", g="4")
    video = next(folder.glob("videos/*image2/*/*.mp4"))
    cut(video, 0.6)
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
    rewrite(
        folder / "data/chunk-000/file-000.parquet", lambda table: table.drop_columns([key]).append_column(key, column)
    )
    (episode,) = open_source(folder, LIBERO).episodes
    for frame, words in enumerate(
        (r"image of frame 0 in .*parquet is not a picture", "not a picture", "not exist", "not a")
    ):
        with pytest.raises(UserError, match=words):
            list(episode.read([frame]))


def test_absolute_picture_paths_are_found_in_the_data_set(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3,), codec=None)
    key = "observation.images.image"
    names = [f"images/{key}/episode_000000/frame_{number:06d}.png" for number in range(3)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number + 40)).save(folder / name)
    stored = [
        {"bytes": None, "path": f"/home/robot/.cache/huggingface/lerobot/me/set/{names[0]}"},
        {"bytes": None, "path": "C:\\data\\set\\" + names[1].replace("/", "\\")},
        {"bytes": None, "path": str(folder / names[2])},
    ]
    column = pa.array(stored, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    rewrite(
        folder / "data/chunk-000/file-000.parquet", lambda table: table.drop_columns([key]).append_column(key, column)
    )
    (episode,) = open_source(folder, LIBERO).episodes
    assert [number_of(one.pictures["exterior"]) for one in episode.read(range(3))] == [40, 41, 42]


@pytest.mark.parametrize("kind", ["list", "fixed"])
def test_states_and_actions_of_two_arms_are_joined(tmp_path, kind):
    folder = write_lerobot(tmp_path / "set", (4,), codec=None)
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    inner = pa.list_(pa.float32(), 7) if kind == "fixed" else pa.list_(pa.float32())
    outer = pa.list_(inner, 2) if kind == "fixed" else pa.list_(inner)
    values = np.arange(56, dtype=np.float32).reshape(4, 2, 7)
    for key in ("observation.state", "action"):
        features[key]["shape"] = [2, 7]
        column = pa.array(values.tolist(), outer)
        rewrite(
            folder / "data/chunk-000/file-000.parquet",
            lambda table, key=key, column=column: table.drop_columns([key]).append_column(key, column),
        )
    change_info(folder, features=features)
    source = open_source(folder, SourceOptions(("exterior", "wrist"), 2, 14, 14))
    assert choices(source.decisions)["state"] == "state (14)"
    (one,) = source.episodes[0].read([1])
    assert one.state.tolist() == list(range(14, 28))
    assert one.true_actions.tolist() == [list(range(14, 28)), list(range(28, 42))]


def test_frames_without_the_missing_state_are_read(tmp_path):
    folder = write_lerobot(tmp_path / "set", (10,), codec=None)
    null_state(folder, folder / "data/chunk-000/file-000.parquet", None)
    (episode,) = open_source(folder, LIBERO).episodes
    assert [one.state.tolist() for one in episode.read([1, 9])] == [[1.0] * 8] * 2


@pytest.mark.parametrize(
    ("version", "pattern"),
    [
        ("2.1", "videos/chunk-{chunk_index:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
        ("2.0", "videos/chunk-00{chunk_index}/{video_key}/episode_{episode_index:06}.mp4"),
        ("3.0", "videos/{video_key}/chunk-{episode_chunk:03d}/file-{file_index:03d}.mp4"),
        ("3.0", "videos/{video_key}/chunk-00{chunk_index}/file-00{file_index}.mp4"),
    ],
)
def test_video_paths_take_the_names_of_every_version(tmp_path, version, pattern):
    folder = write_lerobot(tmp_path / "set", (3,), version=version)
    change_info(folder, video_path=pattern)
    (episode,) = open_source(folder, LIBERO).episodes
    assert number_of(next(iter(episode.read([2]))).pictures["wrist"]) == 2


def test_success_is_read_from_a_column(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3, 3), codec=None)
    info = json.loads((folder / "meta/info.json").read_text())
    change_info(folder, features=info["features"] | {"next.success": {"dtype": "bool", "shape": [1]}})
    marks = pa.array([False] * 5 + [True])
    rewrite(folder / "data/chunk-000/file-000.parquet", lambda table: table.append_column("next.success", marks))
    assert [one.success for one in open_source(folder, LIBERO).episodes] == [False, True]


def test_depth_maps_are_not_cameras(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3,), codec=None)
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    features["observation.images.image2"]["info"] = {"video.is_depth_map": True}
    change_info(folder, features=features)
    assert [one.name for one in open_source(folder, SourceOptions((), 1)).cameras] == ["image"]


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
