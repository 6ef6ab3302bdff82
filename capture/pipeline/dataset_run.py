"""Run a policy over the episodes of a data set: one results file each, in a folder with an index."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.datasets.base import Episode, Source, UnusableEpisode
from capture.errors import UserError
from capture.pipeline.planning.plan import GENERATOR
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job, Progress, RunOutcome
from capture.policies.base import Policy
from capture.results import regions_file, run_index
from capture.sharding import Shard


@dataclass(frozen=True)
class DatasetRun:
    """A policy, the chosen episodes of a data set, and the folder of their results."""

    setup: Setup
    source: Source
    folder: Path
    episodes: tuple[Episode, ...]
    """The chosen episodes, in the source's order."""
    broken: Mapping[str, UnusableEpisode]
    """Those that were chosen and cannot be used, by name."""

    @property
    def run(self) -> dict[str, Any]:
        """What defines the run, as stored in the index."""
        options = self.setup.options
        fields = {
            **self.setup.run,
            "selection": options.frames.text,
            "prompts": _hash_prompts(options),
            "dataset": self.source.title,
        }
        serialised: dict[str, Any] = json.loads(json.dumps(fields))
        return serialised

    def path(self, episode: Episode) -> Path:
        """Return the path of an episode's results file."""
        return self.folder / f"{episode.name}.h5"

    def jobs(self, share: Shard) -> list[Job]:
        """Return the jobs of this process."""
        return [Job(self.path(episode), episode) for episode in share.of(self.episodes)]

    @property
    def head(self) -> dict[str, Any]:
        """The index's fields about the whole run."""
        policy = self.setup.policy
        return {
            "generator": GENERATOR,
            "source": {"kind": self.source.kind, "name": self.source.title},
            "model": {"name": policy.name, "config_hash": policy.config_hash},
            "run": self.run,
        }

    @property
    def entries(self) -> list[run_index.Entry]:
        """The index's entry of each episode before any is run, the same in every process."""
        entries = [self._entry(episode) for episode in self.episodes]
        for name, broken in self.broken.items():
            entries.append(
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
        return entries

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
    """Return the prompts that an episode is run with, and its number of frames. Raises UserError for bad data."""
    options = setup.options
    moments = options.frames.choose(episode.length, setup.policy.sizes.horizon)
    tasks = episode.prompts
    if len(tasks) > 1 and options.prompts.by_task:  # tasks may differ in their number of prompts
        prompts_by_frame = [
            options.prompts.of(observation.prompt) for observation in episode.read_without_pictures(moments)
        ]
        return list(dict.fromkeys(prompt for prompts in prompts_by_frame for prompt in prompts)), sum(
            map(len, prompts_by_frame)
        )
    prompts = [prompt for task in tasks or ("",) for prompt in options.prompts.of(task)]
    return list(dict.fromkeys(prompts)), len(moments) * (len(prompts) // max(1, len(tasks)))


def select_episodes(
    source: Source, numbers: Sequence[int] | None
) -> tuple[tuple[Episode, ...], dict[str, UnusableEpisode]]:
    """Return the usable and the unusable episodes of these numbers (None: all). Raises UserError if one is missing."""
    if numbers is None:
        return tuple(source.episodes), dict(source.unusable)
    requested = set(numbers)
    chosen = tuple(episode for episode in source.episodes if episode.number in requested)
    unusable = {name: broken for name, broken in source.unusable.items() if broken.number in requested}
    known = {episode.number for episode in source.episodes} | {broken.number for broken in source.unusable.values()}
    if missing := sorted(requested - known):
        available = f"it has {len(known)}, numbered {min(known)} to {max(known)}"
        raise UserError(f"there is no episode {missing[0]} in {source.path}: {available}")
    return chosen, unusable


def prepare_run_folder(series: DatasetRun) -> None:
    """Create the folder and its index. Raises UserError if the folder holds another run."""
    run_index.prepare_folder(series.folder)
    run_index.check_same_run(series.folder, series.run, overwrite=series.setup.options.overwrite)
    _write_index(series)


def run_dataset(
    series: DatasetRun, share: Shard, progress: Progress, *, loaded: Callable[[Policy], None] | None = None
) -> RunOutcome:
    """Run the episodes of this process. Failures are stored in `.failed` files and in the index.

    `loaded` is called with the policy once its weights are read.
    """
    jobs = series.jobs(share)

    def note(path: Path, sentence: str | None) -> None:
        with contextlib.suppress(OSError):  # if the folder is not writable, writing results reports it
            run_index.write_failure(path, sentence)

    for job in jobs:
        note(job.path, None)
    try:
        return run_jobs(
            series.setup, jobs, progress, lambda written: note(written.path, written.failure), loaded=loaded
        )
    finally:
        for job in jobs:
            if job.path.is_file():  # another process may have finished what failed here
                note(job.path, None)
        _write_index(series)
        write_regions_of(jobs, progress, overwrite=series.setup.options.overwrite)


def write_regions_of(jobs: Sequence[Job], progress: Progress, *, overwrite: bool) -> None:
    """Write regions beside finished results files whose episodes have masks, where there are none yet.

    What cannot be written is reported as a warning; the results are as good without.
    """
    for job in jobs:
        if not job.path.is_file():
            continue
        try:
            if isinstance(job.episode, regions_file.Masked):
                regions_file.write_regions(job.path, job.episode.masks, overwrite=overwrite)
        except UserError as error:
            progress.log(f"warning: no regions of {job.path.name} were written: {error}")


def _write_index(series: DatasetRun) -> None:
    try:
        run_index.write_index(series.folder, series.head, series.entries)
    except OSError as error:
        raise UserError(f"the index in {series.folder} cannot be written ({error.strerror or error})") from None


def _hash_prompts(options: RunOptions) -> str | None:
    prompts = options.prompts
    if not prompts.always and not prompts.by_task:
        return None
    serialised = json.dumps(
        [list(prompts.always), {task: list(prompts_of_task) for task, prompts_of_task in prompts.by_task.items()}]
    )
    return hashlib.sha256(serialised.encode()).hexdigest()
