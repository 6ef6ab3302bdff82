"""Masks that a loop hands over to `RolloutRecorder`: which calls they belong to, what is scored, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from masked_calls import (
    CAMERAS,
    FRAMES,
    VALUES,
    assert_same_scores,
    capture_offline,
    make_labels,
    make_masks,
    make_observation,
)
from toy_policy import ToyPolicy, ToySpec

from capture import RolloutRecorder
from capture.errors import UserError
from capture.policies.base import Prepared
from capture.results import scores_schema
from capture.results.partial_file import PartialFile
from capture.rollouts.recovery import recover_file


def prepare(frame: int, prompt: str | None = None) -> Prepared:
    shown, spec = make_observation(frame), ToySpec()
    return Prepared(shown, spec.prepare_pictures(shown), spec.tokenise(prompt or shown.prompt, shown.state))


def act(policy: ToyPolicy, *frames: int) -> Any:
    return policy.plain([prepare(frame) for frame in frames], seeds=frames).actions


def read_known(path: Path) -> tuple[list[str], list[list[bool]]]:
    """Names of the regions, and in which frames each is known in some camera."""
    with h5py.File(path) as file:
        coverage = file[scores_schema.COVERAGE]
        known = ~np.isnan(coverage[:, :, :, 0, 0]).all(2)
        return coverage.attrs["regions"].tolist(), known.tolist()


@pytest.mark.parametrize("keep", ["summaries", "maps"])
def test_recorder_has_the_scores_of_an_offline_capture(tmp_path: Path, keep: str) -> None:
    policy = ToyPolicy()
    expected = [act(policy, frame) for frame in range(FRAMES)]
    with RolloutRecorder(policy, tmp_path / "runs", keep=keep, max_pending=9, store="float32") as recorder:
        for frame in range(FRAMES):
            labels = {CAMERAS[key]: each for key, each in make_labels(frame).items()}
            given = (labels, VALUES) if frame % 2 else (make_masks(frame),)
            with recorder.masks(*given):
                assert (act(policy, frame) == expected[frame]).all()
    assert recorder.counts.failures == ()
    capture_offline(tmp_path / "offline.h5")
    assert_same_scores(tmp_path / "runs/episode_000000.h5", tmp_path / "offline.h5")
    assert (tmp_path / "runs/episode_000000.regions.h5").is_file()


def test_masks_belong_to_the_calls_in_their_block(tmp_path: Path) -> None:
    policy = ToyPolicy()
    with RolloutRecorder(policy, tmp_path, keep="summaries", max_pending=9) as recorder:
        with recorder.masks(make_masks(0)):
            act(policy, 0)
        act(policy, 1)
        with recorder.masks(lambda: make_masks(0)), recorder.masks(None):
            act(policy, 2)
    assert read_known(tmp_path / "episode_000000.h5") == (
        ["duck", "bowl"],
        [[True] * 2, [False] * 2, [False] * 2],
    )


def test_masks_are_copied_before_the_simulator_draws_again(tmp_path: Path) -> None:
    policy, masks = ToyPolicy(), make_masks(0)
    with RolloutRecorder(policy, tmp_path, keep="summaries", max_pending=9) as recorder:
        with recorder.masks(masks):
            act(policy, 0)
        for mask in masks["front"].values():
            mask[...] = True
        recorder.end_episode()
    with h5py.File(tmp_path / "episode_000000.regions.h5") as file:
        np.testing.assert_array_equal(file["duck/front/mask"][0] != 0, make_masks(0)["front"]["duck"])


def test_function_is_called_for_recorded_calls_alone(tmp_path: Path) -> None:
    policy, drawn = ToyPolicy(), []

    def draw() -> dict[str, Any]:
        drawn.append(0)
        return make_masks(0)

    with RolloutRecorder(policy, tmp_path, every=3, keep="summaries", max_pending=9) as recorder, recorder.masks(draw):
        for frame in range(4):
            act(policy, frame)
    assert len(drawn) == 2


def test_each_environment_of_a_batch_has_its_own_masks(tmp_path: Path) -> None:
    policy = ToyPolicy()
    entries: Sequence[Any] = [make_masks(0), None, {"top": {"mug": np.ones((96, 128), np.uint8)}}]
    with RolloutRecorder(policy, tmp_path, keep="summaries", max_pending=9) as recorder, recorder.masks(entries):
        act(policy, 0, 1, 2)
    assert read_known(tmp_path / "episode_000000.h5") == (["duck", "bowl"], [[True, True]])
    assert read_known(tmp_path / "episode_000002.h5") == (["mug"], [[True]])
    with h5py.File(tmp_path / "episode_000001.h5") as file:
        assert scores_schema.COVERAGE not in file


def test_masks_that_do_not_fit_a_call_cost_its_regions_alone(tmp_path: Path) -> None:
    small = np.ones((3, 3), np.bool_)
    wrong: list[tuple[Any, str]] = [
        ({"front": {"duck": small}}, "the masks of front have 3 x 3 pixels, and its picture 160 x 90"),
        ({"attic": {"duck": small}}, "of a camera 'attic'; the policy is shown front, top"),
        ([make_masks(0)] * 2, "there are masks of 2 environments, and the batch has 1"),
        (lambda: {"front": {"duck": "all"}}, "the mask of duck in front holds values of type <U3"),
    ]
    policy, told = ToyPolicy(), []
    with RolloutRecorder(policy, tmp_path, keep="summaries", max_pending=9, log=told.append) as recorder:
        with recorder.masks({"front": {"duck": make_masks(0)["front"]["duck"]}}):
            act(policy, 0)
        for masks, _ in wrong:
            with recorder.masks(masks):
                act(policy, 1)
        with recorder.masks(wrong[0][0]):  # told once
            act(policy, 1)
    assert (recorder.counts.recorded, recorder.counts.failures) == (6, tuple(told))
    assert len(told) == 4
    for _, sentence in wrong:
        assert sum(sentence in line for line in told) == 1
    assert read_known(tmp_path / "episode_000000.h5") == (["duck"], [[True], *[[False]] * 5])


def test_masks_of_another_form_are_refused(tmp_path: Path) -> None:
    with RolloutRecorder(ToyPolicy(), tmp_path) as recorder:
        for masks, values, sentence in (
            ([[[True, False]]], None, "the masks are list"),
            ({"front": {"duck": 0.5}}, None, "holds values of type float64"),
            ({"front": [[1, 2], [3]]}, {"duck": 1}, "the labels of front is no array of numbers"),
            ({"front": np.zeros((90, 160), int)}, None, "say nothing without mask_values"),
        ):
            with pytest.raises(UserError, match=sentence), recorder.masks(masks, values):
                pass


def test_error_of_the_drawing_function_is_raised_and_drops_the_recording(tmp_path: Path) -> None:
    def draw() -> Any:
        raise ZeroDivisionError

    policy = ToyPolicy()
    with RolloutRecorder(policy, tmp_path) as recorder:
        with pytest.raises(ZeroDivisionError), recorder.masks(draw):
            act(policy, 0)
        act(policy, 1)
    assert (recorder.counts.recorded, recorder.counts.dropped) == (1, 1)


def test_masks_that_cannot_be_kept_leave_the_scores(tmp_path: Path) -> None:
    (tmp_path / ".episode_000000.masks.partial").mkdir()
    policy, told = ToyPolicy(), []
    with RolloutRecorder(policy, tmp_path, keep="summaries", log=told.append, max_pending=9) as recorder:
        for frame in range(2):
            with recorder.masks(make_masks(frame)):
                act(policy, frame)
    [sentence] = told
    assert sentence.startswith("no file of regions is written beside episode_000000.h5: its masks could not be kept: ")
    assert not list(tmp_path.glob("*.regions.h5"))
    assert read_known(tmp_path / "episode_000000.h5")[1] == [[True, True]] * 2


def test_killed_recording_gets_its_regions_when_it_is_completed(tmp_path: Path) -> None:
    policy, whole = ToyPolicy(), tmp_path / "whole"
    with RolloutRecorder(policy, whole, keep="summaries", max_pending=9) as recorder:
        for frame in range(FRAMES):
            with recorder.masks(make_masks(frame)):
                act(policy, frame)
        assert recorder._writer is not None
        recorder._writer.settle()
        killed = tmp_path / "killed"  # as a process leaves it that is killed now, with a torn last record
        shutil.copytree(whole, killed)
        hidden = killed / ".episode_000000.masks.partial"
        hidden.write_bytes(hidden.read_bytes()[:-1])
    found = recover_file(killed / "episode_000000.h5.partial")
    assert (found.frames, found.problem) == (FRAMES, "")
    assert not hidden.exists()
    assert not list(whole.glob(".*"))
    with (
        h5py.File(killed / "episode_000000.regions.h5") as first,
        h5py.File(whole / "episode_000000.regions.h5") as second,
    ):
        assert list(first) == list(second) == ["duck", "bowl"]
        for name in ("duck/front", "bowl/top"):
            for part in ("mask", "coverage", "origin"):
                last = FRAMES - 1  # of the torn record
                np.testing.assert_array_equal(first[name][part][:last], second[name][part][:last])
            assert first[name]["origin"][:].tolist() == [2, 2, 0, 2 * ("front" in name), 0]


def test_recording_that_ended_but_has_no_final_name_is_completed_with_its_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process leaves it that is killed while it writes the regions of an episode that has ended."""

    def stop(_: Any) -> None:
        raise UserError("killed here")

    policy = ToyPolicy()
    with monkeypatch.context() as patch:
        patch.setattr(PartialFile, "publish", stop)
        with RolloutRecorder(policy, tmp_path, keep="summaries", log=lambda _: None) as recorder:
            with recorder.masks(make_masks(0)):
                act(policy, 0)
            recorder.end_episode(success=True)
    recover_file(tmp_path / "episode_000000.h5.partial")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episode_000000.h5",
        "episode_000000.regions.h5",
        "index.json",
    ]
    [entry] = json.loads((tmp_path / "index.json").read_text())["episodes"]
    assert (entry["frames"], entry["success"]) == (1, True)
    assert "failed" not in entry
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert json.loads(file.attrs["rollout"])["ended"] == "end_episode was called"
