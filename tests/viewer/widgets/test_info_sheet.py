"""The info sheet and the mark in the top bar, on files with, without and with hostile decisions."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from window_driver import close, show, spin

from capture.results import schema
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow
from viewer.widgets.overlays.info_sheet import NOT_STORED, InfoSheet, list_file_facts

HOSTILE = "<img src='x'>\n<b>left</b>"
CERTAIN = {"subject": "clock", "choice": "control", "reason": "the only one", "certain": True}
ASSUMED = {"subject": "exterior camera", "choice": HOSTILE, "reason": "the <i>first</i> of two", "certain": False}

Opened = Callable[[object], MainWindow]


@pytest.fixture
def open_window(app: QApplication, tiny: Path, tmp_path: Path) -> Iterator[Opened]:
    """Return a function that opens a window on a file with these decisions; None stores none."""
    windows = []

    def open_with(decisions: object) -> MainWindow:
        path = Path(shutil.copy(tiny, tmp_path / "file.h5"))
        if decisions is not None:
            with h5py.File(path, "r+") as file:
                file.attrs[schema.PROVENANCE_ATTRIBUTE] = json.dumps(decisions)
        windows.append(show(path, tmp_path, plots=False))
        return windows[-1]

    yield open_with
    for window in windows:
        close(window)


def sheet_text(window: MainWindow) -> str:
    """Return the text of the open info sheet."""
    sheet = window.overlays.overlay
    assert isinstance(sheet, InfoSheet)
    return sheet.text.toPlainText()


def test_mark_counts_assumptions_and_a_key_opens_the_sheet(open_window: Opened) -> None:
    window = open_window([CERTAIN, ASSUMED])
    mark = window.top.assumed
    assert mark.isVisible()
    assert mark.text() == "⚠ 1 assumed"
    assert mark.accessibleName() == "1 assumption about the input: show them"
    assert "<img" not in mark.toolTip()
    assert "exterior camera: &lt;img src=&#x27;x&#x27;&gt; &lt;b&gt;left" in mark.toolTip()
    assert mark.focusPolicy() & Qt.FocusPolicy.TabFocus
    mark.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(mark, Qt.Key.Key_Space)
    spin()
    text = sheet_text(window)
    assert "1 of 2 decisions was assumed" in text
    assert "<img src='x'> <b>left</b>" in text  # as text, not as HTML
    assert text.index("exterior camera") < text.index("clock")  # what was assumed comes first
    assert "the <i>first</i> of two" in text


def test_click_on_the_mark_opens_the_sheet(open_window: Opened) -> None:
    window = open_window([ASSUMED])
    QTest.mouseClick(window.top.assumed, Qt.MouseButton.LeftButton)
    assert isinstance(window.overlays.overlay, InfoSheet)


def test_file_without_assumptions_has_no_mark(open_window: Opened) -> None:
    window = open_window([CERTAIN])
    assert window.top.assumed.isHidden()
    window.perform_id("info")
    assert "Nothing was assumed: files, options or definitions decided" in sheet_text(window)


@pytest.mark.parametrize("decisions", [None, {"a": 1}])
def test_sheet_of_a_file_without_decisions_shows_that_there_are_none(open_window: Opened, decisions: object) -> None:
    window = open_window(decisions)
    assert window.top.assumed.isHidden()
    window.perform_id("info")
    assert NOT_STORED in sheet_text(window)


def test_sheet_gives_the_facts_of_the_file(open_window: Opened) -> None:
    window = open_window([CERTAIN])
    results = window.session.results
    assert results is not None
    window.perform_id("info")
    lines = sheet_text(window).splitlines()
    assert lines[lines.index("Name") + 1] == "file.h5"
    assert lines[lines.index("Format") + 1] == ".".join(map(str, schema.FORMAT_VERSION))
    assert lines[lines.index("Cameras") + 1] == ", ".join(results.cameras)
    assert lines[lines.index("Recorded") + 1] == "2 layers × 2 heads, 2 denoise steps"


def test_mark_follows_the_open_file(open_window: Opened, tiny: Path) -> None:
    window = open_window([ASSUMED, CERTAIN, ASSUMED | {"subject": "wrist camera"}])
    assert window.top.assumed.text() == "⚠ 2 assumed"
    window.show_results(Results(tiny), False)
    spin()
    assert window.top.assumed.isHidden()


def test_oversized_decisions_do_not_keep_a_file_closed(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "file.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs[schema.PROVENANCE_ATTRIBUTE] = "x" * (1 << 21)
    results = Results(path)
    assert results.decisions is None
    results.close()


def test_place_and_time_are_written_out(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    with contextlib.closing(Results(Path(small.name))) as results:
        facts = dict(list_file_facts(results))
    assert facts["Folder"] == str(small.parent.absolute())
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC by pi0-capture", facts["Written"]), (
        "as pi0-capture info has it"
    )
