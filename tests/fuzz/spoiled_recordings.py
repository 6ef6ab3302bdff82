"""A policy server whose disk fills up or whose folder is removed while a client acts: answers go on, nothing is lost.

    sudo python tests/fuzz/spoiled_recordings.py --count 3 --seed 1

prints a line of JSON for each way: calls that were `answered` of those `asked`, `recorded` frames that the server
counted and `found` ones in its files, what it said (`sentences`), its exit codes, tracebacks, and recorded frames that
are not in a file that can be read (`lost`; those in a removed folder apart). A full disk is a tmpfs, which only root
can mount; room is made for the last third of the calls.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parents[2])]

from effects_in_parts import start
from policy_server import make_client_observation
from spoiled_targets import ROOM_KILOBYTES, resize, used_kilobytes
from websockets.sync.client import connect

from capture.results import schema
from capture.results.read_access import open_for_reading
from capture.serve.wire_format import pack, unpack

WAYS: Final = ("full", "removed")
CALLS: Final = 24
EPISODE_CALLS: Final = 4
STATE: Final = {
    "observation/joint_position": [0.1, -0.4, 0.3, -2.0, 0.1, 1.9, 0.7],
    "observation/gripper_position": [0.5],
}


def act(server: subprocess.Popen[str], lines: list[str], spoil: dict[int, Any]) -> int:
    """Call the server CALLS times; `spoil` holds what is done before which call. Return how many were answered."""
    assert server.stderr is not None
    address = None
    while address is None:
        line = server.stderr.readline()
        if not line:
            raise RuntimeError("".join(lines))
        lines.append(line)
        address = re.search(r"ws://127\.0\.0\.1:\d+", line)
    answered = 0
    with connect(address[0], max_size=None, compression=None) as client:
        unpack(client.recv(timeout=120))
        for call in range(CALLS):
            spoil.get(call, lambda: None)()
            wishes = {"pi0-capture": {"new_episode": call % EPISODE_CALLS == 0}}
            client.send(pack(make_client_observation(call, **STATE, **wishes)))
            answer = unpack(client.recv(timeout=120))
            answered += answer["actions"].ndim == 2
    return answered


def count_stored_frames(folder: Path) -> int:
    """Return the frames of all files in a folder that can be read, unfinished ones included."""
    count = 0
    for path in [*folder.glob("episode_*.h5"), *folder.glob("episode_*.h5" + schema.PARTIAL_SUFFIX)]:
        with open_for_reading(path) as file:
            count += int(file[schema.FRAMES_DONE][()])
    return count


def remove(folder: Path) -> None:
    """Remove the folder once a file of it has finished frames."""
    end = time.monotonic() + 10
    while not (folder.exists() and count_stored_frames(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def record(way: str, place: Path, rng: random.Random, tally: dict[str, Any]) -> None:
    """Serve once with a target that is spoiled, and note what happened."""
    out = place / "runs"
    out.mkdir()
    if way == "full":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_KILOBYTES}k", "tmpfs", str(out)], check=True)
    before = rng.randrange(1, CALLS // 2)
    if way == "full":
        extra = rng.choice((4, 64, 1024))
        spoil = {before: lambda: resize(out, used_kilobytes(out) + extra),
                 CALLS * 2 // 3: lambda: resize(out, ROOM_KILOBYTES)}  # fmt: skip
    else:
        spoil = {before: lambda: remove(out)}
    lines: list[str] = []
    server = start(["-m", "capture", "serve", "--demo", "--port", "0", "-o", str(out)])
    try:
        tally["asked"] += CALLS
        tally["answered"] += act(server, lines, spoil)
        server.send_signal(signal.SIGTERM)
        output, errors = server.communicate(timeout=60)
        lines += errors.splitlines(keepends=True)
        recorded = int(re.search(r"(\d+) of \d+ calls recorded", output)[1])  # type: ignore[index]
        found = count_stored_frames(out)
        tally["codes"][server.returncode] += 1
        tally["recorded"] += recorded
        tally["found"] += found
        tally["lost"] += max(0, recorded - found) if way == "full" else 0
        tally["sentences"].update(re.sub(r"episode_\d+", "episode_N", line.strip().replace(str(place), "…"))
                                  for line in [*lines, *(f"end: {line}" for line in output.splitlines())])  # fmt: skip
        if "Traceback" in "".join(lines):
            tally["tracebacks"].append("".join(lines)[-2500:])
    finally:
        server.kill()
        server.wait()
        if way == "full":
            subprocess.run(["umount", str(out)], check=True)
        shutil.rmtree(out, ignore_errors=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    for way in arguments.ways:
        tally: dict[str, Any] = {"way": way, "asked": 0, "answered": 0, "recorded": 0, "found": 0, "lost": 0,
                                 "codes": Counter(), "sentences": Counter(), "tracebacks": []}  # fmt: skip
        for _ in range(arguments.count):
            with tempfile.TemporaryDirectory() as name:
                record(way, Path(name), rng, tally)
        print(json.dumps(tally), flush=True)


if __name__ == "__main__":
    main()
