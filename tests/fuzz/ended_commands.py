"""Commands ended by signals at random moments: exit code, one sentence, nothing half written, nothing left running.

    python tests/fuzz/ended_commands.py --count 50 --seed 1 --commands capture serve regions table effects

prints a line of JSON a command: exit codes by signal (130 is right, -9 after SIGKILL, 0 where it had ended before; a
signal before Python runs the command's own code ends Python itself, and is not sent here), `wrong` ones among them, the sentences that it ended
with, tracebacks, files under their final name that cannot be read (`half`), finished files that are gone or have
changed (`lost`), processes that run on LEFT_SECONDS after it (`running`), temporary files that are still there after a
later run came to its end (`left`), and the longest time from the signal to the end. The same folder is used for all
runs of a command, as a user would who resumes, and is emptied when a run ended by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Final

import h5py
from effects_in_parts import DEMO, MEASURES, capture_run, finish, start, with_timeout

COMMANDS: Final = ("capture", "serve", "regions", "table", "effects")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
LEFT_SECONDS: Final = 5.0
"""After so long, no process that the command started may run."""
MARK: Final = "PI0_ENDED_COMMAND"
"""Environment variable by which the processes of a command are found."""
EPISODES: Final = 12
"""Of the run whose table is written."""


def command_of(name: str, parent: Path) -> list[str]:
    """Return the words of a command that writes into the folder `out` of `parent`; `run` in it holds a run."""
    out = parent / "out"
    if name == "capture":
        return ["-m", "capture", "--checkpoint", str(DEMO), "--dataset", str(DEMO / "episodes"), "--frames", "0:2",
                "--layers", "3", "-o", str(out)]  # fmt: skip
    if name == "serve":
        return ["-m", "capture", "serve", "--checkpoint", str(DEMO), "--port", "0", "-o", str(out)]
    if name == "regions":
        return ["-m", "viewer.export.masks", "track", str(DEMO / "results.h5"), "thing=exterior:7-8,10@0", "--regions",
                str(out / "things.regions.h5")]  # fmt: skip
    if name == "effects":
        return ["-m", "capture", "effects", str(out / "run"), *MEASURES]
    return ["-m", "viewer.export", "table", str(parent / "run"), "-o", str(out), "--processes", "2"]


def write_run(parent: Path, commands: list[str]) -> None:
    """Write the run that some commands read: more episodes for the table, which is fast."""
    if {"table", "effects"} & {*commands}:
        capture_run(parent / "captured")
    if "table" in commands:
        (parent / "run").mkdir()
        sources = [path for path in sorted((parent / "captured").glob("*.h5")) if "." not in path.stem]
        for number in range(EPISODES):
            shutil.copy(sources[number % len(sources)], parent / "run" / f"episode_{number:06d}.h5")


def empty(name: str, parent: Path) -> None:
    """Put the folder `out` back as it is before the first run."""
    out = parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if name == "effects":
        shutil.copytree(parent / "captured", out / "run")


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


def list_finished(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of the files under their final name, but for those that grow with a run."""
    finished = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in {".h5", ".csv"} and not path.name.startswith((".", "things")):
            state = path.stat()
            finished[path] = state.st_size, state.st_mtime_ns
    return finished


def list_temporary(folder: Path) -> list[str]:
    """Return the names of files that a finished command should not leave."""
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if ".partial" in name or (name.startswith(".") and name != ".lock")]


def wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Wait until a command handles SIGTERM, some 0.1 s after its start: until then, signals meet Python itself."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)


def find_running(mark: str) -> list[int]:
    """Return the ids of the processes that carry a mark in their environment."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_there = f"{MARK}={mark}".encode() in path.read_bytes()
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if is_there and state != "Z":
            processes.append(int(path.parent.name))
    return processes


def kill_left(mark: str) -> None:
    """Kill the processes that a command has left."""
    for process in find_running(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def count_left_running(mark: str) -> int:
    """Return how many processes still run after LEFT_SECONDS."""
    end = time.monotonic() + LEFT_SECONDS
    while (count := len(find_running(mark))) and time.monotonic() < end:
        time.sleep(0.05)
    return count


def is_right(number: signal.Signals, code: int) -> bool:
    """Return whether a command ended by a signal with the right exit code."""
    return code in ((0, -signal.SIGKILL) if number == signal.SIGKILL else (0, 130))


def end_command(name: str, parent: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """End a command `count` times, and return what happened."""
    out = parent / "out"
    tally: dict[str, Any] = {"command": name, "codes": Counter(), "wrong": 0, "sentences": Counter(), "tracebacks": [],
                             "half": 0, "lost": 0, "running": 0, "left": [], "slowest_end": 0.0}  # fmt: skip
    empty(name, parent)
    longest = 8.0
    if name != "serve":
        begin = time.monotonic()
        finish(start(command_of(name, parent)))
        longest = time.monotonic() - begin
        empty(name, parent)
    finished: dict[Path, tuple[int, int]] = list_finished(out)
    for _ in range(count):
        mark = uuid.uuid4().hex
        process = start(command_of(name, parent), {MARK: mark})
        number = rng.choice(SIGNALS)
        wait_for_handlers(process)
        with_timeout(process, rng.uniform(0, longest))
        process.send_signal(number)
        begin = time.monotonic()
        process.wait(120)
        ended = time.monotonic() - begin
        tally["running"] += count_left_running(mark)
        try:
            _, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            kill_left(mark)  # they hold the pipes
            _, errors = process.communicate()
            tally["codes"]["hangs"] += 1
        tally["slowest_end"] = round(max(tally["slowest_end"], ended), 2)
        tally["codes"][f"{number.name} {process.returncode}"] += 1
        tally["wrong"] += not is_right(number, process.returncode)
        tally["half"] += count_half(out)
        now = list_finished(out)
        tally["lost"] += sum(now.get(path) != state for path, state in finished.items())
        finished = now
        if process.returncode == 0:
            tally["left"] += list_temporary(out)
            empty(name, parent)
            finished = list_finished(out)
            continue
        if "Traceback" in errors:
            tally["tracebacks"].append(errors[-3000:].replace(str(parent), "…"))
        if number != signal.SIGKILL:
            lines = errors.strip().splitlines() or [""]
            tally["sentences"][lines[-1].replace(str(parent), "…")[:160]] += 1
    if name != "serve":  # the last one comes to its end
        finish(start(command_of(name, parent)))
        tally["half"] += count_half(out)
    tally["left"] += list_temporary(out)
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        write_run(parent, arguments.commands)
        for command in arguments.commands:
            print(json.dumps(end_command(command, parent, arguments.count, rng)), flush=True)
            shutil.rmtree(parent / "out")


if __name__ == "__main__":
    main()
