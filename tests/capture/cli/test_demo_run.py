"""`pi0-capture --demo-run`: the bundled episodes become a run with outcomes and regions."""

from __future__ import annotations

import contextlib
import json
import shutil

import h5py
import numpy as np
import pytest
from paths import DEMO
from PIL import Image

from capture.__main__ import main
from viewer.io.results import Results
from viewer.regions.coverage import measure_coverage
from viewer.regions.regions_file import read_regions

EPISODE = DEMO / "rollouts" / "episode_000002"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    assert main(["--demo-run", "--episodes", "2", "--frames", "1,4", "-o", str(folder)]) == 0
    return folder


def test_demo_run_captures_the_first_and_the_last_step_of_episodes_with_their_outcome(run):
    [entry] = json.loads((run / "index.json").read_text())["episodes"]
    episode = json.loads((EPISODE / "episode.json").read_text())
    assert (entry["success"], entry["prompts"], entry["frames"]) == (episode["success"], ["pick up the duck"], 2)
    with h5py.File(run / "episode_000002.h5") as file:
        assert list(file.attrs["steps"]) == [0, 9]
        assert file["frames/index"][:].tolist() == [1, 4]
        assert json.loads(file.attrs["model"])["kind"] == "demo"


def test_demo_run_repeats_the_actions_that_the_arm_took(run):
    with h5py.File(run / "episode_000002.h5") as file:
        np.testing.assert_allclose(file["action/predicted"][:, :6], file["action/truth"][:, :6], atol=1e-4)


def test_demo_run_writes_the_masks_of_every_object_as_regions(run):
    episode = json.loads((EPISODE / "episode.json").read_text())
    with contextlib.closing(Results(run / "episode_000002.h5")) as results:
        regions = read_regions(run / "episode_000002.regions.h5", results).regions
        assert list(regions) == list(episode["mask_values"])
        for name, number in episode["mask_values"].items():
            for camera_number, camera in enumerate(results.cameras):
                masks = regions[name].cameras[camera]
                assert masks.origins == {0: "imported", 1: "imported"}
                for frame, index in enumerate((1, 4)):
                    expected = np.asarray(Image.open(EPISODE / episode["frames"][index]["masks"][camera])) == number
                    np.testing.assert_array_equal(masks.mask(frame), expected)
                    with h5py.File(run / "episode_000002.regions.h5") as file:
                        stored = file[f"{name}/{camera}/coverage"][frame]
                    np.testing.assert_array_equal(
                        stored, measure_coverage(expected, results.to_model(frame, camera_number), results.grid)
                    )


def test_resuming_leaves_regions_that_are_there_and_makes_those_that_are_missing(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    regions = tmp_path / "run" / "episode_000002.regions.h5"
    with h5py.File(regions, "a") as file:
        del file["duck"]
    command = ["--demo-run", "--episodes", "2", "--frames", "1,4", "-o", str(tmp_path / "run")]
    assert main(command) == 0
    with h5py.File(regions) as file:
        assert "duck" not in file
    regions.unlink()
    assert main(command) == 0
    with h5py.File(regions) as file:
        assert "duck" in file


def test_regions_of_other_results_are_kept_with_a_message(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    regions = tmp_path / "run" / "episode_000002.regions.h5"
    with h5py.File(regions, "a") as file:
        file.attrs["uuid"] = "another"
    command = ["--demo-run", "--episodes", "2", "--frames", "1,4", "-o", str(tmp_path / "run")]
    assert main(command) == 0
    assert "no regions of episode_000002.h5 were written" in capsys.readouterr().err
    with h5py.File(regions) as file:
        assert file.attrs["uuid"] == "another"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dataset", "x"], "--demo-run brings its own episodes; leave --dataset out"),
        (["--episode", "x"], "--demo-run brings its own episodes; leave --episode out"),
        (["--exterior", "x.png"], "--demo-run brings its own pictures, state and policy; leave --exterior out"),
        (["--demo"], "not allowed with argument"),
    ],
)
def test_demo_run_refuses_other_input(options, sentence, tmp_path, capsys):
    try:
        code = main(["--demo-run", *options, "-o", str(tmp_path / "run")])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_unreadable_masks_leave_out_only_the_regions(tmp_path, capsys):
    shutil.copytree(EPISODE, tmp_path / "set" / "episode")
    for path in (tmp_path / "set" / "episode").glob("*_0_mask.png"):
        path.write_bytes(b"no picture")
    command = ["--checkpoint", str(DEMO), "--dataset", str(tmp_path / "set"), "--dtype", "float32", "--frames", "0"]
    assert main([*command, "--steps", "0", "-o", str(tmp_path / "run")]) == 0
    assert "warning: no regions of episode.h5 were written: the mask " in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["episode.h5", "index.json"]
