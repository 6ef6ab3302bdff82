"""Run the commands as processes outside the checkout, and check the lines that they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from paths import ROOT

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


def run_command(command: Sequence[str], folder: Path, **environment: str) -> tuple[int, list[str], list[str]]:
    """Exit code and lines of standard output and error, with the user's settings and warnings as Python has them."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "QT_"))}
    completed = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return completed.returncode, completed.stdout.splitlines(), completed.stderr.splitlines()


def check_lines(lines: list[str], patterns: list[str]) -> None:
    """Assert that each line matches its pattern, and that there are no others."""
    strange = [line for line, pattern in zip(lines, patterns, strict=False) if not re.fullmatch(pattern, line)]
    assert not strange, "\n".join(lines)
    assert len(lines) == len(patterns), "\n".join(lines)
