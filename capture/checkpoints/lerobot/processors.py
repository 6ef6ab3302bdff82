"""Steps of lerobot's saved processors."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capture.json_fields import JsonObject, read_json

PREPROCESSOR: Final = "policy_preprocessor.json"
POSTPROCESSOR: Final = "policy_postprocessor.json"

NO_VALUES: Final = JsonObject({}, "")
"""Stands for an object that a file does not have."""


def read_steps(path: Path) -> dict[str, JsonObject]:
    """Return the steps of a saved processor: name -> configuration, with the step's `state_file` added."""
    if not path.is_file():
        return {}
    steps = {}
    for step in read_json(path).sections("steps") or ():
        name = step.text("registry_name") or (step.text("class") or "").rpartition(".")[2]
        step_config = step.section("config") or NO_VALUES
        steps[name] = JsonObject({**step_config.values, "state_file": step.text("state_file")}, f"{path}, {name!r}")
    return steps
