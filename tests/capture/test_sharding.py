"""Sharding of episodes under torchrun, SLURM arrays and `--share`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import UserError
from capture.pipeline.ranks import gather_from_ranks
from capture.sharding import resolve_shard


def slurm_array_variables(number: int, count: int, lowest: int = 0, step: int = 1) -> dict[str, str]:
    names = {"COUNT": count, "ID": number, "MIN": lowest, "MAX": lowest + step * (count - 1), "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


def torchrun_variables(rank: int, world: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank % 8), "MASTER_ADDR": "localhost"}


def srun_variables(task: int, count: int, **more: str) -> dict[str, str]:
    """What srun tells each task; SLURM_NTASKS is also there in a batch script."""
    variables = {"PROCID": task, "LOCALID": task % 4, "NTASKS": count, "STEP_NUM_TASKS": count}
    return {f"SLURM_{name}": str(value) for name, value in variables.items()} | more


def test_process_without_shard_gets_everything() -> None:
    share = resolve_shard({})
    assert (share.number, share.count, share.origin, share.first) == (0, 1, "", True)
    assert list(share.of(range(5))) == [0, 1, 2, 3, 4]
    assert gather_from_ranks(share, "mine") == ["mine"]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 40))
def test_every_item_is_in_exactly_one_shard(parts: int, world: int, count: int) -> None:
    shares = [
        resolve_shard({**slurm_array_variables(5 + 2 * part, parts, 5, 2), **torchrun_variables(rank, world)})
        for part in range(parts)
        for rank in range(world)
    ]
    dealt = sorted(item for share in shares for item in share.of(range(count)))
    assert dealt == list(range(count))
    sizes = [len(share.of(range(count))) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sum(share.first for share in shares) == parts


def test_shard_origin_and_local_rank() -> None:
    share = resolve_shard(torchrun_variables(3, 8))
    assert (share.number, share.count, share.origin, share.local, share.ranks) == (3, 8, "torchrun", 3, 8)
    assert resolve_shard(slurm_array_variables(2, 4)).origin == "the SLURM array"
    assert (
        resolve_shard({**slurm_array_variables(2, 4), **torchrun_variables(1, 2)}).origin
        == "torchrun and the SLURM array"
    )
    chosen = resolve_shard(slurm_array_variables(2, 4), "3/8")
    assert (chosen.number, chosen.count, chosen.origin) == (2, 8, "--share")
    assert resolve_shard(slurm_array_variables(2, 4), "1/1").count == 1


@given(st.integers(1, 4), st.integers(2, 5), st.integers(0, 40))
def test_srun_tasks_are_sharded_and_report_separately(parts: int, count: int, items: int) -> None:
    shares = [
        resolve_shard({**slurm_array_variables(part, parts), **srun_variables(task, count)})
        for part in range(parts)
        for task in range(count)
    ]
    assert sorted(item for share in shares for item in share.of(range(items))) == list(range(items))
    assert all(share.first and share.ranks == 1 for share in shares)
    assert shares[0].origin == ("srun" if parts == 1 else "srun and the SLURM array")
    assert [gather_from_ranks(share, share.number) for share in shares] == [[number] for number in range(parts * count)]


def test_srun_variables_count_only_for_tasks_of_srun() -> None:
    assert resolve_shard({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}).count == 1  # a batch script, which runs once
    assert resolve_shard(srun_variables(0, 1)).origin == ""
    assert (
        resolve_shard({**srun_variables(1, 2), **torchrun_variables(5, 16)}).origin == "torchrun"
    )  # a torchrun on each of two machines
    assert resolve_shard(srun_variables(3, 8), "2/3").number == 1
    assert resolve_shard(srun_variables(5, 8)).local == 1
    assert resolve_shard(srun_variables(5, 8, SLURM_GPUS_PER_TASK="1")).local is None
    assert resolve_shard(srun_variables(5, 8, SLURM_TRES_PER_TASK="gres/gpu:1")).local is None


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", ""])
def test_invalid_share_options_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no share"):
        resolve_shard({}, text)


@pytest.mark.parametrize(
    "environment",
    [
        {**slurm_array_variables(7, 2, 3), "SLURM_ARRAY_TASK_MAX": "7"},  # --array=3,7
        {"SLURM_ARRAY_TASK_COUNT": "many"},
        {"RANK": "8", "WORLD_SIZE": "8"},
        {"RANK": "-1", "WORLD_SIZE": "8"},
        {"RANK": "1", "WORLD_SIZE": "8"},  # and no MASTER_ADDR: found at the end, it would be found too late
        {"SLURM_PROCID": "8", "SLURM_STEP_NUM_TASKS": "8"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2(x3)"},
    ],
)
def test_contradictory_variables_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UserError):
        resolve_shard(environment)


def test_processes_that_do_not_gather_need_no_meeting_point() -> None:
    share = resolve_shard({"RANK": "1", "WORLD_SIZE": "2"}, has_to_gather=False)
    assert list(share.of(range(6))) == [1, 3, 5]


def test_array_without_its_highest_task_counts_from_its_lowest() -> None:
    environment = slurm_array_variables(7, 2, lowest=6)
    del environment["SLURM_ARRAY_TASK_MAX"]
    assert list(resolve_shard(environment).of(range(6))) == [1, 3, 5]
