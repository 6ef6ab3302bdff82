"""Commands ended by SIGINT and SIGTERM at random moments: exit code, one sentence, nothing half written.

    python tests/fuzz/ended_commands.py --count 50 --seed 1 --commands capture serve regions table

prints a line of JSON a command: exit codes by signal (130 is right, 0 where it had ended before; a signal before the
command has begun its work ends Python itself), the sentences that it ended with, tracebacks, files under their final
name that cannot be read (`half`), and the longest time from the signal to the end. The same folder is used for all runs
of a command, as a user would who resumes, and is emptied when a run ended by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import h5py
from effects_in_parts import DEMO, capture_run, finish, start, with_timeout

COMMANDS: Final = ("capture", "serve", "regions", "table")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
BEGINNING: Final = 0.3
"""Seconds in which a signal may still meet Python before the command's own code."""


def command_of(name: str, place: Path) -> list[str]:
    """Return the words of a command that writes into the folder `out` of `place`; `run` in it holds a small run."""
    out = place / "out"
    if name == "capture":
        return ["-m", "capture", "--checkpoint", str(DEMO), "--dataset", str(DEMO / "episodes"), "--frames", "0:2",
                "--layers", "3", "-o", str(out)]  # fmt: skip
    if name == "serve":
        return ["-m", "capture", "serve", "--checkpoint", str(DEMO), "--port", "0", "-o", str(out)]
    if name == "regions":
        return ["-m", "viewer.export.masks", "track", str(DEMO / "results.h5"), "thing=exterior:7-8,10@0", "--regions",
                str(out / "things.regions.h5")]  # fmt: skip
    return ["-m", "viewer.export", "table", str(place / "run"), "-o", str(out), "--processes", "2"]


def count_half(folder: Path) -> int:
    """Return how many files under their final name cannot be read as what they are."""
    half = 0
    for path in folder.rglob("*.h5"):
        try:
            with h5py.File(path, locking=False) as file:
                half += not file.attrs.get("complete", True)
        except OSError:
            half += 1
    for path in folder.rglob("*.csv"):
        half += not path.read_text().endswith("\n")
    return half


def end_command(name: str, place: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """End a command `count` times, and return what happened."""
    out = place / "out"
    tally: dict[str, Any] = {"command": name, "codes": Counter(), "sentences": Counter(), "tracebacks": 0, "half": 0,
                             "slowest_end": 0.0}  # fmt: skip
    out.mkdir(exist_ok=True)
    longest = 8.0
    if name != "serve":
        begin = time.monotonic()
        finish(start(command_of(name, place)))
        longest = time.monotonic() - begin
        shutil.rmtree(out)
        out.mkdir()
    for _ in range(count):
        process = start(command_of(name, place))
        number = rng.choice(SIGNALS)
        with_timeout(process, rng.uniform(BEGINNING, longest))
        process.send_signal(number)
        begin = time.monotonic()
        try:
            _, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
            tally["codes"]["hangs"] += 1
        tally["slowest_end"] = round(max(tally["slowest_end"], time.monotonic() - begin), 2)
        tally["codes"][f"{number.name} {process.returncode}"] += 1
        if process.returncode == 0:
            shutil.rmtree(out)
            out.mkdir()
            continue
        tally["tracebacks"] += "Traceback" in errors
        lines = errors.strip().splitlines() or [""]
        tally["sentences"][lines[-1].replace(str(place), "…")[:160]] += 1
        tally["half"] += count_half(out)
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if "table" in arguments.commands:
            capture_run(place / "run")
        for command in arguments.commands:
            print(json.dumps(end_command(command, place, arguments.count, rng)), flush=True)
            shutil.rmtree(place / "out")


if __name__ == "__main__":
    main()
