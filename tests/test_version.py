"""One version for all commands, known where nothing is installed too."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest
from paths import ROOT

import capture


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("capture", "pi0-capture"),
        ("viewer", "pi0-viewer"),
        ("viewer.export", "pi0-export"),
        ("viewer.export.masks", "pi0-regions"),
    ],
)
def test_every_command_prints_its_version_without_metadata(module: str, name: str) -> None:
    script = f"""
import importlib.metadata, runpy, sys
def absent(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = importlib.metadata.distribution = absent
sys.argv = [{name!r}, "--version"]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
    environment = {
        name: value for name, value in os.environ.items() if "DISPLAY" not in name and name != "QT_QPA_PLATFORM"
    }
    completed = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, f"{name} {capture.__version__}\n", "")


def test_package_and_citation_have_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    source = ROOT / project["tool"]["hatch"]["version"]["path"]
    assert source.read_text().count(f'\n__version__ = "{capture.__version__}"\n') == 1
    assert f"\nversion: {capture.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_package_loads_torch_only_for_its_recorder() -> None:
    code = (
        "import sys, capture\n"
        "assert 'torch' not in sys.modules\n"
        "from capture import AttentionRecorder\n"
        "print(AttentionRecorder.__module__, 'torch' in sys.modules, hasattr(capture, 'nothing'))"
    )
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert completed.stdout == "capture.policies.attention_hooks True False\n"
