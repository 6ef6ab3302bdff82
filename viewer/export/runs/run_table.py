"""One table over all episodes of a run: a folder `episode=NAME` for each, in processes, resumable. No Qt."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from capture import __version__
from capture.errors import UserError as CaptureError
from capture.results import schema
from capture.sharding import resolve_shard
from viewer.errors import MissingWordError, NoEffectsError, NotWrittenError, UserError
from viewer.export import atomic_write, cancellation
from viewer.export.process_pool import count_cores
from viewer.export.runs.episode_pool import call_in_processes
from viewer.export.selection import create_slug
from viewer.io import run_index
from viewer.io.effects_names import find_effects_files
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.remote.address import Location
    from capture.sharding import Shard
    from viewer.export.arguments import ExportArguments
    from viewer.io.run_index import Episode, Run

OPTIONS_NAME: Final = "_options.json"
"""Names that begin with an underscore are not read as part of a data set by DuckDB, polars, Spark and pyarrow."""
NOT_OPTIONS: Final = frozenset({"file", "folder", "processes", "overwrite", "share"})
"""Arguments that do not change what a table holds."""


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to export."""

    file: Location
    name: str
    outcome: str
    """`success`, `failure`, or empty where it is unknown."""
    target: Path
    has_effect_columns: bool
    """Whether its table has columns of effects: those of all episodes have where one has an effects file."""


@dataclass(frozen=True)
class EpisodeOutcome:
    """What became of the export of one episode."""

    name: str
    left_out: str = ""
    """Why it has no table although nothing is wrong: no frame of it has the words or the region that are asked for."""
    failed: str = ""
    """Why its file cannot be read."""
    undefined: str = ""
    """Which numbers its table does not have, and why."""

    @property
    def has_table(self) -> bool:
        """Whether a table was written."""
        return not self.left_out and not self.failed


@dataclass(frozen=True)
class RunExport:
    """What was written of a run."""

    folder: Path
    written: int
    present: int
    """Episodes that an earlier call had written."""
    outcomes: tuple[EpisodeOutcome, ...]
    """Of the episodes that have no table, or lack numbers in it."""


def export_run(arguments: ExportArguments, report: Callable[[int, int], None]) -> RunExport:
    """Write the table of every finished episode of a run that does not have one yet; `report` counts episodes.

    Raises:
        UserError: The run cannot be read, holds no finished episode, or was exported there with other options; or a
            table cannot be written.
    """
    run = run_index.read_run(arguments.file)
    folder = arguments.folder / create_slug(run.name)
    tasks = _list_tasks(run, folder, arguments.format)
    if not tasks:
        unfinished = f" (.h5{schema.PARTIAL_SUFFIX})"
        raise UserError(
            f"{arguments.file} holds no finished episode; wait until one is, or name an unfinished file{unfinished}."
        )
    if arguments.effects:
        raise UserError("Effects of a run lie beside each of its files, where they are found; leave out --effects.")
    _check_options(folder, arguments, has_effect_columns=tasks[0].has_effect_columns)
    tasks = list(_resolve_shard(arguments.share).of(tasks))
    todo = [task for task in tasks if arguments.overwrite or not task.target.exists()]
    atomic_write.remove_leftovers([folder / OPTIONS_NAME, *(task.target for task in todo)])
    outcomes: list[EpisodeOutcome] = []
    present = len(tasks) - len(todo)

    def note(outcome: EpisodeOutcome) -> None:
        outcomes.append(outcome)
        report(present + len(outcomes), len(tasks))

    count = min(arguments.processes or count_cores(), max(len(todo), 1))
    call_in_processes(partial(_export_task, arguments), todo, count, lambda _, outcome: note(outcome))
    missing = {outcome.name for outcome in outcomes if not outcome.has_table}
    _check_written(folder, tasks, missing)
    reported = tuple(outcome for outcome in outcomes if not outcome.has_table or outcome.undefined)
    return RunExport(folder, len(outcomes) - len(missing), present, reported)


def _check_written(folder: Path, tasks: list[EpisodeTask], missing: set[str]) -> None:
    """Raise UserError where tables are gone that this call or an earlier one has written."""
    missing_tasks = [task for task in tasks if task.name not in missing and not task.target.exists()]
    if missing_tasks:
        raise UserError(
            f"{folder} was removed or emptied while its tables were written: {count_episodes(len(missing_tasks))} "
            "without a table. Repeat the command."
        )


def _list_tasks(run: Run, folder: Path, file_format: str) -> list[EpisodeTask]:
    tasks = {}
    for episode, status in zip(run.episodes, run_index.statuses(run), strict=True):
        if status.state != "done":
            continue
        # The partition's value is encoded as Hive and its readers do, so that `episode` is the name itself.
        target = folder / f"episode={quote(_unique_name(episode), safe=' ')[:200]}" / f"table.{file_format}"
        if target in tasks:
            raise UserError(f"Two episodes of {run.name} are called {episode.name}; give them names of their own.")
        tasks[target] = EpisodeTask(
            run_index.find_episode_path(run, episode), episode.name, run_index.outcome(episode), target, False
        )
    has_effects = any(find_effects_files(task.file) for task in tasks.values())
    return [replace(task, has_effect_columns=has_effects) for task in tasks.values()]


def _unique_name(episode: Episode) -> str:
    """Return the name of the episode's file, which is unique in a run, without its ending."""
    return episode.file.removesuffix(".h5")


def _check_options(folder: Path, arguments: ExportArguments, *, has_effect_columns: bool) -> None:
    """Store the options beside the tables; raise UserError where tables of other options lie there."""
    options = {
        field.name: json.loads(json.dumps(getattr(arguments, field.name), default=str))
        for field in fields(arguments)
        if field.name not in NOT_OPTIONS
    }
    if has_effect_columns:
        options["effect columns"] = True
    path = folder / OPTIONS_NAME
    try:
        if path.exists() and not arguments.overwrite:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored.get("options") != options:
                raise UserError(
                    f"{folder} holds tables that were made with other options; take another folder with -o, or add "
                    "--overwrite."
                )
            return
        text = json.dumps({"version": __version__, "options": options}, indent=1)
        atomic_write.write_bytes(path, text.encode(), overwrite=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror or error}); choose another with -o.") from None
    except (ValueError, AttributeError):
        raise UserError(f"{path} is damaged; take another folder with -o, or add --overwrite.") from None


def export_episode(
    task: EpisodeTask, arguments: ExportArguments, check: Callable[[], None] = cancellation.check
) -> EpisodeOutcome:
    """Write the table of one episode; `check` may raise to stop it between blocks.

    Raises:
        NotWrittenError: The table cannot be written.
    """
    from viewer.analysis.probe import create_early_probe
    from viewer.export import tables
    from viewer.export.plan import build_plan
    from viewer.export.resolve.request_resolver import resolve_request
    from viewer.export.scenes import ExportSource
    from viewer.export.selection import describe_undefined
    from viewer.regions.in_frames import UnknownRegionError

    beside = find_effects_files(task.file)
    probes = [create_early_probe(path) for path in (task.file, *beside)]
    try:
        reason, *of_effects = [probe.wait() for probe in probes]
    finally:
        for probe in probes:
            probe.stop()
    if reason:
        return EpisodeOutcome(task.name, failed=reason)
    try:
        of_episode = replace(arguments, file=task.file, frames=arguments.frames or "all")
        usable = [path for path, unusable in zip(beside, of_effects, strict=True) if not unusable]
        with ExportSource.open(task.file, beside=usable) as source:
            request = replace(
                resolve_request(source, of_episode), folder=task.target.parent, overwrite=True, outcome=task.outcome,
                has_effect_columns=task.has_effect_columns,
            )  # fmt: skip
            tables.write_table(build_plan(source, request), source.results, lambda *_: check())
            undefined = " ".join(describe_undefined(source.results, request.frames, request.queries))
    except (MissingWordError, NoEffectsError, UnknownRegionError) as error:
        return EpisodeOutcome(task.name, left_out=str(error))
    except NotWrittenError:  # as on a full disk: the other episodes would fail alike
        raise
    except UserError as error:
        return EpisodeOutcome(task.name, failed=str(error))
    return EpisodeOutcome(task.name, undefined=undefined)


def _resolve_shard(argument: str) -> Shard:
    """Return the share of the episodes that this process exports. UserError where it cannot be known."""
    try:
        return resolve_shard(os.environ, argument or None, has_to_gather=False)
    except CaptureError as error:
        raise UserError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


def _export_task(arguments: ExportArguments, task: EpisodeTask, check: Callable[[], None]) -> EpisodeOutcome:
    return export_episode(task, arguments, check)


def count_episodes(count: int) -> str:
    """Return `1 episode`, `2 episodes`."""
    return f"{count} episode{'s' * (count != 1)}"


def describe_export(export: RunExport) -> list[str]:
    """Return sentences about episodes that have no table, or lack numbers in it, those of one kind together."""
    sentences = []
    for kind, heading in (
        ("left_out", "without anything that is asked for"),
        ("failed", "that cannot be read"),
        ("undefined", "with numbers that are not there"),
    ):
        left_out = [(outcome.name, getattr(outcome, kind)) for outcome in export.outcomes if getattr(outcome, kind)]
        if left_out:
            names = ", ".join(clean_text(name)[:60] for name, _ in left_out[:5]) + (" …" if len(left_out) > 5 else "")
            sentences.append(f"{count_episodes(len(left_out))} {heading} ({names}): {left_out[0][1]}")
    return sentences
