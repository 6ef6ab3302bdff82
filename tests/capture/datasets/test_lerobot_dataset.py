"""LeRobot data sets of every version and kind of picture: frames, states, actions and prompts match."""

from __future__ import annotations

import json

import numpy as np
import pytest
from decisions import choices_by_subject, uncertain_choices
from PIL import Image

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")

import pyarrow as pa
from episode_files import picture, read_number, read_tint, rewrite_parquet, write_lerobot

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
    assert [(camera.name, camera.height, camera.width) for camera in source.cameras] == [
        ("image", 32, 80),
        ("image2", 32, 80),
    ]
    assert choices_by_subject(source.decisions) == {
        "exterior camera": "image",
        "wrist camera": "image2",
        "state": "state (8)",
        "true actions": "action (7)",
    }
    assert not uncertain_choices(source.decisions)
    assert [observation.name for observation in source.episodes] == [
        "episode_000000",
        "episode_000001",
        "episode_000002",
    ]
    assert [(observation.number, observation.length, observation.rate) for observation in source.episodes] == [
        (0, 7, 10.0),
        (1, 12, 10.0),
        (2, 5, 10.0),
    ]
    tasks = ["pick up the duck", "put it in the bowl", "pick up the duck"]
    assert [observation.prompts for observation in source.episodes] == [(task,) for task in tasks]
    for episode in source.episodes:
        read = list(episode.read(range(episode.length)))
        assert len(read) == episode.length
        for frame, observation in enumerate(read):
            value = 100 * episode.number + frame
            assert read_number(observation.pictures["exterior"]) == read_number(observation.pictures["wrist"]) == value
            assert (read_tint(observation.pictures["exterior"]), read_tint(observation.pictures["wrist"])) == (0, 1)
            np.testing.assert_allclose(observation.state, value + 0.1 * np.arange(8), rtol=1e-6)
            assert observation.true_actions.shape == (min(10, episode.length - frame), 7)
            np.testing.assert_allclose(
                observation.true_actions[-1, 0], -(100 * episode.number + min(frame + 9, episode.length - 1))
            )
            assert observation.prompt == tasks[episode.number]
            assert observation.time == pytest.approx(frame / 10)
            assert (observation.index, observation.episode, observation.is_upside_down) == (frame, episode.name, False)


@pytest.mark.parametrize("codec", ["libx264", None])
def test_read_of_some_frames_equals_reading_all(tmp_path, codec):
    source = open_source(write_lerobot(tmp_path / "set", (60, 90), codec=codec, g="12", bf="3"), LIBERO)
    for frames in ([0], [89], [3, 4, 88], range(0, 90, 8), [0, 30, 31, 75]):
        read = list(source.episodes[1].read(frames))
        assert [read_number(observation.pictures["wrist"]) for observation in read] == [100 + frame for frame in frames]
        assert [observation.index for observation in read] == list(frames)


def test_open_source_reads_only_metadata(tmp_path):
    folder = write_lerobot(tmp_path / "set", LENGTHS)
    for file in [*folder.glob("videos/*/*/*.mp4"), *folder.glob("data/*/*.parquet")]:
        file.write_bytes(b"")
    source = open_source(folder, LIBERO)
    assert [episode.length for episode in source.episodes] == list(LENGTHS)
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
    assert choices_by_subject(source.decisions[:2]) == {
        "exterior camera": "exterior_image_1_left",
        "wrist camera": "wrist_image_left",
    }
    assert uncertain_choices(source.decisions) == {"exterior camera": "exterior_image_1_left"}
    assert "takes another of exterior_image_2_left" in source.decisions[0].reason
    (observation,) = source.episodes[0].read([2])
    assert read_tint(observation.pictures["wrist"]) == 2
    assert observation.true_actions.shape == (1, 8)


def test_lerobots_droid_columns_map_to_velocities_and_success(tmp_path):
    """Names as in lerobot's examples/port_datasets/port_droid.py, scalars as lerobot stores shapes of one number."""
    cameras = tuple(f"observation.images.{name}" for name in ("wrist_left", "exterior_1_left", "exterior_2_left"))
    folder = write_lerobot(tmp_path, (4,), codec=None, cameras=cameras, action=("action", 8))
    columns = {
        "observation.state.joint_position": np.ones((4, 7)),
        "observation.state.gripper_position": np.arange(4.0),
        "action.joint_velocity": np.full((4, 7), 5.0),
        "action.gripper_position": np.arange(4.0) + 10,
        "is_episode_successful": np.array([True] * 4),
    }
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    for key, values in columns.items():
        dtype = "bool" if values.dtype == bool else "float32"
        features[key] = {"dtype": dtype, "shape": list(values.shape[1:]) or [1]}
        column = pa.array(list(values) if values.ndim == 2 else values)
        rewrite_parquet(
            folder / "data/chunk-000/file-000.parquet",
            lambda table, key=key, column=column: table.append_column(key, column),
        )
    change_info(folder, features=features)
    source = open_source(folder, SourceOptions(("exterior", "wrist", "right wrist"), 2, 8, 8))
    assert choices_by_subject(source.decisions) == {
        "exterior camera": "exterior_1_left",
        "wrist camera": "wrist_left",
        "right wrist camera": "masked",
        "state": "joint_position (7), gripper_position (1)",
        "true actions": "joint_velocity (7), gripper_position (1)",
    }
    (observation,) = source.episodes[0].read([2])
    assert observation.state.tolist() == [1.0] * 7 + [2.0]
    assert observation.true_actions.tolist() == [[5.0] * 7 + [12.0], [5.0] * 7 + [13.0]]
    assert read_tint(observation.pictures["exterior"]) == 1
    assert source.episodes[0].success


@pytest.mark.parametrize("camera", ["image2", "observation.images.image2"])
def test_overrides_accept_short_and_full_column_names(tmp_path, camera):
    folder = write_lerobot(tmp_path, (3,))
    options = SourceOptions(("exterior",), 2, 8, 7, {"exterior": camera}, ("observation.state",), ("action",))
    source = open_source(folder, options)
    (observation,) = source.episodes[0].read([1])
    assert read_tint(observation.pictures["exterior"]) == 1
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
    rewrite_parquet(
        folder / "data/chunk-000/file-000.parquet", lambda table: table.drop_columns([key]).append_column(key, column)
    )
    (episode,) = open_source(folder, LIBERO).episodes
    assert [read_number(observation.pictures["exterior"]) for observation in episode.read(range(3))] == [40, 41, 42]


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
        rewrite_parquet(
            folder / "data/chunk-000/file-000.parquet",
            lambda table, key=key, column=column: table.drop_columns([key]).append_column(key, column),
        )
    change_info(folder, features=features)
    source = open_source(folder, SourceOptions(("exterior", "wrist"), 2, 14, 14))
    assert choices_by_subject(source.decisions)["state"] == "state (14)"
    (observation,) = source.episodes[0].read([1])
    assert observation.state.tolist() == list(range(14, 28))
    assert observation.true_actions.tolist() == [list(range(14, 28)), list(range(28, 42))]


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
    assert read_number(next(iter(episode.read([2]))).pictures["wrist"]) == 2


def test_success_is_read_from_a_column(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3, 3), codec=None)
    info = json.loads((folder / "meta/info.json").read_text())
    change_info(folder, features=info["features"] | {"next.success": {"dtype": "bool", "shape": [1]}})
    marks = pa.array([False] * 5 + [True])
    rewrite_parquet(
        folder / "data/chunk-000/file-000.parquet", lambda table: table.append_column("next.success", marks)
    )
    assert [episode.success for episode in open_source(folder, LIBERO).episodes] == [False, True]


def test_depth_maps_are_not_cameras(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3,), codec=None)
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    features["observation.images.image2"]["info"] = {"video.is_depth_map": True}
    change_info(folder, features=features)
    assert [camera.name for camera in open_source(folder, SourceOptions((), 1)).cameras] == ["image"]
