"""HDF5 files of robots on which HDF5 loops, crashes or grows are refused with a sentence, by a second process."""

from __future__ import annotations

import os
import sys
import zlib

import h5py
import numpy as np
import pytest

pytest.importorskip("av", reason="episode files are written with the extra [datasets]")

from episode_files import write_aloha, write_droid, write_libero

from capture.datasets import hdf5, hdf5_check
from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.results import progress_clock

CAMERAS = SourceOptions(("exterior", "wrist"), 4)

if sys.platform == "win32":
    pytest.skip("the second process is ended by signals of POSIX", allow_module_level=True)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    hdf5_check._ask(os.devnull, [os.devnull])  # its start has a longer limit
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.7)


def lose_heap_page(path):
    """Put zeros where the encoded pictures' heap goes on, as after a power cut."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"GCOL") + 1400
    content[begin : begin + 2048] = bytes(2048)
    path.write_bytes(content)


def test_endless_loop_in_encoded_pictures_is_ended(tmp_path):
    lose_heap_page(write_aloha(tmp_path / "episode_0.hdf5", 4, form="variable"))
    with pytest.raises(UserError, match=r"episode_0.hdf5 is damaged: reading it as HDF5 came to no end; copy it again"):
        open_source(tmp_path, CAMERAS)


def test_other_episodes_are_used(tmp_path):
    lose_heap_page(write_aloha(tmp_path / "episode_0.hdf5", 4, form="variable"))
    write_aloha(tmp_path / "episode_1.hdf5", 4, form="variable")
    source = open_source(tmp_path, CAMERAS)
    assert [episode.name for episode in source.episodes] == ["episode_1"]
    assert "came to no end" in source.unusable["episode_0"].reason
    assert len(list(source.episodes[0].read(range(4)))) == 4


def test_small_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = write_libero(tmp_path / "libero.hdf5", (4,))
    squeezer = zlib.compressobj()
    block = squeezer.compress(bytes(1 << 24)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
        actions = file.create_dataset("data/demo_0/actions", (4, 7), "f8", chunks=(4, 7), compression="gzip")
        actions.id.write_direct_chunk((0, 0), block + block[2:] * 90)  # without its header; 1.5 GB
    [episode] = open_source(path, CAMERAS).episodes
    with pytest.raises(UserError, match=r"libero.hdf5 (cannot be read as HDF5|is damaged)"):
        list(episode.read([0]))


def test_pipe_in_place_of_a_file_is_not_opened(tmp_path):
    folder = write_droid(tmp_path / "episode", 4, form="jpeg")
    (folder / "trajectory.h5").unlink()
    os.mkfifo(folder / "trajectory.h5")
    [episode] = open_source(folder, CAMERAS).episodes
    with pytest.raises(UserError, match=r"trajectory.h5 is not a file on a disk"):
        list(episode.read([0]))


def test_file_is_checked_once_until_it_changes(tmp_path, monkeypatch):
    path = write_libero(tmp_path / "libero.hdf5", (4,))
    requests = []
    monkeypatch.setattr(hdf5_check, "_ask", lambda _path, request: requests.append(request))
    for _ in range(3):
        with hdf5.opened(path) as file:
            assert "data" in file
    assert len(requests) == 1
    write_libero(path, (4, 5))
    with hdf5.opened(path):
        assert len(requests) == 2


@pytest.mark.parametrize("form", ["plain", "compressed", "text"])
@pytest.mark.parametrize("rows", [None, [0], [1, 2], [0, 3]])
def test_intact_values_pass(tmp_path, form, rows):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if form == "text":
            file["x"] = ["a", "b", "c", "d"]
        else:
            chunks = {"chunks": (1, 3), "compression": "lzf"} if form == "compressed" else {}
            file.create_dataset("x", data=np.ones((4, 3)), **chunks)
    with h5py.File(tmp_path / "a.h5") as file:
        hdf5_check.check_values(file["x"], rows)
