"""What recording costs the answers of `pi0-capture serve`, and what a late disk costs the recordings.

    python tests/bench/serve_latency.py [--blocks 15] [--disk-seconds 2] [--pause 0]

The demo policy is served on loopback in another process. A client sends blocks of calls, recorded and not recorded in
turn, so that whatever else the machine does meets both; `--pause` is the time between two calls, in which a robot
carries out the actions. `--disk-seconds` delays each write of a frame. The ratio of the medians is what recording adds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from websockets.sync.client import connect

from capture.serve.wire_format import pack, unpack

SERVER = """
import sys, time
from capture.rollouts.episode_file import EpisodeFile
from capture.__main__ import main
plain, seconds = EpisodeFile.write, float(sys.argv.pop(1))
def write(file, *arguments):
    time.sleep(seconds)
    plain(file, *arguments)
EpisodeFile.write = write
sys.exit(main(sys.argv[1:]))
"""
BLOCK = 4


def observe(draw: np.random.Generator, size: tuple[int, int] = (720, 1280)) -> dict[str, object]:
    """Return an observation as DROID's client sends it, with random pictures of (height, width)."""
    return {
        "observation/exterior_image_1_left": draw.integers(0, 255, (*size, 3), dtype=np.uint8),
        "observation/wrist_image_left": draw.integers(0, 255, (*size, 3), dtype=np.uint8),
        "observation/joint_position": draw.normal(size=7) / 4,
        "observation/gripper_position": np.array([0.5]),
        "prompt": "put the duck in the bowl",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--disk-seconds", type=float, default=0.0)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVER, str(options.disk_seconds), "serve", "--demo", "--port", "0"]
        command += ["--on-request", "-o", folder]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        address = None
        while address is None:
            line = server.stderr.readline()
            match = re.search(r"ws://\S+:\d+", line)
            address = match[0] if match else None
            if not line:
                sys.exit("the server did not start")
        times: dict[bool, list[float]] = {True: [], False: []}
        dropped = 0
        with connect(address, max_size=None, compression=None) as client:
            client.recv()
            for block in range(2 * options.blocks):
                is_recorded = block % 2 == 0
                for _ in range(BLOCK):
                    message = pack({**observe(draw), "pi0-capture": {"record": is_recorded}})
                    start = time.perf_counter()
                    client.send(message)
                    answer = unpack(client.recv())
                    times[is_recorded].append(time.perf_counter() - start)
                    dropped += is_recorded and not answer["pi0-capture"]["recorded"]
                    time.sleep(options.pause)
        server.terminate()
        output, _ = server.communicate(timeout=120)
        rollouts = [json.loads(path.read_text()) for path in Path(folder).glob("index.json")]
    on, off = statistics.median(times[True]), statistics.median(times[False])
    quartiles = {kind: np.round(np.percentile(values, [25, 75]) * 1000).tolist() for kind, values in times.items()}
    print(f"recorded     {on * 1000:.0f} ms (quartiles {quartiles[True]}), {len(times[True])} calls, {dropped} dropped")
    print(f"not recorded {off * 1000:.0f} ms (quartiles {quartiles[False]})")
    print(f"ratio        {on / off:.3f}")
    print(output.strip(), len(rollouts[0]["episodes"]) if rollouts else 0, "episodes in the index")


if __name__ == "__main__":
    main()
