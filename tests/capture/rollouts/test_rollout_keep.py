"""Rollouts that keep summaries: the frames of growing files, with maps where they are wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from rollouts import SETUP, record_toy_call
from toy_policy import ToyPolicy, ToySpec

from capture import RolloutRecorder
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.frame_builder import Kept, build_frames
from capture.policies.base import Prepared
from capture.results import schema, scores_schema
from capture.rollouts.run_description import RolloutRun
from capture.rollouts.writer import RolloutWriter


def keeping(maps_every: int) -> RolloutRun:
    return RolloutRun.from_setup(replace(SETUP, options=replace(SETUP.options, maps_every=maps_every)))


@pytest.mark.parametrize("maps_every", [0, 2])
def test_growing_file_keeps_summaries_and_some_maps(tmp_path: Path, maps_every: int) -> None:
    calls = [record_toy_call(seed) for seed in range(3)]
    with RolloutWriter(tmp_path, keeping(maps_every)) as writer:
        stream = writer.open_stream("client 1")
        for call in calls:
            stream.start_call("stack the cups").store(call)
            writer.settle()
    assert not writer.counts.failures
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert json.loads(file.attrs["run"])["keep"] == scores_schema.format_keep(maps_every)
        has_maps = [int(maps_every > 0 and number % 2 == 0) for number in range(3)]
        assert file[scores_schema.HAS_MAPS][:].tolist() == has_maps
        for number, call in enumerate(calls):
            [(frame, _)] = build_frames(call, Kept(scores=True))
            for name in (schema.TEXT_MASS, schema.ACTION_ENTROPY, scores_schema.CHANGE):
                np.testing.assert_array_equal(file[name][number], frame[name], err_msg=name)
            words = np.asarray(frame[scores_schema.WORD_ENTROPY])
            np.testing.assert_array_equal(file[scores_schema.WORD_ENTROPY][number, :, : words.shape[1]], words)
            for name in schema.MAPS:
                if has_maps[number]:
                    np.testing.assert_array_equal(file[name][number], frame[name], err_msg=name)
                else:
                    assert np.isnan(file[name][number]).all(), name


def test_folder_of_rollouts_that_keep_maps_is_refused(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, keeping(1)) as writer:
        writer.open_stream("client 1").start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
    with pytest.raises(UserError, match="holds another run, .*: --keep was maps and is now summaries"):
        RolloutWriter(tmp_path, keeping(0))


def test_recorder_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    policy, spec = ToyPolicy(), ToySpec()
    shown = Observation({"front": np.zeros((60, 60, 3), np.uint8)}, "go", np.zeros(2))
    prepared = Prepared(shown, spec.prepare_pictures(shown), spec.tokenise("go", shown.state))
    with RolloutRecorder(policy, tmp_path, keep="summaries") as recorder:
        policy.plain([prepared], seeds=[0])
        recorder.end_episode(success=True)
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file[scores_schema.HAS_MAPS][:].tolist() == [0]
        assert file[schema.ACTION_MASS].dtype == np.float16
        np.testing.assert_allclose(file[schema.ACTION_MASS][0].astype(float).sum(-1), 1, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep": "maps:8"}, "keep='maps:8' is none of maps, summaries and maps::N"),
        ({"keep": "summaries", "full": True}, "full=True keeps the maps of image tokens"),
    ],
)
def test_recorder_refuses_what_cannot_be_kept(tmp_path: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        RolloutRecorder(ToyPolicy(), tmp_path, **options)  # type: ignore[arg-type]
