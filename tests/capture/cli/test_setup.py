"""Which device a run is given."""

from __future__ import annotations

import pytest
import torch

from capture.cli.setup import choose_device
from capture.errors import UserError
from capture.sharding import resolve_shard

EIGHT = {"RANK": "11", "WORLD_SIZE": "16", "LOCAL_RANK": "3", "MASTER_ADDR": "localhost"}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine with eight GPUs, and which of them were made the current one; torch checks what it is asked."""
    current: list[int] = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, device: empty(*size))  # nothing is put there
    for name, value in (("is_available", True), ("device_count", 8), ("current_device", 0)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", current.append, raising=False)
    return current


@pytest.mark.parametrize(
    ("name", "environment", "number"),
    [(None, {}, 0), ("cuda", {}, 0), ("cuda:5", {}, 5), (None, EIGHT, 3), ("cuda", EIGHT, 3), ("cuda:5", EIGHT, 5)],
)
def test_numbered_gpu_becomes_current_device(
    gpus: list[int], name: str | None, environment: dict[str, str], number: int
) -> None:
    assert choose_device(name, resolve_shard(environment).local) == torch.device("cuda", number)
    assert gpus == [number]


def test_cpu_is_used_when_requested(gpus: list[int]) -> None:
    assert choose_device("cpu", resolve_shard({}).local) == torch.device("cpu")
    assert not gpus


def test_more_processes_than_gpus_are_refused(gpus: list[int]) -> None:
    share = resolve_shard(EIGHT | {"LOCAL_RANK": "8"})
    with pytest.raises(UserError, match=r"process 8 of this machine has no GPU of its own: there are 8"):
        choose_device(None, share.local)
