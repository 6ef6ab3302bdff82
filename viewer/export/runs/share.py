"""Which episodes of a run this process exports: --share, torchrun, srun and SLURM arrays, as for captures. No Qt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from viewer.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Part `number`, from 0, of `count`."""

    number: int = 0
    count: int = 1

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return every `count`-th item, so that long and short episodes in a row are spread evenly."""
        return items[self.number :: self.count]


def resolve_share(environment: Mapping[str, str], argument: str = "") -> Share:
    """Return the share of this process: `3/8`, counted from 1, else from torchrun's and SLURM's variables.

    In a SLURM array of torchruns, or of jobs that call srun, both levels are shared out.

    Raises:
        UserError: The argument or the variables cannot be.
    """
    if argument:
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", argument)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--share {argument} is no share; give a part and how many there are, such as 3/8.")
        part, parts = int(match[1]) - 1, int(match[2])
    else:
        part, parts = _array_part(environment)
    number, count = 0, 1
    if "WORLD_SIZE" in environment:
        number, count = _read(environment, "RANK", 0), _read(environment, "WORLD_SIZE", 1)
    elif not argument and (tasks := _read(environment, "SLURM_STEP_NUM_TASKS", 1)) > 1:
        number, count = _read(environment, "SLURM_PROCID", 0), tasks
    if not 0 <= number < count:
        raise UserError(
            f"This process is number {number} of {count}, which cannot be; start them with torchrun or srun."
        )
    return Share(part * count + number, parts * count)


def _array_part(environment: Mapping[str, str]) -> tuple[int, int]:
    count = _read(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    if count <= 1:
        return 0, 1
    lowest, step = _read(environment, "SLURM_ARRAY_TASK_MIN", 0), max(_read(environment, "SLURM_ARRAY_TASK_STEP", 1), 1)
    part, rest = divmod(_read(environment, "SLURM_ARRAY_TASK_ID", 0) - lowest, step)
    highest = _read(environment, "SLURM_ARRAY_TASK_MAX", lowest + (count - 1) * step)
    if rest or not 0 <= part < count or (highest - lowest) // step + 1 != count:
        raise UserError(
            "This SLURM array has gaps, so whose episodes are whose is not known; add --share 1/1 and so on."
        )
    return part, count


def _read(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise UserError(f"The environment variable {name} is {text[:30]!r}, which is no number; unset it.")
    return int(text)
