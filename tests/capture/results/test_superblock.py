"""The first bytes of an HDF5 file: HDF5's own sums, and files that were left open."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest

from capture.results.superblock import LENGTH, checksum, clear_writer_flag


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xDEADBEEF),  # the examples that come with lookup3.c
        (b"Four score and seven years ago", 0x17770551),
    ],
)
def test_checksum_is_lookup3(data: bytes, expected: int) -> None:
    assert checksum(data) == expected


@pytest.fixture
def left_open(tmp_path: Path) -> Path:
    """A file as a killed writer leaves it: marked, and longer than its superblock says."""
    with h5py.File(tmp_path / "a.h5", "w", libver=("v110", "v110")) as file:
        file["numbers"] = range(100)
        file.swmr_mode = True
        file.flush()
        marked = (tmp_path / "a.h5").read_bytes()
    path = tmp_path / "left.h5"
    path.write_bytes(marked + bytes(5000))
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r+")
    return path


def test_file_with_cleared_flag_opens_for_writing_and_grows_at_its_end(left_open: Path) -> None:
    length = left_open.stat().st_size
    descriptor = os.open(left_open, os.O_RDWR)
    assert clear_writer_flag(descriptor)
    once = left_open.read_bytes()
    assert clear_writer_flag(descriptor)
    os.close(descriptor)
    assert left_open.read_bytes() == once
    with h5py.File(left_open, "r+") as file:
        assert list(file["numbers"][:3]) == [0, 1, 2]
        file["more"] = range(7)
        assert file["more"].id.get_offset() >= length


@pytest.mark.parametrize("offset", range(LENGTH))
def test_damaged_superblock_is_unchanged(left_open: Path, offset: int) -> None:
    damaged = bytearray(left_open.read_bytes())
    damaged[offset] ^= 0x40
    left_open.write_bytes(damaged)
    descriptor = os.open(left_open, os.O_RDWR)
    assert not clear_writer_flag(descriptor)
    os.close(descriptor)
    assert left_open.read_bytes() == damaged
