"""The command pi0-viewer: its messages where it cannot open a window."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from paths import ROOT

from viewer.__main__ import main


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program without a screen until it ends."""
    without_screen = {
        name: value for name, value in os.environ.items() if "DISPLAY" not in name and name != "QT_QPA_PLATFORM"
    }
    return subprocess.run(
        [sys.executable, "-m", "viewer", "--demo", *options],
        env={**without_screen, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_missing_screen_is_reported_with_exit_code_2() -> None:
    completed = run()
    assert completed.returncode == 2
    assert (
        completed.stderr == "pi0-viewer: there is no screen here (DISPLAY is not set); run it where your screen is.\n"
    )


def test_missing_qt_and_unloadable_qt_have_different_messages(tmp_path: Path) -> None:
    package = tmp_path / "PySide6"
    package.mkdir()
    (package / "__init__.py").touch()
    completed = run(PYTHONPATH=str(tmp_path))
    assert completed.returncode == 2
    assert completed.stderr == (
        "pi0-viewer: the viewer extra is not installed (No module named 'PySide6.QtWidgets'): "
        'pip install "pi0-attention[viewer]"\n'
    )
    library = package / f"QtWidgets{EXTENSION_SUFFIXES[0]}"
    library.write_bytes(b"no library")
    completed = run(PYTHONPATH=str(tmp_path))
    assert completed.returncode == 2
    assert completed.stderr.startswith(f"pi0-viewer: Qt cannot be loaded ({library}: ")
    assert completed.stderr.endswith("); the README names the system packages that it needs.\n")


def test_invalid_view_json_gives_one_sentence() -> None:
    completed = run("--view", "{nonsense", QT_QPA_PLATFORM="offscreen")
    assert completed.returncode == 2
    assert len(completed.stderr.strip().splitlines()) == 1


def test_demo_together_with_a_file_is_rejected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "disable", lambda: None)  # main disables garbage collection until the first picture
    assert main(["--demo", "results.h5"]) == 2
    stderr = capsys.readouterr().err
    assert stderr == "--demo opens the bundled demo; leave it out to open a file, or leave the file out.\n"


@pytest.mark.parametrize("argument", [["results.h5"], ["--demo"]])
def test_demo_run_together_with_something_else_is_rejected(
    argument: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "disable", lambda: None)  # main disables garbage collection until the first picture
    assert main(["--demo-run", *argument]) == 2
    stderr = capsys.readouterr().err
    assert stderr == "--demo-run opens the bundled policy’s run; leave out either this or the other.\n"
