"""Random commands, keys and mouse events on a real window, with a file that grows and is replaced meanwhile.

    python tests/fuzz/growing_file.py --count 10000 --seed 1

prints one line of JSON: events, frames and captures that were followed, files that were replaced by damaged ones,
uncaught errors and panels that could not be drawn, and the resident memory in MB at ten moments.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent), str(Path(__file__).resolve().parent)]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from damage import damage
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from random_events import MODAL, one_event
from window_driver import close, show, spin

from viewer.widgets.main_window import MainWindow

FRAMES: Final = 8
CAPTURE: Final = """
import dataclasses, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import synthetic
from capture.results.writer import ResultsWriter
sizes = dataclasses.replace(synthetic.SMALL, frames=int(sys.stdin.readline()))
with ResultsWriter(Path(sys.argv[1]), sizes, model=synthetic.MODEL, generator="test", overwrite=True) as writer:
    for number in range(sizes.frames):
        sys.stdin.readline()
        writer.write(synthetic.frame(sizes, number))
        while writer.frames_done <= number:
            time.sleep(0.002)
        print(number, flush=True)
    sys.stdin.readline()
    writer.finish({})
print("finished", flush=True)
"""


class Capture:
    """The results writer in another process, which writes one frame on each request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = [sys.executable, "-c", CAPTURE, str(path), str(TESTS / "support"), str(TESTS.parent)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.is_finished = False
        self._send(str(FRAMES))

    def _send(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()

    def go_on(self) -> None:
        """Write the next frame, or finish the file."""
        self._send("")
        assert self._process.stdout is not None
        self.is_finished = self._process.stdout.readline().strip() == "finished"

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()


def resident_megabytes() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(count: int, seed: int) -> dict[str, Any]:
    """Send `count` events to a window; return the tally."""
    app = QApplication.instance() or QApplication([])
    rng = np.random.default_rng(seed)
    tally: dict[str, Any] = {"seed": seed, "events": 0, "frames": 0, "captures": 0, "damaged": 0, "memory": []}
    errors: list[str] = []
    sys.excepthook = lambda kind, error, _trace: errors.append(f"{kind.__name__}: {error}")
    perform = MainWindow.perform
    MainWindow.perform = lambda self, command: None if command.id in MODAL else perform(self, command)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = Capture(folder / "a.h5")
        capture.go_on()
        window = show(capture.path.with_name("a.h5.partial"), folder)
        window.session.noticed.connect(lambda text: errors.append(text) if "cannot be drawn" in text else None)
        for number in range(count):
            event = one_event(window, rng)
            spin(0.0)
            if errors:
                errors[-1] += f" (event {number}: {event})"
            if number % 20 == 0:
                leave_overlays(window, app)
                QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # only a running event loop does
                window.grab()
            if rng.random() < 0.05:
                capture = change_file(window, capture, rng, tally)
            if number % max(count // 10, 1) == 0:
                tally["memory"].append(round(resident_megabytes()))
        tally["events"] = count
        capture.stop()
        close(window)
    MainWindow.perform = perform  # type: ignore[method-assign]
    sys.excepthook = sys.__excepthook__
    return tally | {"errors": len(errors), "first_errors": errors[:5]}


def leave_overlays(window: MainWindow, app: Any) -> None:
    """Close menus and overlays that would take all further events."""
    for menu in app.topLevelWidgets():
        if menu is not window and menu.isVisible():
            menu.close()
    if window.overlays.overlay is not None:
        window.overlays.overlay.close()
    window.playback.stop()


def change_file(window: MainWindow, capture: Capture, rng: np.random.Generator, tally: dict[str, Any]) -> Capture:
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
            capture.go_on()
            tally["frames"] += 1
            window.session.follow()
            return capture
    capture.stop()
    for left in capture.path.parent.glob("a.h5*"):
        left.unlink()
    capture = Capture(capture.path)
    capture.go_on()
    tally["captures"] += 1
    window.session.follow()
    spin(0.0)
    window.files.watch.look()
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
