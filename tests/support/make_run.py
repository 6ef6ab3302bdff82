"""A run's folder: small results files, an index beside them, and whatever state the caller wants each episode in.

python tests/support/make_run.py FOLDER                     # twelve episodes to look at
python tests/support/make_run.py FOLDER --names 5000        # an index of 5,000, of which twelve are there
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import make_results
from paths import TESTS

TASKS = (
    "put the duck in the bowl",
    "open the top drawer and put the bowl inside",
    "turn on the stove and put the moka pot on it",
)


def make_entry(number: int, **more: object) -> dict[str, Any]:
    """What an index says of an episode."""
    return {
        "file": f"episode_{number:06d}.h5",
        "name": f"episode_{number:06d}",
        "number": number,
        "prompts": [TASKS[number % len(TASKS)]],
        "frames": 6,
        "rate": 15.0,
        "success": [True, False, True, None][number % 4],
        **more,
    }


def write_index(folder: Path, entries: object, **more: object) -> Path:
    """An index, as the format document describes it."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "index.json"
    value = {
        "format": "pi0-attention-index",
        "format_version": [1, 0],
        "uuid": "11111111-2222-4333-8444-555555555555",
        "created": "2026-01-01T00:00:00+00:00",
        "generator": "pi0-capture 0.0.0",
        "source": {"kind": "LeRobot data set v3.0", "name": "libero_10"},
        "model": {"name": "planted", "config_hash": "0"},
        "episodes": entries,
        **more,
    }
    path.write_text(json.dumps(value))
    return path


def write_episode(folder: Path, number: int, **recipe: Any) -> Path:
    """The results file of an episode of `entry`."""
    folder.mkdir(exist_ok=True, parents=True)
    fields = {"frames": 6, "tasks": (TASKS[number % len(TASKS)],), "episodes": (f"episode_{number:06d}",)} | recipe
    return make_results.write(
        folder / f"episode_{number:06d}.h5", make_results.Recipe(seed=number + 1, rate=15 / 8, **fields)
    )


def write(folder: Path, episodes: int = 4, *, names: int = 0, **recipe: Any) -> Path:
    """A run of so many finished episodes; `names` more are named but not there."""
    for number in range(episodes):
        write_episode(folder, number, **recipe)
    write_index(folder, [make_entry(number) for number in range(max(episodes, names))])
    return folder


def write_mixed(folder: Path, **recipe: Any) -> Path:
    """Twelve episodes in every state: done, being written, failed, damaged, to come."""
    for number in range(9):
        write_episode(folder, number, **recipe)
    partial = write_episode(folder, 9, **{**recipe, "done": 3, "complete": False})
    partial.rename(partial.with_name(f"{partial.name}.partial"))
    damaged = folder / "episode_000004.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    entries = [make_entry(number, frames=recipe.get("frames", 6)) for number in range(12)]
    entries[10]["failed"] = "the video of the wrist camera is missing."
    write_index(folder, entries)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a run to look at.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", type=int, default=12, help="how many episodes the index names")
    arguments = parser.parse_args()
    sys.path.insert(0, str(TESTS / "bench"))
    import make_viewer_files

    make_results.scene = make_viewer_files.paint_scene
    write_mixed(
        arguments.folder,
        frames=24,
        size=(360, 640),
        layers=18,
        heads=8,
        steps=4,
        horizon=10,
        plant=make_viewer_files._plant,
    )
    if arguments.names > 12:
        write_index(arguments.folder, [make_entry(number) for number in range(arguments.names)])
    print(arguments.folder)
