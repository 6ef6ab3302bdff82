"""State of an interrupted run's file, and comparison of its run with the present one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture.results import schema

NAMES: Final = {
    "config": "the policy's configuration",
    "weights": "the checkpoint's weights",
    "tokenizer": "the tokenizer",
    "device": "--device",
    "dtype": "--dtype",
    "seed": "--seed",
    "layers": "--layers",
    "steps": "--steps",
    "denoise_steps": "--denoise-steps",
    "time_grid": "--time-grid",
    "horizon": "--horizon",
    "full": "--full",
    "store": "--store",
    "compress": "--compress",
    "check": "--check",
    "selection": "--frames",
    "dataset": "the data set",
    "prompts": "the prompts",
    "count": "the number of frames",
    "frames": "--frames, or the episode's states, prompts or true actions",
    "pictures": "the pictures or their sizes",
}
"""Key of the root attribute `run` -> name for the user, most fundamental first."""

CHECKSUMS: Final = ("config", "weights", "prompts", "frames", "pictures")
"""Keys whose values are checksums, which mean nothing to the user."""


@dataclass(frozen=True)
class RunState:
    """State of the run that wrote a results file."""

    run: Mapping[str, Any] | None
    """The root attribute `run`; None where the file has none."""
    frames_done: int
    is_complete: bool


def read_run_state(path: Path) -> RunState | None:
    """Return the state of a results file's run; None where the file cannot be read."""
    for swmr in (True, False):  # a killed run's file opens only with SWMR, the oldest layout only without
        try:
            with h5py.File(path, "r", swmr=swmr) as file:
                stored = file.attrs.get(schema.RUN_ATTRIBUTE)
                run = json.loads(stored) if isinstance(stored, str) else None
                done = int(file[schema.FRAMES_DONE][()])
                return RunState(run if isinstance(run, dict) else None, done, bool(file.attrs["complete"]))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError):
            continue
    return None


def describe_difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    """Return the first difference between two runs in words; None where they are the same."""
    if before is None:
        return "it does not state its run"
    present = json.loads(json.dumps(dict(now)))  # as it is read back after storing
    changed = [key for key in (*present, *before) if present.get(key) != before.get(key)]
    if not changed:
        return None
    # A change of the policy shows in several places; the first one listed is the cause.
    key = min(changed, key=lambda one: list(NAMES).index(one) if one in NAMES else len(NAMES))
    name, old, new = NAMES.get(key, key), before.get(key), present.get(key)
    if key in CHECKSUMS or old is None or new is None:
        return f"{name} changed"
    return f"{name} was {_format_value(old)} and is now {_format_value(new)}"


def _format_value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) <= 20 else f"{len(value)} numbers"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def row_sum_error(file: h5py.File, done: int) -> float:
    """Return the largest |sum of a row - 1| of the first `done` frames, from their stored masses."""
    worst = 0.0
    for frame in range(done):
        known = np.asarray(file[schema.TEXT_ROLE][frame]) != schema.ROLES.index("pad")  # (T,)
        for name in (schema.TEXT_MASS, schema.ACTION_MASS):
            sums = file[name][frame].sum(-1)  # (L, rows, ..., N)
            rows = sums[:, known] if name == schema.TEXT_MASS else sums
            worst = float(np.maximum(worst, np.abs(rows - 1).max()))
    return worst
