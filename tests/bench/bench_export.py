"""Measures exports: the summary set of 18 layers x 10 steps, beside matplotlib drawing the same figures of the same size.

    python tests/bench/bench_export.py FILE.h5 [--processes 2] [--more 4]

The file is a full-size one of tests/bench/make_viewer_files.py. Both sides read the same numbers from it and write
JPEGs of the same number of pixels; ours is the whole command, from the start of Python to its end. matplotlib is measured as
scripts use it, with a new figure each time, and in its best case: one figure whose images and words are replaced.
Processor time is told besides, for machines that do other things meanwhile. `--more` repeats the set over that many
frames, to see that memory stays flat.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import psutil

from viewer.export import cli, process_pool
from viewer.export.plan import prepare_export
from viewer.export.scenes import ExportSource

HOME = Path(__file__).parents[2]


def processor_seconds() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def measure_memory(process: psutil.Popen) -> float:
    """Megabytes that a command and its processes hold, what they share counted once each."""
    whole = 0.0
    for child in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            whole += child.memory_info().rss / 1e6
    return whole


def measure_export(file: Path, folder: Path, processes: int, frames: str) -> tuple[float, float, int, list[float]]:
    """Figures a second, milliseconds of processor time a figure, how many figures, and megabytes over time."""
    words = ["summary", str(file), "-o", str(folder), "--actions", "7", "--steps", "all", "--frames", frames]
    command = [sys.executable, "-m", "viewer.export", *words, "--processes", str(processes)]
    taken: list[float] = []
    start, used = time.perf_counter(), processor_seconds()
    process = psutil.Popen(command, cwd=HOME, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            taken.append(measure_memory(process))
        time.sleep(0.1)
    wall, used = time.perf_counter() - start, processor_seconds() - used
    figures = len(list(folder.rglob("*.jpg")))
    return figures / wall, used / figures * 1000, figures, taken


class MatplotlibSummary:
    """matplotlib's summary: 2 x 2, pictures and overlays, title and colour bar, as a JPEG of `size` pixels."""

    def __init__(self, file: Path, folder: Path, size: tuple[int, int]) -> None:
        import matplotlib

        matplotlib.use("Agg")
        self.folder, self.size = folder, size
        self.source = ExportSource.open(file)
        self.results = self.source.results
        words = ["summary", str(file), "--actions", "7", "--layers", "all", "--steps", "all"]
        self.views = [file.view for file in prepare_export(self.source, cli.parse_arguments(words)).files]
        self.pictures = [self.results.picture(0, camera, "source") for camera in range(2)]
        self.source.compose_shown(self.views[0])

    def draw(self) -> tuple[Any, list[Any]]:
        """A figure with empty heat, and its two heats."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(2, 2, figsize=(self.size[0] / 200, self.size[1] / 200), dpi=200)
        heats: list[Any] = []
        for row, picture in enumerate(self.pictures):
            assert picture is not None
            for column in range(2):
                axes[row, column].imshow(picture)
                axes[row, column].set_axis_off()
            height, width = picture.shape[:2]
            side = max(height, width)
            left, top = (width - side) / 2, (height - side) / 2
            extent = (left, left + side, top + side, top)
            heats.append(axes[row, 1].imshow(np.zeros((16, 16)), cmap="inferno", alpha=0.6, extent=extent))
            axes[row, 1].set_xlim(0, width)
            axes[row, 1].set_ylim(height, 0)
        figure.colorbar(heats[0], ax=axes, fraction=0.03)
        return figure, heats

    def measure(self, count: int, *, fresh: bool) -> tuple[float, float]:
        """Figures a second, and milliseconds of processor time a figure."""
        import matplotlib.pyplot as plt

        figure, heats = self.draw()
        start, used = time.perf_counter(), processor_seconds()
        for number in range(count):
            if fresh:
                plt.close(figure)
                figure, heats = self.draw()
            view = self.views[number * len(self.views) // count]
            scene = self.source.compose_shown(view)
            for heat, values in zip(heats, scene.maps, strict=True):
                heat.set_data(values)
                heat.set_clim(*scene.ranges[0])
            figure.suptitle(f"layer {view.layer}, step {view.step}")
            figure.savefig(self.folder / f"{number}.jpg", dpi=200)
        taken, used = time.perf_counter() - start, processor_seconds() - used
        plt.close(figure)
        return count / taken, used / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--processes", type=int, default=process_pool.count_cores())
    parser.add_argument("--more", type=int, default=0, help="frames of the longer run")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        counts = sorted({1, arguments.processes})
        rates: dict[int, tuple[float, float]] = {}
        for count in counts:
            rate, used, figures, taken = measure_export(arguments.file, folder / str(count), count, "1")
            rates[count] = rate, used
            print(f"{figures} figures with {count} process{'es' if count > 1 else ''}: {rate:.0f} a second, "
                  f"{used:.1f} ms of processor a figure, at most {max(taken):.0f} MB in all")  # fmt: skip
        from PySide6.QtGui import QImageReader

        picture = next((folder / "1").rglob("*.jpg"))
        size = QImageReader(str(picture)).size()
        mean = sum(path.stat().st_size for path in picture.parent.iterdir()) / len(list(picture.parent.iterdir()))
        print(f"{size.width()} x {size.height()} pixels, {mean / 1e3:.0f} kB each")
        rival = MatplotlibSummary(arguments.file, folder, (size.width(), size.height()))
        for name, fresh in (("a new figure each", True), ("one figure, changed", False)):
            rate, used = rival.measure(12, fresh=fresh)
            print(f"matplotlib, {name}: {rate:.2f} a second, {used:.0f} ms of processor a figure")
            for count in counts:
                print(f"    {rates[count][0] / rate:.0f} times slower than {count} of ours, "
                      f"{used / rates[count][1]:.0f} times the processor time")  # fmt: skip
        if arguments.more:
            rate, used, figures, taken = measure_export(
                arguments.file, folder / "more", arguments.processes, f"1-{arguments.more}"
            )
            quarter = np.median(taken[len(taken) // 4 : len(taken) // 2])
            print(
                f"{figures} figures: {rate:.0f} a second, {used:.1f} ms of processor a figure; "
                f"{quarter:.0f} MB in the second quarter, {np.median(taken[len(taken) // 2 :]):.0f} MB in the second half"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
