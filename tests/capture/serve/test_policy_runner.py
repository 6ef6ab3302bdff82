"""Calls of a policy for a server: alike whether they are launched from Python, recorded, or replayed as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from small_policy import make_observation

from capture.rollouts.writer import RolloutWriter
from capture.serve.policy_runner import PolicyRunner
from capture.serve.service import describe_run


class RepeatedWork:
    """A graph that does its work again when it is replayed; test_cuda.py has the real one."""

    def record(self, work: Any) -> None:
        self._work = work

    def replay(self) -> None:
        self._work()


def record_calls(folder: Path, served: tuple[Any, Any], runner: PolicyRunner) -> list[np.ndarray]:
    """Run and record four calls; return their actions."""
    calls = []
    with RolloutWriter(folder, describe_run(served[0], 1), max_pending=10) as writer:
        stream = writer.open_stream("client")
        for seed in range(4):
            slot = stream.start_call("pick up the red block")
            result = runner.run(runner.prepare(make_observation()), seed, is_recorded=True)
            assert result.recorded is not None
            runner.store(slot, result.recorded, result.seconds)
            calls.append(result.actions)
    return calls


def test_replayed_calls_equal_eager_ones(served: tuple[Any, Any], tmp_path: Path) -> None:
    messages: list[str] = []
    eager_runner = PolicyRunner(*served)
    replayed = PolicyRunner(*served, graph=RepeatedWork, log=messages.append)
    expected = [
        eager_runner.run(eager_runner.prepare(make_observation()), seed, is_recorded=False).actions for seed in range(4)
    ]
    for name, runner in (("plain", eager_runner), ("replayed", replayed)):
        calls = record_calls(tmp_path / name, served, runner)
        np.testing.assert_array_equal(calls, expected)
    assert messages == []
    assert replayed._replayer is not None
    assert replayed._replayer.replayed == 2
    with (
        h5py.File(tmp_path / "plain/episode_000000.h5") as eager_file,
        h5py.File(tmp_path / "replayed/episode_000000.h5") as replayed_file,
    ):
        names: list[str] = []
        eager_file.visititems(lambda name, part: names.append(name) if isinstance(part, h5py.Dataset) else None)
        assert len(names) > 30
        for name in names:
            if name not in ("frames/clock", "frames/time", "frames/call_seconds"):
                assert np.array_equal(
                    eager_file[name][()], replayed_file[name][()], equal_nan=eager_file[name].dtype.kind == "f"
                ), name
    unrecorded = replayed.run(replayed.prepare(make_observation()), 0, is_recorded=False)
    assert unrecorded.recorded is None
    np.testing.assert_array_equal(unrecorded.actions, expected[0])
