"""Command line of pi0-regions."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from viewer import startup
from viewer.errors import UserError
from viewer.export import cancellation
from viewer.model.plain_text import clean_text

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
    startup.one_thread()
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
    from viewer.analysis.probe import early
    from viewer.io.open_file import find
    from viewer.io.results import Results
    from viewer.regions import regions_file
    from viewer.regions.region import RegionSet

    probe = early(find(arguments.file))
    try:
        with cancellation.interruptible():
            reason = probe.wait()
    finally:
        probe.stop()
    if reason:
        raise UserError(reason)
    path = arguments.regions or regions_file.default_path(arguments.file)
    if arguments.verb == "undo":
        regions_file.restore_previous(path)
        print(f"{path} is as it was before the last change; undo again to take this back.")
        return 0
    results = Results(probe.path)
    try:
        if path.exists():
            regions = regions_file.read_regions(path, results)
        elif arguments.verb in {"track", "import"}:
            regions = RegionSet(results.uuid)
        else:
            raise UserError(f"There is no file {path}; `pi0-regions track` and `import` make it.")
        return _act(arguments, path, regions, results)
    finally:
        results.close()


def _act(arguments: RegionsArguments, path: Path, regions: RegionSet, results: Results) -> int:
    from viewer.export.masks import commands
    from viewer.export.progress import ProgressReporter
    from viewer.regions import regions_file

    progress = ProgressReporter("frames")

    def report(done: int, total: int) -> None:
        progress.report(done, total)
        cancellation.check()

    is_stopped = False
    try:
        if arguments.verb == "track":
            sentences = commands.track(regions, results, arguments, report)
        elif arguments.verb == "import":
            sentences = commands.import_masks(regions, results, arguments, report)
        elif arguments.verb == "export":
            sentences = commands.export(regions, arguments)
        elif arguments.verb == "remove":
            sentences = commands.remove(regions, results, arguments.removed)
        else:
            sentences = commands.describe(regions, results)
        for sentence in sentences:
            print(clean_text(sentence))
    except cancellation.Cancelled:
        if arguments.verb != "track":
            raise
        is_stopped = True
    finally:
        progress.close()
    if arguments.verb in {"track", "import", "remove"}:
        regions_file.replace_regions(path, regions, results)
        print(path)
    elif arguments.verb == "export":
        print(arguments.output)
    if is_stopped:
        print("pi0-regions: stopped; the frames tracked so far are kept.", file=sys.stderr)
    return 130 if is_stopped else 0


if __name__ == "__main__":
    sys.exit(main())
