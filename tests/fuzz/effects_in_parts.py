"""Effects of a run in several processes, and killed amid it: the same files as from one process, none lost.

    python tests/fuzz/effects_in_parts.py --kills 50 --seed 1

captures three episodes of the demo, measures their effects in one process, and again by torchrun, by two tasks as srun
starts them, and by two `--share`s; then ends runs over the folder by random signals at random moments and resumes them,
until all files are done. It prints a line of JSON for each: files that are missing or `different` (values or
attributes), files that two processes measured (`twice`), and of the ended runs `codes`, `lost` (a file or frame that
had been finished is gone) and `half` (a file under its final name is incomplete).
"""

from __future__ import annotations

import argparse
import json
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
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.effects.h5")):
        with h5py.File(path) as file:
            values: dict[str, Any] = {name: file.attrs[name] for name in file.attrs if name not in VOLATILE}

            def keep(name: str, item: Any, values: dict[str, Any] = values) -> None:
                if isinstance(item, h5py.Dataset):
                    values[name] = item[()]

            file.visititems(keep)
        found[path.name] = values
    return found


def count_differences(found: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> int:
    """Return how many files are missing, too many, or have other contents."""
    files = {*found, *wanted}
    return sum(not _are_equal(found.get(name, {}), wanted.get(name, {})) for name in files)


def _are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_is_same(one[name], other[name]) for name in one)


def _is_same(one: Any, other: Any) -> bool:
    is_number = np.asarray(one).dtype.kind == "f"
    return bool(np.array_equal(one, other, equal_nan=True) if is_number else np.array_equal(one, other))


def measure_in_parts(folder: Path, how: str) -> list[str]:
    """Measure the effects of a folder in two processes; return what each printed."""
    command = ["effects", str(folder), *MEASURES]
    if how == "torchrun":
        return finish(
            start(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "capture", *command])
        )
    if how == "srun":
        tasks = [{"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": task, "SLURM_LOCALID": task} for task in "01"]
        return finish(*(start(["-m", "capture", *command], task) for task in tasks))
    return finish(*(start(["-m", "capture", *command, "--share", f"{part}/2"]) for part in (1, 2)))


def compare_parts(run: Path, place: Path, wanted: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a tally of each way to start two processes."""
    tallies = []
    for how in ("torchrun", "srun", "share"):
        folder = copy_results(run, place / how)
        printed = "\n".join(measure_in_parts(folder, how))
        shares = [int(found) for found in re.findall(r"part \d of 2 \([^)]*\): (\d+) of", printed)]
        different = count_differences(read_effects(folder), wanted)
        # The first process reports for both where they can talk, else each for itself.
        measured = sum(int(found) for found in re.findall(r"effects of (\d+) files? measured", printed))
        left = [path.name for path in folder.iterdir() if path.name.endswith((".partial", ".lock"))]
        tallies.append({"how": how, "shares": shares, "different": different, "twice": measured - len(wanted),
                        "left": left})  # fmt: skip
    return tallies


def end_and_resume(
    run: Path, place: Path, wanted: dict[str, dict[str, Any]], kills: int, rng: random.Random, seconds: float
) -> dict[str, Any]:
    """End runs over a folder by signals at random moments, and resume each until its files are done."""
    tally: dict[str, Any] = {"how": "ended", "runs": 0, "codes": Counter(), "lost": 0, "half": 0, "different": 0,
                             "sentences": Counter(), "slowest_end": 0.0}  # fmt: skip
    ended = number = 0
    while ended < kills:
        folder = copy_results(run, place / f"ended{number}")
        number += 1
        finished: dict[str, dict[str, Any]] = {}
        while True:
            process = start(["-m", "capture", "effects", str(folder), *MEASURES])
            tally["runs"] += 1
            code = rng.choice(SIGNALS) if ended < kills else None
            if code is not None:
                with_timeout(process, rng.uniform(0, seconds))
                process.send_signal(code)
            begin = time.monotonic()
            _, errors = process.communicate(timeout=300)
            if process.returncode == 0:
                break
            assert code is not None, errors
            tally["slowest_end"] = round(max(tally["slowest_end"], time.monotonic() - begin), 2)
            ended += 1
            is_right = process.returncode == CODES[code]
            tally["codes"][f"{code.name} {process.returncode}{'' if is_right else ' wrong'}"] += 1
            if code != signal.SIGKILL:
                said = [line for line in errors.splitlines() if "stopped" in line or "Traceback" in line]
                tally["sentences"][" | ".join(said) or f"none: {errors[-300:]}"] += 1
            now = read_effects(folder)
            tally["half"] += sum(not values["complete"] for values in now.values())
            tally["lost"] += sum(name not in now for name in finished)
            finished = now
        tally["different"] += count_differences(read_effects(folder), wanted)
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
        place = Path(name)
        run = place / "run"
        capture_run(run)
        begin = time.monotonic()
        finish(start(["-m", "capture", "effects", str(run), *MEASURES]))
        seconds = time.monotonic() - begin
        wanted = read_effects(run)
        if arguments.parts:
            for tally in compare_parts(run, place, wanted):
                print(json.dumps(tally), flush=True)
        if arguments.kills:
            rng = random.Random(arguments.seed)
            print(json.dumps(end_and_resume(run, place, wanted, arguments.kills, rng, seconds * 1.1)), flush=True)


if __name__ == "__main__":
    main()
