"""From a data set on disk to what the window reads: the word for an object points at that object.

Scenes, masks and the policy are those of resources/demo; the data set is written with pyarrow and PyAV.
"""

from __future__ import annotations

import json
from pathlib import Path

import episode_files
import h5py
import numpy as np
import pytest
from paths import DEMO
from PIL import Image

from capture.__main__ import main
from capture.results import schema
from viewer.io.results import Results
from viewer.io.run_index import find_episode_path, read_run, statuses
from viewer.model.attention import pick

CAMERAS = ("exterior", "wrist")
LAYER, HEAD = json.loads((DEMO / "config.json").read_text())["pointing_heads"]["text"].values()
OTHER = {"duck": "mug", "mug": "duck"}
EVERY = 2
VISIBLE = 80
"""Pixels from which on a thing counts as shown, as in the figures of the demo's card."""


def scene(name: str) -> dict:
    """Return the `episode.json` of a demo episode, and its folder as `folder`."""
    episode = json.loads((DEMO / "episodes" / name / "episode.json").read_text())
    return episode | {"folder": DEMO / "episodes" / name}


def pictures(episode: dict, kind: str, camera: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(episode["folder"] / frame[kind][camera])) for frame in episode["frames"]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("data") / "table"
    contents = []
    for episode in map(scene, OTHER):
        contents.append(
            {
                "task": episode["prompt"],
                "pictures": [pictures(episode, "pictures", camera) for camera in CAMERAS],
                "state": np.array([frame["state"] for frame in episode["frames"]]),
                "action": np.array([frame["actions"][0] for frame in episode["frames"]]),
            }
        )
    lengths = [len(content["state"]) for content in contents]
    columns = {"state": ("observation.state", 8), "action": ("action", 8)}
    return episode_files.write_lerobot(folder, lengths, contents=contents, rate=5, crf="18", **columns)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run in which each episode has its own prompt and that of the other object."""
    folder = tmp_path_factory.mktemp("results")
    prompts = {scene(name)["prompt"]: ["{task}", scene(other)["prompt"]] for name, other in OTHER.items()}
    (folder / "prompts.yaml").write_text(json.dumps(prompts))
    options = ["--checkpoint", str(DEMO), "--dataset", str(dataset), "--prompts", str(folder / "prompts.yaml")]
    selection = ["--frames", f"::{EVERY}", "--layers", str(LAYER), "--steps", "9", "--batch", "3", "--device", "cpu"]
    assert main([*options, *selection, "-o", str(folder / "runs")]) == 0
    return folder / "runs"


def pointed_at(results: Results, frame: int, camera: int, noun: str) -> tuple[float, float]:
    """Return x, y of the noun's greatest weight, in pixels of the camera's picture as stored."""
    [chip] = [chip for chip in results.chips(frame) if chip.text.strip() == noun]
    rows = [results.rows(frame, "text", token) for token in chip.tokens]
    weights = pick(rows, results.layers.index(LAYER), 0, [HEAD], "mean").image[camera]  # (16, 16)
    row, col = np.unravel_index(weights.argmax(), weights.shape)
    middle = np.array([col + 0.5, row + 0.5]) * schema.PATCH_PIXELS
    affine = results.to_model(frame, camera)  # (2, 3), from the picture to the model's
    x, y = np.linalg.solve(affine[:, :2], middle - affine[:, 2])
    return float(x), float(y)


def test_run_has_the_requested_episodes_frames_and_prompts(run: Path) -> None:
    found = read_run(run)
    assert [(episode.name, episode.frames, episode.rate) for episode in found.episodes] == [
        ("episode_000000", 4, 5.0),
        ("episode_000001", 4, 5.0),
    ]
    assert [episode.prompts for episode in found.episodes] == [
        ("pick up the duck", "pick up the mug"),
        ("pick up the mug", "pick up the duck"),
    ]
    assert {status.state for status in statuses(found)} == {"done"}


def test_trained_head_points_at_the_thing_that_a_word_names(run: Path) -> None:
    found = read_run(run)
    checked = 0
    for name, episode in zip(OTHER, found.episodes, strict=True):
        description = scene(name)
        masks = {camera: pictures(description, "masks", camera) for camera in CAMERAS}
        results = Results(find_episode_path(found, episode))
        try:
            assert results.cameras == CAMERAS
            for frame in range(results.done):
                source_frame = frame // 2 * EVERY
                noun = (name, OTHER[name])[frame % 2]
                assert results.string(schema.FRAMES_PROMPT, frame) == f"pick up the {noun}"
                np.testing.assert_allclose(
                    results.state(frame), description["frames"][source_frame]["state"], atol=1e-6
                )
                for number, camera in enumerate(CAMERAS):
                    is_object = masks[camera][source_frame] == description["mask_values"][noun]
                    if is_object.sum() < VISIBLE:
                        continue
                    x, y = pointed_at(results, frame, number, noun)
                    away = np.hypot(*(np.argwhere(is_object)[:, ::-1] + 0.5 - (x, y)).T).min()
                    patch = schema.PATCH_PIXELS * is_object.shape[1] / schema.MODEL_PIXELS
                    assert away < patch * np.sqrt(2), (name, frame, camera, noun)
                    checked += 1
        finally:
            results.close()
    assert checked >= 12


def test_stored_true_actions_are_those_of_the_data_set(run: Path) -> None:
    for name, episode in zip(OTHER, read_run(run).episodes, strict=True):
        frames = scene(name)["frames"]
        actions = np.array([frame["actions"][0] for frame in frames])
        with h5py.File(run / episode.file) as file:
            assert file.attrs["complete"]
            assert list(file[schema.FRAMES_INDEX]) == [0, 0, 2, 2]
            for frame, source_frame in enumerate(file[schema.FRAMES_INDEX]):
                truth = file[schema.ACTION_TRUTH][frame]  # (H, 8); beyond the episode's end there is none
                rest = actions[source_frame:]
                np.testing.assert_allclose(truth[: len(rest)], rest, atol=1e-6)
                assert np.isnan(truth[len(rest) :]).all()


def test_a_policy_of_joint_positions_is_compared_with_joint_positions(tmp_path: Path, capsys) -> None:
    pytest.importorskip("av")
    folder = episode_files.write_droid(tmp_path / "droid", 4)
    options = ["--checkpoint", str(DEMO), "--episode", str(folder), "--device", "cpu", "--dry-run"]
    assert main(options) == 0
    message = "true actions: joint_position (7), gripper_position (1) (the policy acts in joint positions)"
    assert f"  decided   {message}\n" in capsys.readouterr().out
    assert main([*options, "--action-keys", "joint_velocity,gripper_position"]) == 0
    message = "true actions: joint_velocity (7), gripper_position (1) (by --action-keys)"
    assert f"  decided   {message}\n" in capsys.readouterr().out
