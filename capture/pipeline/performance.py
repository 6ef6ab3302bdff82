"""Reduce contention for the GIL and CPU cores while GPU kernels are launched, and explain lack of device memory."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

import torch

from capture.errors import UserError
from capture.policies.process_settings import SharedContext

SWITCH_SECONDS: Final = 5e-4
"""Longest time that a thread may hold the GIL while the launching thread waits for it; Python's default is 5 ms.

A call releases the GIL thousands of times. Measured per second that another thread runs: launches wait 0.3 s with this
value, 0.75 s with the default.
"""


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Return a context manager that makes `device` the thread's current CUDA device; it does nothing for a CPU.

    A new thread starts with the first GPU as its current device, and CUDA calls may then allocate memory there.
    """
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def explain_out_of_memory(frames: int) -> Iterator[None]:
    """Turn an out-of-memory error of a call of `frames` frames into a UserError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"the device has no room to run {frames} frame{'s' * (frames != 1)} at once; "
            + ("give a smaller --batch" if frames > 1 else "free its memory, or give another --device")
        ) from None


@contextlib.contextmanager
def prioritise_gpu_calls(device: torch.device, *, has_workers: bool) -> Iterator[None]:
    """Reduce contention during calls on `device`, in this thread and in threads started within the block.

    `has_workers`: whether other processes read and write, so that this process runs little Python but the calls.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(current_device(device))
        if device.type == "cuda":
            stack.enter_context(_one_thread())
        if has_workers:
            stack.enter_context(_short_intervals)
        yield


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch's CPU work in one thread: there is little of it, and idle OpenMP threads spin on their cores."""
    with _threads as usual:
        torch.set_num_threads(1)  # holds for this thread and for threads that use torch for the first time from here on
        try:
            yield
        finally:
            torch.set_num_threads(usual)


@contextlib.contextmanager
def _thread_count() -> Iterator[int]:
    yield torch.get_num_threads()


@contextlib.contextmanager
def _short_switch_interval() -> Iterator[None]:
    interval = sys.getswitchinterval()
    gc.freeze()  # objects that exist now stay alive; scanning them in every collection would delay launches
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


_threads: Final = SharedContext(_thread_count)
"""Gives the number of threads before the first of several concurrent runs."""
_short_intervals: Final = SharedContext(_short_switch_interval)
