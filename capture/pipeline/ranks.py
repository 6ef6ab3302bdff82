"""What the processes that torchrun started together tell each other at the end of a run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from capture.sharding import Shard

T = TypeVar("T")

_GATHER_TIMEOUT: Final = timedelta(days=30)
"""How long a process waits at the end for processes that are still running."""


def gather_from_ranks(share: Shard, value: T) -> list[T]:
    """Gather a value from every process that torchrun started together, in rank order; waits for all of them."""
    if share.ranks == 1:
        return [value]
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_GATHER_TIMEOUT)
    gathered: list[Any] = [None] * share.ranks
    distributed.all_gather_object(gathered, value)
    distributed.barrier()
    distributed.destroy_process_group()
    return gathered
