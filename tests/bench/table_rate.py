"""The rate of `pi0-export table` with a region, as a share of the rate of reading the same maps with h5py alone.

    python tests/bench/table_rate.py                       # four episodes of three full-size frames, 480 MB
    python tests/bench/table_rate.py --compress            # bitshuffle-lz4, as pi0-capture --compress writes
    python tests/bench/table_rate.py --folder FOLDER       # keeps the run there, and uses it again
    python tests/bench/table_rate.py --profile             # where the time goes

18 layers, 8 heads, 10 denoise steps, two cameras of 16 x 16 patches, 15 action tokens and 60 words; one word and every
action token are asked for, with a region: 21,744 rows of attention a frame. Reading takes the same parts of the same
datasets, from memory, and makes float32 of them. Both are measured in turn, in processor time, so that what else the
machine does matters little; the best round of each counts.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

if TYPE_CHECKING:
    from collections.abc import Callable

EPISODES, FRAMES, CAMERAS = 4, 3, 2
TOKEN, REGION = 3, "region 1"


@dataclass
class Took:
    """The best of several rounds, in seconds."""

    wall: float = float("inf")
    work: float = float("inf")

    def measure(self, call: Callable[[], object]) -> None:
        """Call once, and keep what it took where that is the least so far."""
        wall, work = time.perf_counter(), time.process_time()
        call()
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.work = min(self.work, time.process_time() - work)


def write_run(folder: Path, *, compress: bool) -> None:
    """Write the results files of a run, and its index."""
    import make_run
    import torch
    from full_size_call import make_full_size_call, make_full_size_sizes

    from capture.pipeline.frame_builder import Kept, compute_datasets, split_frames
    from capture.results.writer import ResultsWriter

    for number in range(EPISODES):
        entry = make_run.make_entry(number)
        path = folder / entry["file"]
        if path.exists():
            continue
        for frame in range(FRAMES):
            call = make_full_size_call(CAMERAS, seed=FRAMES * number + frame)
            [(datasets, _)] = split_frames(
                call, compute_datasets(call, Kept.choose(torch.bfloat16, 1, has_scores=True))
            )
            if frame == 0:
                sizes = make_full_size_sizes(call, FRAMES)
                writer = ResultsWriter(path, sizes, model={}, generator="bench", weights="bfloat16", compress=compress)
            writer.write(datasets)
        writer.finish({})
    make_run.write_index(folder, [make_run.make_entry(number, frames=FRAMES) for number in range(EPISODES)])


def read_maps(folder: Path) -> None:
    """Read what the table needs of the maps, with h5py alone, and make float32 of it."""
    import h5py
    import numpy as np

    def widen(dataset: h5py.Dataset, index: tuple[int | slice, ...]) -> np.ndarray:
        counts = (*(1 if isinstance(part, int) else dataset.shape[axis] for axis, part in enumerate(index)),)
        counts += dataset.shape[len(index) :]
        bits = np.empty(counts, np.uint16)
        space = dataset.id.get_space()
        space.select_hyperslab(
            tuple(part if isinstance(part, int) else 0 for part in index) + (0,) * (bits.ndim - len(index)), counts
        )
        dataset.id.read(h5py.h5s.create_simple(counts), space, bits, dataset.id.get_type())
        return (bits.astype(np.uint32) << 16).view(np.float32)

    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            words, actions = file["text/to_image"], file["action/to_image"]
            for frame in range(FRAMES):
                widen(words, (frame, slice(None), TOKEN))
                for action in range(actions.shape[2]):
                    widen(actions, (frame, slice(None), action))


def write_tables(folder: Path, target: Path, file_format: str) -> int:
    """Write the table of every episode, as `pi0-export table` does in one process; return the number of rows."""
    from dataclasses import replace

    from viewer.export import tables
    from viewer.export.arguments import ExportArguments
    from viewer.export.plan import build_plan
    from viewer.export.resolve import resolve_request
    from viewer.export.scenes import ExportSource

    rows = 0

    def report(_: int, total: int) -> None:
        nonlocal rows
        rows = total

    for path in sorted(folder.glob("*.h5")):
        arguments = ExportArguments(
            "table",
            path,
            file_format,
            tokens=(str(TOKEN),),
            actions=tuple(map(str, range(15))),
            region=(REGION,),
            frames="all",
        )
        with ExportSource.open(path) as source:
            request = replace(resolve_request(source, arguments), folder=target, overwrite=True)
            tables.write_table(build_plan(source, request), source.results, report)
    return rows * EPISODES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the run is kept (a temporary folder)")
    parser.add_argument("--compress", action="store_true", help="bitshuffle-lz4, as pi0-capture --compress writes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print where the time of a table goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "run"
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder, compress=options.compress)
        target = Path(temporary) / "tables"
        rows = write_tables(folder, target, "parquet")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(write_tables, folder, target, "parquet")
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        took = {"read": Took(), "parquet": Took(), "csv": Took()}
        for _ in range(options.rounds):
            took["read"].measure(lambda: read_maps(folder))
            for file_format in ("parquet", "csv"):
                took[file_format].measure(lambda made=file_format: write_tables(folder, target, made))
    frames = EPISODES * FRAMES
    print(f"{frames} frames, {rows} rows of attention")
    for name, rate in took.items():
        share = took["read"].work / rate.work
        print(f"{name:8} {1e3 * rate.work / frames:6.0f} ms of processor time a frame, {share:5.0%} of reading's rate")


if __name__ == "__main__":
    main()
