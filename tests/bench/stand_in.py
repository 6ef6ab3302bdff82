"""What stands in for a GPU where there is none: calls that keep Python as busy, and results of the same size.

A call on a GPU is about 23,000 small operations that Python asks for one by one. Here they are additions of small
tensors, which give Python's lock away and take it back each time, as the real ones do. Nothing is computed from the
pictures, and results hold whatever is in memory: what this shows is what reading, delivering and writing take from the
calls, not what recording costs the device.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import capture.checkpoints.policy_spec
import capture.pipeline.policy_calls
import capture.pipeline.runner
from capture.pipeline.frame_builder import MASKED_WEIGHT, ROW_SUM, Kept
from capture.pipeline.shared_memory import SharedBuffer
from capture.policies.base import RecordedCall
from capture.policies.pi05.policy import Pi05Policy
from capture.results import schema
from capture.results.dataset_layout import list_datasets

OPERATIONS = 23_000
NUMBERS = 1 << 17
"""In a tensor that is added to, so that a call takes 0.3 s or so, as on an H100."""
LARGE = 1 << 20
TYPES = {"weight": torch.bfloat16, "f4": torch.float32, "i4": torch.int32}
KNOWN = ("frames/", "images/", "text/id", "text/piece", "text/start", "text/stop", "text/role", "text/word")
ELSEWHERE = (*KNOWN, "text/state_index", "action/predicted", "action/truth")
"""Datasets that do not come from the call's tensors."""


def read_core_times() -> tuple[float, float]:
    """Seconds that this thread has run, and that it waited for a core (Linux)."""
    ran, queued, _ = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()
    return int(ran) / 1e9, int(queued) / 1e9


class Addition(nn.Module):
    def forward(self, numbers: Tensor) -> Tensor:
        return numbers.add_(1)


class StandInPolicy(Pi05Policy):
    """A policy that computes nothing."""

    def recorder(self, **_: Any) -> Any:
        return contextlib.nullcontext()

    def plain(self, prepared: Any, *, seeds: Any, after_step: Any = None) -> Any:
        numbers, addition = torch.zeros(NUMBERS), Addition()
        for _ in range(OPERATIONS):
            addition(numbers)

    def run(
        self, prepared: Any, recorder: Any, *, seeds: Any, full: bool = False, after_step: Any = None
    ) -> RecordedCall:
        self.plain(prepared, seeds=seeds)
        path = torch.zeros(11, len(prepared), 15, 32)
        unknown: Any = None
        return RecordedCall(tuple(prepared), tuple(seeds), self.to_robot, unknown, unknown, unknown, path, unknown)


@dataclass
class CallTimes:
    """Seconds that the calling thread spent in calls and waited."""

    waited: float = 0.0
    """Seconds in which it neither ran nor waited for a core, for pictures or for writers: for Python's lock, that is."""


@contextlib.contextmanager
def simulated_gpu(sizes: schema.Sizes) -> Iterator[CallTimes]:
    """Make runs on the CPU use the code path of a GPU, with results of these sizes."""
    times, call_all = CallTimes(), capture.pipeline.runner._Run._call_all
    calls = capture.pipeline.policy_calls

    def watched(run: Any, *given: Any) -> None:
        start, (ran, queued) = time.perf_counter(), read_core_times()
        try:
            call_all(run, *given)
        finally:
            wall, now = time.perf_counter() - start, read_core_times()
            times.waited = (
                wall
                - (now[0] - ran)
                - (now[1] - queued)
                - run.outcome.reader_wait_seconds
                - run.outcome.writer_wait_seconds
            )

    def gather(call: RecordedCall, keep: Kept) -> dict[str, Tensor]:
        batch = len(call.prepared)
        found = {
            dataset.name: torch.empty(batch, *dataset.shape[1:], dtype=TYPES[dataset.kind])
            for dataset in list_datasets(sizes)
            if not dataset.name.startswith(ELSEWHERE)
        }
        return found | {
            ROW_SUM: torch.zeros(batch),
            MASKED_WEIGHT: torch.zeros(batch),
            schema.ACTION_X: torch.zeros(batch, 11, 15, 32),
        }

    def copy(run: Any, found: dict[str, Tensor], slot: SharedBuffer) -> tuple[dict[str, Tensor], None]:
        host = {name: slot.like(value) for name, value in found.items()}
        for name, value in host.items():
            if value.nbytes < LARGE:  # what is large a GPU brings by itself
                value.copy_(found[name])
        return host, None

    patched = {"compute_datasets": gather, "uses_workers": lambda options: True}
    modules = {"compute_datasets": calls, "uses_workers": capture.pipeline.runner}
    originals = {name: getattr(module, name) for name, module in modules.items()}
    copy_to_host = calls.PolicyCalls.copy
    for name, value in patched.items():
        setattr(modules[name], name, value)
    capture.checkpoints.policy_spec.Pi05Policy = StandInPolicy
    calls.PolicyCalls.copy, capture.pipeline.runner._Run._call_all = copy, watched
    try:
        yield times
    finally:
        capture.checkpoints.policy_spec.Pi05Policy = Pi05Policy
        capture.pipeline.runner._Run._call_all = call_all
        calls.PolicyCalls.copy = copy_to_host
        for name, value in originals.items():
            setattr(modules[name], name, value)
