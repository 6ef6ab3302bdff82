"""Effects of a run in several processes, and killed amid it: the same files as from one process, none lost.

    python tests/fuzz/effects_in_parts.py --kills 50 --seed 1

captures three episodes of the demo, measures their effects in one process, and again by torchrun, by two tasks as srun
starts them, and by two `--share`s; then ends runs over the folder by random signals at random moments and resumes them,
until all files are done. It prints a line of JSON for each: files that are missing or `different` (values or
attributes), files that two processes measured (`twice`), and of the ended runs `codes`, `lost` (a file or frame that
had been finished is gone) and `half` (a file under its final name is incomplete).

Runs that are ended are forked from a process that has loaded PyTorch and transformers, which take four of the five
seconds of a run's processor time; `ended_commands.py` ends commands that start from nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

TESTS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = TESTS.parent
DEMO: Final = ROOT / "resources" / "demo"
MEASURES: Final = ("--region", "exterior:7-8,8-11", "--words", "the", "--controls", "3", "--seeds", "3")
SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES: Final = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 130, signal.SIGINT: 130}
"""Exit code of a run that each signal ends."""
VOLATILE: Final = frozenset({"uuid", "created"})
"""Attributes that differ from run to run."""
LOADED: Final = ["capture.cli.effects.file_run", "capture.cli.effects.policy_source", "capture.policies.pi05.model"]
"""Modules that a process has loaded before runs are forked from it."""
LONGEST: Final = 300.0
"""Seconds within which a run that is asked to end must have ended."""


def start(words: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command of Python in the project's folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**inherited, "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """Return what processes printed; RuntimeError where one failed."""
    printed = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, printed, strict=True):
        if process.returncode != 0:
            raise RuntimeError(f"exit code {process.returncode}: {errors[-2000:]}")
    return [output + errors for output, errors in printed]


def capture_run(folder: Path) -> None:
    """Capture two frames of each of the demo's three episodes."""
    finish(
        start([
            "-m", "capture", "--checkpoint", str(DEMO), "--dataset", str(DEMO / "episodes"), "--frames", "0:2",
            "--layers", "3", "-o", str(folder),
        ])
    )  # fmt: skip


def copy_results(run: Path, folder: Path) -> Path:
    """Copy the results files of a run, without effects, to a folder that does not exist."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("*.effects.h5*"))
    return folder


def read_effects(folder: Path) -> dict[str, dict[str, Any]]:
    """Return all datasets and attributes of the effects files of a folder, by their names."""
    effects: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.effects.h5")):
        with h5py.File(path) as file:
            values: dict[str, Any] = {name: file.attrs[name] for name in file.attrs if name not in VOLATILE}

            def keep(name: str, item: Any, values: dict[str, Any] = values) -> None:
                if isinstance(item, h5py.Dataset):
                    values[name] = item[()]

            file.visititems(keep)
        effects[path.name] = values
    return effects


def count_differences(actual: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> int:
    """Return how many files are missing, too many, or have other contents."""
    files = {*actual, *expected}
    return sum(not _are_equal(actual.get(name, {}), expected.get(name, {})) for name in files)


def _are_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(_is_same(first[name], second[name]) for name in first)


def _is_same(first: Any, second: Any) -> bool:
    is_number = np.asarray(first).dtype.kind == "f"
    return bool(np.array_equal(first, second, equal_nan=True) if is_number else np.array_equal(first, second))


def measure_in_parts(folder: Path, launcher: str) -> list[str]:
    """Measure the effects of a folder in two processes; return what each printed."""
    command = ["effects", str(folder), *MEASURES]
    if launcher == "torchrun":
        return finish(
            start(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "capture", *command])
        )
    if launcher == "srun":
        tasks = [{"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": task, "SLURM_LOCALID": task} for task in "01"]
        return finish(*(start(["-m", "capture", *command], task) for task in tasks))
    return finish(*(start(["-m", "capture", *command, "--share", f"{part}/2"]) for part in (1, 2)))


def compare_parts(run: Path, parent: Path, expected: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a tally of each way to start two processes."""
    tallies = []
    for launcher in ("torchrun", "srun", "share"):
        folder = copy_results(run, parent / launcher)
        printed = "\n".join(measure_in_parts(folder, launcher))
        shares = [int(number) for number in re.findall(r"part \d of 2 \([^)]*\): (\d+) of", printed)]
        different = count_differences(read_effects(folder), expected)
        # The first process reports for both where they can talk, else each for itself.
        measured = sum(int(number) for number in re.findall(r"effects of (\d+) files? measured", printed))
        left = [path.name for path in folder.iterdir() if path.name.endswith((".partial", ".lock"))]
        tallies.append({"how": launcher, "shares": shares, "different": different, "twice": measured - len(expected),
                        "left": left})  # fmt: skip
    return tallies


def measure_forked(folder: Path, errors: Path) -> None:
    """Run `pi0-capture effects` on a folder in this forked process, and end it with the command's exit code."""
    from capture.__main__ import main as run_capture

    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = io.TextIOWrapper(io.FileIO(1, "w")), io.TextIOWrapper(io.FileIO(2, "w"))
    sys.argv = ["pi0-capture", "effects", str(folder), *MEASURES]
    sys.exit(run_capture())


def start_forked(server: ForkServerContext, folder: Path, errors: Path) -> BaseProcess:
    """Start `pi0-capture effects` on a folder from a process that has loaded what it needs."""
    errors.write_text("")
    process = server.Process(target=measure_forked, args=(folder, errors))
    process.start()
    return process


def end_and_resume(
    run: Path, parent: Path, expected: dict[str, dict[str, Any]], kills: int, rng: random.Random
) -> dict[str, Any]:
    """End runs over a folder by signals at random moments, and resume each until its files are done."""
    os.environ["OMP_NUM_THREADS"] = "1"
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(LOADED)
    errors = parent / "errors"
    seconds = 0.0
    for _ in range(2):  # the first run also waits for what is loaded before it is forked
        folder = copy_results(run, parent / "whole")
        begin = time.monotonic()
        process = start_forked(server, folder, errors)
        process.join()
        seconds = time.monotonic() - begin
        if process.exitcode != 0 or count_differences(read_effects(folder), expected):
            raise RuntimeError(f"exit code {process.exitcode}: {errors.read_text()[-2000:]}")
        shutil.rmtree(folder)
    tally: dict[str, Any] = {"how": "ended", "runs": 0, "codes": Counter(), "lost": 0, "half": 0, "different": 0,
                             "sentences": Counter(), "slowest_end": 0.0}  # fmt: skip
    ended = number = 0
    while ended < kills:
        folder = copy_results(run, parent / f"ended{number}")
        number += 1
        finished: dict[str, dict[str, Any]] = {}
        while True:
            process = start_forked(server, folder, errors)
            tally["runs"] += 1
            code = rng.choice(SIGNALS) if ended < kills else None
            if code is not None:
                process.join(rng.uniform(0, 1.1 * seconds))
                if process.pid is not None and process.exitcode is None:
                    os.kill(process.pid, code)
            begin = time.monotonic()
            process.join(LONGEST)
            if process.exitcode is None:
                process.kill()
                raise RuntimeError(f"a run went on for {LONGEST:g} s after it was asked to end")
            if process.exitcode == 0:
                break
            printed = errors.read_text()
            assert code is not None, printed
            tally["slowest_end"] = round(max(tally["slowest_end"], time.monotonic() - begin), 2)
            ended += 1
            is_right = process.exitcode == CODES[code]
            tally["codes"][f"{code.name} {process.exitcode}{'' if is_right else ' wrong'}"] += 1
            if code != signal.SIGKILL:
                lines = [line for line in printed.splitlines() if "stopped" in line or "Traceback" in line]
                tally["sentences"][" | ".join(lines) or f"none: {printed[-300:]}"] += 1
            now = read_effects(folder)
            tally["half"] += sum(not values["complete"] for values in now.values())
            tally["lost"] += sum(name not in now for name in finished)
            finished = now
        tally["different"] += count_differences(read_effects(folder), expected)
        shutil.rmtree(folder)
    return tally


def with_timeout(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for some time, or until the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-parts", dest="parts", action="store_false", help="end runs alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        run = parent / "run"
        capture_run(run)
        finish(start(["-m", "capture", "effects", str(run), *MEASURES]))
        expected = read_effects(run)
        if arguments.parts:
            for tally in compare_parts(run, parent, expected):
                print(json.dumps(tally), flush=True)
        if arguments.kills:
            rng = random.Random(arguments.seed)
            print(json.dumps(end_and_resume(run, parent, expected, arguments.kills, rng)), flush=True)


if __name__ == "__main__":
    main()
