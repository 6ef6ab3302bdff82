"""Random commands, keys and mouse events on a real window, with a file that grows and is replaced meanwhile.

    python tests/fuzz/growing_file.py --count 10000 --seed 1

prints one line of JSON: events, frames and captures that were followed, files that were replaced by damaged ones,
uncaught errors and panels that could not be drawn, and the resident memory in MB at ten moments with the window as at
the start. It rises until the caches of texts, glyphs and pictures are full, some 4,000 events, and is flat after that.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent), str(Path(__file__).resolve().parent)]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from damage import damage
from growing_results import GrowingResults
from process_figures import resident_megabytes
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from random_events import MODAL, send_random_event
from window_driver import close, close_overlays, show, spin

from viewer.widgets.main_window import MainWindow

FRAMES: Final = 8


def measure_memory(window: MainWindow) -> int:
    """Return the resident memory in MB, with nothing open and the window at its first size."""
    close_overlays(window)
    window.resize(1280, 800)
    spin(0.0)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the C library keeps is not in use
    return round(resident_megabytes())


def run(count: int, seed: int) -> dict[str, Any]:
    """Send `count` events to a window; return the tally."""
    _app = QApplication.instance() or QApplication([])
    rng = np.random.default_rng(seed)
    tally: dict[str, Any] = {"seed": seed, "events": 0, "frames": 0, "captures": 0, "damaged": 0, "memory": []}
    errors: list[str] = []
    sys.excepthook = lambda kind, error, _trace: errors.append(f"{kind.__name__}: {error}")
    perform = MainWindow.perform
    MainWindow.perform = lambda self, command: None if command.id in MODAL else perform(self, command)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = GrowingResults(folder / "a.h5", FRAMES)
        capture.write_next()
        window = show(capture.path.with_name("a.h5.partial"), folder)
        window.session.noticed.connect(lambda text: errors.append(text) if "cannot be drawn" in text else None)
        for number in range(count):
            event = send_random_event(window, rng)
            spin(0.0)
            if errors:
                errors[-1] += f" (event {number}: {event})"
            if number % 20 == 0:
                close_overlays(window)
                QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # only a running event loop does
                window.grab()
            if rng.random() < 0.05:
                capture = change_file(window, capture, rng, tally)
            if number % max(count // 10, 1) == 0:
                tally["memory"].append(measure_memory(window))
        tally["events"] = count
        capture.stop()
        close(window)
    MainWindow.perform = perform  # type: ignore[method-assign]
    sys.excepthook = sys.__excepthook__
    return tally | {"errors": len(errors), "first_errors": errors[:5]}


def change_file(
    window: MainWindow, capture: GrowingResults, rng: np.random.Generator, tally: dict[str, Any]
) -> GrowingResults:
    """Let the file grow by a frame, or begin it anew at the same place, at times after a damage."""
    if not capture.is_finished:
        if rng.random() < 0.03:  # torn in place while it is followed
            partial = capture.path.with_name(capture.path.name + ".partial")
            content = damage(partial.read_bytes(), rng)
            with partial.open("r+b") as file:
                file.write(content)
            tally["damaged"] += 1
            window.session.follow()
            spin(0.02)
        else:
            capture.write_next()
            tally["frames"] += 1
            window.session.follow()
            return capture
    capture.stop()
    for left in capture.path.parent.glob("a.h5*"):
        left.unlink()
    capture = GrowingResults(capture.path, FRAMES)
    capture.write_next()
    tally["captures"] += 1
    window.session.follow()
    spin(0.0)
    window.files.watch.check_files()
    window.open(capture.path)
    end = 400
    while window.files.opening.busy and end:
        spin(0.01)
        end -= 1
    return capture


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.count, arguments.seed)))


if __name__ == "__main__":
    main()
