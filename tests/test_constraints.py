"""constraints.txt, pyproject.toml, the README and .ci/run say the same about what is installed."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

README = (ROOT / "README.md").read_text()
CI = (ROOT / ".ci" / "run").read_text()
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def in_force(requirements: list[Requirement], python: str) -> list[Requirement]:
    """Return the requirements whose marker holds for a Python version on this system."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]


def pins() -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def direct() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [
        requirement
        for group in groups
        for requirement in map(Requirement, group)
        if requirement.name != project["name"]
    ]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_in_its_range(python: str) -> None:
    pinned = {canonicalize_name(requirement.name): requirement for requirement in in_force(pins(), python)}
    required = in_force(direct(), python)
    assert len({requirement.name for requirement in required}) > 20
    for requirement in required:
        [exact] = pinned[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(exact.version), f"{requirement} is pinned to {exact}"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_is_one_exact_version_that_any_index_can_have(python: str) -> None:
    names = [canonicalize_name(requirement.name) for requirement in in_force(pins(), python)]
    assert len(names) == len(set(names))
    for pin in pins():
        [exact] = pin.specifier
        assert (exact.operator, pin.url, pin.extras) == ("==", None, set())
        assert "+" not in exact.version
        assert not re.match(r"nvidia|cuda|triton", pin.name), f"{pin.name} follows from torch's build"


def test_both_commands_of_the_readme_and_ci_install_with_the_constraints() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    installs = [re.findall(r"pip install ([^&]*[^& ])", line) for line in commands]
    assert installs == [["-c constraints.txt -e '.[capture,export]'"], ["-c constraints.txt -e '.[dev]'"]]
    assert re.findall(r"^pip install --quiet (.*)$", CI, re.MULTILINE) == ["-c constraints.txt -e '.[dev]'"]


def test_the_readme_and_ci_install_the_same_system_packages() -> None:
    [packages] = re.findall(r"`apt-get install ([^`]*)`", README)
    [installed] = re.findall(r'^packages="([^"]*)"$', CI, re.MULTILINE)
    assert packages.split() == installed.split()
    assert "libxcb-cursor0" in packages.split()
