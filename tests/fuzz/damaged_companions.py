"""Damaged files beside results files through the commands and the window: effects, regions, masks, runs and figures.

    python tests/fuzz/damaged_companions.py --count 1000 --seed 1 --keep /tmp/found --kinds effects regions

prints a line of JSON for each kind and target: files, how many the target opened, opened in some of its commands
(`partly`) or refused in a sentence, and what must not be: hangs (a step above CPU_LIMIT of its own or CLOCK_LIMIT), crashes and uncaught errors; `slowest` in
processor seconds of a step and `memory` in MB, without the processes that the target starts and ends by itself. The
seed decides every damage. Half of the files are whole as HDF5, JSON or Parquet, with contents that cannot be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent), str(Path(__file__).resolve().parent)]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from companion_cases import WRITERS, damage_file
from target_process import TargetProcess

TARGETS: Final = ("commands", "window")
COUNTED: Final = ("files", "opened", "partly", "refused", "hangs", "crashes", "uncaught")


def serve(kind: str, target: str) -> None:
    """Answer each path on standard input with `opened`, `refused`, or `uncaught` and an error."""
    answers = os.fdopen(os.dup(1), "w")  # commands and their children print to the other one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def note_step() -> None:
        answers.write("\n")
        answers.flush()

    answer: Callable[[Path], str]
    if target == "window":
        from companion_window import CompanionWindow

        answer = CompanionWindow(kind, note_step)
    else:
        from companion_commands import CompanionCommands

        answer = CompanionCommands(kind, note_step)
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(answer(Path(json.loads(line)))) + "\n")
        answers.flush()


def start_target(kind: str, target: str) -> TargetProcess:
    """Start the process of a target for one kind of files."""
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", kind, target]
    return TargetProcess(command, counts_children=False)


def run(kind: str, count: int, seed: int, targets: tuple[str, ...], keep: Path | None) -> dict[str, dict[str, Any]]:
    """Send `count` damaged files of a kind through the targets; return a tally for each."""
    rng = np.random.default_rng([seed, sorted(WRITERS).index(kind)])
    tallies: dict[str, dict[str, Any]] = {
        target: dict.fromkeys(COUNTED, 0) | {"slowest": 0.0, "memory": 0.0} for target in targets
    }
    children = {target: start_target(kind, target) for target in targets}
    with tempfile.TemporaryDirectory() as name:
        intact_folder = Path(name) / "whole"
        intact_folder.mkdir()
        with contextlib.redirect_stdout(None):  # what commands print
            case = WRITERS[kind](intact_folder)
        contents = {path: path.read_bytes() for path in case.victims}
        for target in targets:
            answer, _ = children[target].open(shutil.copytree(intact_folder, Path(name) / target))
            if answer != "opened":
                raise RuntimeError(f"{target}: {kind} without damage: {answer}")
        for number in range(count):
            victim = case.victims[int(rng.integers(len(case.victims)))]
            damage_file(victim, contents[victim], rng)
            for target in targets:
                target_folder = Path(name) / f"{target}{number}"
                shutil.copytree(case.folder, target_folder)
                answer, seconds = children[target].open(target_folder)
                outcome, tally = answer.split(maxsplit=1)[0], tallies[target]
                tally["files"] += 1
                tally["slowest"] = round(max(tally["slowest"], seconds), 2)
                tally["memory"] = round(max(tally["memory"], children[target].megabytes()))
                tally[{"hang": "hangs", "crash": "crashes"}.get(outcome, outcome)] += 1
                if outcome in ("hang", "crash", "uncaught") and keep is not None:
                    shutil.copytree(
                        case.folder, keep / f"{kind}-{target}-{outcome}-{seed}-{number}", dirs_exist_ok=True
                    )
                    where = f"{kind} {target} {victim.name} {seed}-{number}, {seconds:.1f} s"
                    print(f"{where}: {answer[:600]}", file=sys.stderr, flush=True)
                if outcome in ("hang", "crash"):
                    children[target].stop()
                    children[target] = start_target(kind, target)
                shutil.rmtree(target_folder, ignore_errors=True)
            victim.write_bytes(contents[victim])
    for child in children.values():
        child.stop()
    return tallies


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="files of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=sorted(WRITERS), default=list(WRITERS))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--keep", type=Path, help="folder for what did what must not be")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    for kind in arguments.kinds:
        targets = tuple(one for one in arguments.targets if (kind, one) != ("masks", "window"))  # it reads none of them
        for target, tally in run(kind, arguments.count, arguments.seed, targets, arguments.keep).items():
            print(json.dumps({"kind": kind, "target": target, **tally}), flush=True)


if __name__ == "__main__":
    main()
