"""`--demo-run`: the bundled policy on its bundled episodes in which it acted, as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from capture.errors import UserError

if TYPE_CHECKING:
    import argparse

STEPS: Final = (0, 9)
"""Denoise steps that are kept without --steps, the first and the last: 356 MB for the run instead of 800."""


def demo_folder() -> Path:
    """Return the folder of the bundled policy."""
    from importlib.resources import files

    return Path(str(files("resources"))) / "demo"


def expand_demo_run(options: argparse.Namespace) -> None:
    """Turn `--demo-run` into `--demo` with the bundled episodes as `--dataset`; do nothing without it.

    Raises UserError where another episode or data set is named too, or where the episodes are not installed.
    """
    if not options.demo_run:
        return
    for name in ("episode", "dataset"):
        if getattr(options, name):
            raise UserError(f"--demo-run brings its own episodes; leave --{name} out, or take --demo-run out")
    options.demo, options.dataset = True, demo_folder() / "rollouts"
    if not options.dataset.is_dir():
        raise UserError(f"the demo's run is not installed ({options.dataset} is missing); install pi0-attention again")
    if options.steps is None:
        options.steps = STEPS
