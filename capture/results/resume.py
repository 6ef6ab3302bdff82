"""What a run that ended early left behind, and whether the run at hand is the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture.results import schema

WORDS: Final = {
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
"""Keys of the root attribute `run`, and what a user calls them."""

SUMS: Final = ("config", "weights", "prompts", "frames", "pictures")
"""Those of them that are check sums, which say nothing to people."""


@dataclass(frozen=True)
class RunState:
    """A results file as far as its run came."""

    run: Mapping[str, Any] | None
    """The root attribute `run`; None where the file does not say."""
    done: int
    complete: bool


def read_run_state(path: Path) -> RunState | None:
    """What a results file says of its run; None if nothing of it can be read."""
    for swmr in (True, False):  # a killed run's file opens in the first way alone, an old layout in the second
        try:
            with h5py.File(path, "r", swmr=swmr) as file:
                told = file.attrs.get(schema.RUN_ATTRIBUTE)
                run = json.loads(told) if isinstance(told, str) else None
                done = int(file[schema.FRAMES_DONE][()])
                return RunState(run if isinstance(run, dict) else None, done, bool(file.attrs["complete"]))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError):
            continue
    return None


def describe_difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    """What is not as it was, in words; None where the runs are the same."""
    if before is None:
        return "it does not say which run it is of"
    told = json.loads(json.dumps(dict(now)))  # as it reads after it was stored
    changed = [key for key in (*told, *before) if told.get(key) != before.get(key)]
    if not changed:
        return None
    # A change of the policy shows in several places; the first one listed is the cause.
    key = min(changed, key=lambda one: list(WORDS).index(one) if one in WORDS else len(WORDS))
    name, then, here = WORDS.get(key, key), before.get(key), told.get(key)
    if key in SUMS or then is None or here is None:
        return f"{name} changed"
    return f"{name} was {_spelt(then)} and is now {_spelt(here)}"


def _spelt(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) <= 20 else f"{len(value)} numbers"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def row_sum_error(file: h5py.File, done: int) -> float:
    """Largest |sum of a row - 1| of the first `done` frames, from their stored masses."""
    worst = 0.0
    for frame in range(done):
        known = np.asarray(file[schema.TEXT_ROLE][frame]) != schema.ROLES.index("pad")  # (T,)
        for name in (schema.TEXT_MASS, schema.ACTION_MASS):
            sums = file[name][frame].sum(-1)  # (L, rows, ..., N)
            rows = sums[:, known] if name == schema.TEXT_MASS else sums
            worst = float(np.maximum(worst, np.abs(rows - 1).max()))
    return worst
