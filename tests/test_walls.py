"""The walls between the rooms name every module that is behind them: one that is new must be added."""

from __future__ import annotations

import tomllib

import pytest
from paths import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
BEHIND = [one for one in CONTRACTS if "capture.pipeline.runner" in one.get("forbidden_modules", ())]


def test_there_are_such_walls() -> None:
    assert len(BEHIND) == 2


@pytest.mark.parametrize("wall", BEHIND, ids=lambda wall: wall["name"])
def test_every_module_of_capture_but_the_schema_is_behind_it(wall) -> None:
    found = {f"capture.{path.stem}" for path in (ROOT / "capture").glob("*.py")} - {"capture.__init__"}
    found |= {f"capture.{path.parent.name}" for path in (ROOT / "capture").glob("*/__init__.py")}
    named = {name for name in wall["forbidden_modules"] if name.startswith("capture.")}
    assert found - named <= {"capture.results.schema"}
    assert named <= found
