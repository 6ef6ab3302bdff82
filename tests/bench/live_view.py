"""How long after an answer of `pi0-capture serve` the window has painted its frame.

    python tests/bench/live_view.py [--calls 40] [--pause 0.5]

The demo policy is served on loopback in another process. A thread sends observations, `--pause` seconds apart, in which
a robot would carry out the actions. The window has the growing file open; a frame counts as painted when the last
camera pane has painted it. Needs a screen (DISPLAY, or QT_QPA_PLATFORM=offscreen).
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QApplication
from serve_latency import observe
from websockets.sync.client import connect

from capture.serve.wire_format import pack
from viewer.controllers.settings import Settings
from viewer.plots.camera_plot import CameraItem
from viewer.rendering import theme
from viewer.startup import finish_startup
from viewer.widgets.main_window import MainWindow


def start_server(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Return a server of the demo policy and its address."""
    command = [sys.executable, "-m", "capture", "serve", "--demo", "--port", "0", "-o", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if match := re.search(r"ws://\S+:\d+", line):
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, match[0]
    raise SystemExit("the server did not start")


def call(address: str, calls: int, pause: float, answered: list[float]) -> None:
    """Send observations, and note when each was answered."""
    draw = np.random.default_rng(0)
    with connect(address, max_size=None, compression=None) as client:
        client.recv()
        for _ in range(calls):
            client.send(pack(observe(draw, (224, 224))))
            client.recv()
            answered.append(time.monotonic())
            time.sleep(pause)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--pause", type=float, default=0.5)
    options = parser.parse_args()
    app = QApplication([])
    theme.apply("dark")
    answered: list[float] = []
    painted: dict[tuple[int, int], float] = {}  # by pane and frame
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(folder / "settings.ini")
        settings.set_text("toured", "yes")
        window = MainWindow(settings)
        window.resize(1280, 800)
        paint = CameraItem.paint

        def note_paint(item: CameraItem, *arguments: object) -> None:
            paint(item, *arguments)
            if window.session.results is not None:
                painted.setdefault((id(item), window.session.state.frame), time.monotonic())

        CameraItem.paint = note_paint
        window.show()
        server, address = start_server(folder / "runs")
        thread = threading.Thread(target=call, args=(address, options.calls, options.pause, answered), daemon=True)
        thread.start()
        finish_startup()
        while not list((folder / "runs").glob("*.partial")):
            app.processEvents()
            time.sleep(0.01)
        window.open(folder / "runs")
        while thread.is_alive() or time.monotonic() - answered[-1] < 3:
            app.processEvents()
            time.sleep(0.002)
        server.terminate()
        server.wait(60)
        window.close()
    last = {frame: max(at for (_, of), at in painted.items() if of == frame) for _, frame in painted}
    shown = {frame: last[frame] - at for frame, at in enumerate(answered) if frame in last}
    seconds = list(shown.values())[3:]  # the first ones were there before the window looked
    print(f"{options.calls} calls, {len(shown)} of their frames painted; from the answer to the painted frame:")
    print(f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
