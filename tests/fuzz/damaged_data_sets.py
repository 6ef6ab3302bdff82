"""Damaged HDF5 files of robots (LIBERO, robomimic, ALOHA, DROID) through the readers of pi0-capture.

    python tests/fuzz/damaged_data_sets.py --count 1000 --seed 1 --keep /tmp/found

prints one line of JSON: files, how many opened or got a sentence, and what must not be: hangs (CPU_LIMIT or CLOCK_LIMIT
of `target_process` for a file), crashes and uncaught errors of the reading process. The seed decides every damage.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent)]

import h5py
import numpy as np
from damage import damage
from episode_files import write_aloha, write_droid, write_libero
from target_process import TargetProcess

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError


def write_sources(folder: Path) -> list[Path]:
    """Write files of every kind, in HDF5's old format and, compressed, in its new one; return them."""
    files = [
        write_libero(folder / "libero.hdf5", (3, 4)),
        write_libero(folder / "robomimic.hdf5", (3,), libero=False, cameras=("agentview_image", "wrist_image")),
        *(write_aloha(folder / f"aloha_{form}.hdf5", 4, form=form) for form in ("rgb", "padded", "variable")),
        write_droid(folder / "droid", 4, form="jpeg") / "trajectory.h5",
    ]
    compact = []
    for path in files[:-1]:
        new = path.with_name(f"new_{path.name}")
        with h5py.File(path) as before, h5py.File(new, "w", libver="latest") as after:
            copy_compressed(before, after)
        compact.append(new)
    return files + compact


def copy_compressed(before: h5py.Group, after: h5py.Group) -> None:
    """Copy everything below a group; arrays are stored in compressed chunks of one row."""
    for name, value in before.attrs.items():
        after.attrs[name] = value
    for name, place in before.items():
        if isinstance(place, h5py.Group):
            copy_compressed(place, after.create_group(name))
        else:
            chunks = (1, *place.shape[1:]) if place.shape else None
            after.create_dataset(
                name, data=place, dtype=place.dtype, chunks=chunks, compression="gzip" if chunks else None
            )


def serve() -> None:
    """Answer each path on standard input with `opened`, `refused`, or `uncaught` and an error."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(read_all(Path(json.loads(line)))), flush=True)


def read_all(path: Path) -> str:
    """Read every frame of every episode, as pi0-capture does."""
    answer = "refused"
    try:
        source = open_source(path, SourceOptions(("exterior", "wrist"), 4))
        for episode in source.episodes:
            try:
                _ = episode.success, episode.prompts, episode.shapes
                if len(list(episode.read(range(episode.length)))):
                    answer = "opened"
                episode.frame_decisions(range(episode.length))
            except UserError as error:
                if "\n" in str(error):
                    return f"uncaught message of several lines: {error}"
    except UserError:
        pass
    except Exception as error:
        return f"uncaught {type(error).__name__}: {error}"
    return answer


def run(count: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Send `count` damaged files through the readers; return the tally."""
    rng = np.random.default_rng(seed)
    tally: dict[str, Any] = dict.fromkeys(("files", "opened", "refused", "hangs", "crashes", "uncaught"), 0)
    tally |= {"slowest": 0.0, "memory": 0.0}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    reader = TargetProcess(command)
    with tempfile.TemporaryDirectory() as name:
        sources = write_sources(Path(name))
        contents = [path.read_bytes() for path in sources]
        for _ in range(count):
            chosen = int(rng.integers(len(sources)))
            sources[chosen].write_bytes(damage(contents[chosen], rng))
            answer, seconds = reader.open(sources[chosen])
            outcome = answer.split(maxsplit=1)[0]
            tally["files"] += 1
            tally[{"hang": "hangs", "crash": "crashes"}.get(outcome, outcome)] += 1
            tally["slowest"] = round(max(tally["slowest"], seconds), 2)
            tally["memory"] = round(max(tally["memory"], reader.megabytes()))
            if outcome in ("hang", "crash", "uncaught") and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                copy = keep / f"{outcome}-{seed}-{tally['files']}-{sources[chosen].name}"
                shutil.copy(sources[chosen], copy)
                print(f"{answer[:300]} ({copy.name}, {seconds:.1f} s)", file=sys.stderr, flush=True)
            if outcome in ("hang", "crash"):
                reader.stop()
                reader = TargetProcess(command)
            sources[chosen].write_bytes(contents[chosen])
    reader.stop()
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for files that did what must not be")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    else:
        print(json.dumps(run(arguments.count, arguments.seed, arguments.keep)))


if __name__ == "__main__":
    main()
