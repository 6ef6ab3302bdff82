"""Command line of pi0-export."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viewer import startup
from viewer.errors import UserError
from viewer.export import cancellation
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capture.remote.address import Location
    from viewer.analysis.probe import Probe
    from viewer.export.arguments import ExportArguments
    from viewer.export.plan import ExportPlan
    from viewer.export.scenes import ExportSource

PROGRESS_LINES = "--progress-lines"
"""The first argument from the window, which reads progress as JSON on standard output."""
NOUNS = {"table": "rows", "arrays": "rows", "video": "pictures"}
"""What is counted while an export runs; figures for other kinds."""


def main(words: Sequence[str] | None = None) -> int:
    """Run an export; return 0, 2 for a mistake that the user can mend, 130 if it was cancelled."""
    is_command = words is None
    words = list(sys.argv[1:] if words is None else words)
    as_json = words[:1] == [PROGRESS_LINES]
    startup.limit_threads()
    plan: ExportPlan | None = None

    def clean_up() -> None:
        _remove_leftovers(plan)
        print("pi0-export: stopped; what is finished stays, and nothing is half written.", file=sys.stderr)

    def exit_now() -> None:
        clean_up()
        os._exit(130)

    with cancellation.handle_signals(exit_now, restore=not is_command):
        from viewer.export import cli  # here, for a signal that comes while it loads is noted
        from viewer.export.runs import run_command

        try:
            if words[as_json:][:1] == [run_command.KIND]:
                return run_command.main(words[as_json:], cli.create_parser(), as_json=as_json)
            arguments = cli.parse_arguments(words[as_json:])
            check_installed(arguments)
            cancellation.check()
            if arguments.kind == "table" and _is_run(arguments.file):
                return _write_run(arguments)
            with open_source(arguments) as source:
                from viewer.export.plan import prepare_export

                plan = prepare_export(source, arguments)
                _write_plan(plan, source, as_json=as_json)
        except UserError as error:
            print(f"pi0-export: {clean_text(str(error))}", file=sys.stderr)
            return 2
        except cancellation.Cancelled:
            clean_up()
            return 130
        except BrokenPipeError:
            _remove_leftovers(plan)
            return 130
    return 0


def _remove_leftovers(plan: ExportPlan | None) -> None:
    from viewer.export import atomic_write

    if plan is not None:
        atomic_write.remove_leftovers(file.path for file in plan.files)


@contextlib.contextmanager
def open_source(arguments: ExportArguments) -> Iterator[ExportSource]:
    """Open the files of an export, after a process that may crash or hang has tried to read them.

    Raises:
        UserError: A file cannot be read.
    """
    from viewer.export import process_pool
    from viewer.export.scenes import ExportSource
    from viewer.io.effects_names import find_effects_files

    files = [path for path in (arguments.file, arguments.other) if path is not None]
    beside = [path for path in find_effects_files(arguments.file) if path not in arguments.effects]
    beside_other = [] if arguments.other is None else find_effects_files(arguments.other)
    probes = [_start_probe(path) for path in (*files, *arguments.effects, *beside, *beside_other)]
    try:
        if len(probes) == 1 and not arguments.is_numbers:
            process_pool.load_qt()  # while the probe reads
        with cancellation.interruptible():
            named = len(files) + len(arguments.effects)
            paths = [_wait_for_probe(probe) for probe in probes[:named]]
            # One that was not named and cannot be read, or is of another file, must not stop an export.
            readable_paths = {probe.path for probe in probes[named:] if not probe.wait()}
    finally:
        for probe in probes:
            probe.stop()
    file, other = paths[0], paths[1] if arguments.other is not None else None
    local = [path for path in paths[len(files) :] if isinstance(path, Path)]
    usable = [[path for path in names if path in readable_paths] for names in (beside, beside_other)]
    with ExportSource.open(file, other, local, *usable) as source:
        yield source


def _start_probe(path: Location) -> Probe:
    from viewer.analysis.probe import create_early_probe
    from viewer.io.open_file import find

    return create_early_probe(find(path))


def _wait_for_probe(probe: Probe) -> Location:
    """Return the path of a file that can be read; raise UserError where it cannot."""
    reason = probe.wait()
    if reason:
        raise UserError(reason)
    return probe.path


def check_installed(arguments: ExportArguments) -> None:
    """Raise UserError, which says what to install, where an export needs a package that is missing."""
    if arguments.is_numbers:
        from viewer.export import tables

        tables.check_installed(arguments.format)
        return
    if importlib.util.find_spec("PySide6") is None:
        raise UserError('Figures need the viewer extra: pip install "pi0-attention[viewer]"')
    if arguments.kind == "video":
        from viewer.export import video

        video.check_installed(arguments.format)


def _write_plan(plan: ExportPlan, source: ExportSource, *, as_json: bool) -> None:
    from viewer.export import process_pool
    from viewer.export.progress import ProgressReporter

    _remove_leftovers(plan)
    progress = ProgressReporter(NOUNS.get(plan.request.kind, "figures"), as_json=as_json)

    def report(done: int, total: int) -> None:
        progress.report(done, total)
        cancellation.check()

    try:
        cancellation.check()
        process_pool.write_files(plan, source, report)
    finally:
        progress.close()
    first, count = plan.files[0].path, len(plan.files)
    if as_json:
        written = {"written": count, "folder": str(first.parent), "first": str(first), "notes": plan.notes}
        print(json.dumps(written), flush=True)
        return
    for note in plan.notes:
        print(f"pi0-export: {note}", file=sys.stderr)
    if count == 1:
        print(first)
    else:
        print(f"{count} files in {_common_folder(plan)}")


def _is_run(path: Location) -> bool:
    from viewer.io.open_file import is_run

    return is_run(path)


def _write_run(arguments: ExportArguments) -> int:
    """Write the table of a run; return 0, or 2 where an episode's file cannot be read."""
    from viewer.export.progress import ProgressReporter
    from viewer.export.runs import run_table

    progress = ProgressReporter("episodes")
    try:
        export = run_table.export_run(arguments, progress.report)
    finally:
        progress.close()
    for sentence in run_table.describe_export(export):
        print(f"pi0-export: {sentence}", file=sys.stderr)
    present_note = f", {export.present} more there already" if export.present else ""
    print(f"{run_table.count_episodes(export.written)}{present_note}: {export.folder}")
    return 2 if any(outcome.failed for outcome in export.outcomes) else 0


def _common_folder(plan: ExportPlan) -> Path:
    """Return the folder that holds all files of a plan."""
    folders = {file.path.parent for file in plan.files}
    first = plan.files[0].path.parent
    return (
        first
        if len(folders) == 1
        else next(parent for parent in first.parents if all(folder.is_relative_to(parent) for folder in folders))
    )


if __name__ == "__main__":
    sys.exit(main())
