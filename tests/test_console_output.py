"""Every line that the commands print is their own: a library's warning, or a line of Qt or FFmpeg, fails a test here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "resources" / "demo"
NUMBER = r"[\d.]+(e-?\d+)?"
PACE = (
    rf"{NUMBER} frames a second; the device was busy \d+% of the time \(waited for pictures \d+%, for the writer \d+%\)"
)

WINDOW = """
import sys
from PySide6.QtCore import QTimer
from viewer import __main__ as program
from viewer.widgets.panels.camera_pane import CameraPane

paint, prepared = CameraPane.paintEvent, program.prepared
def painted(pane, event):
    paint(pane, event)
    if pane.camera == len(pane.session.results.cameras) - 1 and not seen:
        seen.append(pane)
        QTimer.singleShot(1000, pane.window().close)  # what is done after the first picture may print something too
seen = []
CameraPane.paintEvent = painted
code = program.main(sys.argv[1:])
assert seen
sys.exit(code)
"""
"""pi0-viewer until its pictures are painted; the user then closes the window."""


def run(command: Sequence[str], folder: Path, **environment: str) -> tuple[int, list[str], list[str]]:
    """Exit code and lines of standard output and error, with the user's settings and warnings as Python has them."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "QT_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def check_lines(lines: list[str], patterns: list[str]) -> None:
    """Each line is what its pattern says, and there are no others."""
    strange = [line for line, pattern in zip(lines, patterns, strict=False) if not re.fullmatch(pattern, line)]
    assert not strange, "\n".join(lines)
    assert len(lines) == len(patterns), "\n".join(lines)


def test_capture_of_the_demo_prints_its_own_lines(tmp_path: Path) -> None:
    code, out, err = run(["-m", "capture", "--demo", "-o", "my demo.h5"], tmp_path)
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
    asked = ["--dataset", str(DEMO / "episodes"), "--frames", "0", "--layers", "3", "--steps", "9"]
    made = ["--device", "cpu", "--workers", workers, "-o", "runs/"]
    command = ["-m", "capture", "--checkpoint", str(DEMO), *asked, *made]
    code, out, err = run(command, tmp_path)
    assert code == 0, err
    opened = [
        "pi0-capture: loading PyTorch",
        "pi0-capture: loading transformers",
        f"pi0-capture: opening checkpoint {re.escape(str(DEMO))}",
        f"pi0-capture: reading data set {re.escape(str(DEMO / 'episodes'))}",
        r"pi0-capture: exterior is exterior; wrist is wrist; state is state \(8\); true actions are actions \(8\)",
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
    code, out, err = run(command, tmp_path)
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
    assert run(["-c", WINDOW, *options], tmp_path, QT_QPA_PLATFORM="offscreen") == (0, [], [])
    assert not list(tmp_path.rglob("viewer.log"))


def test_export_prints_where_its_files_are(tmp_path: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    command = ["-m", "viewer.export", "summary", str(DEMO / "results.h5"), "-o", "figures", "--layers", "3"]
    assert run(command, tmp_path) == (0, [f"2 files in {Path('figures', 'results')}"], [])
