"""What only a GPU can show: copies on a side stream arrive whole, and the policy computes what the CPU computes."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from small_policy import make_observation, small_policy, tiny_model
from synthetic_episodes import ProgressLog, SyntheticEpisode, assert_same_results, small_setup, with_options

from capture.__main__ import main
from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint
from capture.datasets.in_memory import InMemoryEpisode
from capture.pipeline.cuda_graphs import GraphReplayer, cuda_graph_factory
from capture.pipeline.frame_builder import Kept, build_frames, compute_datasets
from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.policies.attention_hooks import AttentionRecorder
from capture.policies.tokenizer import find_tokenizer
from capture.results import schema
from capture.results.dataset_layout import list_datasets


class Quiet:
    def loading(self, done, total):
        pass

    expect = step = log = lambda self, _: None


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: GPU tests did not run")


def test_gpu_actions_equal_the_reference(tiny):
    model = tiny_model().to("cuda")
    chunk = model.sample_actions(
        [picture.cuda() for picture in tiny.pictures],
        tiny.inputs["tokens"][:, :17].cuda(),
        tiny.inputs["token_mask"][:, :17].cuda(),
        tiny.inputs["noise"].cuda(),
    )
    torch.testing.assert_close(chunk.actions.cpu(), tiny.openpi["actions"], rtol=0, atol=5e-5)


def test_recorder_copies_every_weight_the_module_returned():
    policy = small_policy()
    policy.model.to("cuda")
    prepared = policy.prepare(make_observation())
    returned = []
    modules = [layer.self_attn for layer in policy.model.expert.layers]
    handles = [module.register_forward_hook(lambda *event: returned.append(event[-1][1].clone())) for module in modules]
    with AttentionRecorder(policy.model) as recorder:
        for seed in range(20):
            returned.clear()
            policy.plain([prepared], seeds=[seed])
            recording = recorder.take()
            whole = torch.stack(returned).unflatten(0, (4, 3)).transpose(0, 1)[:, :, 0].cpu()  # (L, S, N, H, K + H)
            assert torch.equal(recording.suffix[0], whole)
    for handle in handles:
        handle.remove()


def test_batched_gpu_run_with_writer_process_equals_cpu_run(checkpoint, tmp_path):
    files = []
    draw = np.random.default_rng(5)
    moments = [
        make_observation(
            "",
            pictures={
                n: draw.integers(0, 255, p.shape, dtype=np.uint8) for n, p in make_observation().pictures.items()
            },
            index=index,
        )
        for index in range(7)
    ]
    for device, batch in (("cpu", 1), ("cuda", 3)):
        opened = open_checkpoint(
            checkpoint, options=CheckpointOptions(sizes=checkpoint / "sizes.json", denoise_steps=4)
        )
        prompts = Prompts(("go", "pick up the red block"))
        choices = RunOptions(torch.device(device), torch.float32, batch=batch, store="float32", prompts=prompts)
        setup = Setup(Pi05Spec(opened, find_tokenizer(None, opened.tokenizer_folder)), choices, "")
        outcome = run_jobs(setup, [Job(tmp_path / f"{device}.h5", InMemoryEpisode(moments))], Quiet())
        assert outcome.files[0].failure is None
        assert outcome.frames == 14
        assert 0 < outcome.busy_seconds <= outcome.seconds
        files.append(h5py.File(tmp_path / f"{device}.h5"))
    for dataset in list_datasets(
        schema.Sizes(14, ("exterior", "wrist"), (0, 1, 2), (0, 1, 2, 3), 4, 9, 6, 4, 4, 4, 32, ((90, 160), (96, 128)))
    ):
        first, second = files[0][dataset.name][...], files[1][dataset.name][...]
        if first.dtype.kind == "f":
            np.testing.assert_allclose(second, first, rtol=2e-3, atol=2e-4, err_msg=dataset.name)
        else:
            assert np.array_equal(first, second), dataset.name


def test_gpu_run_with_reader_processes_equals_cpu_run(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("capture.pipeline.runner.choose_file_count", lambda batch, cores: 2)
    setup = small_setup(checkpoint)
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        jobs = [Job(tmp_path / device / f"{name}.h5", SyntheticEpisode(name, length=40)) for name in "abc"]
        outcome = run_jobs(with_options(setup, device=torch.device(device), batch=4), jobs, Quiet())
        assert [written.failure for written in outcome.files] == [None] * 3
        assert outcome.frames == 120
    for name in "abc":
        with h5py.File(tmp_path / f"cpu/{name}.h5") as on_cpu, h5py.File(tmp_path / f"cuda/{name}.h5") as on_gpu:
            for dataset in (schema.FRAMES_INDEX, schema.TEXT_ID, schema.source_name("wrist")):
                assert np.array_equal(on_cpu[dataset], on_gpu[dataset]), dataset
            for dataset in (schema.ACTION_TO_IMAGE, schema.TEXT_TO_TEXT, schema.ACTION_PREDICTED):
                np.testing.assert_allclose(on_gpu[dataset], on_cpu[dataset], rtol=2e-3, atol=2e-4, err_msg=dataset)


def test_graph_replay_makes_a_bit_identical_file(checkpoint, tmp_path):
    setup = with_options(small_setup(checkpoint), device=torch.device("cuda"), batch=4)
    progress = ProgressLog()
    for graphs in (False, True):
        (tmp_path / str(graphs)).mkdir()
        jobs = [Job(tmp_path / str(graphs) / f"{name}.h5", SyntheticEpisode(name, length=38)) for name in "ab"]
        outcome = run_jobs(with_options(setup, graphs=graphs), jobs, progress)
        assert [written.failure for written in outcome.files] == [None] * 2
        assert outcome.frames == 76
    assert not progress.sentences  # no graph was refused
    for name in "ab":
        assert_same_results(tmp_path / f"False/{name}.h5", tmp_path / f"True/{name}.h5")


def test_dropped_graph_is_recorded_again(monkeypatch):
    monkeypatch.setattr("capture.pipeline.cuda_graphs.MOST_GRAPHS", 1)
    policy, messages = small_policy(), []
    policy.model.to("cuda")
    graph = cuda_graph_factory(torch.device("cuda"))
    replays = GraphReplayer(policy, policy.recorder(), full=False, keep=Kept(), graph=graph, log=messages.append)
    prepared = policy.prepare(make_observation())
    for count in (1, 1, 1, 2, 2, 2, 1, 1, 1):
        _, results = replays.run([prepared] * count, seeds=list(range(count)))
    assert messages == []
    assert replays.replayed == 3
    recorder = policy.recorder()
    with recorder:
        expected = compute_datasets(policy.run([prepared], recorder, seeds=[0]))
    assert all(torch.equal(results[name], value) for name, value in expected.items())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU alone")
def test_graphs_of_two_gpus_are_recorded_on_their_own_gpu():
    for name in ("cuda:0", "cuda:1", "cuda:0"):
        policy, messages = small_policy(), []
        policy.model.to(name)
        graph = cuda_graph_factory(torch.device(name))
        replays = GraphReplayer(policy, policy.recorder(), full=False, keep=Kept(), graph=graph, log=messages.append)
        for seed in range(4):
            _, results = replays.run([policy.prepare(make_observation())], seeds=[seed])
        assert messages == []
        assert replays.replayed == 2
        recorder = policy.recorder()
        with recorder:
            expected = compute_datasets(policy.run([policy.prepare(make_observation())], recorder, seeds=[3]))
        assert all(torch.equal(results[name], value) for name, value in expected.items())


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
def test_calls_and_replays_do_not_synchronise():
    policy = small_policy()
    policy.model.to("cuda")
    prepared = [policy.prepare(make_observation()), policy.prepare(make_observation("go"))]
    messages = []
    graph = cuda_graph_factory(torch.device("cuda"))
    replays = GraphReplayer(policy, policy.recorder(), full=False, keep=Kept(), graph=graph, log=messages.append)
    for _ in range(3):
        replays.run(prepared, seeds=[0, 1])
    assert messages == []
    assert replays.replayed == 1
    recorder = policy.recorder()
    torch.cuda.set_sync_debug_mode("error")
    try:
        replays.run(prepared, seeds=[2, 3])
        with recorder:
            compute_datasets(policy.run(prepared, recorder, seeds=[2, 3]))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_gpu_frames_agree_with_cpu_frames():
    frames = []
    for device in ("cpu", "cuda"):
        policy = small_policy()
        policy.model.to(device)
        recorder = policy.recorder()
        with recorder:
            frames.append(build_frames(policy.run([policy.prepare(make_observation())], recorder, seeds=[1]))[0][0])
    for name in (schema.ACTION_TO_IMAGE, schema.TEXT_TO_TEXT, schema.ACTION_VALUE_NORM_IMAGE, schema.ACTION_X):
        np.testing.assert_allclose(frames[1][name], frames[0][name], rtol=2e-3, atol=2e-4)


def test_command_uses_the_gpu_by_default(tmp_path):
    assert main(["--demo", "-o", str(tmp_path / "demo.h5")]) == 0
    with h5py.File(tmp_path / "demo.h5") as file:
        assert json.loads(file.attrs["model"])["device"] == "cuda"


def test_failed_graph_recording_leaves_the_device_usable():
    graph, number = cuda_graph_factory(torch.device("cuda"))(), torch.ones(1, device="cuda")
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        graph.record(number.item)
    assert torch.cuda.current_stream() == before
    assert not torch.cuda.is_current_stream_capturing()
    assert (number + 1).item() == 2
