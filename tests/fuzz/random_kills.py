"""Kill runs and their resumes at random moments: no finished frame may be lost, and the final file is always the same.

    python tests/fuzz/random_kills.py --count 1000 --seed 1

prints one line of JSON: kills, those that met a file with finished frames, frames reported as finished, frames lost, final
files that differ. Every second kill comes after a share of a run's time, the others after a number of finished frames and
a share of a frame's time; the seed decides which. `test_broken_disk.py` kills at every system call instead.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parents[2])]

import h5py
import numpy as np
import synthetic

from capture.results import schema
from capture.results import writer as writer_module
from capture.results.dataset_layout import list_datasets
from capture.results.read_access import open_for_reading
from capture.results.resume import read_run_state
from capture.results.writer import ResultsWriter

SIZES = replace(synthetic.SMALL, frames=6)
FRAMES = [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)]
RUN = {"seed": 0, "layers": [0, 1]}
MOST_KILLS = 4
"""Kills of one file, one after another, before its run may end."""
TIMED_RUNS = 5
"""Runs whose median time scales the moments of the kills; the first run of a process is slower than all others."""


def write(path: Path, output: int) -> None:
    """Write or resume the file; one byte to `output` for each frame that is finished."""
    with ResultsWriter(path, SIZES, model=synthetic.MODEL, generator="test", run=RUN) as writer:
        reported = writer.frames_done
        os.write(output, b"." * reported)
        for number in range(reported, SIZES.frames):
            writer.write(FRAMES[number])
            os.write(output, b"." * (writer.frames_done - reported))
            reported = writer.frames_done
        writer.finish({schema.CHECK_ROW_SUM: 0.001})


def run_forked(path: Path, seconds: float | None, frames: int = 0) -> tuple[bool, int, float]:
    """Write in another process; return whether it was killed, the frames that it reported, and its time.

    It is killed `seconds` after it has reported `frames` finished frames, or never without `seconds`.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has no threads when it forks
        child = os.fork()
    start = time.monotonic()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            write(path, writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    reported = 0
    while reported < frames and (part := os.read(reading, frames - reported)):
        reported += len(part)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    while part := os.read(reading, 4096):
        reported += len(part)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the writer of {path} ended with {status}")
    return status != 0, reported, time.monotonic() - start


def count_done(path: Path) -> int:
    """Return the finished frames that a reader finds."""
    try:
        with open_for_reading(path) as file:
            return int(file[schema.FRAMES_DONE][()])
    except (OSError, KeyError):
        return 0


def content(path: Path) -> dict[str, bytes]:
    """Return the bytes of every dataset."""
    with h5py.File(path) as file:
        return {dataset.name: np.asarray(file[dataset.name][()]).tobytes() for dataset in list_datasets(SIZES)}


def run(count: int, seed: int) -> dict[str, Any]:
    """Kill `count` times; return what became of the files."""
    writer_module.ask_run_state = read_run_state  # a process for each look would take most of the time
    rng = random.Random(seed)
    tally = {"seed": seed, "kills": 0, "with_frames": 0, "files": 0, "reported": 0, "lost": 0, "different": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        durations = [run_forked(folder / f"whole {number}.h5", None)[2] for number in range(TIMED_RUNS)]
        duration = statistics.median(durations)
        expected = content(folder / "whole 0.h5")
        while tally["kills"] < count:
            path = folder / f"{tally['files']}.h5"
            partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
            finished = 0
            for _ in range(rng.randint(1, MOST_KILLS)):
                if rng.random() < 0.5:
                    moment, frames = rng.uniform(0, 1.1 * duration), 0
                else:
                    frames = rng.randint(1, SIZES.frames)
                    moment = rng.uniform(0, duration / SIZES.frames)
                was_killed, reported, _ = run_forked(path, moment, frames)
                if path.exists():
                    break
                tally["kills"] += was_killed
                tally["reported"] += max(0, reported - finished)
                finished = max(finished, reported)
                done = count_done(partial) if partial.exists() else 0
                tally["lost"] += max(0, finished - done)
                finished = max(finished, done)
                tally["with_frames"] += was_killed and done > 0
            if not path.exists():
                run_forked(path, None)
            tally["different"] += content(path) != expected
            tally["files"] += 1
            path.unlink()
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.count, arguments.seed)))


if __name__ == "__main__":
    main()
