from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import synthetic
from paths import ROOT, SUPPORT
from results_writing import FRAMES, SIZES, count_intact_frames, open_writer, write_and_interrupt

from capture.errors import UserError
from capture.results import schema
from capture.results.hdf5_storage import CHECKS_BYTES, Storage
from capture.results.writer import MAX_PENDING_FRAMES, ResultsWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent


def all_written(results: ResultsWriter, frames: list[schema.Frame]) -> None:
    """Write the frames and leave."""
    with results:
        for frame in frames:
            results.write(frame)


# A whole run


def test_finish_leaves_one_complete_file(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5") as results:
        assert results.partial_path == tmp_path / "a.h5.partial"
        assert results.partial_path.exists()
        for frame in FRAMES:
            results.write(frame)
        assert results.finish({schema.CHECK_TIME: 1.02, schema.CHECK_ROW_SUM: float("nan")}) == tmp_path / "a.h5"
        assert results.frames_done == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert count_intact_frames(tmp_path / "a.h5") == 3
    with h5py.File(tmp_path / "a.h5") as file:
        assert bool(file.attrs["complete"])
        assert json.loads(file.attrs["checks"]) == {"time_ratio": 1.02, "row_sum_error": "nan"}
        assert file.id.get_filesize() == (tmp_path / "a.h5").stat().st_size  # nothing that was reserved is left over


def test_written_file_passes_the_format_check(tmp_path: Path, shared: Path) -> None:
    with open_writer(tmp_path / "a.h5") as results:
        for number in range(SIZES.frames):
            results.write(synthetic.make_frame(SIZES, number, tokens=SIZES.tokens - 3 * number))
        results.finish({})
    command = [sys.executable, str(shared / "check_results.py"), str(tmp_path / "a.h5")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.startswith("ok: 3 of 3 frames, 2 layers, 2 heads, 2 steps, 3 actions, 16 text tokens")


def test_interrupted_writer_keeps_finished_frames(tmp_path: Path) -> None:
    results = open_writer(tmp_path / "a.h5")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(results, 2)
    assert results.frames_done == 2
    assert list(tmp_path.iterdir()) == [results.partial_path]
    assert count_intact_frames(results.partial_path) == 2  # opens plainly: it was closed
    with h5py.File(results.partial_path) as file:
        assert not file.attrs["complete"]
        assert json.loads(file.attrs["checks"]) == {}


def test_interrupted_writer_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5"), 0)
    with open_writer(tmp_path / "a.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_partial_file_is_not_marked_complete(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5") as results:
        results.write(FRAMES[0])
        with pytest.raises(ValueError, match="1 of 3 frames"):
            results.finish({})
    assert not (tmp_path / "a.h5").exists()
    assert count_intact_frames(results.partial_path) == 1


def test_too_many_frames_or_too_large_checks_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5") as results:
        for frame in FRAMES:
            results.write(frame)
        with pytest.raises(ValueError, match="made for 3 frames"):
            results.write(FRAMES[0])
        with pytest.raises(ValueError, match="checks take"):
            results.finish({"long": "x" * CHECKS_BYTES})
        results.finish({"long": "x" * (CHECKS_BYTES - 12)})
    assert count_intact_frames(tmp_path / "a.h5") == 3


# Other files


def test_existing_file_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("old")
    with pytest.raises(UserError, match="--overwrite"):
        open_writer(tmp_path / "a.h5")
    results = open_writer(tmp_path / "a.h5", overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(results, 1)
    assert (tmp_path / "a.h5").read_text() == "old"
    assert count_intact_frames(results.partial_path) == 1
    with open_writer(tmp_path / "a.h5", overwrite=True) as results:
        for frame in FRAMES:
            results.write(frame)
        assert (tmp_path / "a.h5").read_text() == "old"
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


def test_finish_does_not_replace_a_file_that_appeared_meanwhile(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5") as results:
        for frame in FRAMES:
            results.write(frame)
        (tmp_path / "a.h5").write_text("theirs")
        with pytest.raises(UserError, match="appeared while"):
            results.finish({})
    assert (tmp_path / "a.h5").read_text() == "theirs"
    assert count_intact_frames(results.partial_path) == 3
    with h5py.File(results.partial_path) as file:
        assert file.attrs["complete"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_two_writers_never_share_a_file(tmp_path: Path, overwrite: bool) -> None:
    with open_writer(tmp_path / "a.h5") as first:
        with pytest.raises(UserError, match="is being written by another run"):
            open_writer(tmp_path / "a.h5", overwrite=overwrite)
        for frame in FRAMES:
            first.write(frame)
        first.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


@pytest.mark.parametrize("names", [("a/b",), ("",), (".",), ("a\n",), ("left", "left")])
def test_invalid_camera_names_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    sizes = replace(SIZES, cameras=names, pictures=((36, 64),) * len(names))
    with pytest.raises(UserError, match="camera"):
        open_writer(tmp_path / "a.h5", sizes)
    assert not list(tmp_path.iterdir())


def test_write_without_background_stores_the_frame_before_it_returns(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5", background=False) as results:
        for number, frame in enumerate(FRAMES):
            results.write(frame)
            assert results.frames_done == number + 1
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


# Frames that do not fit


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({schema.source_name("wrist"): np.zeros((9, 16, 3), np.uint8)}, UserError, "wrist picture is 9 x 16 x 3, but"),
        ({schema.FRAMES_PROMPT: "ä" * 2049}, UserError, "takes 4098 bytes, and this file has room for 4096"),
        ({schema.FRAMES_PROMPT: "\udc80"}, UserError, "not valid text"),
        ({schema.FRAMES_PROMPT: 7}, TypeError, "holds int in this frame; expected str"),
        ({schema.FRAMES_INDEX: 1.5}, TypeError, "frames/index holds float64"),
        ({schema.FRAMES_SEED: 2**63}, ValueError, "frames/seed holds values outside"),
        ({schema.FRAMES_STATE: np.zeros(3, np.float32)}, ValueError, r"frames/state has shape \(3,\).*expected \(2,\)"),
        ({schema.TEXT_ROLE: np.full(16, 6)}, ValueError, "text/role holds values outside 0 … 5"),
        ({schema.TEXT_ID: np.full(16, 2**31)}, ValueError, "text/id holds values outside"),
        ({schema.TEXT_ID: np.zeros(17, np.int32)}, ValueError, "17 text tokens; the file was made for 1 to 16"),
        ({schema.TEXT_WORD: np.zeros(15, np.int32)}, ValueError, "text/word has shape"),
        ({schema.TEXT_TO_TEXT: np.zeros((2, 16, 2, 16), np.complex64)}, TypeError, "holds complex64"),
        ({"text/of_mine": 0}, ValueError, "has no dataset text/of_mine"),
        ({schema.FRAMES_DONE: 7}, ValueError, "has no dataset frames/done"),
        ({schema.ACTION_X: None}, ValueError, "lacks action/x"),
    ],
)
def test_invalid_frame_is_reported_and_others_are_kept(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    frame = {name: value for name, value in (FRAMES[1] | change).items() if value is not None}
    with open_writer(tmp_path / "a.h5") as results:
        results.write(FRAMES[0])
        with pytest.raises(error, match=sentence):
            results.write(frame)
        results.write(FRAMES[1])
        results.write(FRAMES[2])
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


# The background thread


def replaced_store(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> None:
    original = Storage.store

    def store(self: Storage, frame: int, values: Mapping[str, Any]) -> None:
        before(frame)
        original(self, frame, values)

    monkeypatch.setattr(Storage, "store", store)


def test_frames_are_written_by_one_thread_with_few_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = replace(SIZES, frames=12)
    threads, ahead, submitted = set(), [], 0

    def before(frame: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.02)  # a slow disk; without a bound all frames would be given by now
        ahead.append(submitted - frame)

    replaced_store(monkeypatch, before)
    with open_writer(tmp_path / "a.h5", sizes) as results:
        for _ in range(12):
            results.write(FRAMES[0])
            submitted += 1
        results.finish({})
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert max(ahead) <= MAX_PENDING_FRAMES


def test_failed_frame_stops_the_following_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def before(frame: int) -> None:
        if frame == 1:
            raise OSError(28, "No space left on device")

    replaced_store(monkeypatch, before)
    sentence = r"frame 1 could not be written: no space left on device; finished frames \(1\) stay in .*\.h5\.partial"
    with pytest.raises(UserError, match=sentence):
        all_written(open_writer(tmp_path / "a.h5", replace(SIZES, frames=9)), [*FRAMES, *FRAMES, *FRAMES])
    with open_writer(tmp_path / "b.h5") as results:
        for frame in FRAMES[:2]:
            results.write(frame)
        for _ in range(2):
            with pytest.raises(UserError, match=sentence):
                results.finish({})
            with pytest.raises(UserError, match=sentence):
                results.write(FRAMES[2])
    for name in ("a.h5.partial", "b.h5.partial"):
        assert count_intact_frames(tmp_path / name) == 1
    assert not (tmp_path / "a.h5").exists()


def test_failure_is_raised_on_exit_without_another_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def before(_: int) -> None:
        raise OSError(5, "Input/output error")

    replaced_store(monkeypatch, before)
    with pytest.raises(UserError, match="frame 0 could not be written: input/output error"):
        all_written(open_writer(tmp_path / "a.h5"), FRAMES[:1])
    assert not list(tmp_path.iterdir())


# A full disk, a reader at the same time

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import synthetic, test_writer
from capture.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with test_writer.open_writer(Path(sys.argv[1])) as results:
        for frame in test_writer.FRAMES:
            results.write(frame)
        results.finish({})
except UserError as error:
    print(error)
    sys.exit(2)
"""


def in_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(HERE), str(SUPPORT), str(ROOT)])
    command = [sys.executable, "-c", code, *arguments]
    variables = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=300)


def test_full_disk_is_reported_and_finished_frames_are_kept(tmp_path: Path) -> None:
    with open_writer(tmp_path / "whole.h5") as results:
        for frame in FRAMES:
            results.write(frame)
        results.finish({})
    whole = (tmp_path / "whole.h5").stat().st_size

    ended = in_python(FULL_DISK, str(tmp_path / "a.h5"), str(whole + (1 << 20)))
    assert ended.returncode == 2, ended.stderr
    assert "could not be written: file too large; finished frames (" in ended.stdout
    assert not ended.stderr
    done = count_intact_frames(tmp_path / "a.h5.partial")  # opens plainly: it was closed
    assert done in (1, 2)
    assert (tmp_path / "a.h5.partial").stat().st_size < whole

    ended = in_python(FULL_DISK, str(tmp_path / "b.h5"), "200000")
    assert ended.returncode == 2, ended.stderr
    assert "b.h5.partial cannot be written: file too large" in ended.stdout
    assert not ended.stderr
    assert not (tmp_path / "b.h5.partial").exists()


FOLLOWER = """
import sys, time
import h5py, numpy as np
import test_writer
from capture.results import schema
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    seen = 0
    print("open", flush=True)
    while seen < 3:
        file[schema.FRAMES_DONE].refresh()
        done = int(file[schema.FRAMES_DONE][()])
        for number in range(seen, done):
            for name, value in test_writer.FRAMES[number].items():
                file[name].refresh()
                found = file[name][number]
                if file[name].dtype.kind == "S":
                    value = np.array([text.encode() for text in np.ravel(np.asarray(value, dtype=object))])
                    found = np.ravel(found)
                elif np.asarray(value).dtype == np.uint16:
                    value = schema.from_bfloat16(value)
                assert np.array_equal(found, value), (name, number)
            print(number, flush=True)
        seen = done
        time.sleep(0.001)
"""


def test_reader_follows_a_running_writer(tmp_path: Path) -> None:
    path = os.pathsep.join([str(HERE), str(SUPPORT), str(ROOT)])
    with open_writer(tmp_path / "a.h5") as results:
        command = [sys.executable, "-c", FOLLOWER, str(results.partial_path)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, **pipes) as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            line = follower.stdout.readline()
            assert line == "open\n", follower.stderr.read()
            for number, frame in enumerate(FRAMES):
                results.write(frame)  # the next one only after the reader has seen this one
                assert follower.stdout.readline() == f"{number}\n", follower.stderr.read()
            assert follower.wait(60) == 0, follower.stderr.read()
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


@pytest.mark.parametrize("background", [True, False])
def test_removed_file_is_reported_at_the_next_frame(tmp_path: Path, background: bool) -> None:
    with (
        pytest.raises(UserError, match="was removed while this run was writing it, and its frames are lost"),
        open_writer(tmp_path / "a.h5", background=background) as results,
    ):
        results.write(FRAMES[0])
        while results.frames_done < 1:
            time.sleep(0.002)
        results.partial_path.unlink()
        results.write(FRAMES[1])
        results.write(FRAMES[2])
    assert not list(tmp_path.iterdir())


def test_file_that_is_removed_before_its_end_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was removed while"), open_writer(tmp_path / "a.h5") as results:
        for frame in FRAMES:
            results.write(frame)
        results.seal({})
        results.partial_path.unlink()
        results.publish()
    assert not list(tmp_path.iterdir())
