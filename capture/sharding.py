"""Shard the episodes of a run over processes: torchrun, srun and SLURM arrays start the same command many times.

The viewer's exports are sharded by it too: it needs the standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from capture.errors import UserError

T = TypeVar("T")

_TASKS: Final = "SLURM_STEP_NUM_TASKS"
"""Set by srun for the tasks that it starts. SLURM_NTASKS is also set in a batch script, which runs once."""


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 0) of `count`."""

    number: int = 0
    count: int = 1
    origin: str = ""
    """Where the shard comes from; empty if this process does everything."""
    local: int | None = None
    """Number of the process on its machine, which chooses its GPU."""
    ranks: int = 1
    """Processes that torchrun started together; they wait for each other, since torchrun ends all with the first."""

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return every `count`-th item, so that long and short episodes in a row are spread evenly."""
        return items[self.number :: self.count]

    @property
    def first(self) -> bool:
        """Whether this process reports for those that were started with it."""
        return self.ranks == 1 or self.number % self.ranks == 0


def resolve_shard(environment: Mapping[str, str], argument: str | None = None, *, has_to_gather: bool = True) -> Shard:
    """Return the shard of this process: `--share 3/8` (counted from 1), else from torchrun's and SLURM's variables.

    In a SLURM array of torchruns, or of jobs that call srun, both levels are sharded. With `has_to_gather`, torchrun's
    processes have to know where they meet at the end.

    Raises:
        UserError: The argument is no share, or the variables contradict each other.
    """
    rank, ranks = _read_integer(environment, "RANK", 0), _read_integer(environment, "WORLD_SIZE", 1)
    local = _read_integer(environment, "LOCAL_RANK", 0) if "LOCAL_RANK" in environment else None
    if argument is None and "WORLD_SIZE" not in environment and (tasks := _read_integer(environment, _TASKS, 1)) > 1:
        return _resolve_srun_task(environment, tasks)
    if argument is not None:
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", argument)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--share {argument} is no share; give a part and how many there are, such as 3/8")
        part, parts, origin = int(match[1]) - 1, int(match[2]), "--share"
    else:
        part, parts, origin = *_read_slurm_array(environment), "the SLURM array"
        origin = origin if parts > 1 else ""
    if not 0 <= rank < ranks:
        raise UserError(f"RANK is {rank} and WORLD_SIZE is {ranks}; start the processes with torchrun")
    if has_to_gather and ranks > 1 and "MASTER_ADDR" not in environment:
        raise UserError(
            f"WORLD_SIZE is {ranks}, but MASTER_ADDR does not say where the processes meet; start them with torchrun"
        )
    if ranks > 1:
        origin = f"torchrun and {origin}" if origin else "torchrun"
    return Shard(part * ranks + rank, parts * ranks, origin, local, ranks)


def _resolve_srun_task(environment: Mapping[str, str], tasks: int) -> Shard:
    """Return the shard of a task of a job step. Such tasks cannot communicate, and each reports for itself."""
    task, (part, parts) = _read_integer(environment, "SLURM_PROCID", 0), _read_slurm_array(environment)
    if not 0 <= task < tasks:
        raise UserError(f"SLURM_PROCID is {task} and {_TASKS} is {tasks}; start the processes with srun")
    origin = "srun and the SLURM array" if parts > 1 else "srun"
    # If SLURM assigns GPUs to tasks, each task sees its own as the first.
    has_own_gpu = environment.get("SLURM_GPUS_PER_TASK") or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
    local = (
        _read_integer(environment, "SLURM_LOCALID", 0) if not has_own_gpu and "SLURM_LOCALID" in environment else None
    )
    return Shard(part * tasks + task, parts * tasks, origin, local)


def _read_slurm_array(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return part and number of parts of a SLURM array."""
    count = _read_integer(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    if count <= 1:
        return 0, 1
    number, lowest, step = (
        _read_integer(environment, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", 0), ("MIN", 0), ("STEP", 1))
    )
    highest = _read_integer(environment, "SLURM_ARRAY_TASK_MAX", lowest + (count - 1) * max(step, 1))
    part, remainder = divmod(number - lowest, max(step, 1))
    if remainder or not 0 <= part < count or (highest - lowest) // max(step, 1) + 1 != count:
        raise UserError(
            f"this is task {number} of a SLURM array of {count} with gaps, which does not say whose episodes are "
            "whose; number the array without gaps, or say --share 1/1 in each task together with --episodes"
        )
    return part, count


def _read_integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise UserError(f"the environment variable {name} is {text[:30]!r}, which is no number; unset it")
    return int(text)
