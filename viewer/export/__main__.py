"""Command line of pi0-export."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from viewer import startup
from viewer.errors import UserError
from viewer.export import cancellation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viewer.analysis.probe import Probe
    from viewer.export.plan import Plan
    from viewer.export.request import Options

LINES = "--progress-lines"
"""Given first by the viewer, which reads progress as JSON on standard output."""


def main(given: Sequence[str] | None = None) -> int:
    """Run an export; 0, 2 for what the user can mend, 130 if stopped."""
    words = list(sys.argv[1:] if given is None else given)
    lines = words[:1] == [LINES]
    startup.one_thread()
    plan: Plan | None = None

    def stopped() -> None:
        _clear(plan)
        print("pi0-export: stopped; what is finished stays, and nothing is half written.", file=sys.stderr)

    def hurry() -> None:
        stopped()
        os._exit(130)

    with cancellation.heeded(hurry, after=given is None):
        from viewer.export import cli  # not sooner: a signal that comes while it loads is noted

        try:
            options = cli.options(words[lines:])
            check_installed(options)
            cancellation.check()
            plan = planned(options)
            _export(plan, lines=lines)
        except UserError as error:
            print(f"pi0-export: {error}", file=sys.stderr)
            return 2
        except cancellation.Stopped:
            stopped()
            return 130
        except BrokenPipeError:
            _clear(plan)
            return 130
    return 0


def _clear(plan: Plan | None) -> None:
    from viewer.export import atomic_write

    if plan is not None:
        atomic_write.sweep(job.path for job in plan.jobs)


def planned(options: Options) -> Plan:
    """Every file of an export, after a look at the results file in a process of its own, which may crash or hang."""
    from viewer.export import plan, process_pool, scenes
    from viewer.io.results import Results

    probes = [_probe(path) for path in (options.file, options.other) if path is not None]
    try:
        if len(probes) == 1 and options.kind not in {"table", "arrays"}:
            process_pool.load()  # meanwhile
        with cancellation.at_once():
            found = [_sound(probe) for probe in probes]
    finally:
        for probe in probes:
            probe.stop()
    options = replace(options, file=found[0], other=found[1] if len(found) > 1 else None)
    results = Results(options.file)
    other = None if options.other is None else Results(options.other)
    try:
        if other is not None and other.done == 0:
            raise UserError(f"{other.path.name} has no finished frame yet; wait until the capture has written one.")
        with scenes.readable(results):
            made = plan.plan(results, options, other)
        plan.refuse_existing(made.jobs, overwrite=options.overwrite)
        if options.range == "set" and made.jobs:
            source = scenes.Source(results, other)
            jobs = made.jobs
            views = scenes.sharing(source, [replace(job.view, range="shared") for job in jobs])
            made = replace(made, jobs=tuple(replace(job, view=view) for job, view in zip(jobs, views, strict=True)))
        return made
    finally:
        results.close()
        if other is not None:
            other.close()


def _probe(path: Path) -> Probe:
    """A look at the file that is meant."""
    from viewer.analysis.probe import early
    from viewer.io.open_file import find

    return early(find(path))


def _sound(probe: Probe) -> Path:
    """The file, once it is known that it can be read; UserError with the reason where it cannot."""
    reason = probe.wait()
    if reason:
        raise UserError(reason)
    return probe.path


def check_installed(options: Options) -> None:
    """UserError with one line about what to install where something lacks."""
    if options.kind in {"table", "arrays"}:
        from viewer.export import tables

        tables.check(options.suffix)
        return
    if importlib.util.find_spec("PySide6") is None:
        raise UserError('Figures need the viewer extra: pip install "pi0-attention[viewer]"')
    if options.kind == "video":
        from viewer.export import video

        video.check(options.suffix)


def _export(plan: Plan, *, lines: bool) -> None:
    from viewer.export import atomic_write, process_pool
    from viewer.export.progress import Console

    options = plan.options
    atomic_write.sweep(job.path for job in plan.jobs)
    noun = {"table": "rows", "arrays": "rows", "video": "pictures"}.get(options.kind, "figures")
    console = Console(noun, lines=lines)

    def report(done: int, total: int) -> None:
        console.report(done, total)
        cancellation.check()

    try:
        cancellation.check()
        process_pool.run(plan, report)
    finally:
        console.end()
    first, count = plan.jobs[0].path, len(plan.jobs)
    if lines:
        print(json.dumps({"written": count, "folder": str(first.parent), "first": str(first)}), flush=True)
    elif count == 1:
        print(first)
    else:
        print(f"{count} files in {_common(plan)}")


def _common(plan: Plan) -> Path:
    """The folder that holds all files of a plan."""
    folders = {job.path.parent for job in plan.jobs}
    first = plan.jobs[0].path.parent
    return first if len(folders) == 1 else next(p for p in first.parents if all(f.is_relative_to(p) for f in folders))


if __name__ == "__main__":
    sys.exit(main())
