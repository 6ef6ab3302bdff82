"""Frames a second of the full-size policy on this machine's device: plain batched calls, and recorded and written ones.

    python tests/bench/throughput.py --batches 1,4,8,16 --seconds 10 --folder /tmp

Weights are random and made where the policy runs; no file is read. Pictures come from memory, so that what is measured is
resizing, tokenising, inference, recording and writing. Every number printed was measured in this very run.

    python tests/bench/throughput.py --stand-in --batches 4,16

needs no GPU: see stand_in.py for what is shown then. `--layers 0` beside it keeps disk and memory out of it; where there
are few cores, the other processes still take some of the calls' own. "Beside the calls" is the processor time of all
other threads of the calling process: what they can take from the calls at most.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from full_size import FULL  # noqa: E402
from invented import LoadedCheckpoint, RandomEpisode, StartedReader  # noqa: E402
from stand_in import CallTimes, StandInPolicy, simulated_gpu  # noqa: E402

import capture.pipeline.runner  # noqa: E402
from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint  # noqa: E402
from capture.checkpoints.key_names import openpi_name  # noqa: E402
from capture.pipeline.cuda_graphs import cuda_graph_factory  # noqa: E402
from capture.pipeline.frame_builder import build_frames  # noqa: E402
from capture.pipeline.planning.plan import make_plan  # noqa: E402
from capture.pipeline.planning.setup import RunOptions, Setup  # noqa: E402
from capture.pipeline.shared_memory import SharedBuffer  # noqa: E402
from capture.pipeline.types import Job, RunOutcome  # noqa: E402
from capture.policies.base import Prepared  # noqa: E402
from capture.policies.pi05.config import parameter_dtype  # noqa: E402
from capture.policies.pi05.model import Pi05  # noqa: E402
from capture.policies.pi05.policy import Pi05Policy  # noqa: E402
from capture.policies.tokenizer import read_tokenizer  # noqa: E402
from capture.provenance import Decision  # noqa: E402
from capture.results import schema  # noqa: E402
from capture.results.writer import ResultsWriter  # noqa: E402


class SilentProgress:
    def loading(self, done: int, total: int) -> None: ...
    def expect(self, frames: int) -> None: ...
    def step(self, frames: float) -> None: ...
    def log(self, sentence: str) -> None:
        if "tokenizer" not in sentence:  # which is the tests' small one
            print(sentence, flush=True)

    def decided(self, decision: Decision) -> None: ...


def write_empty_checkpoint(folder: Path, config: Any, heads: int) -> Path:
    """A checkpoint folder whose weight file has a header and no weights: sizes can be read off it."""
    folder.mkdir(parents=True)
    with torch.device("meta"):
        model = Pi05(config)
    header, at = {}, 0
    for name, parameter in model.named_parameters():
        stored = openpi_name(name).replace(".vision_tower.", ".vision_tower.vision_model.")
        stored = stored.replace("paligemma.model.language_model.embed_tokens", "paligemma.lm_head")
        size = 2 * parameter.numel()
        header[stored] = {"dtype": "BF16", "shape": list(parameter.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    config_json = {"action_dim": 32, "action_horizon": 15, "paligemma_variant": "gemma_2b"}
    (folder / "config.json").write_text(
        json.dumps({**config_json, "action_expert_variant": "gemma_300m", "precision": "bfloat16"})
    )
    statistics = {"mean": [0.0] * 8, "std": [1.0] * 8, "q01": [-3.0] * 8, "q99": [3.0] * 8}
    assets = folder / "assets/droid"
    assets.mkdir(parents=True)
    (assets / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": statistics, "actions": statistics}}))
    return folder


def make_random_model(config: Any, device: str, dtype: torch.dtype) -> Pi05:
    with torch.device("meta"):
        model = Pi05(config)
    generator = torch.Generator(device).manual_seed(0)
    weights = {}
    for name, parameter in model.named_parameters():
        std = 0.02 if parameter.ndim == 1 or "embed" in name else parameter[0].numel() ** -0.5
        tensor = torch.empty(parameter.shape, dtype=parameter_dtype(name, dtype), device=device)
        tensor.normal_(std=std, generator=generator)
        if name.endswith((".layer_norm1.weight", ".layer_norm2.weight", ".post_layernorm.weight")):
            tensor += 1
        weights[name] = tensor
    model.load_state_dict(weights, assign=True)
    model.refill_buffers(device)
    return model


def measure_writer(policy: Pi05Policy, ready: tuple[Prepared, int], sizes: schema.Sizes, folder: Path) -> str:
    recorder = policy.recorder(layers=sizes.layers)
    with recorder:
        [(frame, _)] = build_frames(policy.run([ready[0]], recorder, seeds=[0]))
    path, count = folder / "alone.h5", 40
    sizes = dataclasses.replace(sizes, frames=count)
    start = time.perf_counter()
    with ResultsWriter(path, sizes, model={}, generator="bench", overwrite=True, background=False) as writer:
        for _ in range(count):
            writer.write(frame)
        stored = time.perf_counter()
        writer.finish({})
    end = time.perf_counter()
    path.unlink()
    each = (stored - start) / count * 1e3
    return f"the writer alone on {folder}: {each:.1f} ms a frame, and {end - stored:.2f} s to end"


def measure_speed(call: Callable[[], object], frames: int, wait: Callable[[], None]) -> float:
    """Frames a second of calls of so many frames."""
    for _ in range(2):
        call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    calls = max(3, int(3 / (time.perf_counter() - start)))
    start = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return calls * frames / (time.perf_counter() - start)


def record_plain_graph(policy: Pi05Policy, prepared: Sequence[Prepared], seeds: Sequence[int]) -> Callable[[], Tensor]:
    """The same call with nothing recorded, replayed as a CUDA graph; it uploads its inputs anew each time."""
    inputs = policy.inputs(prepared, seeds).each(policy.upload)
    actions = policy.sample(inputs).actions
    graph = cuda_graph_factory(policy.model.device)()
    graph.record(lambda: actions.copy_(policy.sample(inputs).actions))

    def call() -> Tensor:
        for target, source in zip(inputs.tensors, policy.inputs(prepared, seeds).tensors, strict=True):
            target.copy_(source.pin_memory(), non_blocking=True)
        graph.replay()
        return actions  # which lives as long as the graph that writes to it

    return call


def describe_waits(times: CallTimes | None, outcome: RunOutcome) -> str:
    """Describe how long the simulated calls waited for Python's lock."""
    if times is None:
        return ""
    return (
        f", for which calls waited {times.waited / outcome.seconds:.1%} ({times.waited / outcome.frames * 1e3:.2f} ms)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,4,8,16")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--tokenizer", type=Path, default=Path(__file__).parents[1] / "data/tokenizer.json")
    parser.add_argument("--picture", default="180x320")
    parser.add_argument("--each", type=int, default=50, help="frames of an episode")
    parser.add_argument("--workers", type=int, help="as in pi0-capture")
    parser.add_argument("--no-graphs", dest="graphs", action="store_false", help="as in pi0-capture")
    parser.add_argument("--small", action="store_true", help="a small policy, to try the script itself")
    parser.add_argument("--stand-in", action="store_true", help="something on the CPU in place of the policy")
    parser.add_argument(
        "--layers", type=lambda text: tuple(map(int, text.split(","))), help="layers to record, else all"
    )
    options = parser.parse_args()
    capture.pipeline.runner.ReaderProcess = StartedReader
    device = "cuda" if torch.cuda.is_available() and not options.stand_in else "cpu"
    height, width = map(int, options.picture.split("x"))
    config = FULL
    if options.small:
        vlm = dataclasses.replace(FULL.vlm, width=64, depth=4, mlp=128)
        expert = dataclasses.replace(FULL.expert, width=64, depth=4, mlp=128)
        config = dataclasses.replace(FULL, vlm=vlm, expert=expert, vision=dataclasses.replace(FULL.vision, depth=2))
    work = Path(tempfile.mkdtemp(dir=options.folder))
    opened = open_checkpoint(
        write_empty_checkpoint(work / "hollow", config, 8), options=CheckpointOptions(config="pi05_droid")
    )
    LoadedCheckpoint.model = None if options.stand_in else make_random_model(opened.config, device, torch.bfloat16)
    checkpoint = LoadedCheckpoint(**{field.name: getattr(opened, field.name) for field in dataclasses.fields(opened)})
    tokenizer = read_tokenizer(options.tokenizer)
    policy = (StandInPolicy if options.stand_in else Pi05Policy)(
        LoadedCheckpoint.model, checkpoint.preprocessing, tokenizer
    )
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    parameters = 0 if options.stand_in else sum(p.numel() for p in LoadedCheckpoint.model.parameters())
    print(f"{name}, torch {torch.__version__}, {parameters / 1e9:.2f} G parameters")

    def setup(batch: int) -> Setup:
        choices = RunOptions(
            torch.device(device),
            torch.bfloat16,
            layers=options.layers,
            batch=batch,
            workers=options.workers,
            graphs=options.graphs,
        )
        return Setup(Pi05Spec(checkpoint, tokenizer), choices, "bench")

    warm_up = RandomEpisode("warm", 0, 64, height, width)
    plan = make_plan(setup(1), warm_up)
    ready = [item for moment in plan.moments_from() for item in moment][:32]
    print(f"{plan.sizes.tokens} text tokens, {plan.frame_bytes / 1e6:.1f} MB a frame, pictures {width} x {height}")

    if device == "cuda":
        slot = SharedBuffer(1 << 20, pinned=True)
        print(f"memory shared with the writer is pinned: {slot._pinned}")
        slot.free()
    if options.stand_in or device == "cuda":
        torch.set_num_threads(1)  # as a run on a GPU does, so that plain calls have it as good
    if not options.stand_in:
        print(measure_writer(policy, ready[0], plan.sizes, options.folder), flush=True)

    for batch, share in (
        (int(word.partition("x")[0]), float(word.partition("x")[2] or 1)) for word in options.batches.split(",")
    ):
        prepared, seeds = [item[0] for item in ready[:batch]], [item[1] for item in ready[:batch]]
        wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
        plain = measure_speed(lambda: policy.plain(prepared, seeds=seeds), batch, wait)  # noqa: B023 - called at once
        if device == "cuda":
            replayed = measure_speed(record_plain_graph(policy, prepared, seeds), batch, wait)
            print(f"batch {batch:>2}: plain {plain:.2f} frames a second, as a graph {replayed:.2f}", flush=True)
            if options.graphs:
                plain = replayed
        total = max(2 * batch, int(plain * options.seconds * share) // batch * batch)
        each = -(-min(options.each, total) // batch) * batch
        for where in (work,):
            jobs = [
                Job(where / f"{batch}_{number}.h5", RandomEpisode(f"episode_{number}", number, each, height, width))
                for number in range(-(-total // each))
            ]
            beside = time.process_time() - time.thread_time()
            with simulated_gpu(plan.sizes) if options.stand_in else contextlib.nullcontext() as times:
                outcome = capture.pipeline.runner.run_jobs(setup(batch), jobs, SilentProgress())
            beside = (time.process_time() - time.thread_time() - beside) / max(1, outcome.frames)
            bad = [written.failure for written in outcome.files if written.failure]
            speed = outcome.frames / outcome.seconds
            size = sum(job.path.stat().st_size for job in jobs if job.path.exists())
            print(
                f"batch {batch:>2}: plain {plain:.2f} frames a second, recorded and written to {str(where)[:8]} {speed:.2f}: "
                f"{speed / plain:.1%}; busy {outcome.busy_seconds / outcome.seconds:.1%}, waited for pictures "
                f"{outcome.waits[0] / outcome.seconds:.1%}, for the writer {outcome.waits[1] / outcome.seconds:.1%}; "
                f"beside the calls {beside * 1e3:.2f} ms a frame{describe_waits(times, outcome)}; "
                f"{outcome.frames} frames in {outcome.seconds:.1f} s, {size / 1e9:.1f} GB {bad[:1] if bad else ''}",
                flush=True,
            )
            for job in jobs:
                job.path.unlink(missing_ok=True)
        once_more = measure_speed(lambda: policy.plain(prepared, seeds=seeds), batch, wait)  # noqa: B023 - likewise
        print(f"batch {batch:>2}: plain once more {once_more:.2f}", flush=True)
    if device == "cuda":
        print(f"GPU memory at most {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
