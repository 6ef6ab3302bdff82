"""The checkpoint's name is shown wherever a picture says where it is from; the bundled file is one that capture wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest
from PySide6.QtWidgets import QApplication
from window_driver import close, show

from viewer.export.figures.figure import describe_origin
from viewer.io.demo_files import find_demo_path
from viewer.io.results import Results
from viewer.model.view_state import ViewState
from viewer.widgets.view_picture import footnote


@pytest.fixture
def demo_named(tmp_path: Path) -> Path:
    """Return a copy of the bundled file that names another checkpoint."""
    path = Path(shutil.copy(find_demo_path(), tmp_path / "named.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["model"] = json.dumps({**json.loads(file.attrs["model"]), "name": "pi05_libero"})
    return path


def test_checkpoint_name_is_in_captions_of_window_and_export(
    app: QApplication, demo_named: Path, tmp_path: Path
) -> None:
    results = Results(demo_named)
    assert results.checkpoint_name == "pi05_libero"
    assert describe_origin(results, ViewState()).startswith("named.h5 · pi05_libero · frame 0 of ")
    results.close()
    window = show(demo_named, tmp_path)
    try:
        assert window.top.details().startswith("pi05_libero · ")
        assert footnote(window.panels).startswith("named.h5 · pi05_libero · frame 0 of ")
    finally:
        close(window)


@pytest.mark.parametrize(
    ("model", "name"),
    [({"checkpoint": "older"}, "older"), ({"name": "new", "checkpoint": "older"}, "new"), ({"name": 3}, ""), ({}, "")],
)
def test_checkpoint_name_is_found_under_either_key(demo_named: Path, model: dict[str, object], name: str) -> None:
    with h5py.File(demo_named, "r+") as file:
        file.attrs["model"] = json.dumps(model)
    results = Results(demo_named)
    assert results.checkpoint_name == name
    results.close()
