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
    """Those whose marker holds for a Python on the system that runs this."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    return [one for one in requirements if one.marker is None or one.marker.evaluate(environment)]


def pins() -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def direct() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [one for group in groups for one in map(Requirement, group) if one.name != project["name"]]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_in_its_range(python: str) -> None:
    pinned = {canonicalize_name(one.name): one for one in in_force(pins(), python)}
    asked = in_force(direct(), python)
    assert len({one.name for one in asked}) > 20
    for one in asked:
        [exact] = pinned[canonicalize_name(one.name)].specifier
        assert one.specifier.contains(exact.version), f"{one} is pinned to {exact}"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_is_one_exact_version_that_any_index_can_have(python: str) -> None:
    names = [canonicalize_name(one.name) for one in in_force(pins(), python)]
    assert len(names) == len(set(names))
    for one in pins():
        [exact] = one.specifier
        assert (exact.operator, one.url, one.extras) == ("==", None, set())
        assert "+" not in exact.version
        assert not re.match(r"nvidia|cuda|triton", one.name), f"{one.name} follows from torch's build"


def test_both_commands_of_the_readme_and_ci_install_with_the_constraints() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    installs = [re.findall(r"pip install ([^&]*[^& ])", line) for line in commands]
    assert installs == [["-c constraints.txt -e '.[capture,export]'"], ["-c constraints.txt -e '.[dev]'"]]
    assert re.findall(r"^pip install --quiet (.*)$", CI, re.MULTILINE) == ["-c constraints.txt -e '.[dev]'"]


def test_the_readme_and_ci_install_the_same_system_packages() -> None:
    [told] = re.findall(r"`apt-get install ([^`]*)`", README)
    [installed] = re.findall(r'^packages="([^"]*)"$', CI, re.MULTILINE)
    assert told.split() == installed.split()
    assert "libxcb-cursor0" in told.split()
