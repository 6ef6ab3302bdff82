"""What `.ci/lock`, `.ci/newest` and `.ci/oldest` share: what pyproject.toml asks for, and a virtual environment of it.

These scripts need `packaging`, which the development environment has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TORCH = "2.13.0"  # chosen by hand: the index may have newer ones for a GPU only
"""The release of torch that is locked, and that the newest of all else is tried with."""


def direct() -> list[Requirement]:
    """Every requirement of pyproject.toml, those of all extras included, but for the extras' own names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = {line: Requirement(line) for group in lines for line in group}
    return [one for one in requirements.values() if one.name != project["name"]]


def direct_here() -> dict[str, list[Requirement]]:
    """Those of them that hold for the Python that runs this, by canonical name."""
    found: dict[str, list[Requirement]] = {}
    for one in direct():
        if one.marker is None or one.marker.evaluate():
            found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def read_pins(path: Path = CONSTRAINTS) -> list[Requirement]:
    """Return the lines of a constraints file that are neither empty nor comments."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def pinned_here(path: Path = CONSTRAINTS) -> dict[str, str]:
    """Return the version of each package that a constraints file pins for this Python, by canonical name."""
    return {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in read_pins(path)
        if one.marker is None or one.marker.evaluate()
    }


def make_environment(folder: Path, interpreter: str = sys.executable) -> dict[str, str]:
    """Create a virtual environment in `folder`; return the variables with which its commands are found first."""
    subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    variables["PATH"] = f"{folder / 'bin'}{os.pathsep}{variables['PATH']}"
    return variables | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "QT_QPA_PLATFORM": "offscreen"}


def pip(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip in the environment of `variables`, at the top of the repository; its output is text, not checked."""
    command = ["python", "-m", "pip", *arguments]
    return subprocess.run(command, env=variables, cwd=ROOT, text=True, capture_output=True, check=False)
