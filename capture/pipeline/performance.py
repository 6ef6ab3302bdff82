"""The calls that feed a GPU come first in this process; all else gives way while they are made."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

import torch

from capture.policies.process_settings import SharedContext

SWITCH_SECONDS: Final = 5e-4
"""How long another thread may keep Python's lock while calls wait for it; a tenth of what is usual.

A call gives the lock away thousands of times. For a second that another thread works, in stretches of 5 ms, calls then
wait for 0.3 seconds instead of 0.75.
"""


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Makes it this thread's current device. That of a new thread is the first GPU, even where another one is used, and
    whatever CUDA is asked for then may take memory there.
    """
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def prioritise_gpu_calls(device: torch.device, *, beside: bool) -> Iterator[None]:
    """Let calls on `device` come first for as long as this lasts, in this thread and those begun meanwhile.

    `beside`: whether other processes read and write, so that Python is needed for little but the calls.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(current_device(device))
        if device.type == "cuda":
            stack.enter_context(_one_thread())
        if beside:
            stack.enter_context(_lock_for_calls)
        yield


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Little is computed on the host then, and torch's threads, which wait for more of it, keep their cores busy."""
    with _threads as usual:
        torch.set_num_threads(1)  # of this thread, and of those that will first compute something from now on
        try:
            yield
        finally:
            torch.set_num_threads(usual)


@contextlib.contextmanager
def _usual_threads() -> Iterator[int]:
    yield torch.get_num_threads()


@contextlib.contextmanager
def _python_for_calls() -> Iterator[None]:
    interval = sys.getswitchinterval()
    gc.freeze()  # what is there stays: looking it through again and again would hold up the calls
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


_threads: Final = SharedContext(_usual_threads)
"""As many as there were before the first of several runs."""
_lock_for_calls: Final = SharedContext(_python_for_calls)
