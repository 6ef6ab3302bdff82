"""State of an interrupted run's file, and comparison of its run with the present one."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture import watched_process
from capture.results import schema, scores_schema, superblock
from capture.results.read_access import open_for_reading
from capture.watched_process import NoAnswerError, WatchedProcess

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
    "keep": "--keep",
    "regions": "--regions",
    "region_masks": "the masks of --regions",
    "check": "--check",
    "selection": "--frames",
    "dataset": "the data set",
    "prompts": "the prompts",
    "input": "what the model is shown",
    "count": "the number of frames",
    "frames": "--frames, or the episode's states, prompts or true actions",
    "pictures": "the pictures or their sizes",
}
"""Key of the root attribute `run` -> name for the user, most fundamental first."""

DEFAULTS: Final = {"keep": "maps", "regions": "none"}
"""What runs without these keys have: those before format 1.3 and those that keep all maps and score no regions."""

SINCE_1_1: Final = ("input",)
"""Keys that runs of format 1.0 lack; they are compared only where both runs have them."""

CHECKSUMS: Final = ("config", "weights", "prompts", "frames", "pictures", "region_masks")
"""Keys whose values are checksums, which mean nothing to the user."""


@dataclass(frozen=True)
class RunState:
    """State of the run that wrote a results file."""

    run: Mapping[str, Any] | None
    """The root attribute `run`; None where the file has none."""
    frames_done: int
    is_complete: bool
    checks: Mapping[str, Any]
    """The root attribute `checks`; empty where the file has none."""
    row_sum_error: float = 0.0
    """Largest |sum of a row - 1| of the finished frames; 0 of a complete file, which is not read for it."""


def ask_run_state(path: Path) -> RunState | None:
    """Return `read_run_state(path)`, read by another process: on a damaged file HDF5 can crash or come to no end."""
    try:
        answer = _process.ask(os.fspath(path))
    except NoAnswerError:
        return None
    return None if answer is None else RunState(**answer)


def read_run_state(path: Path, note_progress: Callable[[], None] = lambda: None) -> RunState | None:
    """Return the state of a results file's run; None where the file cannot be read, or not be continued.

    Of an incomplete file this reads all metadata that continuing it uses.
    """
    try:
        with open_for_reading(path) as file:
            run, checks = _read_json(file, schema.RUN_ATTRIBUTE), _read_json(file, "checks") or {}
            finished, complete = int(file[schema.FRAMES_DONE][()]), bool(file.attrs["complete"])
            if not 0 <= finished <= file[schema.FRAMES_INDEX].shape[0]:
                return None
            if complete or not finished:
                return RunState(run, finished, complete, checks)
            _check_chunk_indices(file, note_progress)
            return RunState(run, finished, complete, checks, row_sum_error(file, finished, note_progress))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, MemoryError):
        return None


def _read_json(file: h5py.File, name: str) -> dict[str, Any] | None:
    """Return a root attribute that holds a JSON object; None where it holds something else."""
    stored = file.attrs.get(name)
    value = json.loads(stored) if isinstance(stored, str | bytes) else None
    return value if isinstance(value, dict) else None


def _check_chunk_indices(file: h5py.File, note_progress: Callable[[], None]) -> None:
    """Read every chunk index, so that HDF5 verifies its checksums. Raises RuntimeError where one is wrong."""

    def check(_name: str, part: h5py.Group | h5py.Dataset) -> None:
        if isinstance(part, h5py.Dataset) and part.chunks:
            part.id.get_num_chunks()
            note_progress()

    file.visititems(check)


def may_hold_frames(path: Path) -> bool:
    """Return whether a file that cannot be read may hold finished frames all the same.

    It holds none if it is shorter than a superblock, has only zeros, or has the flag of a writer that readers cannot
    follow: the run ended while it created the file. Raises OSError.
    """
    with path.open("rb") as file:
        block = file.read(superblock.LENGTH)
        if len(block) < superblock.LENGTH or superblock.read_flags(block) == superblock.WRITER:
            return False
        while block and not any(block):
            block = file.read(1 << 20)
        return bool(block)


def serve() -> None:
    """Answer `ask_run_state`; for the other process."""

    def answer(path: str, note_progress: Callable[[], None]) -> object:
        state = read_run_state(Path(path), note_progress)
        return None if state is None else asdict(state)

    watched_process.serve(answer)


_process: Final = WatchedProcess("import capture.results.resume; capture.results.resume.serve()")
atexit.register(_process.stop)


def describe_difference(stored: Mapping[str, Any] | None, requested: Mapping[str, Any]) -> str | None:
    """Return the first difference between two runs in words; None where they are the same."""
    if stored is None:
        return "it does not state its run"
    present = DEFAULTS | json.loads(json.dumps(dict(requested)))  # as it is read back after storing
    stored = DEFAULTS | dict(stored)
    changed = [key for key in (*present, *stored) if present.get(key) != stored.get(key)]
    changed = [key for key in changed if key in stored or key not in SINCE_1_1]
    if not changed:
        return None
    # A change of the policy shows in several places; the first one listed is the cause.
    key = min(changed, key=lambda name: list(NAMES).index(name) if name in NAMES else len(NAMES))
    name, old, new = NAMES.get(key, key), stored.get(key), present.get(key)
    if isinstance(old, dict) and isinstance(new, dict):
        name = next(part for part in (*new, *old) if new.get(part) != old.get(part))
        old, new = old.get(name), new.get(name)
    if key in CHECKSUMS or old is None or new is None:
        return f"{name} changed"
    return f"{name} was {_format_value(old)} and is now {_format_value(new)}"


def _format_value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) <= 20 else f"{len(value)} numbers"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def row_sum_error(file: h5py.File, finished: int, note_progress: Callable[[], None] = lambda: None) -> float:
    """Return the largest |sum of a row - 1| of the first `finished` frames, from their stored masses."""
    worst = 0.0
    has_errors = scores_schema.ROW_SUM_ERROR in file  # beside masses that are rounded more coarsely
    for frame in range(finished):
        if has_errors:
            worst = float(np.maximum(worst, file[scores_schema.ROW_SUM_ERROR][frame]))
        is_token = np.asarray(file[schema.TEXT_ROLE][frame]) != schema.ROLES.index("pad")  # (T,)
        for name in () if has_errors else (schema.TEXT_MASS, schema.ACTION_MASS):
            sums = file[name][frame].sum(-1)  # (L, rows, ..., N)
            rows = sums[:, is_token] if name == schema.TEXT_MASS else sums
            worst = float(np.maximum(worst, np.abs(rows - 1).max()))
        note_progress()
    return worst
