"""Replays give the results of calls. Here a graph is work that is done again; test_cuda.py tests real graphs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_policy import make_observation, small_policy
from synthetic_episodes import ProgressLog, SyntheticEpisode, small_setup, with_options
from synthetic_episodes import assert_same_results as same_file

import capture.pipeline.policy_calls
import capture.pipeline.runner
from capture.pipeline import cuda_graphs
from capture.pipeline.cuda_graphs import GraphReplayer
from capture.pipeline.frame_builder import (
    MASKED_WEIGHT,
    ROW_SUM,
    Kept,
    compute_datasets,
    frame_metadata,
    split_frames,
    to_host_arrays,
)
from capture.pipeline.planning.setup import RunOptions
from capture.pipeline.types import Job
from capture.results import schema


class RepeatedWork:
    """Does the work again when it is replayed, and nothing while it is recorded."""

    def record(self, work):
        self._work = work

    def replay(self):
        self._work()


class WrongResults(RepeatedWork):
    """A graph that gives other numbers than the call."""

    def replay(self):
        super().replay()
        WrongResults.memory.add_(1)


class EagerWork(RepeatedWork):
    """Does its work at once, and nothing when it is replayed: what happens where another stream is recorded."""

    def record(self, work):
        work()

    def replay(self):
        pass


class NoMemory(RepeatedWork):
    """A graph for which there is no memory."""

    def record(self, work):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity")


def make_replayer(policy, messages=None, graph=RepeatedWork, **options):
    options = {"full": False, "keep": Kept(torch.bfloat16)} | options
    log = (messages or ProgressLog()).log
    return GraphReplayer(policy, policy.recorder(), graph=graph, log=log, **options)


def prepare_observation(policy, number, prompt="pick up the red block"):
    """Return a prepared observation of random pictures and a state that differ with `number`, of equal token count."""
    draw = np.random.default_rng(number)
    shown = make_observation(prompt)
    pictures = {name: draw.integers(0, 255, picture.shape, dtype=np.uint8) for name, picture in shown.pictures.items()}
    state = np.array([0.1, -0.4 + 0.01 * number, 2.0, 0.7])
    return policy.prepare(replace(shown, pictures=pictures, state=state, index=number))


def run_eagerly(policy, prepared, seeds, **options):
    recorder = policy.recorder()
    with recorder:
        call = policy.run(prepared, recorder, seeds=seeds, full=options.get("full", False))
    return call, compute_datasets(call, options.get("keep", Kept(torch.bfloat16)))


def assert_bitwise_equal(actual, expected):
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        assert torch.equal(actual[name].view(torch.uint8), value.view(torch.uint8)), name  # NaN equals NaN


def make_batch(policy, kind, number):
    first = prepare_observation(policy, number)
    if kind == "single":
        return [first]
    if kind == "three":
        return [first, prepare_observation(policy, number + 100), prepare_observation(policy, number + 200)]
    if kind == "padded":  # which of the two is the shorter one changes
        pair = [first, prepare_observation(policy, number + 100, "go")]
        return pair if number % 2 else pair[::-1]
    second = replace(
        first, tokens=prepare_observation(policy, number, "pick up the red bowl").tokens
    )  # one moment, two prompts
    return [first, second, prepare_observation(policy, number + 100)]


@pytest.mark.parametrize("kind", ["single", "three", "padded", "moment"])
@pytest.mark.parametrize(
    "options",
    [{}, {"full": True, "keep": Kept()}, {"keep": Kept(torch.bfloat16, maps=False, scores=True)}],
    ids=["text", "full", "scores"],
)
def test_replay_equals_eager_call(policy, one_thread, kind, options) -> None:
    calls = make_replayer(policy, **options)
    results = []
    for number in range(5):
        prepared = make_batch(policy, kind, number)
        seeds = [10 * number + row for row in range(len(prepared))]
        call, replayed = calls.run(prepared, seeds=seeds)
        assert (call.prepared, call.seeds) == (tuple(prepared), tuple(seeds))
        results.append((replayed, *run_eagerly(policy, prepared, seeds, **options)))
    assert calls.replayed == 3  # the first is run as it is, the second to make the graph
    for replayed, _, wanted in results:  # only now: a later replay must not have touched what an earlier one gave
        assert_bitwise_equal(replayed, wanted)


def test_frames_of_a_replay_equal_frames_of_the_call(policy, one_thread) -> None:
    calls = make_replayer(policy, keep=Kept())
    for number in range(3):
        prepared = make_batch(policy, "padded", number)
        replayed, datasets = calls.run(prepared, seeds=[1, 2])
    arrays, errors = to_host_arrays(datasets)
    call, wanted = run_eagerly(policy, prepared, [1, 2], keep=Kept())
    for row, (frame, _) in enumerate(split_frames(call, wanted)):
        metadata = frame_metadata(replayed, arrays, row, errors[row])
        assert metadata[schema.FRAMES_PROMPT] == frame[schema.FRAMES_PROMPT]
        for name in (schema.ACTION_PREDICTED, schema.TEXT_ID, schema.FRAMES_STATE):
            np.testing.assert_array_equal(metadata[name], frame[name])


def test_each_call_shape_has_its_own_graph(policy, one_thread) -> None:
    calls = make_replayer(policy)
    for number, kind in enumerate(["single", "three", "single", "three", "padded", "single", "three"]):
        prepared = make_batch(policy, kind, number)
        seeds = list(range(len(prepared)))
        assert_bitwise_equal(calls.run(prepared, seeds=seeds)[1], run_eagerly(policy, prepared, seeds)[1])
    assert calls.replayed == 2


def test_missing_camera_is_another_shape(policy, one_thread) -> None:
    calls = make_replayer(policy)
    whole = prepare_observation(policy, 1)
    lone = replace(whole, pictures={"exterior": whole.pictures["exterior"]})
    for prepared in ([whole], [lone], [whole], [lone], [lone]):
        assert_bitwise_equal(calls.run(prepared, seeds=[0])[1], run_eagerly(policy, prepared, [0])[1])
    assert calls.replayed == 1


def test_least_recently_used_graph_is_dropped(policy, monkeypatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    count = []
    calls = make_replayer(policy, graph=lambda: count.append(1) or RepeatedWork())
    order = [1, 1, 2, 2, 1, 3, 3, 1, 2]
    for size in order:
        calls.run([prepare_observation(policy, number) for number in range(size)], seeds=[0] * size)
    assert len(count) == 3
    assert calls.replayed == 2  # of one frame, twice; those of two gave way to three


def test_shapes_seen_once_record_no_graph(policy, monkeypatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    calls = make_replayer(policy)
    for size in (1, 1, 2, 3, 4, 1):
        calls.run([prepare_observation(policy, number) for number in range(size)], seeds=[0] * size)
    assert calls.replayed == 1


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (WrongResults, "its numbers differ"),
        (EagerWork, "its numbers differ"),
        (NoMemory, "CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_unusable_graph_is_reported_and_never_used(policy, one_thread, monkeypatch, graph, reason) -> None:
    progress = ProgressLog()
    calls = make_replayer(policy, progress, graph)
    empty = torch.empty

    def watched(*size, **options):
        buffer = empty(*size, **options)
        if options.get("dtype") == torch.uint8:
            WrongResults.memory = buffer
        return buffer

    monkeypatch.setattr(torch, "empty", watched)
    for number in range(4):
        prepared = make_batch(policy, "single", number)
        assert_bitwise_equal(calls.run(prepared, seeds=[number])[1], run_eagerly(policy, prepared, [number])[1])
    assert calls.replayed == 0
    assert progress.sentences == [
        f"calls are not replayed as CUDA graphs, which is slower and changes no number ({reason})"
    ]


def test_replay_accepts_equal_nan(one_thread) -> None:
    policy, log = small_policy(), ProgressLog()
    policy.model.action_out_proj.bias.data.fill_(torch.nan)
    calls = make_replayer(policy, log)
    for number in range(3):
        _, replayed = calls.run(make_batch(policy, "single", number), seeds=[0])
    assert calls.replayed == 1
    assert replayed[schema.ACTION_X][:, -1].isnan().all()
    assert not log.sentences


def test_failed_recording_restores_the_current_stream(monkeypatch) -> None:
    current, used = ["calls"], []

    class On:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            self.before, current[0] = current[0], self.stream

        def __exit__(self, *_):
            current[0] = self.before

    class Endless:
        """As torch.cuda.graph, whose stream stays the current one where its end fails."""

        def __init__(self, graph, *, pool, stream, capture_error_mode):
            self.on = On(stream)

        def __enter__(self):
            self.on.__enter__()

        def __exit__(self, *_):
            raise RuntimeError("the capture was invalidated")

    replaced = {"device": lambda _: nullcontext(), "current_device": lambda: 1, "graph_pool_handle": object}
    replaced |= {
        "CUDAGraph": object,
        "Stream": lambda device: f"of GPU {device}",
        "current_stream": lambda _: current[0],
    }
    for name, value in {**replaced, "stream": On, "graph": Endless}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(cuda_graphs, "_stream_to_record", cuda_graphs._stream_to_record.__wrapped__)
    make = cuda_graphs.cuda_graph_factory(torch.device("cuda"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="was invalidated"):
            make().record(lambda: used.append(current[0]))
    assert current == ["calls"]
    assert used == ["of GPU 1"] * 2


def test_replayer_falls_back_when_graphs_use_up_memory(policy, one_thread) -> None:
    class Spent(RepeatedWork):
        def replay(self):
            super().replay()
            self.replays = getattr(self, "replays", 0) + 1
            if self.replays == 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")

    progress = ProgressLog()
    calls = make_replayer(policy, progress, Spent)
    for number in range(6):
        prepared = make_batch(policy, "three", number)
        assert_bitwise_equal(calls.run(prepared, seeds=[0, 1, 2])[1], run_eagerly(policy, prepared, [0, 1, 2])[1])
    assert len(progress.sentences) == 1
    assert progress.sentences[0].endswith("(CUDA out of memory.)")


def test_out_of_memory_in_the_first_call_is_raised(policy, monkeypatch) -> None:
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    progress = ProgressLog()
    calls = make_replayer(policy, progress)
    monkeypatch.setattr(policy, "run", full)
    with pytest.raises(torch.OutOfMemoryError):
        calls.run(make_batch(policy, "three", 0), seeds=[0, 1, 2])
    assert not progress.sentences


def test_ctrl_c_during_graph_recording_is_raised(policy) -> None:
    class Broken(RepeatedWork):
        def record(self, work):
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("the capture was invalidated")

    calls = make_replayer(policy, graph=Broken)
    calls.run(make_batch(policy, "single", 0), seeds=[0])
    with pytest.raises(KeyboardInterrupt):
        calls.run(make_batch(policy, "single", 1), seeds=[0])


def test_steps_are_reported_in_eager_calls_only(policy) -> None:
    calls = make_replayer(policy)
    events = []
    for number in range(3):
        prepared = make_batch(policy, "single", number)
        calls.run(prepared, seeds=[0], begin=lambda: events.append("begin"), after_step=events.append)
    assert events == ["begin", 0, 1, 2, 3] * 2 + ["begin"]


def test_replay_computes_row_errors(policy) -> None:
    calls = make_replayer(policy, keep=Kept())
    for number in range(3):
        _, replayed = calls.run(make_batch(policy, "padded", number), seeds=[0, 1])
    assert calls.replayed == 1
    assert replayed[ROW_SUM].shape == replayed[MASKED_WEIGHT].shape == (2,)
    assert 0 < replayed[ROW_SUM].max() < 1e-5
    assert replayed[MASKED_WEIGHT].max() == 0


def test_run_with_replays_makes_the_same_file(checkpoint, tmp_path, monkeypatch, one_thread) -> None:
    setup = with_options(small_setup(checkpoint), batch=2)
    used = []
    for name, has_graphs in (("calls", False), ("replays", True)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(RunOptions, "replayed", has_graphs)
        monkeypatch.setattr(
            capture.pipeline.policy_calls, "cuda_graph_factory", lambda _: lambda: used.append(1) or RepeatedWork()
        )
        progress = ProgressLog()
        episode = SyntheticEpisode(length=10)
        outcome = capture.pipeline.runner.run_jobs(setup, [Job(tmp_path / name / "a.h5", episode)], progress)
        assert outcome.files[0].failure is None
        assert outcome.frames == progress.steps[-1] == 10  # also where the last call was replayed
        assert {2, 4, 6, 8} <= set(progress.steps)
    assert used
    same_file(tmp_path / "calls/a.h5", tmp_path / "replays/a.h5")


def test_graphs_are_used_on_gpus_without_check(checkpoint) -> None:
    choices = small_setup(checkpoint).options
    gpu = replace(choices, device=torch.device("cuda"))
    assert not choices.replayed
    assert gpu.replayed
    assert not replace(gpu, check=True).replayed
    assert not replace(gpu, graphs=False).replayed
