"""The commands print only their own lines: a library's warning, or a line of Qt or FFmpeg, fails a test here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import ROOT, WINDOW, check_lines, run_command

DEMO = ROOT / "resources" / "demo"
NUMBER = r"[\d.]+(e-?\d+)?"
PACE = (
    rf"{NUMBER} frames a second; the device was busy \d+% of the time \(waited for pictures \d+%, for the writer \d+%\)"
)


def test_capture_of_the_demo_prints_its_own_lines(tmp_path: Path) -> None:
    code, out, err = run_command(["-m", "capture", "--demo", "-o", "my demo.h5"], tmp_path)
    assert code == 0, err
    check_lines(
        err,
        [
            "pi0-capture: loading PyTorch",
            "pi0-capture: loading transformers",
            "pi0-capture: opening checkpoint demo",
            rf"pi0-capture: loading {NUMBER} MB of weights",
            "pi0-capture: capturing 14 frames",
        ],
    )
    check_lines(
        out,
        [
            rf"my demo\.h5: 14 frames of demo in {NUMBER} s \({NUMBER} s a frame\), {NUMBER} MB",
            rf"rows sum to 1 within {NUMBER}",
            PACE,
            "next  pi0-viewer 'my demo.h5'",
        ],
    )


@pytest.mark.parametrize("workers", ["0", "1"])
def test_capture_of_a_data_set_prints_its_own_lines(workers: str, tmp_path: Path) -> None:
    selection = ["--dataset", str(DEMO / "episodes"), "--frames", "0", "--layers", "3", "--steps", "9"]
    arguments = ["--device", "cpu", "--workers", workers, "-o", "runs/"]
    command = ["-m", "capture", "--checkpoint", str(DEMO), *selection, *arguments]
    code, out, err = run_command(command, tmp_path)
    assert code == 0, err
    opened = [
        "pi0-capture: loading PyTorch",
        "pi0-capture: loading transformers",
        f"pi0-capture: opening checkpoint {re.escape(str(DEMO))}",
        f"pi0-capture: reading data set {re.escape(str(DEMO / 'episodes'))}",
    ]
    captured = [rf"pi0-capture: loading {NUMBER} MB of weights", "pi0-capture: capturing 3 episodes"]
    check_lines(err, opened + captured)
    check_lines(
        out,
        [
            rf"runs: 3 done, 0 finished before, 0 failed; 3 frames in \d+ s, {NUMBER} MB",
            PACE,
            rf"rows sum to 1 within {NUMBER}",
            "next  pi0-viewer runs",
        ],
    )
    if workers == "1":
        return
    code, out, err = run_command(command, tmp_path)
    assert code == 0, err
    check_lines(
        err,
        [
            *opened,
            r"pi0-capture: runs/bowl\.h5 and 2 more files are finished already; they are left as they are",
        ],
    )
    check_lines(out, [rf"runs: 0 done, 3 finished before, 0 failed; {NUMBER} MB", "next  pi0-viewer runs"])


def test_viewer_prints_nothing(tmp_path: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)  # a machine may lack Qt's system libraries
    options = ["--demo", "--settings", str(tmp_path / "settings.ini")]
    assert run_command(["-c", WINDOW, *options], tmp_path, QT_QPA_PLATFORM="offscreen") == (0, [], [])
    assert not list(tmp_path.rglob("viewer.log"))


def test_export_prints_where_its_files_are(tmp_path: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    command = ["-m", "viewer.export", "summary", str(DEMO / "results.h5"), "-o", "figures", "--layers", "3"]
    assert run_command(command, tmp_path) == (0, [f"2 files in {Path('figures', 'results')}"], [])
