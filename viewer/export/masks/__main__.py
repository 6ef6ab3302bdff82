"""Command line of pi0-regions."""

from __future__ import annotations

import copy
import os
import sys
from typing import TYPE_CHECKING

from viewer import startup
from viewer.errors import UserError
from viewer.export import cancellation
from viewer.model.plain_text import clean_text
from viewer.regions.joined_changes import join_changes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viewer.export.masks.cli import RegionsArguments
    from viewer.io.results import Results
    from viewer.regions.region import RegionSet


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake that the user can mend, 130 if it was stopped."""
    is_command = words is None
    words = list(sys.argv[1:] if words is None else words)
    startup.limit_threads()
    with cancellation.handle_signals(lambda: os._exit(130), restore=not is_command):
        from viewer.export.masks import cli

        try:
            return _run(cli.parse_arguments(words))
        except UserError as error:
            print(f"pi0-regions: {clean_text(str(error))}", file=sys.stderr)
            return 2
        except cancellation.Cancelled:
            print("pi0-regions: stopped; nothing was changed.", file=sys.stderr)
            return 130
        except BrokenPipeError:
            return 130


def _run(arguments: RegionsArguments) -> int:
    from viewer.analysis.probe import create_early_probe
    from viewer.io.open_file import find
    from viewer.io.results import Results
    from viewer.regions import file_versions

    path = arguments.regions or file_versions.default_path(arguments.file)
    if arguments.verb not in {"export", "list"}:
        file_versions.check_writable(path)
    probe = create_early_probe(find(arguments.file))
    try:
        with cancellation.interruptible():
            reason = probe.wait()
    finally:
        probe.stop()
    if reason:
        raise UserError(reason)
    if arguments.verb == "undo":
        file_versions.restore_previous(path)
        print(f"{path} is as it was before the last change; undo again to take this back.")
        return 0
    results = Results(probe.path)
    try:
        if arguments.verb in {"export", "list"}:
            return _describe_or_export(arguments, path, results)
        if arguments.verb in {"track", "import"}:
            return _find_masks(arguments, path, results)
        return _edit(arguments, path, results)
    finally:
        results.close()


def _describe_or_export(arguments: RegionsArguments, path: Path, results: Results) -> int:
    from viewer.export.masks import commands

    regions = _read_regions(path, results)
    is_export = arguments.verb == "export"
    for sentence in commands.export(regions, arguments) if is_export else commands.describe(regions, results):
        print(clean_text(sentence))
    if is_export:
        print(arguments.output)
    return 0


def _find_masks(arguments: RegionsArguments, path: Path, results: Results) -> int:
    """Track or import; what is found joins what the file then holds, as another program may change it meanwhile."""
    from viewer.export.masks import commands, track_command
    from viewer.export.progress import ProgressReporter
    from viewer.regions import file_versions, regions_file

    progress = ProgressReporter("frames", as_json=arguments.progress_lines)

    def report(done: int, total: int) -> None:
        progress.report(done, total)
        cancellation.check()

    regions = _read_regions(path, results, is_new_allowed=True)
    before = copy.deepcopy(regions)
    is_stopped = False
    try:
        act = track_command.track if arguments.verb == "track" else commands.import_masks
        for sentence in act(regions, results, arguments, report):
            if not arguments.progress_lines:
                print(clean_text(sentence))
    except cancellation.Cancelled:
        if arguments.verb != "track":
            raise
        is_stopped = True
    finally:
        progress.close()
    with file_versions.hold_folder(path):
        now = _read_regions(path, results, is_new_allowed=True)
        regions_file.replace_regions(path, join_changes(before, regions, now), results)
    if not arguments.progress_lines:
        print(path)
    if is_stopped:
        print("pi0-regions: stopped; the frames tracked so far are kept.", file=sys.stderr)
    return 130 if is_stopped else 0


def _edit(arguments: RegionsArguments, path: Path, results: Results) -> int:
    from viewer.export.masks import commands
    from viewer.regions import file_versions, regions_file

    with file_versions.hold_folder(path):
        regions = _read_regions(path, results)
        if arguments.verb == "rename":
            sentences = [commands.rename(regions, arguments.name, arguments.new)]
        elif arguments.verb == "colour":
            sentences = [commands.recolor(regions, arguments.name, arguments.new)]
        else:
            sentences = list(commands.remove(regions, results, arguments.removed))
        regions_file.replace_regions(path, regions, results)
    for sentence in (*sentences, str(path)):
        if not arguments.progress_lines:
            print(clean_text(sentence))
    return 0


def _read_regions(path: Path, results: Results, *, is_new_allowed: bool = False) -> RegionSet:
    from viewer.analysis.regions.regions_reading import read_checked_regions
    from viewer.regions.region import RegionSet

    if path.exists():
        return read_checked_regions(path, results)
    if is_new_allowed:
        return RegionSet(results.uuid)
    raise UserError(f"There is no file {path}; `pi0-regions track` and `import` make it.")


if __name__ == "__main__":
    sys.exit(main())
