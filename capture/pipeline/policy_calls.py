"""Calls of a policy on batches of frames, recorded, and the copies of their results to the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.pipeline.collector import QueuedFrame, kept_of
from capture.pipeline.cuda_graphs import GraphReplayer, cuda_graph_factory
from capture.pipeline.frame_builder import compute_datasets
from capture.pipeline.planning.setup import Setup
from capture.pipeline.shared_memory import SharedBuffer
from capture.pipeline.types import Progress, RunOutcome
from capture.policies.base import CallRequest, Policy, Prepared, RecordedCall


class PolicyCalls:
    """Makes the calls of one run; times them, and compares them with unrecorded calls where `--check` asks for it.

    `settle` waits until nothing of earlier calls is left to be written.
    """

    def __init__(
        self,
        setup: Setup,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        progress: Progress,
        outcome: RunOutcome,
        settle: Callable[[], None],
    ) -> None:
        self._options, self._policy, self._recorder = setup.options, policy, recorder
        self._progress, self.outcome, self._settle = progress, outcome, settle
        self._cuda = setup.options.device.type == "cuda"
        self._replayer = self._make_replayer()
        self._copy_stream: Any = None
        self.start_event: torch.cuda.Event | None = None
        """Recorded on the device when the latest call began."""
        self.frames_run = 0

    def _make_replayer(self) -> GraphReplayer | None:
        options = self._options
        if not options.replayed:
            return None
        graph = cuda_graph_factory(options.device)
        return GraphReplayer(
            self._policy, self._recorder, full=options.full, keep=options.kept, graph=graph, log=self._progress.log
        )

    def run(
        self, batch: tuple[QueuedFrame, ...], *, keeps_call: bool
    ) -> tuple[CallRequest, dict[str, Tensor] | RecordedCall]:
        """Run one call. Return its request and its datasets on the device, or with `keeps_call` on a CPU the call."""
        options = self._options
        prepared, seeds = [item.prepared for item in batch], [item.seed for item in batch]
        plain = self._run_plain(prepared, seeds) if options.check else None
        start = time.perf_counter()
        steps, frames_before = self._policy.sizes.denoise_steps, self.frames_run

        def after_step(step: int) -> None:
            self._progress.step(frames_before + len(batch) * (step + 1) / steps)

        if self._replayer is not None:
            request, results = self._replayer.run(prepared, seeds=seeds, begin=self._begin, after_step=after_step)
            self.frames_run += len(batch)
            self._progress.step(self.frames_run)  # a replay reports no steps
            return request, results
        self._begin()
        with self._recorder:
            call = self._policy.run(prepared, self._recorder, seeds=seeds, full=options.full, after_step=after_step)
        self.frames_run += len(batch)
        if plain is not None:
            self._wait_for_device()
            self.outcome.recorded_seconds.append(time.perf_counter() - start)
            differences = (plain - call.path[-1]).abs().flatten(1).amax(1).tolist()  # (B,)
            for item, difference in zip(batch, differences, strict=True):
                written = item.file.outcome
                written.action_difference = float(np.maximum(written.action_difference or 0.0, difference))
        if not self._cuda:
            self.outcome.busy_seconds += time.perf_counter() - start
        if keeps_call and not self._cuda:
            return call, call
        # The call's other tensors are freed now and do not wait for the disk.
        return CallRequest(call.prepared, call.seeds, call.to_robot), compute_datasets(
            call, kept_of(batch, options.kept)
        )

    def copy(
        self, results: dict[str, Tensor], buffer: SharedBuffer | None
    ) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
        """Copy to the host; from a GPU on a separate stream, complete when the returned event is reached."""
        device = self._options.device
        if not self._cuda:
            return {
                name: buffer.like(value).copy_(value) for name, value in results.items()
            } if buffer else results, None
        if self._copy_stream is None:
            self._copy_stream = torch.cuda.Stream(device)
        self._copy_stream.wait_stream(torch.cuda.current_stream(device))
        host = {}
        with torch.cuda.stream(self._copy_stream):
            for name, value in results.items():
                size = (
                    torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                    if buffer is None
                    else buffer.like(value)
                )
                host[name] = size.copy_(value, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(self._copy_stream)
        return host, copied

    def _run_plain(self, prepared: list[Prepared], seeds: list[int]) -> Tensor:
        """Time an unrecorded call while nothing else runs, and return its actions (B, H, A)."""
        if not self.outcome.plain_seconds:
            self._policy.plain(prepared, seeds=seeds)  # warm up: the first call is slower
        self._settle()
        self._wait_for_device()
        start = time.perf_counter()
        actions = self._policy.plain(prepared, seeds=seeds).actions
        self._wait_for_device()
        self.outcome.plain_seconds.append(time.perf_counter() - start)
        return actions

    def _wait_for_device(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._options.device)

    def _begin(self) -> None:
        """Record on the device that a call begins."""
        self.start_event = self.mark()

    def mark(self) -> torch.cuda.Event | None:
        """Record an event on the device now; None on a CPU."""
        if not self._cuda:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._options.device))
        return event
