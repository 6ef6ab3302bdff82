"""Run `pi0-capture effects` on a results file or on the folder of a run, and `--effects` after a capture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.cli.effects.options import build_parser, check_measures
from capture.errors import UserError
from capture.results.effects_schema import SUFFIX
from capture.results.schema import PARTIAL_SUFFIX

if TYPE_CHECKING:
    import argparse

    from capture.cli.effects.policy_source import PolicySource
    from capture.cli.progress import Console
    from capture.sharding import Shard


def run(name: str, arguments: Sequence[str], log: Callable[[str], None], print_output: Callable[[str], None]) -> int:
    """Run the command; return its exit code. Raises UserError for what the user can mend."""
    options = build_parser(name).parse_args(list(arguments))
    check_measures(options)
    from capture.cli.progress import Console
    from capture.sharding import resolve_shard

    share = resolve_shard(os.environ, options.share)
    is_folder = options.file.is_dir()
    if is_folder and options.output is not None:
        raise UserError("the effects of a run lie beside its results files; leave -o out")
    if not is_folder and share.count > 1:
        raise UserError(
            f"{share.origin} started {share.count} processes, but one effects file is written by one process; give the "
            "folder of a run to share out, or start one process"
        )
    with Console(log, quiet=not share.first) as console:
        console.stage("loading PyTorch")
        from capture.cli.effects.file_run import measure_file
        from capture.cli.effects.policy_source import PolicySource

        source = PolicySource(options, console, share.local)
        if is_folder:
            return measure_files(options, find_results(options.file), share, source, console, print_output)
        output = options.output or effects_path(options.file)
        report = measure_file(options, options.file, output, source, console, is_one_of_many=False)
        console.close()
        print_output("\n".join(report.lines))
        return 0


def effects_path(results: Path) -> Path:
    """Return the path of the effects file beside a results file."""
    stem = Path(results.name.removesuffix(PARTIAL_SUFFIX)).stem
    return results.with_name(f"{stem}{SUFFIX}")


def find_results(folder: Path) -> list[Path]:
    """Return the finished results files of a run's folder, in the order of its index.

    Raises UserError for a folder that is no run or has no finished file.
    """
    from capture.results.run_index import read_index

    index = read_index(folder)
    if index is None:
        raise UserError(f"{folder} is no folder of a run: it has no index.json; name a results file")
    paths = []
    for entry in index.get("episodes", []):
        name = entry.get("file") if isinstance(entry, dict) else None
        if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
            path = folder / name
            if path.is_file() and not path.is_symlink():
                paths.append(path)
    if not paths:
        raise UserError(
            f"no episode of {folder} is complete; wait until one is, or name an unfinished file (.h5{PARTIAL_SUFFIX})"
        )
    return paths


def measure_files(
    options: argparse.Namespace,
    files: Sequence[Path],
    share: Shard,
    source: PolicySource,
    console: Console,
    print_output: Callable[[str], None],
) -> int:
    """Measure this process's share of the files; return 0, 1 where some are left, 2 where none can be measured.

    Files whose effects were measured before with the same settings are skipped. Those that another run is writing are
    put off until the others are done, and left to it where it still writes them then.
    """
    from capture.cli.effects.file_run import measure_file
    from capture.effects.file_lock import FileIsBeingWrittenError
    from capture.pipeline.ranks import gather_from_ranks

    own_files = share.of(files)
    console.work = f"{len(own_files)} file{'s' * (len(own_files) != 1)}"
    if share.count > 1:
        console.log(
            f"part {share.number + 1} of {share.count} ({share.origin}): {len(own_files)} of {len(files)} files"
        )
    outcomes: list[tuple[str, str, str]] = []  # file, what became of it, why
    postponed: list[Path] = []

    def measure(path: Path) -> None:
        try:
            report = measure_file(options, path, effects_path(path), source, console, is_one_of_many=True)
        except FileIsBeingWrittenError:
            postponed.append(path)
            return
        except UserError as error:
            console.log(f"{path.name}: {error}")
            outcomes.append((path.name, "failed", str(error)))
            return
        if report.lines:
            console.log(report.lines[-1])
        outcomes.append((path.name, "skipped" if report.is_skipped else "measured", ""))

    for path in own_files:
        measure(path)
    retried, postponed = postponed, []
    for path in retried:  # the other run has finished them, was ended, or still writes them
        measure(path)
    outcomes += [(path.name, "busy", "") for path in postponed]
    console.close()
    all_outcomes = [outcome for outcomes_of_rank in gather_from_ranks(share, outcomes) for outcome in outcomes_of_rank]
    if share.first:
        print_output(_describe_outcomes(options, all_outcomes))
    count = Counter(what for _, what, _ in all_outcomes)
    if not count["failed"]:
        return 1 if count["busy"] else 0
    return 1 if count["measured"] or count["skipped"] or count["busy"] else 2


def _describe_outcomes(options: argparse.Namespace, outcomes: Sequence[tuple[str, str, str]]) -> str:
    """Return what became of the files in one line. `outcomes`: name, `measured`, `skipped`, `failed` or `busy`, why."""
    count = Counter(what for _, what, _ in outcomes)
    parts = [f"effects of {count['measured']} file{'s' * (count['measured'] != 1)} {_choose_verb(options)}"]
    if count["skipped"]:
        parts.append(f"{count['skipped']} measured before")
    if count["failed"]:
        name, _, reason = next(outcome for outcome in outcomes if outcome[1] == "failed")
        parts.append(f"{count['failed']} cannot be measured, {name} first: {reason}")
    if count["busy"]:
        name = next(outcome[0] for outcome in outcomes if outcome[1] == "busy")
        parts.append(
            f"{count['busy']} left to another run that is writing them, {name} first; repeat the command when it has "
            "ended"
        )
    return "; ".join(parts)


def _choose_verb(options: argparse.Namespace) -> str:
    return "would be measured" if options.dry_run else "measured"


def measure_captured(
    measures: argparse.Namespace,
    options: argparse.Namespace,
    files: Sequence[Path],
    share: Shard,
    loaded: tuple[Any, Any, Any, str],
    console: Console,
    print_output: Callable[[str], None],
) -> int:
    """Measure the effects of results files that were just captured, with their policy; `measures`: of `--effects`.

    `loaded`: checkpoint, device, policy (None where every frame was captured before) and number type of the capture.
    `files` are those of this process.
    """
    from capture.cli.effects.file_run import measure_file
    from capture.cli.effects.policy_source import PolicySource

    for name, value in (
        ("dtype", None),
        ("overwrite", options.overwrite),
        ("dry_run", False),
        ("progress_lines", False),
    ):
        setattr(measures, name, value)
    source = PolicySource(measures, console)
    source.use(*loaded)
    if options.dataset is not None:
        return measure_files(measures, files, share, source, console, print_output)
    [path] = files
    report = measure_file(measures, path, effects_path(path), source, console, is_one_of_many=True)
    console.close()
    print_output("\n".join(report.lines) or f"{report.output}: measured before")
    return 0
