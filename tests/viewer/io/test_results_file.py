"""Opening a results file: foreign, unfinished and hostile files get one sentence, and no other file is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import make_results
import numpy as np
import pytest

from viewer.errors import UserError
from viewer.io import hdf5_guard
from viewer.io.results import Results


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "not a results file"),
        ({"format": None}, "not a results file"),
        ({"format_version": [2, 0]}, "newer"),
        ({"cameras": ["a/b", "c"]}, "camera"),
        ({"cameras": np.zeros(0, "S1")}, "names no camera"),
        ({"cameras": ["a"]}, "does not fit 1 cameras"),
        ({"cameras": ["a", "a"]}, "cameras"),
    ],
)
def test_foreign_and_newer_files_get_one_sentence(
    tiny: Path, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    path = shutil.copy(tiny, tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
    with pytest.raises(UserError, match=sentence):
        Results(Path(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 4000])
def test_file_that_is_no_hdf5_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.h5"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        Results(path)
    assert "\n" not in str(error.value)
    assert "c.h5" in str(error.value)


def test_missing_files_folders_and_datasets_get_one_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        Results(tmp_path / "nowhere.h5")
    with pytest.raises(UserError, match="is a folder"):
        Results(tmp_path)
    path = Path(shutil.copy(tiny, tmp_path / "d.h5"))
    with h5py.File(path, "r+") as file:
        del file["frames/done"]
    with pytest.raises(UserError, match="how many frames"):
        Results(path)


def test_links_virtual_and_external_storage_are_refused(tiny: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.arange(8)
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(range(64)))
    for kind in ("external link", "soft link", "virtual", "external storage", "group link"):
        path = Path(shutil.copy(tiny, tmp_path / "f.h5"))
        with h5py.File(path, "r+") as file:
            if kind == "group link":
                del file["images"]
                file["images"] = h5py.ExternalLink(str(secret), "/")
                name = "images"
            else:
                name = "images/exterior/source"
                shape = file[name].shape
                del file[name]
                if kind == "external link":
                    file[name] = h5py.ExternalLink(str(secret), "data")
                elif kind == "soft link":
                    file[name] = h5py.SoftLink("/frames/state")
                elif kind == "virtual":
                    layout = h5py.VirtualLayout(shape, "u1")
                    layout[0] = h5py.VirtualSource(str(secret), "data", shape[1:])
                    file.create_virtual_dataset(name, layout)
                else:
                    file.create_dataset(name, shape, "u1", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        results = Results(path)
        with pytest.raises(UserError, match="not followed"):
            results.picture(0, 0, "source")
        results.close()


def test_sizes_are_checked_before_anything_is_allocated(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "g.h5"))
    with h5py.File(path, "r+") as file:
        del file["images/exterior/source"]
        file.create_dataset("images/exterior/source", (2, 16000, 16000, 3), "u1", chunks=(1, 16, 16, 3))
        del file["action/x"]
        file.create_dataset("action/x", (2, 100_000, 100_000, 32), "f4", chunks=(1, 16, 16, 32))
    results = Results(path)
    with pytest.raises(UserError, match="more in one place"):
        results.flow("action/x", 0)
    results.close()
    with h5py.File(path, "r+") as file:
        del file["text/to_image"]
        file.create_dataset("text/to_image", (2, 2, 5000, 2, 2, 16, 16), "f4", chunks=(1, 1, 1, 1, 2, 16, 16))
    with pytest.raises(UserError, match="cannot be"):
        Results(path)


def test_partial_file_is_found_and_a_final_one_preferred(tiny: Path, tmp_path: Path) -> None:
    partial = Path(shutil.copy(tiny, tmp_path / "h.h5.partial"))
    results = Results(tmp_path / "h.h5")
    assert results.path == partial
    assert results.finished_path is None
    partial.rename(tmp_path / "h.h5")
    assert results.finished_path == tmp_path / "h.h5"
    results.close()


def test_followed_file_is_reopened_when_reading_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 says “can't insert duplicate key” at every read of such a handle, once it has begun to."""
    path = make_results.write(tmp_path / "a.h5.partial", make_results.Recipe(done=2, complete=False))
    original = hdf5_guard.read

    def read(dataset: h5py.Dataset, index: hdf5_guard.Index) -> object:
        if dataset.file.id == first:
            raise OSError("Can't synchronously read data (can't insert duplicate key)")
        return original(dataset, index)

    results = Results(path)
    first = results._file.id
    monkeypatch.setattr("viewer.io.results_file.read", read)
    assert results.column(1, "text", 2, 3).shape == (1, 3, 2, 16, 16)
    assert results.done == 2
    results.close()
