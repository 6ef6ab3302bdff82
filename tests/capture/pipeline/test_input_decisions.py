"""Decisions about the input from the plan to the file, the terminal and a resumed run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from decisions import choices_by_subject, uncertain_choices
from episode_files import write_lerobot
from PIL import Image
from synthetic_episodes import SyntheticEpisode, small_setup

from capture.__main__ import main
from capture.pipeline.planning.input_decisions import StateRange
from capture.pipeline.planning.plan import make_plan
from capture.policies.base import TokenTable
from capture.provenance import Decision, from_json
from capture.results import schema

CAMERA = Decision("exterior camera", "left", "the first of two", is_certain=False)


def make_table(bins: list[int], beyond: tuple[int, ...]) -> TokenTable:
    zeros = np.zeros(1, np.int32)
    return TokenTable(
        "", zeros, zeros, zeros, zeros, zeros, zeros, ("<bos>",), state_bins=np.array(bins), state_beyond=beyond
    )


def test_state_range_counts_values_beyond_the_statistics() -> None:
    counted = StateRange()
    for beyond in ((), (2,), (0, 2), ()):
        counted.add(make_table([100, 100, -1, 100], beyond), 4)
    (decision,) = counted.decide()
    assert decision.choice == "value 0 in 1, 2 in 2 of 4 frames"
    assert decision.is_certain  # 3 of 16 values


def test_state_range_doubts_statistics_that_most_values_lie_beyond() -> None:
    counted = StateRange()
    for _ in range(3):
        counted.add(make_table([-1, 255, 100, *[128] * 29], (0, 1)), 3)  # padded to 32
    (decision,) = counted.decide()
    assert not decision.is_certain
    assert "67% of all values are: check the statistics and the state's units" in decision.reason


def test_state_range_without_values_beyond_decides_nothing() -> None:
    counted = StateRange()
    counted.add(make_table([3, 4], ()), 2)
    assert counted.decide() == ()


def test_tokenise_reports_bins_and_the_values_beyond_them(checkpoint: Path) -> None:
    policy = small_setup(checkpoint).policy
    stats = policy.checkpoint.preprocessing.state.stats  # type: ignore[attr-defined]
    low, high = np.asarray(stats["q01"], float), np.asarray(stats["q99"], float)
    state = np.array([low[0], low[1] - 1, high[2] + 1, (low[3] + high[3]) / 2])
    table = policy.tokenise("go", state)
    assert table.state_bins is not None
    assert table.state_bins.tolist()[:3] == [0, -1, 255]
    assert table.state_bins[3] in (127, 128)
    assert table.state_beyond == (1, 2)
    assert " 0 -1 255 12" in table.text


def test_plan_merges_the_decisions_of_policy_source_episode_and_its_own(checkpoint: Path) -> None:
    class Left(SyntheticEpisode):
        def frame_decisions(self, frames):
            return (Decision("left out frames", "2", f"of {len(frames)}", is_certain=True), CAMERA)

    setup = replace(small_setup(checkpoint), source_decisions=(CAMERA,))
    plan = make_plan(setup, Left())
    choices = choices_by_subject(plan.decisions)
    assert choices["exterior camera"] == "left"
    assert choices["left out frames"] == "2"
    assert choices["chosen frames"] == "6 of 6"
    assert choices["prompt"] == "the episode's own"
    assert plan.decisions.count(CAMERA) == 1
    assert set(setup.policy.decisions) <= set(plan.decisions)
    assert plan.run["input"] == {"exterior camera": "left"}


def test_run_names_the_camera_that_replaces_a_missing_one(checkpoint: Path) -> None:
    class Right(SyntheticEpisode):
        def frame_decisions(self, frames):
            decision = Decision("exterior camera of episode_000003", "right", "it has no left", is_certain=False)
            return (decision, Decision("clock", "within 2 ms", "", is_certain=True))

    plan = make_plan(replace(small_setup(checkpoint), source_decisions=(CAMERA,)), Right())
    assert plan.run["input"] == {"exterior camera": "left", "exterior camera of episode_000003": "right"}


def test_plan_doubts_a_slot_without_a_picture_once(checkpoint: Path) -> None:
    class OneCamera(SyntheticEpisode):
        @property
        def shapes(self):
            return {"exterior": (90, 160)}

    setup = small_setup(checkpoint)
    assert uncertain_choices(make_plan(setup, OneCamera()).decisions)["wrist camera"] == "masked"
    masked = Decision("wrist camera", "masked", "by --camera", is_certain=True)
    plan = make_plan(replace(setup, source_decisions=(masked,)), OneCamera())
    assert [decision for decision in plan.decisions if decision.subject == "wrist camera"] == [masked]


@pytest.fixture(scope="module")
def two_exteriors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with two cameras that may be the exterior one."""
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    folder = tmp_path_factory.mktemp("sets") / "droid"
    return write_lerobot(folder, (3,), version="2.1", codec=None, cameras=cameras, state=("state", 4))


def read_stored_decisions(path: Path) -> tuple[Decision, ...]:
    with h5py.File(path) as file:
        assert file.attrs["format_version"].tolist() == [1, 3]
        return from_json(file.attrs[schema.PROVENANCE_ATTRIBUTE])


@pytest.fixture(scope="module")
def source_command(checkpoint: Path, two_exteriors: Path) -> list[str]:
    return [
        *("--checkpoint", str(checkpoint), "--sizes", str(checkpoint / "sizes.json"), "--denoise-steps", "1"),
        *("--episode", str(two_exteriors), "--action-keys", "none", "--dtype", "float32", "--device", "cpu"),
    ]


def test_run_prints_doubts_once_and_stores_all(source_command: list[str], tmp_path: Path, capsys) -> None:
    output = tmp_path / "a.h5"
    assert main([*source_command, "-o", str(output)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assumed = [line for line in lines if line.startswith("pi0-capture: assumed exterior camera: ")]
    assert len(assumed) == 1
    assert assumed[0].startswith("pi0-capture: assumed exterior camera: exterior_image_1_left (the first of the names")
    assert not [line for line in lines if "decided" in line]
    decisions = read_stored_decisions(output)
    assert choices_by_subject(decisions)["wrist camera"] == "wrist_image_left"
    assert choices_by_subject(decisions)["true actions"] == "none"
    assert choices_by_subject(decisions)["time grid"] == "openpi"
    assert choices_by_subject(decisions)["chosen frames"] == "3 of 3"
    assert uncertain_choices(decisions)["exterior camera"] == "exterior_image_1_left"

    # The same command again finds the file finished; with the other camera it is another run.
    assert main([*source_command, "-o", str(output)]) == 0
    capsys.readouterr()
    assert main([*source_command, "--camera", "exterior=exterior_image_2_left", "-o", str(output)]) == 2
    stderr = capsys.readouterr().err
    assert "is of another run: exterior camera was exterior_image_1_left and is now exterior_image_2_left;" in stderr


def test_verbose_prints_certain_decisions_too(source_command: list[str], tmp_path: Path, capsys) -> None:
    assert main([*source_command, "--frames", "0", "-v", "-o", str(tmp_path / "a.h5")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "pi0-capture: decided chosen frames: 1 of 3 (by --frames 0)" in lines
    assert "pi0-capture: decided true actions: none (by --action-keys)" in lines
    assert len([line for line in lines if "assumed exterior camera" in line]) == 1


def test_dry_run_prints_all_decisions(source_command: list[str], capsys) -> None:
    assert main([*source_command, "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert "\n  decided   wrist camera: wrist_image_left (the only camera with a name known for this slot)\n" in page
    assert "\n  assumed   exterior camera: exterior_image_1_left (the first" in page


def test_given_pictures_are_decisions_of_the_command_line(command: list[str], pictures: Path, tmp_path, capsys) -> None:
    assert main([*command, "--prompt", "go", "-o", str(tmp_path / "a.h5")]) == 0
    decisions = {decision.subject: decision for decision in read_stored_decisions(tmp_path / "a.h5")}
    assert decisions["exterior camera"].choice == str(pictures / "exterior.png")
    assert decisions["state"].choice == "4 numbers"
    assert decisions["prompt"].choice == "1 given"
    # Moving the picture is no other run: what is in it counts.
    assert json.loads(h5py.File(tmp_path / "a.h5").attrs["run"])["input"] == {}


def test_turns_of_given_pictures_are_decisions(command: list[str], pictures: Path, tmp_path: Path, capsys) -> None:
    with Image.open(pictures / "exterior.png") as image:
        exif = image.getexif()
        exif[0x0112] = 6  # orientation
        image.save(tmp_path / "lying.jpg", exif=exif)
    arguments = [str(tmp_path / "lying.jpg") if part.endswith("exterior.png") else part for part in command]
    assert main([*arguments, "--prompt", "go", "--turned", "yes", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  decided   turn of the pictures: by 180 degrees (by --turned)" in lines
    message = "orientation of the exterior pictures: turned by 90 degrees clockwise (by EXIF in lying.jpg)"
    assert f"  decided   {message}" in lines
    assert main([*command, "--prompt", "go", "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert "  decided   turn of the pictures: none (taken as upright, without --turned)\n" in page
    assert "orientation of" not in page
