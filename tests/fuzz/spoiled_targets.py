"""Commands whose target is spoiled: a full disk, a folder that is removed meanwhile, two runs on one target.

    sudo python tests/fuzz/spoiled_targets.py --count 5 --seed 1 --commands capture regions table effects

prints a line of JSON for each command and way: exit codes (2 is right, 1 where some episodes were written, 0 where it
had ended before or had room), `sentences`, tracebacks, files under their final name that cannot be read (`half`),
processes that run on (`running`), and after the same command was run again with room: its exit code (`again`, 0 is
right) and temporary files that are `left`. A full disk is a small tmpfs, which only root can mount.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Final

from effects_in_parts import start, with_timeout
from ended_commands import MARK, command_of, count_half, count_left_running, empty, list_temporary, write_run

COMMANDS: Final = ("capture", "regions", "table", "effects")
WAYS: Final = ("full", "removed", "two")
ROOM_KILOBYTES: Final = 512 << 10
"""Of a disk with room."""


def resize(folder: Path, kilobytes: int) -> None:
    """Give a mounted tmpfs another size."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


def used_kilobytes(folder: Path) -> int:
    """Return how much lies in a folder, rounded up to the pages of each file."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def note(tally: dict[str, Any], process: subprocess.Popen[str], place: Path, mark: str) -> None:
    """Add to a tally how a command ended."""
    try:
        _, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        tally["codes"]["hangs"] += 1
    tally["codes"][process.returncode] += 1
    if "Traceback" in errors:
        tally["tracebacks"].append(errors[-2500:].replace(str(place), "…"))
    if process.returncode:
        last = (errors.strip().splitlines() or [""])[-1]
        tally["sentences"][last.replace(str(place), "…")[:300]] += 1
    tally["running"] += count_left_running(mark)


def run_again(tally: dict[str, Any], name: str, place: Path) -> None:
    """Run a command with room until its end, and count what is wrong in what it leaves."""
    process = start(command_of(name, place))
    _, errors = process.communicate()
    tally["again"][process.returncode] += 1
    if process.returncode:
        last = (errors.strip().splitlines() or [""])[-1]
        tally["sentences"][f"again: {last.replace(str(place), '…')[:300]}"] += 1
    tally["half"] += count_half(place / "out")
    tally["left"] += list_temporary(place / "out")


def spoil(name: str, way: str, place: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """Spoil the target of a command `count` times, and return what happened."""
    out = place / "out"
    tally: dict[str, Any] = {"command": name, "way": way, "codes": Counter(), "sentences": Counter(), "tracebacks": [],
                             "half": 0, "running": 0, "again": Counter(), "left": []}  # fmt: skip
    out.mkdir(exist_ok=True)
    if way == "full":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_KILOBYTES}k", "tmpfs", str(out)], check=True)
    try:
        clear(name, place)
        before = used_kilobytes(out)
        begin = time.monotonic()
        run_again({"again": Counter(), "sentences": Counter(), "half": 0, "left": []}, name, place)
        seconds, needed = time.monotonic() - begin, used_kilobytes(out)
        for _ in range(count):
            clear(name, place)
            mark = uuid.uuid4().hex
            if way == "full":
                resize(out, max(4, before + int(rng.random() * 0.9 * (needed - before))))  # 0 would be any size
                note(tally, start(command_of(name, place), {MARK: mark}), place, mark)
                tally["half"] += count_half(out)
                resize(out, ROOM_KILOBYTES)
            elif way == "removed":
                process = start(command_of(name, place), {MARK: mark})
                with_timeout(process, rng.uniform(0.3, 1.0) * seconds)
                shutil.rmtree(out, ignore_errors=True)
                note(tally, process, place, mark)
                clear(name, place)
            else:
                processes = [start(command_of(name, place), {MARK: mark}) for _ in range(2)]
                for process in processes:
                    note(tally, process, place, mark)
                tally["half"] += count_half(out)
            run_again(tally, name, place)
    finally:
        if way == "full":
            subprocess.run(["umount", str(out)], check=True)
    return tally


def clear(name: str, place: Path) -> None:
    """Put the target back as it is before the first run; a mounted folder stays."""
    out = place / "out"
    if not out.is_mount():
        empty(name, place)
        return
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if name == "effects":
        shutil.copytree(place / "captured", out / "run")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_run(place, arguments.commands)
        for command in arguments.commands:
            for way in arguments.ways:
                print(json.dumps(spoil(command, way, place, arguments.count, rng)), flush=True)
                shutil.rmtree(place / "out", ignore_errors=True)


if __name__ == "__main__":
    main()
