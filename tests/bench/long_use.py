"""Resources of long use: a long capture, many switches of episodes, many windows.

    python tests/bench/long_use.py --frames 300 --switches 1000 --windows 50

prints one line of JSON a part, with figures at ten moments: resident memory in MB, threads, open handles, and processes
of the program and of all that it has started. `growth` is that of the memory from the third moment on, as a share:
before it caches fill. Linux only, for /proc.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent)]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np  # noqa: E402
from process_figures import count_handles, count_threads, list_descendants, resident_megabytes  # noqa: E402

MOMENTS: Final = 10


def measure(pid: int | str = "self") -> dict[str, float]:
    """Return the figures of a process and its descendants, summed."""
    figures = {"memory": 0.0, "threads": 0, "handles": 0, "processes": 0}
    for process in [pid, *list_descendants(pid)]:
        try:
            figures["memory"] += resident_megabytes(process)
            figures["threads"] += count_threads(process)
            figures["handles"] += count_handles(process)
            figures["processes"] += 1
        except OSError:
            continue  # it has ended
    return figures | {"memory": round(figures["memory"])}


def summarise(part: str, moments: list[dict[str, float]], **more: object) -> dict[str, Any]:
    """Return the figures at all moments by name, and the growth of the memory."""
    table = {name: [moment[name] for moment in moments] for name in moments[0]}
    memory = table["memory"]
    early = memory[min(2, len(memory) - 1)]
    return {"part": part, **more, **table, "growth": round(memory[-1] / early - 1, 3)}


def capture_frames(folder: Path, frames: int) -> dict[str, Any]:
    """Run pi0-capture with a small policy over an episode; measure whenever a tenth of the frames is finished."""
    from episode_files import npz_arrays
    from small_policy import write_small_checkpoint

    from capture.results import schema
    from capture.results.read_access import open_for_reading

    checkpoint = write_small_checkpoint(folder / "pi05_small")
    arrays = npz_arrays(frames)
    arrays["state"] = np.resize(arrays["state"], (frames, 4))
    arrays.pop("actions", None)
    np.savez(folder / "episode.npz", **arrays)
    output = folder / "long.h5"
    command = [
        sys.executable,
        "-m",
        "capture",
        "--checkpoint",
        str(checkpoint),
        "--episode",
        str(folder / "episode.npz"),
    ]
    command += ["--sizes", str(checkpoint / "sizes.json"), "--denoise-steps", "4", "--device", "cpu", "-o", str(output)]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, env=environment)
    moments: list[dict[str, float]] = []
    while process.poll() is None:
        time.sleep(0.05)
        try:
            with open_for_reading(output.with_name(output.name + schema.PARTIAL_SUFFIX)) as file:
                done = int(file[schema.FRAMES_DONE][()])
        except (OSError, KeyError):
            continue
        if done * MOMENTS >= frames * (len(moments) + 1) and done < frames:
            moments.append(measure(process.pid))
    assert process.stdout is not None
    message = process.stdout.read().decode()
    if process.returncode or not moments:
        raise RuntimeError(f"the capture ended with {process.returncode}: {message}")
    return summarise("capture", moments, frames=frames)


class WindowMeasure:
    """Figures of this process, with a window, at moments of equal distance."""

    def __init__(self, count: int) -> None:
        from PySide6.QtWidgets import QApplication

        self._app = QApplication.instance() or QApplication([])
        self._every = max(count // MOMENTS, 1)
        self.moments: list[dict[str, float]] = []

    def note(self, number: int) -> None:
        """Measure if this is one of the moments, after what is to be deleted is gone."""
        from PySide6.QtCore import QCoreApplication, QEvent
        from window_driver import spin

        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # only a running event loop does
        if (number + 1) % self._every == 0:
            spin(0.2)
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            self.moments.append(measure())


def switch_episodes(folder: Path, count: int) -> dict[str, Any]:
    """Go through the episodes of a run, each until its pictures are shown."""
    import make_run
    from window_driver import close, show, spin, until

    figures = WindowMeasure(count)
    run_folder = make_run.write(folder / "run", 12)
    window = show(next(run_folder.glob("*.h5")), folder)
    window.open(run_folder)
    until(lambda: window.files.run is not None and window.files.run.episodes.current is not None)
    for number in range(count):
        assert window.files.run is not None
        episodes = window.files.run.episodes
        expected = (number * 5 + 1) % 12
        episodes.go(expected)
        until(lambda expected=expected, episodes=episodes: episodes.current == expected, 60)
        spin(0.0)
        window.grab()
        figures.note(number)
    close(window)
    return summarise("episodes", figures.moments, switches=count)


def open_windows(folder: Path, count: int) -> dict[str, Any]:
    """Open and close a window with a file, its export sheet and its help."""
    import make_results
    from window_driver import close, show, spin

    figures = WindowMeasure(count)
    path = make_results.write(folder / "one.h5")
    for number in range(count):
        window = show(path, folder)
        for sheet in ("export", "help"):
            window.overlays.show(sheet)
            spin(0.05)
        window.grab()
        close(window)
        figures.note(number)
    return summarise("windows", figures.moments, windows=count)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("frames", 300), ("switches", 1000), ("windows", 50)):
        parser.add_argument(f"--{name}", type=int, default=count, help=f"default {count}; 0 leaves the part out")
    arguments = parser.parse_args()
    for count, part in (
        (arguments.windows, open_windows),
        (arguments.switches, switch_episodes),
        (arguments.frames, capture_frames),  # last, since it imports torch
    ):
        if count:
            with tempfile.TemporaryDirectory() as name:
                print(json.dumps(part(Path(name), count)), flush=True)


if __name__ == "__main__":
    main()
