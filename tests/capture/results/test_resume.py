"""A run that stopped and is gone on with: its own file, frame by frame, and no other run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic
from results_writing import FRAMES, SIZES, count_intact_frames, open_writer, write_and_interrupt

from capture.errors import UserError
from capture.results import schema, superblock
from capture.results.resume import describe_difference

RUN = {"seed": 0, "layers": [0, 1], "weights": "a" * 64}


def bits(path: Path, done: int) -> dict[str, bytes]:
    """The stored bytes of the first frames, and the attributes."""
    with h5py.File(path) as file:
        values = {name: file[name][:done].tobytes() for name in synthetic.make_frame(SIZES, 1)}
        return values | {name: str(value).encode() for name, value in file.attrs.items() if name != "checks"}


def test_same_run_continues_after_the_last_finished_frame(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    before = bits(tmp_path / "a.h5.partial", 2)
    with open_writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 2
        assert results.earlier_row_sum_error < 1e-6
        results.write(FRAMES[2])
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3
    after = bits(tmp_path / "a.h5", 2)
    assert after.pop("complete") == b"True"
    assert before.pop("complete") == b"False"
    assert before == after  # the uuid and the time among them


def test_resuming_and_stopping_again_keeps_finished_frames(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    for _ in range(3):
        with open_writer(tmp_path / "a.h5", run=RUN) as results:
            assert results.frames_done == 2
        assert count_intact_frames(tmp_path / "a.h5.partial") == 2


def test_errors_of_a_resumed_run_name_the_frame_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    with open_writer(tmp_path / "a.h5", run=RUN) as results:
        with pytest.raises(UserError, match="frame 2: the wrist picture is"):
            results.write(FRAMES[2] | {schema.source_name("wrist"): np.zeros((9, 16, 3), np.uint8)})
        results.write(FRAMES[2])
        with pytest.raises(ValueError, match="made for 3 frames"):
            results.write(FRAMES[2])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 7}, "--seed was 0 and is now 7"),
        ({"layers": [0]}, "--layers was 0,1 and is now 0"),
        ({"weights": "b" * 64}, "the checkpoint's weights changed"),
        ({"weights": "b" * 64, "seed": 7}, "the checkpoint's weights changed"),
        ({"full": True}, "--full changed"),
    ],
)
def test_another_run_is_refused_and_the_file_unchanged(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    before = (tmp_path / "a.h5.partial").read_bytes()
    with pytest.raises(UserError, match=f"was begun by another run, .*: {sentence}; .*--overwrite"):
        open_writer(tmp_path / "a.h5", run=RUN | change)
    assert (tmp_path / "a.h5.partial").read_bytes() == before
    with open_writer(tmp_path / "a.h5", run=RUN | change, overwrite=True) as results:
        assert results.frames_done == 0


def test_partial_file_without_a_run_is_refused_and_unchanged(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5"), 2)
    with pytest.raises(UserError, match="it does not state its run"):
        open_writer(tmp_path / "a.h5", run=RUN)
    assert count_intact_frames(tmp_path / "a.h5.partial") == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\x89HDF\r\n\x1a\n torn", "flag of creation"])
def test_unreadable_file_that_can_hold_no_frame_is_begun_again(tmp_path: Path, content: bytes | str) -> None:
    if isinstance(content, str):
        with h5py.File(tmp_path / "other.h5", "w", libver=("v110", "v110")):
            content = (tmp_path / "other.h5").read_bytes()
            assert content[11] == superblock.WRITER
    (tmp_path / "a.h5.partial").write_bytes(content)
    with open_writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 0
    assert not list(tmp_path.glob("a*"))


@pytest.mark.parametrize("flags", [0, 5])
@pytest.mark.parametrize(("start", "stop"), [(0, 4096), (4096, 40_000), (48, 4096), (40_000, 60_000)])
def test_torn_partial_file_with_frames_is_refused_and_unchanged(
    tmp_path: Path, flags: int, start: int, stop: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    partial = tmp_path / "a.h5.partial"
    torn = bytearray(partial.read_bytes())
    torn[: superblock.LENGTH] = with_flags(torn, flags)
    torn[start:stop] = bytes(stop - start)
    partial.write_bytes(torn)
    with pytest.raises(UserError, match="is damaged and cannot be continued; move it away"):
        open_writer(tmp_path / "a.h5", run=RUN)
    assert partial.read_bytes() == torn


def test_file_left_with_the_flag_of_a_reopening_writer_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    partial = tmp_path / "a.h5.partial"
    left = bytearray(partial.read_bytes())
    left[: superblock.LENGTH] = with_flags(left, superblock.WRITER)
    partial.write_bytes(left)
    with pytest.raises(OSError, match="not already open for SWMR writing"):
        h5py.File(partial, "r", swmr=True)
    with open_writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 2
        results.write(FRAMES[2])
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


def with_flags(content: bytes | bytearray, flags: int) -> bytes:
    """Return the file's superblock with other consistency flags."""
    block = bytearray(content[: superblock.LENGTH])
    block[11] = flags
    block[-4:] = superblock.checksum(bytes(block[:-4])).to_bytes(4, "little")
    return bytes(block)


def test_file_without_swmr_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: h5py.File, value: bool) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patched:
        patched.setattr(h5py.File, "swmr_mode", property(lambda self: False, refused))
        with pytest.raises(KeyboardInterrupt):
            write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN), 2)
    with open_writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 2
        results.write(FRAMES[2])
        results.finish({})
    assert count_intact_frames(tmp_path / "a.h5") == 3


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, "b was y and is now z"),
        ({"a": "x"}, {"a": "x", "b": "z"}, "b changed"),
        ({"a": "x"}, {"a": "x"}, None),
        (None, {"a": "x"}, None),  # a run of format 1.0 does not state its input
    ],
)
def test_a_run_that_shows_the_model_something_else_is_named(before, now, sentence) -> None:
    earlier = dict(RUN) if before is None else RUN | {"input": before}
    assert describe_difference(earlier, RUN | {"input": now}) == sentence


def test_resuming_keeps_the_first_runs_provenance(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(open_writer(tmp_path / "a.h5", run=RUN, provenance="[1]"), 2)
    with open_writer(tmp_path / "a.h5", run=RUN, provenance="[2]") as results:
        results.write(FRAMES[2])
        results.finish({})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs[schema.PROVENANCE_ATTRIBUTE] == "[1]"
