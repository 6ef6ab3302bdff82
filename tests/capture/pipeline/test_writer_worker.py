"""Frames written through a thread and through a second process: the same files and messages, and none lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic
import torch
from paths import ROOT, SUPPORT

from capture.errors import UserError
from capture.pipeline.frame_slicing import BatchRow
from capture.pipeline.shared_memory import ArrayLocation, BufferMappings, BufferRing, SharedBuffer, buffer_size
from capture.pipeline.worker_process import can_start_workers
from capture.pipeline.writer_worker import WriterProcess, WriterThread
from capture.results import schema

SIZES = synthetic.SMALL
FRAMES = [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)]
OPTIONS = {"model": synthetic.MODEL, "generator": "test", "run": {"seed": 0}}
SINKS = [WriterThread, WriterProcess] if can_start_workers() else [WriterThread]

linux = pytest.mark.skipif(not can_start_workers(), reason="a process of its own needs Linux")


def count_intact_frames(path: Path) -> int:
    with h5py.File(path) as file:
        done = int(file[schema.FRAMES_DONE][()])
        for number in range(done):
            for name, value in FRAMES[number].items():
                values = file[name][number]
                if isinstance(value, np.ndarray) and value.dtype == np.uint16:
                    np.testing.assert_array_equal(values, schema.from_bfloat16(value), err_msg=name)
                elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_array_equal(values, value, err_msg=name)
    return done


def write_frame(writer: Any, number: int, frame: schema.Frame) -> Any:
    """Write one frame as if a call of two had made it: attention and the path come from the call's arrays."""
    arrays = {
        name: np.stack([np.zeros_like(value), value])
        for name, value in frame.items()
        if name in (schema.ACTION_TO_IMAGE, schema.ACTION_X)
    }
    row = BatchRow(number, 1, {name: value for name, value in frame.items() if name not in arrays})
    return writer.write(arrays, [row], []).result()


def is_running(pid: int) -> bool:
    """Return whether the process runs and is no zombie, which may have no parent to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sink", SINKS)
def test_writer_writes_two_files_at_a_time(sink: Any, tmp_path: Path) -> None:
    with sink() as writer:
        first, second = (writer.open(tmp_path / name, SIZES, OPTIONS).result() for name in ("a.h5", "b.h5"))
        assert first.number != second.number
        assert first.frames_done == second.frames_done == 0
        for frame in FRAMES:
            for opened in (first, second):
                write_frame(writer, opened.number, frame)
        assert writer.finish(first.number, {}).result() == tmp_path / "a.h5"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5.partial"]  # the end leaves what is open
    assert count_intact_frames(tmp_path / "a.h5") == count_intact_frames(tmp_path / "b.h5.partial") == 3
    with sink() as writer:
        reopened = writer.open(tmp_path / "b.h5", SIZES, OPTIONS).result()
        assert reopened.frames_done == 3
        writer.finish(reopened.number, {}).result()
    assert count_intact_frames(tmp_path / "b.h5") == 3


@pytest.mark.parametrize("sink", SINKS)
def test_writer_futures_hold_errors(sink: Any, tmp_path: Path) -> None:
    with sink() as writer:
        with pytest.raises(UserError, match="does not exist; create it first"):
            writer.open(tmp_path / "no" / "a.h5", SIZES, OPTIONS).result()
        opened = writer.open(tmp_path / "a.h5", SIZES, OPTIONS).result()
        bad = FRAMES[0] | {schema.source_name("wrist"): np.zeros((9, 16, 3), np.uint8)}
        with pytest.raises(UserError, match="wrist picture is 9 x 16 x 3"):
            write_frame(writer, opened.number, bad)
        with pytest.raises((ValueError, RuntimeError), match="0 of 3 frames"):
            writer.finish(opened.number, {}).result()
        write_frame(writer, opened.number, FRAMES[0])
        assert writer.leave(opened.number).result() == 1
    assert count_intact_frames(tmp_path / "a.h5.partial") == 1


@linux
def test_writer_process_reads_arrays_from_shared_memory(tmp_path: Path) -> None:
    ring = BufferRing(2, pinned=False)
    of_call = (schema.ACTION_TO_IMAGE, schema.ACTION_X, schema.TEXT_MASS)
    with WriterProcess() as writer:
        files = [writer.open(tmp_path / name, SIZES, OPTIONS).result() for name in ("a.h5", "b.h5")]
        for frame in FRAMES:
            large = {
                name: np.stack([value, value]) if name in of_call else value
                for name, value in frame.items()
                if isinstance(value, np.ndarray) and value.dtype != object
            }
            slot = ring.take(buffer_size([value.nbytes for value in large.values()]), lambda: False)
            assert slot is not None
            shared = {name: slot.copy(value) for name, value in large.items()}
            assert all(isinstance(slot.locate(value), ArrayLocation) for value in shared.values())
            arrays = {name: shared.pop(name) for name in of_call}
            known = {name: value for name, value in (frame | shared).items() if name not in of_call}
            rows = [BatchRow(opened.number, row, known) for row, opened in enumerate(files)]
            writer.write(arrays, rows, [SharedBuffer(64, pinned=False), slot]).result()
            for value in (*shared.values(), *arrays.values()):  # what comes after it may overwrite it
                value[...] = 0
            ring.give_back(slot)
        for opened in files:
            writer.finish(opened.number, {}).result()
    assert count_intact_frames(tmp_path / "a.h5") == count_intact_frames(tmp_path / "b.h5") == 3


@linux
def test_mappings_of_freed_buffers_are_dropped() -> None:
    maps, slots = BufferMappings(), [SharedBuffer(1 << 16, pinned=False) for _ in range(2)]
    for number, slot in enumerate(slots):
        location = slot.locate(slot.copy(np.full(9, number)))
        assert location is not None
        assert maps.array(location).tolist() == [number] * 9
    slots[0].free()
    assert len(maps._mapped) == 2
    reused = SharedBuffer(1 << 16, pinned=False)  # the system gives it the number of the one that was freed
    location = reused.locate(reused.copy(np.full(9, 7)))
    assert location is not None
    assert maps.array(location).tolist() == [7] * 9
    assert len(maps._mapped) == 2


@linux
def test_strided_view_of_a_shared_array_is_located() -> None:
    slot = SharedBuffer(1 << 16, pinned=False)
    whole = slot.copy(np.arange(120, dtype=np.float32).reshape(4, 5, 6))
    location = slot.locate(whole[:, 1:3, ::2])
    assert location is not None
    assert np.array_equal(BufferMappings().array(location), whole[:, 1:3, ::2])
    assert slot.locate(np.zeros(3)) is None
    tensor = slot.like(torch.zeros(3, 4, dtype=torch.bfloat16))
    tensor.fill_(2)
    assert slot.locate(tensor.view(torch.int16).numpy()) is not None
    with pytest.raises(ValueError, match="do not fit in a buffer"):
        slot.copy(np.zeros(1 << 16, np.uint8))


@linux
def test_buffer_ring_waits_and_grows() -> None:
    ring = BufferRing(1, pinned=False)
    slot = ring.take(100, lambda: False)
    assert slot is not None
    assert ring.take(100, lambda: True) is None  # taken, and told not to wait
    ring.give_back(slot)
    larger = ring.take(10 * slot.size, lambda: False)
    assert larger is not None
    assert larger.size >= 10 * slot.size


@linux
def test_dead_writer_is_reported_and_orphaned_writer_ends(tmp_path: Path) -> None:
    with WriterProcess() as writer:
        opened = writer.open(tmp_path / "a.h5", SIZES, OPTIONS).result()
        write_frame(writer, opened.number, FRAMES[0])
        os.kill(writer.pid, signal.SIGKILL)
        with pytest.raises(UserError, match="the process that writes the results has ended"):
            write_frame(writer, opened.number, FRAMES[1])
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import test_writer_worker as t\n"
        "writer = t.WriterProcess()\n"
        "opened = writer.open(Path(sys.argv[1]) / 'a.h5', t.SIZES, t.OPTIONS).result()\n"
        "t.write_frame(writer, opened.number, t.FRAMES[1])\n"
        "Path(sys.argv[1], 'pid').write_text(str(writer.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(SUPPORT), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline, "the writer outlived its master"
        time.sleep(0.05)
    assert count_intact_frames(tmp_path / "a.h5.partial") == 2
