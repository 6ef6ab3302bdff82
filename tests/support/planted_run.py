"""A small run in which one head looks at a region, in successes more than in failures."""

from __future__ import annotations

from pathlib import Path

import make_run
import numpy as np
import numpy.typing as npt

EPISODES = 8
FRAMES = 4
LAYERS, HEADS, STEPS, HORIZON = 3, 2, 2, 2
TASK = "put the duck in the bowl"
BOX = "exterior:6-6,5-5"
"""The region: one patch."""
PLANTED = 1, 0
"""Layer and head that look there."""


def write_planted_run(folder: Path, episodes: int = EPISODES) -> Path:
    """Write a run of which the even episodes succeeded: there the planted head looks at the region."""
    for number in range(episodes):
        strength = 400.0 if number % 2 == 0 else 40.0

        def plant(
            kind: str,
            image: npt.NDArray[np.float32],
            words: npt.NDArray[np.float32],
            actions: npt.NDArray[np.float32],
            strength: float = strength,
        ) -> None:
            image[PLANTED[0], ..., PLANTED[1], 0, 6, 5] += strength

        make_run.write_episode(
            folder, number, frames=FRAMES, layers=LAYERS, heads=HEADS, steps=STEPS, horizon=HORIZON, size=(36, 64),
            tasks=(TASK,), plant=plant,
        )  # fmt: skip
    entries = [
        make_run.make_entry(number, frames=FRAMES, prompts=[TASK], success=number % 2 == 0)
        for number in range(episodes)
    ]
    make_run.write_index(folder, entries)
    return folder
