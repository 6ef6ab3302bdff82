"""Frames, actions, layers, heads, steps and tokens carry their stored numbers, from 0, wherever they are shown or typed."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from window_driver import close, press, show, spin

from capture.cli.parser import build_parser
from viewer import __main__ as viewer_command
from viewer.analysis.caption import caption
from viewer.controllers.commands import BY_KEY
from viewer.export.__main__ import main
from viewer.export.cli import KINDS, create_parser
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 12 heads and 4 frames, of which steps 0, 2 and 5 and layers 3 and 7 were recorded."""
    path = tmp_path_factory.mktemp("wide") / "wide.h5"
    make_results.write(path, make_results.Recipe(frames=4, layers=2, heads=12, steps=3))
    with h5py.File(path, "r+") as file:
        file.attrs["layers"] = np.array([3, 7])
        file.attrs["steps"] = np.array([0, 2, 5])
    return path


def test_typed_numbers_choose_the_stored_frame_action_layer_head_and_step(wide: Path, tmp_path: Path) -> None:
    words = "--frames 2 --actions 3 --layers 7 --heads 11 --steps 5"
    assert main(["table", str(wide), *words.split(), "-o", str(tmp_path)]) == 0
    with (tmp_path / "wide" / "table.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert [row[name] for name in ("frame", "query", "layer", "head", "step")] == ["2", "action 3", "7", "11", "5"]
    with h5py.File(wide, locking=False) as file:
        mass, groups = file["action/mass"][2, 1, 3, 2, 11], list(file["action/mass"].attrs["groups"])
    assert float(row["mass exterior"]) == pytest.approx(float(mass[groups.index("exterior")]), abs=2e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--frames 4", "There is no frame 4; the file has frames 0–3."),
        ("--actions 5", "There is no action 5; the file has actions 0–4."),
        ("--layers 1", "There is no layer 1; the file has layers 3, 7."),
        ("--heads 12", "There is no head 12; the file has heads 0–11."),
        ("--actions 0 --steps 1", "There is no denoise step 1; the file has denoise steps 0, 2, 5."),
    ],
)
def test_number_that_is_not_stored_is_refused(
    wide: Path, tmp_path: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", str(wide), *words.split(), "-o", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_caption_has_the_stored_numbers(wide: Path) -> None:
    results = Results(wide)
    acting = caption(results, ViewState(frame=2, query=Query("action", (3,)), step=2, layer=1, heads=(11,)))
    assert acting.subject == "action 3 of 0–4"
    assert "step 5" in acting.place
    assert acting.details.startswith("layer 7 of 3…7 · head 11 of 0–11 · ")
    chips = results.chips(0)
    duck = next(item for item, chip in enumerate(chips) if chip.label == "duck")
    with h5py.File(wide, locking=False) as file:
        token = [piece.decode() for piece in file["text/piece"][0]].index("▁duck")
    assert caption(results, ViewState(query=Query("text", (duck,)))).place.startswith(f"(token {token}, prefix)")
    results.close()


def test_digits_choose_the_head_of_that_number_and_m_the_mean(app: QApplication, wide: Path, tmp_path: Path) -> None:
    window = show(wide, tmp_path)
    for number in (3, 0, 9):
        press(window, Qt.Key(Qt.Key.Key_0.value + number))
        assert window.session.state.heads == (number,)
        assert window.panels.axes.rows["head"].number.text() == f"{number} of 0–11"
    press(window, Qt.Key.Key_M)
    assert (window.session.state.heads, window.session.state.reduce) == ((), "mean")
    press(window, Qt.Key.Key_M, Qt.KeyboardModifier.ShiftModifier)
    assert (window.session.state.heads, window.session.state.reduce) == ((), "max")
    assert {key: BY_KEY[key].title for key in ("0", "9", "M")} == {"0": "Head 0", "9": "Head 9", "M": "Mean of heads"}
    close(window)


def test_window_shows_and_takes_stored_numbers(app: QApplication, wide: Path, tmp_path: Path) -> None:
    window = show(wide, tmp_path, query=Query("action", (3,)), frame=2, layer=1, step=2)
    rows = window.panels.axes.rows
    assert [rows[axis].number.text() for axis in ("frame", "layer", "step")] == ["2 of 0–3", "7 of 3…7", "5 of 0…5"]
    assert window.panels.timeline.describe_moment(2).startswith("frame 2 of 0–3")
    strips = window.panels.strips
    labels = [chip.label for chip in strips.places if chip.kind == "action"]
    assert labels == ["0", "1", "2", "3", "4"]
    for axis, typed, index in (("frame", "0", 0), ("layer", "3", 0), ("step", "2", 1)):
        rows[axis].number.setFocus()
        assert rows[axis].number.text().isdecimal(), "what is typed over has no “of”"
        rows[axis].number.setText(typed)
        QTest.keyClick(rows[axis].number, Qt.Key.Key_Return)
        spin(0.01)
        assert getattr(window.session.state, axis) == index
    close(window)


def test_help_of_every_command_names_the_rule() -> None:
    texts = [build_parser("pi0-capture").format_help(), viewer_command.create_parser().format_help()]
    sub = create_parser()._subparsers
    assert sub is not None
    choices = sub._group_actions[0].choices
    assert isinstance(choices, dict)
    texts += [choices[kind].format_help() for kind in KINDS]
    for text in texts:
        assert "from 0" in " ".join(text.split())
