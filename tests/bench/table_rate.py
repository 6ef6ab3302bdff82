"""The rate of `pi0-export table` with a region, as a share of the rate of reading the same maps with h5py alone.

    python tests/bench/table_rate.py                       # two episodes of ten full-size frames, 800 MB
    python tests/bench/table_rate.py --compress            # bitshuffle-lz4, as pi0-capture --compress writes
    python tests/bench/table_rate.py --folder FOLDER       # keeps the run there, and uses it again
    python tests/bench/table_rate.py --cold                # files that are not in the system's memory; wall time
    python tests/bench/table_rate.py --processes 2         # the run at once, in processes; wall time
    python tests/bench/table_rate.py --profile box         # where the time goes: of `stored`, `box` or `csv`

18 layers, 8 heads, 10 denoise steps, two cameras of 16 x 16 patches, 15 action tokens and 60 words; one word and every
action token are asked for, with a region: 21,744 rows of attention a frame. `stored`: the scores of the region are in
the file, `box`: they need the maps. Reading takes the same parts of the same datasets, and makes float32 of them. All
are measured in turn, and the best round of each counts: in processor time, so that what else the machine does matters
little, but for --cold and --processes.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

if TYPE_CHECKING:
    from collections.abc import Callable

EPISODES, FRAMES, CAMERAS = 2, 10, 2
TOKEN = 3
CASES = {
    "stored": ("parquet", "region 1"),
    "box": ("parquet", "camera 0:6-8,7-9"),
    "csv": ("csv", "region 1"),
}
"""What is measured: the format and the region."""


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
    for path in list_files(folder):
        read_file(path)


def list_files(folder: Path) -> list[Path]:
    """Return the results files of the run."""
    return sorted(folder.glob("*.h5"))


def read_file(path: Path, _: object = None) -> None:
    """Read the maps of one file."""
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

    with h5py.File(path) as file:
        words, actions = file["text/to_image"], file["action/to_image"]
        for frame in range(FRAMES):
            widen(words, (frame, slice(None), TOKEN))
            for action in range(actions.shape[2]):
                widen(actions, (frame, slice(None), action))


def read_in_processes(folder: Path, processes: int) -> None:
    """Read the maps of all files, each in one of some processes, as the table of a run is made."""
    from viewer.export.runs.episode_pool import call_in_processes

    call_in_processes(read_file, list_files(folder), processes, lambda *_: None)


def make_arguments(path: Path, target: Path, case: str, **options: object):
    """Return the arguments of `pi0-export table` for one case."""
    from viewer.export.arguments import ExportArguments

    file_format, region = CASES[case]
    return ExportArguments(
        "table",
        path,
        file_format,
        folder=target,
        tokens=(str(TOKEN),),
        actions=tuple(map(str, range(15))),
        region=(region,),
        frames="all",
        overwrite=True,
        **options,
    )


def write_tables(folder: Path, target: Path, case: str) -> None:
    """Write the table of every episode in this process."""
    from dataclasses import replace

    from viewer.export import tables
    from viewer.export.plan import build_plan
    from viewer.export.resolve.request_resolver import resolve_request
    from viewer.export.scenes import ExportSource

    for path in list_files(folder):
        with ExportSource.open(path) as source:
            request = replace(resolve_request(source, make_arguments(path, target, case)), folder=target)
            tables.write_table(build_plan(source, request), source.results, lambda *_: None)


def write_run_tables(folder: Path, target: Path, case: str, processes: int) -> None:
    """Write the tables of the run, as `pi0-export table RUN --processes` does."""
    from viewer.export.runs.run_table import export_run

    export_run(make_arguments(folder, target, case, processes=processes), lambda *_: None)


def forget_files(folder: Path) -> None:
    """Make the system forget what the files hold, so that they are read from the disk again."""
    for path in list_files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the run is kept (a temporary folder)")
    parser.add_argument("--compress", action="store_true", help="bitshuffle-lz4, as pi0-capture --compress writes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="make the system forget the files before each round")
    parser.add_argument("--processes", type=int, default=0, help="measure the whole run in so many processes")
    parser.add_argument("--profile", choices=CASES, help="print where the time of a table goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "run"
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder, compress=options.compress)
        target = Path(temporary) / "tables"
        write_tables(folder, target, "stored")  # imports, and keeps freed memory
        if options.profile:
            profile = cProfile.Profile(time.process_time)
            profile.runcall(write_tables, folder, target, options.profile)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        count = options.processes
        calls: dict[str, Callable[[], object]] = {
            "read": partial(read_in_processes, folder, count) if count else partial(read_maps, folder)
        }
        for case in CASES:
            of_run = partial(write_run_tables, folder, target, case, count)
            calls[case] = of_run if count else partial(write_tables, folder, target, case)
        took = {name: Took() for name in calls}
        for _ in range(options.rounds):
            for name, call in calls.items():
                if options.cold:
                    forget_files(folder)
                took[name].measure(call)
    frames = EPISODES * FRAMES
    is_wall = options.cold or bool(count)
    of_all = {name: rate.wall if is_wall else rate.work for name, rate in took.items()}
    for name, seconds in of_all.items():
        share = of_all["read"] / seconds
        kind = "" if is_wall else "of processor time "
        print(f"{name:8} {1e3 * seconds / frames:6.1f} ms {kind}a frame, {share:5.0%} of reading's rate")


if __name__ == "__main__":
    main()
