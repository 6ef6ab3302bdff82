"""Damages that the fuzzers found, each made anew in a file of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
from damage import correct_header

from viewer.analysis.probe import Probe

if TYPE_CHECKING:
    from pathlib import Path

MAXIMUM_OF_AXIS_1 = 48
"""Place in an object header of version 2, without times, of the maximal length of the second of three axes."""


def test_probe_reads_datasets_that_no_first_picture_needs(tmp_path: Path) -> None:
    """HDF5 1.14 looks up chunks beside its index where a maximal length is wrong, and crashes the process."""
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3))
    assert Probe(path).wait() == ""
    with h5py.File(path) as file:
        begin = h5py.h5o.get_info(file["action/truth"].id).addr
    content = bytearray(path.read_bytes())
    assert content[begin + MAXIMUM_OF_AXIS_1] == 3
    content[begin + MAXIMUM_OF_AXIS_1 + 5] ^= 0x20
    correct_header(content, begin)
    path.write_bytes(content)
    assert Probe(path).wait().startswith("a.h5 is damaged so badly that reading it fails")
