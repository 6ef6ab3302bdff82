"""A run that stopped and is gone on with: its own file, frame by frame, and no other run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic
from written import FRAMES, SIZES, intact, interrupted, writer

from capture.errors import UserError
from capture.results import schema

RUN = {"seed": 0, "layers": [0, 1], "weights": "a" * 64}


def bits(path: Path, done: int) -> dict[str, bytes]:
    """The stored bytes of the first frames, and the attributes."""
    with h5py.File(path) as file:
        found = {name: file[name][:done].tobytes() for name in synthetic.frame(SIZES, 1)}
        return found | {name: str(value).encode() for name, value in file.attrs.items() if name != "checks"}


def test_the_same_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(writer(tmp_path / "a.h5", run=RUN), 2)
    before = bits(tmp_path / "a.h5.partial", 2)
    with writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 2
        assert results.earlier_row_sum_error < 1e-6
        results.write(FRAMES[2])
        results.finish({})
    assert intact(tmp_path / "a.h5") == 3
    after = bits(tmp_path / "a.h5", 2)
    assert after.pop("complete") == b"True"
    assert before.pop("complete") == b"False"
    assert before == after  # the uuid and the time among them


def test_going_on_and_stopping_again_keeps_what_there_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(writer(tmp_path / "a.h5", run=RUN), 2)
    for _ in range(3):
        with writer(tmp_path / "a.h5", run=RUN) as results:
            assert results.frames_done == 2
        assert intact(tmp_path / "a.h5.partial") == 2


def test_a_frame_is_checked_by_its_place_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(writer(tmp_path / "a.h5", run=RUN), 2)
    with writer(tmp_path / "a.h5", run=RUN) as results:
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
def test_another_run_does_not_write_on_and_harms_nothing(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(writer(tmp_path / "a.h5", run=RUN), 2)
    before = (tmp_path / "a.h5.partial").read_bytes()
    with pytest.raises(UserError, match=f"was begun by another run, .*: {sentence}; .*--overwrite"):
        writer(tmp_path / "a.h5", run=RUN | change)
    assert (tmp_path / "a.h5.partial").read_bytes() == before
    with writer(tmp_path / "a.h5", run=RUN | change, overwrite=True) as results:
        assert results.frames_done == 0


def test_a_partial_file_that_does_not_say_whose_it_is_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(writer(tmp_path / "a.h5"), 2)
    with pytest.raises(UserError, match="it does not say which run it is of"):
        writer(tmp_path / "a.h5", run=RUN)
    assert intact(tmp_path / "a.h5.partial") == 2


def test_what_holds_no_frame_is_begun_anew_and_what_is_large_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"", b"\0" * 4096, b"\x89HDF\r\n\x1a\n torn"):
        (tmp_path / "a.h5.partial").write_bytes(content)
        with writer(tmp_path / "a.h5", run=RUN) as results:
            assert results.frames_done == 0
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr("capture.results.writer.UNREADABLE_BYTES", -1 << 60)
    (tmp_path / "a.h5.partial").write_bytes(b"much work")
    with pytest.raises(UserError, match="is damaged and cannot be written on"):
        writer(tmp_path / "a.h5", run=RUN)
    assert (tmp_path / "a.h5.partial").read_bytes() == b"much work"


def test_a_file_in_the_oldest_layout_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: h5py.File, value: bool) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patched:
        patched.setattr(h5py.File, "swmr_mode", property(lambda self: False, refused))
        with pytest.raises(KeyboardInterrupt):
            interrupted(writer(tmp_path / "a.h5", run=RUN), 2)
    with writer(tmp_path / "a.h5", run=RUN) as results:
        assert results.frames_done == 2
        results.write(FRAMES[2])
        results.finish({})
    assert intact(tmp_path / "a.h5") == 3
