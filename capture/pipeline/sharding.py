"""Which part of the episodes is this process's: torchrun, srun and SLURM arrays start the same command many times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from capture.errors import UserError

Thing = TypeVar("Thing")

_PATIENCE: Final = timedelta(days=30)
"""How long a process waits at the end for those that have more to do."""

_TASKS: Final = "SLURM_STEP_NUM_TASKS"
"""What srun says of the tasks that it started; SLURM_NTASKS is also set in a batch script, which runs once."""


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 0) of `count`."""

    number: int = 0
    count: int = 1
    said_by: str = ""
    """Who said so; empty where nobody did and this process does it all."""
    local: int | None = None
    """Number of the process on its machine, for the choice of a GPU."""
    ranks: int = 1
    """Processes that torchrun started together: they wait for one another at the end, or it would end those at work."""

    def of(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """The things of this process: every `count`-th, so that long and short stretches are dealt out evenly."""
        return things[self.number :: self.count]

    @property
    def first(self) -> bool:
        """Whether this process speaks for those that were started with it."""
        return self.ranks == 1 or self.number % self.ranks == 0


def resolve_shard(environment: Mapping[str, str], given: str | None = None) -> Shard:
    """The share of this process: what `--share 3/8` says (counted from 1), else torchrun's and SLURM's variables.

    A SLURM array of torchruns, or of jobs that call srun, is dealt out over both. Raises UserError where the variables
    do not make sense.
    """
    rank, ranks = _number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1)
    local = _number(environment, "LOCAL_RANK", 0) if "LOCAL_RANK" in environment else None
    if given is None and "WORLD_SIZE" not in environment and (tasks := _number(environment, _TASKS, 1)) > 1:
        return _of_srun(environment, tasks)
    if given is not None:
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", given)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--share {given} is no share; give a part and how many there are, such as 3/8")
        part, parts, said_by = int(found[1]) - 1, int(found[2]), "--share"
    else:
        part, parts, said_by = *_array(environment), "the SLURM array"
        said_by = said_by if parts > 1 else ""
    if not 0 <= rank < ranks:
        raise UserError(f"RANK is {rank} and WORLD_SIZE is {ranks}; start the processes with torchrun")
    if ranks > 1 and "MASTER_ADDR" not in environment:
        raise UserError(
            f"WORLD_SIZE is {ranks}, but MASTER_ADDR does not say where the processes meet; start them with torchrun"
        )
    if ranks > 1:
        said_by = f"torchrun and {said_by}" if said_by else "torchrun"
    return Shard(part * ranks + rank, parts * ranks, said_by, local, ranks)


def _of_srun(environment: Mapping[str, str], tasks: int) -> Shard:
    """The share of one of the tasks of a job step; such tasks do not know each other, and each speaks for itself."""
    task, (part, parts) = _number(environment, "SLURM_PROCID", 0), _array(environment)
    if not 0 <= task < tasks:
        raise UserError(f"SLURM_PROCID is {task} and {_TASKS} is {tasks}; start the processes with srun")
    said_by = "srun and the SLURM array" if parts > 1 else "srun"
    # With GPUs dealt out to tasks, each sees its own one as the first.
    own = environment.get("SLURM_GPUS_PER_TASK") or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
    local = _number(environment, "SLURM_LOCALID", 0) if not own and "SLURM_LOCALID" in environment else None
    return Shard(part * tasks + task, parts * tasks, said_by, local)


def _array(environment: Mapping[str, str]) -> tuple[int, int]:
    """Part and number of parts that a SLURM array says."""
    count = _number(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    if count <= 1:
        return 0, 1
    number, lowest, highest, step = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", 0), ("MIN", 0), ("MAX", count - 1), ("STEP", 1))
    )
    part, rest = divmod(number - lowest, max(step, 1))
    if rest or not 0 <= part < count or (highest - lowest) // max(step, 1) + 1 != count:
        raise UserError(
            f"this is task {number} of a SLURM array of {count} with gaps, which does not say whose episodes are "
            "whose; number the array without gaps, or say --share 1/1 in each task together with --episodes"
        )
    return part, count


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise UserError(f"the environment variable {name} is {text[:30]!r}, which is no number; unset it")
    return int(text)


def gather_from_ranks(share: Shard, mine: Thing) -> list[Thing]:
    """What every process that torchrun started together has to say, in order; waits for all of them."""
    if share.ranks == 1:
        return [mine]
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_PATIENCE)
    said: list[Any] = [None] * share.ranks
    distributed.all_gather_object(said, mine)
    distributed.barrier()
    distributed.destroy_process_group()
    return said
