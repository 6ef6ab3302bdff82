"""Make summaries of a run, or bring them up to date: `python -m viewer.export.runs.build_summary JSON`. No Qt.

Prints a line of JSON for each episode, as `viewer.runs.summary_process.BuildProgress` has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capture.remote.address import parse_location
from viewer.errors import UserError
from viewer.export import atomic_write, cancellation
from viewer.export.runs import summary_writer
from viewer.export.runs.episode_parts import EpisodeParts, read_episode
from viewer.io import run_index
from viewer.io.open_file import read_stamp
from viewer.runs.episode_scores import check_subject, find_objects_file, regions_path
from viewer.runs.query import Subject
from viewer.runs.summary_files import (
    LIST_NAME,
    SummaryEpisode,
    SummaryList,
    choose_folder,
    read_list,
)
from viewer.runs.summary_process import BuildProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.remote.address import Location
    from viewer.io.run_index import Run

EPISODES_OF_FILE: Final = 64
"""Episodes in one Parquet file at most."""
WRITE_SECONDS: Final = 10.0
"""After so long, what is read so far is written, so that it can be looked at and survives the process."""


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to read for the subjects that lack it."""

    location: Location
    file: str
    stamp: str
    subjects: tuple[Subject, ...]


class SummaryBuilder:
    """Collects the episodes of one subject and writes them."""

    def __init__(self, folder: Path, subject: Subject, objects: str) -> None:
        self.folder, self.subject = folder, subject
        found = read_list(folder)
        if found is None or found.subject != subject or found.objects != objects:
            found = SummaryList(subject, objects=objects)
        self.list = found
        self._waiting: list[tuple[EpisodeTask, EpisodeParts]] = []
        self._written = time.monotonic()

    def is_current(self, file: str, stamp: str) -> bool:
        """Return whether the summary has an episode as it is now."""
        known = self.list.episodes.get(file)
        return known is not None and known.stamp == stamp and (not known.data or (self.folder / known.data).is_file())

    def add(self, task: EpisodeTask, parts: EpisodeParts) -> bool:
        """Take an episode; return whether the summary on the disk was written."""
        self._waiting.append((task, parts))
        if len(self._waiting) < EPISODES_OF_FILE and time.monotonic() - self._written < WRITE_SECONDS:
            return False
        self.write()
        return True

    def write(self) -> None:
        """Write the episodes that wait, then the list that names them.

        Raises:
            UserError: The folder cannot be written to.
        """
        if not self._waiting:
            return
        listed, number = self.list, self.list.next_number
        prompts = {prompt: place for place, prompt in enumerate(listed.prompts)}
        episodes = dict(listed.episodes)
        rows: list[summary_writer.NumberedEpisode] = []
        name = f"data-{number:06d}.parquet"
        for task, parts in self._waiting:
            parts, listed = _fit(parts, listed)
            if not parts.prompts:
                episodes[task.file] = SummaryEpisode(
                    task.file, task.stamp, reason=parts.reason, is_damaged=parts.is_damaged, frames=parts.frames
                )
                continue
            places = tuple(prompts.setdefault(one.prompt, len(prompts)) for one in parts.prompts)
            rows.append(summary_writer.NumberedEpisode(number, places, parts))
            episodes[task.file] = SummaryEpisode(task.file, task.stamp, number, name, parts.frames)
            number += 1
        if rows:
            summary_writer.write_data(self.folder / name, rows)
        self.list = replace(listed, episodes=episodes, prompts=tuple(prompts), next_number=number)
        atomic_write.write_bytes(self.folder / LIST_NAME, self.list.to_json().encode(), overwrite=True)
        self._waiting.clear()
        self._written = time.monotonic()
        self._remove_unused()

    def _remove_unused(self) -> None:
        """Delete data that no episode needs any more."""
        used = {one.data for one in self.list.episodes.values()}
        for path in self.folder.glob("data-*.parquet"):
            if path.name not in used:
                with suppress(OSError):
                    path.unlink()


def _fit(parts: EpisodeParts, listed: SummaryList) -> tuple[EpisodeParts, SummaryList]:
    """Return an episode that fits the others, or why it does not; and the list, whose axes the first episode sets."""
    if not parts.prompts:
        return parts, listed
    if not listed.layers:
        return parts, replace(listed, layers=parts.layers, heads=parts.heads, steps=parts.steps)
    if (parts.layers, parts.heads, parts.steps) == (listed.layers, listed.heads, listed.steps):
        return parts, listed
    reason = "It has other layers, heads or denoise steps than the first episode of the run."
    return replace(parts, prompts=(), reason=reason), listed


def build(
    run: Run,
    subjects: Sequence[Subject],
    objects: Path | None,
    report: Callable[[BuildProgress], object],
    check: Callable[[], object] = cancellation.check,
) -> list[SummaryBuilder]:
    """Bring the summaries of subjects up to date; what is done when `check` raises stays.

    Raises:
        UserError: The file of objects or the run cannot be read, or the summary cannot be written.
    """
    for subject in subjects:
        check_subject(subject)
    objects = objects or find_objects_file(run)
    digest = _digest(objects)
    builders = {one: SummaryBuilder(choose_folder(run, one), one, digest) for one in dict.fromkeys(subjects)}
    tasks, total = _list_tasks(run, list(builders.values()))
    done = total - len(tasks)
    report(BuildProgress(done, total))
    try:
        for task in tasks:
            is_written = False
            for subject in task.subjects:
                parts = read_episode(task.location, subject, objects, check)
                is_written |= builders[subject].add(task, parts)
            done += 1
            report(BuildProgress(done, total, is_written=is_written))
    finally:
        for builder in builders.values():
            builder.write()
    report(BuildProgress(done, total, is_written=bool(tasks), is_finished=True))
    return list(builders.values())


def _list_tasks(run: Run, builders: Sequence[SummaryBuilder]) -> tuple[list[EpisodeTask], int]:
    """Return the finished episodes that a summary lacks, or has as they were before, and how many are finished."""
    tasks, total = [], 0
    for episode, status in zip(run.episodes, run_index.statuses(run), strict=True):
        if status.state != "done":
            continue
        total += 1
        location = run_index.path_of(run, episode)
        stamp = make_stamp(location)
        subjects = tuple(one.subject for one in builders if not one.is_current(episode.file, stamp))
        if subjects:
            tasks.append(EpisodeTask(location, episode.file, stamp, subjects))
    return tasks, total


def make_stamp(location: Location) -> str:
    """Return what changes when a results file or the regions beside it change."""
    beside = regions_path(location)
    stamps = [read_stamp(location), read_stamp(beside) if beside is not None else None]
    return " ".join("-" if one is None else f"{one.size}:{one.written}" for one in stamps)


def _digest(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None


def main(words: Sequence[str] | None = None) -> int:
    """Build what the one argument asks for; return 0, 2 for a sentence to the user, 130 if it was stopped."""
    asked: dict[str, Any] = json.loads((sys.argv[1:] if words is None else list(words))[0])

    def report(progress: BuildProgress) -> None:
        sys.stdout.write(json.dumps(asdict(progress)) + "\n")
        sys.stdout.flush()

    with cancellation.handle_signals(lambda: os._exit(130), restore=words is not None):
        try:
            run = run_index.read_run(parse_location(asked["run"]))
            subjects = [Subject(**one) for one in asked["subjects"]]
            build(run, subjects, Path(asked["objects"]) if asked["objects"] else None, report)
        except UserError as error:
            report(BuildProgress(error=str(error)))
            return 2
        except cancellation.Cancelled:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
