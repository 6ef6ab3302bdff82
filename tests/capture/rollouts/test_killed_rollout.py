"""Rollouts whose process was killed: what of their files can be read, and what is said of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from rollouts import describe_toy_run, record_toy_call

from capture.cli.info import describe
from capture.errors import UserError
from capture.pipeline.frame_builder import build_frames
from capture.results import schema, superblock
from capture.results.read_access import open_for_reading
from capture.rollouts.writer import RolloutWriter
from viewer.io.results import Results

KILLED = """
import sys, time
from pathlib import Path
from rollouts import record_toy_call, describe_toy_run
from capture.rollouts.writer import RolloutWriter
writer = RolloutWriter(Path(sys.argv[1]), describe_toy_run())
stream = writer.open_stream("loop")
for number in range(10_000):
    stream.start_call("go").store(record_toy_call(number, "go"))
    writer.settle()
    print(number + 1, flush=True)
"""


def test_killed_process_loses_no_finished_frame(tmp_path: Path) -> None:
    support = Path(__file__).parents[2] / "support"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open_for_reading(tmp_path / "episode_000000.h5.partial") as file:
        done = int(file["frames/done"][()])
        assert done >= 5
        for number in range(done):
            [(frame, _)] = build_frames(record_toy_call(number, "go"))
            np.testing.assert_array_equal(file["action/to_image"][number], frame[schema.ACTION_TO_IMAGE])
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
    index = json.loads((tmp_path / schema.INDEX_NAME).read_text())
    assert [entry["frames"] for entry in index["episodes"]] == [None, 1]


def test_file_of_a_killed_process_is_described_without_the_frame_that_it_began(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("loop")
        for number in range(3):
            stream.start_call("go").store(record_toy_call(number, "go"))
        writer.settle()
        path = tmp_path / "copy.h5.partial"
        content = bytearray((tmp_path / "episode_000000.h5.partial").read_bytes())
        content[11] = 0  # the flags of a writer, which HDF5 refuses to open
        end = superblock.LENGTH - 4
        content[end : end + 4] = superblock.checksum(bytes(content[:end])).to_bytes(4, "little")
        path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for name in (schema.FRAMES_INDEX, schema.FRAMES_SEED):  # as a process leaves them that is killed meanwhile
            file[name].resize(4, axis=0)
    lines = describe(path).splitlines()
    assert lines[0].endswith(", not complete, 3 frames")
    assert lines[-3] == "open      its recording ended early, and nothing goes on with it; its frames are whole:"
    results = Results(path)
    assert results.done == 3
    results.close()


def test_file_of_a_process_killed_before_its_first_frame_says_so(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
        content = (tmp_path / "episode_000000.h5.partial").read_bytes()
    path = tmp_path / "early.h5.partial"
    path.write_bytes(content[:2048])
    with pytest.raises(UserError, match=r"early\.h5\.partial (holds no frame|is damaged, or its run ended before)"):
        describe(path)
