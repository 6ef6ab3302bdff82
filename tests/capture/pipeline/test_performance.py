"""Process settings during calls are restored on every exit, by the last of several runs."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading

import pytest
import torch

from capture.pipeline.performance import SWITCH_SECONDS, prioritise_gpu_calls
from capture.policies.process_settings import exact_float32

GPU = torch.device("cuda", 1)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch):
    """A machine with GPUs on which torch uses three threads; what is set now."""
    current: list[torch.device] = []

    @contextlib.contextmanager
    def device(name):
        current.append(name)
        try:
            yield
        finally:
            current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("high")
    yield lambda: (torch.get_num_threads(), gc.get_freeze_count() > 0, sys.getswitchinterval(), list(current))
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def test_process_settings_are_restored_after_success_and_error(settings) -> None:
    usual = settings()
    assert usual == (3, False, usual[2], [])
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error), prioritise_gpu_calls(GPU, has_workers=True):
            assert settings() == (1, True, pytest.approx(SWITCH_SECONDS), [GPU])
            raise error
        assert settings() == usual


def test_only_required_settings_are_changed(settings) -> None:
    usual = settings()
    with prioritise_gpu_calls(torch.device("cpu"), has_workers=False):
        assert settings() == usual
    with prioritise_gpu_calls(torch.device("cpu"), has_workers=True):
        assert settings() == (3, True, pytest.approx(SWITCH_SECONDS), [])
    with prioritise_gpu_calls(GPU, has_workers=False):
        assert settings() == (1, False, usual[2], [GPU])


def test_last_of_two_concurrent_runs_restores_the_settings(settings) -> None:
    usual = settings()
    begun, ended, observed = threading.Event(), threading.Event(), []

    def other() -> None:
        with prioritise_gpu_calls(GPU, has_workers=True), exact_float32():
            begun.set()
            ended.wait(60)
            observed.append((gc.get_freeze_count() > 0, torch.get_float32_matmul_precision()))
        observed.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with prioritise_gpu_calls(GPU, has_workers=True), exact_float32():
        thread.start()
        assert begun.wait(60)
    ended.set()
    thread.join()
    assert observed == [(True, "highest"), 3]
    assert settings() == usual
    assert torch.get_float32_matmul_precision() == "high"
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]
