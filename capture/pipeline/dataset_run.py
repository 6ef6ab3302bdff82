"""A run over the episodes of a data set: one results file each, in one folder with an index."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.datasets.base import Episode, Source, UnusableEpisode
from capture.errors import UserError
from capture.pipeline.plan import GENERATOR, RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.sharding import Shard
from capture.pipeline.types import Job, Progress, RunOutcome
from capture.results import run_index


@dataclass(frozen=True)
class DatasetRun:
    """The episodes of a data set that a run is about, and the folder for their results."""

    setup: Setup
    source: Source
    folder: Path
    episodes: tuple[Episode, ...]
    """Those that were chosen, in the source's order."""
    broken: Mapping[str, UnusableEpisode]
    """Those that were chosen and cannot be used, by name."""

    @property
    def run(self) -> dict[str, Any]:
        """What defines the run, as the index keeps it."""
        options = self.setup.options
        spelt = {
            **self.setup.run,
            "selection": options.frames.text,
            "prompts": _prompts_sum(options),
            "dataset": self.source.path.resolve().name,
        }
        told: dict[str, Any] = json.loads(json.dumps(spelt))
        return told

    def path(self, episode: Episode) -> Path:
        """Results file of an episode."""
        return self.folder / f"{episode.name}.h5"

    def jobs(self, share: Shard) -> list[Job]:
        """What this process has to do."""
        return [Job(self.path(episode), episode) for episode in share.of(self.episodes)]

    @property
    def head(self) -> dict[str, Any]:
        """What the index says of the whole run."""
        policy = self.setup.policy
        return {
            "generator": GENERATOR,
            "source": {"kind": self.source.kind, "name": self.source.path.resolve().name},
            "model": {"name": policy.name, "config_hash": policy.config_hash},
            "run": self.run,
        }

    @property
    def entries(self) -> list[run_index.Entry]:
        """What the index says of each episode, before any of them is run: the same in every process."""
        found = [self._entry(episode) for episode in self.episodes]
        for name, broken in self.broken.items():
            found.append(
                {
                    "file": f"{name}.h5",
                    "name": name,
                    "number": broken.number,
                    "failed": broken.reason,
                    "prompts": [],
                    "frames": 0,
                    "rate": None,
                    "success": None,
                }
            )
        return found

    def _entry(self, episode: Episode) -> run_index.Entry:
        entry: run_index.Entry = {"file": self.path(episode).name, "name": episode.name, "number": episode.number}
        entry |= {"prompts": [], "frames": 0, "rate": None, "success": None}
        try:
            entry |= {"rate": episode.rate, "success": episode.success}
            prompts, frames = count_frames(episode, self.setup)
        except UserError as error:
            return {**entry, "failed": str(error)}
        return {**entry, "prompts": prompts, "frames": frames}


def count_frames(episode: Episode, setup: Setup) -> tuple[list[str], int]:
    """The prompts that an episode is run with, and how many frames that makes. Raises UserError for bad data."""
    options = setup.options
    moments = options.frames.choose(episode.length, setup.policy.sizes.horizon)
    tasks = episode.prompts
    if len(tasks) > 1 and options.prompts.by_task:  # each task may have its own number of prompts
        each = [options.prompts.of(observation.prompt) for observation in episode.read_without_pictures(moments)]
        return list(dict.fromkeys(prompt for prompts in each for prompt in prompts)), sum(map(len, each))
    prompts = [prompt for task in tasks or ("",) for prompt in options.prompts.of(task)]
    return list(dict.fromkeys(prompts)), len(moments) * (len(prompts) // max(1, len(tasks)))


def select_episodes(
    source: Source, numbers: Sequence[int] | None
) -> tuple[tuple[Episode, ...], dict[str, UnusableEpisode]]:
    """Episodes of these numbers (all if None), and those of them that cannot be used; UserError if one is missing."""
    if numbers is None:
        return tuple(source.episodes), dict(source.unusable)
    wanted = set(numbers)
    chosen = tuple(episode for episode in source.episodes if episode.number in wanted)
    unusable = {name: broken for name, broken in source.unusable.items() if broken.number in wanted}
    known = {episode.number for episode in source.episodes} | {broken.number for broken in source.unusable.values()}
    if missing := sorted(wanted - known):
        has = f"it has {len(known)}, numbered {min(known)} to {max(known)}"
        raise UserError(f"there is no episode {missing[0]} in {source.path}: {has}")
    return chosen, unusable


def prepare_run_folder(series: DatasetRun) -> None:
    """Make the folder and its index. Raises UserError if the folder holds another run."""
    run_index.prepare_folder(series.folder)
    run_index.check_same_run(series.folder, series.run, overwrite=series.setup.options.overwrite)
    _indexed(series)


def run_dataset(series: DatasetRun, share: Shard, progress: Progress) -> RunOutcome:
    """Run this process's episodes; failures are noted in files of their own, and in the index."""
    jobs = series.jobs(share)

    def note(path: Path, sentence: str | None) -> None:
        with contextlib.suppress(OSError):  # a folder that takes no file any more shows where results are written
            run_index.write_failure(path, sentence)

    for job in jobs:
        note(job.path, None)
    try:
        return run_jobs(series.setup, jobs, progress, lambda written: note(written.path, written.failure))
    finally:
        for job in jobs:
            if job.path.is_file():  # what another process finished while this one could not is no failure
                note(job.path, None)
        _indexed(series)


def _indexed(series: DatasetRun) -> None:
    try:
        run_index.write_index(series.folder, series.head, series.entries)
    except OSError as error:
        raise UserError(f"the index in {series.folder} cannot be written ({error.strerror or error})") from None


def _prompts_sum(options: RunOptions) -> str | None:
    prompts = options.prompts
    if not prompts.always and not prompts.by_task:
        return None
    told = json.dumps([list(prompts.always), {task: list(each) for task, each in prompts.by_task.items()}])
    return hashlib.sha256(told.encode()).hexdigest()
