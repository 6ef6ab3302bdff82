"""Make summaries of a run, or bring them up to date: `python -m viewer.export.runs.build_summary JSON`. No Qt.

Prints a line of JSON for each episode, as `viewer.runs.summary_process.BuildProgress` has it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capture.remote.address import parse_location
from viewer.errors import NotWrittenError, UserError
from viewer.export import atomic_write, cancellation
from viewer.export.process_pool import count_cores
from viewer.export.runs import summary_writer
from viewer.export.runs.episode_parts import EpisodeParts, read_episode
from viewer.export.runs.episode_pool import call_in_processes
from viewer.export.runs.folder_lock import lock_folder
from viewer.io import run_index
from viewer.io.temporary_files import remove_leftovers_in
from viewer.model.plain_text import clean_text
from viewer.runs import named_object
from viewer.runs.database import find_missing
from viewer.runs.episode_scores import check_subject
from viewer.runs.query import Subject
from viewer.runs.summary_files import (
    LIST_NAME,
    MAX_PROMPT,
    OBJECTS_NAMES,
    SummaryEpisode,
    SummaryList,
    choose_folder,
    find_objects_file,
    list_done,
    make_stamp,
    read_list,
)
from viewer.runs.summary_process import BuildProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from capture.remote.address import Location
    from viewer.io.run_index import Run

EPISODES_OF_FILE: Final = 64
"""Episodes in one Parquet file at most."""
MOST_SMALL_FILES: Final = 16
"""So many files of few episodes are merged."""
NICENESS: Final = 5
"""By how much less urgent than the window this process is."""
ALIVE_SECONDS: Final = 5.0
"""After so long without a line, an empty one shows that the process is not hung."""
WRITE_SECONDS: Final = 10.0
"""Seconds after which what has been read is written, so that it can be queried and survives the process."""


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to read for the subjects that lack it."""

    location: Location
    file: str
    stamp: str
    subjects: tuple[Subject, ...]


class SummaryBuilder:
    """Collects the episodes of one subject and writes them."""

    def __init__(self, folder: Path, subject: Subject, objects: Path | None = None) -> None:
        self.folder, self.subject, self.objects = folder, subject, objects
        digest = named_object.digest_objects(objects)
        summary_list = read_list(folder)
        if summary_list is None or summary_list.subject != subject or summary_list.objects != digest:
            # Numbers go on, so that who still reads the old data does not mistake the new for it.
            summary_list = SummaryList(
                subject, objects=digest, next_number=summary_list.next_number if summary_list is not None else 0
            )
        self.list = summary_list
        self._waiting: list[tuple[EpisodeTask, EpisodeParts]] = []
        self._written = time.monotonic()

    def is_current(self, file: str, stamp: str) -> bool:
        """Return whether the summary has an episode as it is now."""
        listed = self.list.episodes.get(file)
        return (
            listed is not None and listed.stamp == stamp and (not listed.data or (self.folder / listed.data).is_file())
        )

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
                reason = clean_text(parts.reason, MAX_PROMPT)
                episodes[task.file] = SummaryEpisode(
                    task.file, task.stamp, frames=parts.frames, reason=reason, is_damaged=parts.is_damaged
                )
                continue
            places = tuple(prompts.setdefault(interval.prompt, len(prompts)) for interval in parts.prompts)
            rows.append(summary_writer.NumberedEpisode(number, places, parts))
            episodes[task.file] = SummaryEpisode(task.file, task.stamp, number, name, parts.frames)
            number += 1
        if rows:
            summary_writer.write_data(self.folder / name, rows)
        self.list = replace(listed, episodes=episodes, prompts=tuple(prompts), next_number=number)
        self._write_list()
        self._waiting.clear()
        self._written = time.monotonic()
        self._merge()

    def forget_others(self, run: Run) -> None:
        """Forget what the run no longer has; all of it where no episode is left that set layers, heads and steps.

        Others may have been left out because of those, and are read again then.
        """
        files = {episode.file: run.folder / episode.file for episode in list_done(run)}
        kept = {file: episode for file, episode in self.list.episodes.items() if file in files}
        data = [file for file, episode in kept.items() if episode.data]
        if not self.list.layers or any(self.is_current(file, make_stamp(files[file])) for file in data):
            self.list = replace(self.list, episodes=kept)
        else:
            self.list = SummaryList(self.subject, objects=self.list.objects, next_number=self.list.next_number)

    def remove_unused(self) -> None:
        """Delete data that no episode needs any more, and what killed processes left.

        At the start of an update, not after it: a window may still ask the data that a change has made useless.
        """
        remove_leftovers_in(self.folder, lambda name: name == LIST_NAME or name.startswith("data-"))
        used = {episode.data for episode in self.list.episodes.values()}
        for path in self.folder.glob("data-*.parquet*"):
            if path.name not in used:
                with suppress(OSError):
                    path.unlink()

    def _write_list(self) -> None:
        atomic_write.write_bytes(self.folder / LIST_NAME, self.list.to_json().encode(), overwrite=True)

    def _merge(self) -> None:
        """Merge files of few episodes, as a capture that grows leaves them, once there are many."""
        members: dict[str, list[SummaryEpisode]] = {}
        for member in self.list.episodes.values():
            if member.data:
                members.setdefault(member.data, []).append(member)
        small = [name for name in sorted(members) if len(members[name]) <= EPISODES_OF_FILE // 2]
        if len(small) < MOST_SMALL_FILES:
            return
        chosen: list[SummaryEpisode] = []
        names = []
        for name in small:
            if len(chosen) + len(members[name]) <= EPISODES_OF_FILE:
                chosen += members[name]
                names.append(name)
        number = self.list.next_number
        target = f"data-{number:06d}.parquet"
        summary_writer.merge_data(
            [self.folder / name for name in names], [member.number for member in chosen], self.folder / target
        )
        episodes = {**self.list.episodes, **{member.file: replace(member, data=target) for member in chosen}}
        self.list = replace(self.list, episodes=episodes, next_number=number + 1)
        self._write_list()


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
    processes: int = 0,
) -> None:
    """Bring the summaries of subjects up to date; what is done when `check` raises stays.

    Args:
        run: The run.
        subjects: What is summarised.
        objects: The file that says what `{object}` stands for, which is kept in the summary's folder; None for the one
            in the run's folder or of the last time, if there is one.
        report: Called with the progress.
        check: Called often; may raise to stop.
        processes: How many read episodes; 0 for one a core.

    Raises:
        UserError: The file of objects or the run cannot be read, or the summary cannot be written.
    """
    if missing := find_missing():
        raise UserError(missing)
    for subject in subjects:
        check_subject(subject)
    folders = {subject: choose_folder(run, subject) for subject in dict.fromkeys(subjects)}
    with ExitStack() as locks:
        for folder in sorted(folders.values()):
            locks.enter_context(lock_folder(folder, check))
        builders = {}
        for subject, folder in folders.items():
            if objects is not None:
                _keep_objects(objects, folder)
            builders[subject] = SummaryBuilder(folder, subject, objects or find_objects_file(run, subject))
            builders[subject].forget_others(run)
            builders[subject].remove_unused()
        try:
            _update(run, builders, report, check, processes)
        except NotWrittenError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else ""
            raise UserError(
                f"What was read of the run cannot be kept in {next(iter(folders.values())).parent}"
                f"{f' ({reason})' if reason else ''}; free some space there, or make it writable."
            ) from error


def _update(
    run: Run,
    builders: Mapping[Subject, SummaryBuilder],
    report: Callable[[BuildProgress], object],
    check: Callable[[], object],
    processes: int,
) -> None:
    tasks, total = _list_tasks(run, list(builders.values()))
    done = total - len(tasks)
    report(BuildProgress(done, total))

    def note(task: EpisodeTask, read: list[EpisodeParts]) -> None:
        nonlocal done
        done += 1
        written = [builders[subject].add(task, parts) for subject, parts in zip(task.subjects, read, strict=True)]
        report(BuildProgress(done, total, is_written=any(written)))

    count = min(processes or count_cores(), len(tasks))
    try:
        objects = {subject: builder.objects for subject, builder in builders.items()}
        call_in_processes(partial(_read_task, objects), tasks, count, note, check)
    finally:
        for builder in builders.values():
            builder.write()
    report(BuildProgress(done, total, is_written=bool(tasks), is_finished=True))


def _read_task(
    objects: Mapping[Subject, Path | None], task: EpisodeTask, check: Callable[[], None]
) -> list[EpisodeParts]:
    return read_episode(task.location, [(subject, objects[subject]) for subject in task.subjects], check)


def _keep_objects(objects: Path, folder: Path) -> None:
    """Copy what `{object}` stands for to a summary's folder, so that the window and later calls know it.

    Raises:
        UserError: It cannot be read, is of another form, or the folder cannot be written to.
    """
    named_object.read_objects(objects)
    content = objects.read_bytes()
    for name in OBJECTS_NAMES:
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    suffix = objects.suffix if objects.suffix in {".yaml", ".yml"} else ".json"
    atomic_write.write_bytes(folder / f"objects{suffix}", content, overwrite=True)


def _list_tasks(run: Run, builders: Sequence[SummaryBuilder]) -> tuple[list[EpisodeTask], int]:
    """Return the finished episodes that a summary lacks, or has as they were before, and how many are finished."""
    tasks, total = [], 0
    for episode, status in zip(run.episodes, run_index.statuses(run), strict=True):
        if status.state != "done":
            continue
        total += 1
        location = run_index.find_episode_path(run, episode)
        stamp = make_stamp(location)
        subjects = tuple(builder.subject for builder in builders if not builder.is_current(episode.file, stamp))
        if subjects:
            tasks.append(EpisodeTask(location, episode.file, stamp, subjects))
    return tasks, total


def main(words: Sequence[str] | None = None) -> int:
    """Build what the one argument asks for; return 0, 2 for a sentence to the user, 130 if it was stopped."""
    request: dict[str, Any] = json.loads((sys.argv[1:] if words is None else list(words))[0])
    parent = os.getppid() if os.name == "posix" else 0
    last_report = time.monotonic()

    def write_line(text: str) -> None:
        nonlocal last_report
        last_report = time.monotonic()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def report(progress: BuildProgress) -> None:
        write_line(json.dumps(asdict(progress)))

    def check() -> None:
        cancellation.check()
        if time.monotonic() - last_report > ALIVE_SECONDS:
            write_line("")  # an episode of many frames takes long
        if parent and os.getppid() != parent:  # the window was killed
            raise cancellation.Cancelled

    with cancellation.handle_signals(lambda: os._exit(130), restore=words is not None):
        try:
            if words is None and hasattr(os, "nice"):
                os.nice(NICENESS)
            run = run_index.read_run(parse_location(request["run"]))
            subjects = [Subject(**fields) for fields in request["subjects"]]
            objects = Path(request["objects"]) if request["objects"] else None
            build(run, subjects, objects, report, check)
        except UserError as error:
            report(BuildProgress(error=str(error)))
            return 2
        except (cancellation.Cancelled, BrokenPipeError):
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
