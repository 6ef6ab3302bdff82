"""Files without some datasets: every kind of figure is made, or one sentence says why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from export_driver import open_export

from viewer.errors import UserError
from viewer.export.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

KINDS = (
    "summary --layers last", "heads --layers last --heads 0", "atlas", "atlas --thumbnails", "film", "film --over steps",
    "film --over frames", "film --over layers-frames", "curves", "curves --over steps", "curves --over frames", "difference --against layer=0",
    "video", "video --over steps",
)  # fmt: skip


def copy_without(path: Path, name: str) -> Path:
    with h5py.File(path, "a") as file:
        del file[name]
    return path


def write_file(folder: Path, name: str) -> Path:
    recipes = {
        "one tall camera": make_results.Recipe(cameras=("top",), size=(160, 90)),
        "four cameras": make_results.Recipe(cameras=("a", "b", "c", "a_camera_with_a_very_long_name"), size=(60, 80)),
        "one of everything": make_results.Recipe(heads=1, layers=1, steps=1, horizon=1, frames=1),
        "a long prompt": make_results.Recipe(tasks=("pick up the extraordinarily-long-worded thing " * 8,), frames=2),
        "float32": make_results.Recipe(weights="f4"),
    }
    path = make_results.write(
        folder / f"{name}.h5", recipes.get(name, make_results.Recipe(norms=False, summaries=False))
    )
    removed_group = {"no actions": "action", "no words": "text", "no pictures": "images"}.get(name)
    return copy_without(path, removed_group) if removed_group else path


@pytest.mark.parametrize(
    "name",
    ["one tall camera", "four cameras", "one of everything", "a long prompt", "float32", "no actions", "no words",
     "no pictures"],
)  # fmt: skip
def test_every_kind_is_painted_or_refused_for_unusual_files(app: QApplication, tmp_path: Path, name: str) -> None:
    path, refusals, painted = write_file(tmp_path, name), [], 0
    for words in KINDS:
        kind, _, rest = words.partition(" ")
        try:
            with open_export(kind, str(path), *rest.split()) as export:
                for file in export.plan.files:
                    image = export.renderer.create_figure(file).render(1.0)
                    assert image.width() >= 300
                    painted += 1
        except UserError as error:
            assert "\n" not in str(error)
            refusals.append(words)
    expected = ["film --over steps", "curves --over steps", "video --over steps"] if name == "no actions" else []
    assert refusals == expected
    assert painted >= len(KINDS) - len(refusals)


def test_unreadable_frame_is_a_user_error_and_others_are_painted(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    with open_export("summary", str(small), "--actions", "1", "--layers", "2") as export:
        file = export.plan.files[0]
        bad = replace(file, view=replace(file.view, frame=7))
        with pytest.raises(UserError, match=r"Frame 7 of small\.h5 cannot be read"):
            export.renderer.create_figure(bad)
        assert not export.renderer.create_figure(file).render(1.0).isNull()


def test_missing_picture_has_a_placeholder(app: QApplication, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.h5"
    path.write_bytes(small.read_bytes())
    copy_without(path, "images/wrist/source")
    with open_export("summary", str(path), "--layers", "2", "--words", "duck") as export:
        figure = export.renderer.create_figure(export.plan.files[0])
        assert not figure.render(1.0).isNull()
    assert np.isfinite(figure.height)


@pytest.mark.parametrize("kind", ["summary", "table", "arrays", "video", "film"])
def test_unreadable_words_are_one_sentence(
    small: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("incorrect metadata checksum")

    monkeypatch.setattr("viewer.io.results.Results.chips", fail)
    assert main([kind, str(small), "-o", str(tmp_path / "out")]) == 2
    stderr = capsys.readouterr().err
    assert "small.h5 cannot be read (incorrect metadata checksum)" in stderr
    assert len(stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.*"))


def test_file_name_too_long_is_one_sentence(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(small), "-o", str(tmp_path / ("n" * 300))]) == 2
    assert "choose another folder with -o" in capsys.readouterr().err
