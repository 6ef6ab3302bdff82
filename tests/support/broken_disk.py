"""Write a small results file repeatedly, with a disk failure one system call later each time.

Run with `broken_disk.c` preloaded: `broken_disk.py FOLDER MODE [STRIDE]`, with a MODE of `disk_break`, or `r` to kill a
run that resumes a killed one, or `s` to kill one that resumes a killed resume. Prints one JSON object per failure
point. After each failure the same run is repeated without failures and must complete. Every attempt and every
inspection of its file is a forked process, so that a crash or a hang of HDF5 is a result like any other.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import synthetic

from capture.errors import UserError
from capture.results import schema
from capture.results import writer as writer_module
from capture.results.hdf5_storage import Storage
from capture.results.resume import read_run_state
from capture.results.writer import ResultsWriter

SIZES = replace(synthetic.SMALL, frames=2, tokens=6, pictures=((9, 16), (9, 16)))
FRAMES = [synthetic.make_frame(SIZES, number, tokens=6 - number) for number in range(SIZES.frames)]
CHECKS = {schema.CHECK_ROW_SUM: 0.001, schema.CHECK_MASKED: 0.0}
RUN = {"seed": 0, "layers": [0, 1]}
HANG_SECONDS = 60
USER_ERROR = 2


def write(path: Path, output: int) -> int:
    """Write the file, and one byte to `output` for each finished frame. Returns the exit code."""
    original = Storage.store

    def store(self: Storage, frame: int, values: Any) -> None:
        original(self, frame, values)
        os.write(output, b".")

    Storage.store = store  # type: ignore[method-assign]
    writer_module.ask_run_state = read_run_state  # this process may crash; a second one would cost half a second
    try:
        with ResultsWriter(path, SIZES, model=synthetic.MODEL, generator="test", run=RUN) as writer:
            for frame in FRAMES[writer.frames_done :]:
                writer.write(frame)
            writer.finish(CHECKS)
    except UserError as error:
        os.write(output, str(error).encode())
        return USER_ERROR
    return 0


def inspect_file(path: Path) -> dict[str, Any]:
    """Return what a reader with h5py finds, compared with what was written."""
    try:
        file = h5py.File(path, "r", swmr=True)
    except OSError:
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            return {"unreadable": str(error)}
    with file:
        if schema.FRAMES_DONE not in file:
            return {"unreadable": "no counter"}
        done = int(file[schema.FRAMES_DONE][()])
        wrong = [
            f"{name} of frame {number}"
            for number in range(done)
            for name, value in FRAMES[number].items()
            if not is_equal_to_written(file[name], number, value)
        ]
        checks = json.loads(file.attrs["checks"])
        complete = bool(file.attrs["complete"])
    if checks not in ({}, CHECKS) or (complete and checks != CHECKS):
        wrong.append(f"checks are {checks}")
    return {"done": done, "wrong": wrong, "complete": complete}


def is_equal_to_written(dataset: h5py.Dataset, number: int, value: Any) -> bool:
    found = dataset[number]
    if dataset.dtype.kind == "S":
        expected = np.array([text.encode() for text in np.ravel(np.asarray(value, dtype=object))])
        return bool(np.array_equal(np.ravel(found)[: len(expected)], expected))
    expected = np.asarray(value)
    if expected.dtype == np.uint16:
        expected = schema.from_bfloat16(expected)
    return bool(np.array_equal(found[tuple(slice(size) for size in expected.shape)], expected))


def run_forked(task: Any, leave: Any = sys.exit) -> tuple[int, bytes]:
    """Return the exit code (negative for a signal) of a process that runs `task(descriptor)`, and its output."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has no threads when it forks
        child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(HANG_SECONDS)
        leave(task(writing))  # sys.exit goes through the interpreter's end, where HDF5 closes what is still open
    os.close(writing)
    output = b""
    while part := os.read(reading, 1 << 16):
        output += part
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def run_attempt(disk: ctypes.CDLL, folder: Path, mode: str, when: int, earlier: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the result of one run that fails at call number `when`, the file that it left, and the resumed run.

    `earlier` are, in modes `r` and `s`, the calls at which the runs before it were killed, one after another.
    """
    path = folder / f"{mode}{when}.h5"

    def run(output: int, mode: str = "k" if mode in "rs" else mode, when: int = when) -> int:
        disk.disk_break(ord(mode), when)
        code = write(path, output)
        if mode == "c":
            os.write(output, b"%d" % disk.disk_calls())
        return code

    def report(output: int) -> int:
        report_json = {"final": inspect_file(path)} if path.exists() else {}
        partial = path.with_name(path.name + schema.PARTIAL_SUFFIX)
        if partial.exists() and partial.stat().st_nlink == 1:
            report_json["partial"] = inspect_file(partial)
        os.write(output, json.dumps(report_json).encode())
        return 0

    for number in earlier:
        run_forked(lambda output, number=number: run(output, "k", number))
    code, run_output = run_forked(run)
    if mode == "c":
        return {"message": run_output.decode()}
    reader_code, report_json = run_forked(report, os._exit)
    resumed_code, resumed_output = (0, b"") if path.exists() else run_forked(lambda output: run(output, "c", 0))
    resumed_reader_code, resumed_report = run_forked(report, os._exit)
    for leftover in folder.iterdir():
        leftover.unlink()
    frames = len(run_output) - len(run_output.lstrip(b"."))
    outcome = {
        "when": when,
        "code": code,
        "reported_frames": frames,
        "message": run_output[frames:].decode(),
        "reader_code": reader_code,
    }
    outcome["resumed"] = {
        "code": resumed_code,
        "written": len(resumed_output) - len(resumed_output.lstrip(b".")),
        "message": resumed_output.decode(),
        "reader_code": resumed_reader_code,
        **(json.loads(resumed_report) if resumed_report else {}),
    }
    return outcome | (json.loads(report_json) if report_json else {})


def main() -> None:
    folder, mode, stride = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1
    disk = ctypes.CDLL(os.environ["LD_PRELOAD"])
    disk.disk_break.argtypes = [ctypes.c_int, ctypes.c_long]
    disk.disk_calls.restype = ctypes.c_long
    calls = int(run_attempt(disk, folder, "c", 0)["message"].lstrip("."))
    for old in folder.iterdir():
        old.unlink()
    gc.freeze()  # the collection at the end of each forked process is a third of its work otherwise
    rng = random.Random(calls)
    for when in range(1, calls + 1, stride):
        earlier: tuple[int, ...] = ()
        if mode in "rs":
            earlier = (calls * 3 // 4,)  # within the second of two frames
        if mode == "s":
            earlier = (*earlier, rng.randint(1, calls // 3))
        outcome = run_attempt(disk, folder, mode, when, earlier)
        print(json.dumps(outcome | {"earlier": earlier}))
        if outcome["code"] == 0 and mode in "rs":  # a resumed run makes fewer calls
            break


if __name__ == "__main__":
    main()
