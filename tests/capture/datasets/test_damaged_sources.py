"""Sources with bytes removed or changed anywhere: each is read or reported in one line."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")

from episode_files import npz_arrays, write_droid, write_lerobot, write_videos

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError


def write_npz(path):
    path.mkdir()
    np.savez_compressed(path / "a.npz", **npz_arrays())


# HDF5, on which a second process may be ended by the clock, has tests/fuzz/damaged_data_sets.py.
KINDS = {
    "lerobot 3": (
        lambda path: write_lerobot(path, (6, 6)),
        ("meta/info.json", "meta/**/*.parquet", "data/*/*", "videos/*/*/*"),
    ),
    "lerobot 2": (lambda path: write_lerobot(path, (6,), version="2.1", codec=None), ("meta/*", "data/*/*")),
    "droid": (lambda path: write_droid(path, 6), ("metadata_*.json", "recordings/MP4/*")),
    "npz": (write_npz, ("*",)),
    "videos": (lambda path: write_videos(path), ("*",)),
}


@functools.cache
def source(kind):
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "here"
    write, patterns = KINDS[kind]
    write(path)
    files = sorted(file for pattern in patterns for file in path.glob(pattern) if file.is_file())
    return folder, path, {file: file.read_bytes() for file in files}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(sorted(KINDS)))
def test_damage_is_reported_in_one_line(data, kind):
    _, path, contents = source(kind)
    file = data.draw(st.sampled_from(sorted(contents)))
    content = bytearray(contents[file])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    messages = []
    try:
        opened = open_source(path, SourceOptions(("exterior", "wrist"), 4))
        messages += [episode.reason for episode in opened.unusable.values()]
        for episode in opened.episodes:
            try:
                assert len(list(episode.read(range(episode.length)))) == episode.length
            except UserError as error:
                messages.append(str(error))
    except UserError as error:
        messages.append(str(error))
    finally:
        file.write_bytes(contents[file])
    assert all(message and "\n" not in message for message in messages)
