"""Frames through a thread and through a second process: the same files, the same sentences, nothing lost."""

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

from capture import schema
from capture.errors import UserError
from capture.staging import Ring, Slot, room_for
from capture.writing import Place, WriterProcess, WriterThread, own_process_fits

SIZES = synthetic.SMALL
FRAMES = [synthetic.frame(SIZES, number) for number in range(SIZES.frames)]
OPTIONS = {"model": synthetic.MODEL, "generator": "test", "run": {"seed": 0}}
SINKS = [WriterThread, WriterProcess] if own_process_fits() else [WriterThread]

linux = pytest.mark.skipif(not own_process_fits(), reason="a process of its own needs Linux")


def intact(path: Path) -> int:
    with h5py.File(path) as file:
        done = int(file[schema.FRAMES_DONE][()])
        for number in range(done):
            for name, value in FRAMES[number].items():
                found = file[name][number]
                if isinstance(value, np.ndarray) and value.dtype == np.uint16:
                    np.testing.assert_array_equal(found, schema.from_bfloat16(value), err_msg=name)
                elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_array_equal(found, value, err_msg=name)
    return done


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie, which nobody may be left to bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sink", SINKS)
def test_two_files_at_once(sink: Any, tmp_path: Path) -> None:
    with sink() as writer:
        first, second = (writer.open(tmp_path / name, SIZES, OPTIONS).result() for name in ("a.h5", "b.h5"))
        assert first.number != second.number
        assert first.frames_done == second.frames_done == 0
        for number, frame in enumerate(FRAMES):
            for opened in (first, second):
                assert writer.write(opened.number, frame, None).result() == number + 1
        assert writer.finish(first.number, {}).result() == tmp_path / "a.h5"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5.partial"]  # the end leaves what is open
    assert intact(tmp_path / "a.h5") == intact(tmp_path / "b.h5.partial") == 3
    with sink() as writer:
        again = writer.open(tmp_path / "b.h5", SIZES, OPTIONS).result()
        assert again.frames_done == 3
        writer.finish(again.number, {}).result()
    assert intact(tmp_path / "b.h5") == 3


@pytest.mark.parametrize("sink", SINKS)
def test_what_goes_wrong_is_said_by_the_future(sink: Any, tmp_path: Path) -> None:
    with sink() as writer:
        with pytest.raises(UserError, match="does not exist; create it first"):
            writer.open(tmp_path / "no" / "a.h5", SIZES, OPTIONS).result()
        opened = writer.open(tmp_path / "a.h5", SIZES, OPTIONS).result()
        bad = FRAMES[0] | {schema.source_name("wrist"): np.zeros((9, 16, 3), np.uint8)}
        with pytest.raises(UserError, match="wrist picture is 9 x 16 x 3"):
            writer.write(opened.number, bad, None).result()
        with pytest.raises((ValueError, RuntimeError), match="0 of 3 frames"):
            writer.finish(opened.number, {}).result()
        writer.write(opened.number, FRAMES[0], None).result()
        assert writer.leave(opened.number).result() == 1
    assert intact(tmp_path / "a.h5.partial") == 1


@linux
def test_arrays_in_shared_memory_arrive_as_they_are(tmp_path: Path) -> None:
    ring = Ring(2, pinned=False)
    with WriterProcess() as writer:
        opened = writer.open(tmp_path / "a.h5", SIZES, OPTIONS).result()
        for frame in FRAMES:
            large = {
                name: value for name, value in frame.items() if isinstance(value, np.ndarray) and value.dtype != object
            }
            slot = ring.take(room_for([value.nbytes for value in large.values()]), lambda: False)
            assert slot is not None
            shared = {name: slot.copy(value) for name, value in large.items()}
            assert all(isinstance(slot.place(value), Place) for value in shared.values())
            writer.write(opened.number, frame | shared, slot).result()
            for value in shared.values():  # what comes after it may overwrite it
                value[...] = 0
            ring.give_back(slot)
        writer.finish(opened.number, {}).result()
    assert intact(tmp_path / "a.h5") == 3


@linux
def test_a_part_of_a_shared_array_is_found_by_its_strides() -> None:
    slot = Slot(1 << 16, pinned=False)
    whole = slot.copy(np.arange(120, dtype=np.float32).reshape(4, 5, 6))
    place = slot.place(whole[:, 1:3, ::2])
    assert place is not None
    memory = np.memmap(place.file, dtype=np.uint8, mode="r")
    found: Any = np.ndarray(place.shape, place.dtype, memory, place.offset, place.strides)
    assert np.array_equal(found, whole[:, 1:3, ::2])
    assert slot.place(np.zeros(3)) is None
    tensor = slot.like(torch.zeros(3, 4, dtype=torch.bfloat16))
    tensor.fill_(2)
    assert slot.place(tensor.view(torch.int16).numpy()) is not None
    with pytest.raises(ValueError, match="do not fit in a slot"):
        slot.copy(np.zeros(1 << 16, np.uint8))


@linux
def test_a_ring_waits_and_grows() -> None:
    ring = Ring(1, pinned=False)
    slot = ring.take(100, lambda: False)
    assert slot is not None
    assert ring.take(100, lambda: True) is None  # taken, and told not to wait
    ring.give_back(slot)
    larger = ring.take(10 * slot.size, lambda: False)
    assert larger is not None
    assert larger.size >= 10 * slot.size


@linux
def test_a_writer_that_is_killed_is_told_of_and_one_whose_master_is_gone_ends(tmp_path: Path) -> None:
    with WriterProcess() as writer:
        opened = writer.open(tmp_path / "a.h5", SIZES, OPTIONS).result()
        writer.write(opened.number, FRAMES[0], None).result()
        os.kill(writer._process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match="the process that writes the results has ended"):
            writer.write(opened.number, FRAMES[1], None).result()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import test_writing as t\n"
        "writer = t.WriterProcess()\n"
        "opened = writer.open(Path(sys.argv[1]) / 'a.h5', t.SIZES, t.OPTIONS).result()\n"
        "writer.write(opened.number, t.FRAMES[1], None).result()\n"
        "Path(sys.argv[1], 'pid').write_text(str(writer._process.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline, "the writer outlived its master"
        time.sleep(0.05)
    assert intact(tmp_path / "a.h5.partial") == 2
