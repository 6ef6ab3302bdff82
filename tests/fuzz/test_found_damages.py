"""Damages that the fuzzers found, each made anew in a file of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
import moving_regions
import numpy as np
import pytest
from companion_cases import EFFECTS_RUN, damage_file, write_effects
from damage import correct_header

from capture.effects.effects_file import EffectsFile, is_finished
from capture.errors import UserError
from viewer.analysis import probe
from viewer.analysis.probe import Probe
from viewer.errors import UserError as ViewerError
from viewer.export.masks.__main__ import main as change_regions
from viewer.export.masks.mask_import import MaskSource, read_masks

if TYPE_CHECKING:
    from pathlib import Path

MAXIMUM_OF_AXIS_1 = 48
"""Place in an object header of version 2, without times, of the maximal length of the second of three axes."""


def damage_header(path: Path, name: str) -> None:
    """Change the maximal length of the second axis of a dataset; with it HDF5 crashes, and the checksum is right."""
    with h5py.File(path) as file:
        begin = h5py.h5o.get_info(file[name].id).addr
        length = file[name].shape[1]
    content = bytearray(path.read_bytes())
    assert content[begin + MAXIMUM_OF_AXIS_1] == length
    content[begin + MAXIMUM_OF_AXIS_1 + 5] ^= 0x20
    correct_header(content, begin)
    path.write_bytes(content)


def test_probe_reads_datasets_that_no_first_picture_needs(tmp_path: Path) -> None:
    """HDF5 1.14 looks up chunks beside its index where a maximal length is wrong, and crashes the process."""
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3))
    assert Probe(path).wait() == ""
    damage_header(path, "action/truth")
    assert Probe(path).wait().startswith("a.h5 is damaged so badly that reading it fails")


@pytest.mark.parametrize("can_fork", [True, False])
def test_regions_are_read_by_another_process_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], can_fork: bool
) -> None:
    monkeypatch.setattr(probe, "can_fork", lambda: can_fork)
    path = moving_regions.write(tmp_path / "a.h5", frames=4, layers=2, heads=2, steps=2, horizon=3)
    damage_header(moving_regions.write_duck(path), "duck/exterior/mask")
    assert change_regions(["list", str(path)]) == 2
    assert capsys.readouterr().err.startswith("pi0-regions: a.regions.h5 is damaged so badly that reading it fails")


def test_damaged_effects_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    [path] = write_effects(tmp_path).victims
    content, run = path.read_bytes(), {"mode": "knockout", "from": "actions", "map": 2, **EFFECTS_RUN}
    resumed = EffectsFile(tmp_path / "b.effects.h5", run, {})
    assert is_finished(path, run)
    path.rename(resumed.partial)
    resumed.resume()
    assert len(resumed.frames) == 2
    rng, refusals = np.random.default_rng(20), 0
    for _ in range(15):
        damage_file(path, content, rng)
        path.rename(resumed.partial)
        try:
            resumed.resume()
        except UserError as error:
            assert "begin anew with --overwrite" in str(error)
            assert "\n" not in str(error)
            refusals += 1
        is_finished(resumed.partial, run)
    assert refusals > 0


def test_masks_in_hdf5_are_read_by_another_process_first(tmp_path: Path) -> None:
    path = tmp_path / "d.hdf5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.create_dataset("x", data=np.zeros((4, 30, 40), np.int32), chunks=(1, 30, 40), compression=4)
    damage_header(path, "x")
    with pytest.raises(ViewerError, match="d.hdf5 is damaged so badly that reading it fails"):
        list(read_masks(MaskSource(path, "x")))
