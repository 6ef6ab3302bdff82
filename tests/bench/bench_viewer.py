"""Measures the window: paints counted in exposed windows, beside matplotlib and a floor of copy and blend.

    xvfb-run -s "-screen 0 2600x1500x24" python tests/bench/bench_viewer.py FILE.h5 [--size 1280x800] [--changes 60]

Each change is timed from `Session.update` until every panel has painted and the window's backing store was flushed;
`work` is the processor time of it, which says more on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import psutil
from PySide6.QtCore import QEvent, QObject, QRectF
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication, QWidget

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.rendering import theme
from viewer.startup import calm
from viewer.widgets.main_window import MainWindow


class PaintCounter(QObject):
    """Counts paint events of the window's panes."""

    count = 0

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.count += 1
        return False


def settle(app: QApplication, seconds: float = 0.3) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        app.processEvents()
        time.sleep(0.005)


def time_changes(
    app: QApplication, window: MainWindow, changes: list[dict[str, Any]]
) -> tuple[list[float], list[float]]:
    """Milliseconds of each change until its paint: by the clock, and of the window's thread."""
    paints = PaintCounter()
    window.panels.camera_grid.panes[0].installEventFilter(paints)
    taken, worked = [], []
    for change in changes:
        before = paints.count
        start, work = time.perf_counter(), time.thread_time()
        window.session.update(**change)
        limit = start + 2  # a change to the value that is shown already paints nothing
        while paints.count == before and time.perf_counter() < limit:
            app.processEvents()
        app.processEvents()
        taken.append((time.perf_counter() - start) * 1000)
        worked.append((time.thread_time() - work) * 1000)
        settle(app, 0.012)
    window.panels.camera_grid.panes[0].removeEventFilter(paints)
    return taken, worked


def format_row(name: str, taken: list[float], worked: list[float]) -> None:
    """One line of the table."""
    print(
        f"{name:34} median {statistics.median(taken):6.2f} ms   99th percentile {float(np.percentile(taken, 99)):6.2f} ms"
        f"   work {statistics.median(worked):6.2f}, {float(np.percentile(worked, 99)):6.2f} ms"
    )


def measure_floor(pane_sizes: list[tuple[int, int]]) -> float:
    """Copying and blending the same pixels, flushed to an exposed window: milliseconds."""
    images = []
    for width, height in pane_sizes:
        picture = QImage(width, height, QImage.Format.Format_RGB32)
        picture.fill(0xFF446688)
        heat = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
        heat.fill(0x40202020)
        images.append((picture, heat))

    class Bare(QWidget):
        def paintEvent(self, event: QEvent) -> None:
            painter = QPainter(self)
            x = 0
            for picture, heat in images:
                painter.drawImage(QRectF(x, 0, picture.width(), picture.height()), picture)
                painter.drawImage(QRectF(x, 0, heat.width(), heat.height()), heat)
                x += picture.width()

    bare = Bare()
    bare.resize(sum(size[0] for size in pane_sizes), max(size[1] for size in pane_sizes))
    bare.show()
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    settle(app)
    taken = []
    for _ in range(60):
        settle(app, 0.02)  # as cold as the window's panes are when they are measured
        bare.update()
        start = time.perf_counter()
        app.processEvents()
        taken.append((time.perf_counter() - start) * 1000)
    bare.close()
    return statistics.median(taken)


def measure_matplotlib(results: Results, pane_sizes: list[tuple[int, int]]) -> float:
    """The same two panes redrawn by matplotlib's canvas in a Qt window: milliseconds until they are on the screen."""
    import matplotlib

    matplotlib.use("QtAgg")
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure

    app = QApplication.instance()
    assert isinstance(app, QApplication)
    width, height = sum(size[0] for size in pane_sizes), max(size[1] for size in pane_sizes)
    canvas = FigureCanvasQTAgg(Figure(figsize=(width / 100, height / 100), dpi=100))
    drawn = []
    for camera, axis in enumerate(np.atleast_1d(canvas.figure.subplots(1, len(pane_sizes)))):
        picture = results.picture(0, camera, "source")
        assert picture is not None
        axis.imshow(picture)
        drawn.append(
            axis.imshow(
                np.zeros((16, 16)), cmap="inferno", alpha=0.5, extent=(0, picture.shape[1], picture.shape[0], 0)
            )
        )
        axis.set_axis_off()
    canvas.resize(width, height)
    canvas.show()
    settle(app)
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(8):
        start = time.perf_counter()
        for image in drawn:
            image.set_data(rng.random((16, 16)))
        canvas.draw()
        app.processEvents()
        taken.append((time.perf_counter() - start) * 1000)
    canvas.close()
    return statistics.median(taken)


START = "import time, sys; start = time.perf_counter()\n"
BARE = (
    START
    + """
from PySide6.QtWidgets import QApplication, QWidget
app = QApplication([])
class W(QWidget):
    def paintEvent(self, event):
        print(time.perf_counter() - start, time.time(), flush=True); app.quit()
w = W(); w.resize(1280, 800); w.show(); app.exec()
"""
)
OURS = (
    START
    + """
import os
sys.argv = ["pi0-viewer", *sys.argv[1:]]
from viewer import __main__ as program
original = program.prepared
def prepared(options):
    window = original(options)
    from viewer.widgets.panels.camera_pane import CameraPane
    paint = CameraPane.paintEvent
    def painted(self, event):
        paint(self, event)
        if self.camera == len(self.session.results.cameras) - 1:
            print(time.perf_counter() - start, time.time(), flush=True); os._exit(0)
    CameraPane.paintEvent = painted
    return window
program.prepared = prepared
program.main(sys.argv[1:])
"""
)


def measure_startup(script: str, *arguments: str) -> tuple[float, float]:
    """Milliseconds to the first painted window: from the first line of Python, and from the process's start."""
    begun = time.time()
    out = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2], env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )  # fmt: skip
    since, painted = map(float, out.stdout.split()[:2])
    return since * 1000, (painted - begun) * 1000


def measure_napari(python: str, size: tuple[int, int], changes: int) -> float | None:
    """Milliseconds that napari takes for two panes of this size, in the Python that has it; None without it."""
    out = subprocess.run(
        [python, str(Path(__file__).with_name("bench_napari.py")), "--size", "x".join(map(str, size)),
         "--changes", str(changes)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(out.stdout.strip() or out.stderr.strip().splitlines()[-1])
    return float(out.stdout.split(": ")[1].split()[0]) if out.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--changes", type=int, default=60)
    parser.add_argument("--napari", metavar="PYTHON", help="an interpreter that has napari, to be measured beside")
    parser.add_argument("--no-start", action="store_true", help="leave out the start-up times")
    arguments = parser.parse_args()
    app = QApplication([])
    theme.apply("dark")
    folder = tempfile.mkdtemp()
    settings = Settings(Path(folder) / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    width, height = (int(side) for side in arguments.size.split("x"))
    window.resize(width, height)
    start = time.perf_counter()
    results = Results(arguments.file)
    print(
        f"opened {arguments.file.name} ({arguments.file.stat().st_size / 1e9:.1f} GB) "
        f"in {(time.perf_counter() - start) * 1000:.1f} ms"
    )
    window.show_results(results, False)
    window.show()
    calm()
    settle(app, 1.0)
    dims, n = window.session.dims, arguments.changes
    action = Query("action", (6 % dims.actions,))
    window.session.update(query=action)
    settle(app)
    tables: dict[str, list[dict[str, Any]]] = {
        "token (word)": [{"query": Query("text", (i % dims.chips,))} for i in range(n)],
        "token (action)": [{"query": Query("action", (i % dims.actions,))} for i in range(n)],
        "layer": [{"layer": i % dims.layers} for i in range(1, n)],
        "head": [{"heads": (i % dims.heads,)} for i in range(n)],
        "step": [{"step": i % dims.steps} for i in range(1, n)],
        "frame": [{"frame": i % dims.frames} for i in range(1, n)],
        "film of layers x steps, by action": [
            {"film": "steps", "query": Query("action", (i % dims.actions,))} for i in range(n)
        ],
        "atlas score, by action": [
            {"film": "layers", "score": ("entropy", "picture")[i % 2], "query": Query("action", (i % dims.actions,))}
            for i in range(n)
        ],
    }
    for name, changes in tables.items():
        first = [changes[0]] if changes[0] != {} else []
        window.session.update(**dict(changes[-1].items()))
        settle(app)
        format_row(name, *time_changes(app, window, [c for c in changes if first]))
    paints = PaintCounter()
    window.panels.camera_grid.panes[0].installEventFilter(paints)
    for i in range(500):
        window.session.update(layer=i % dims.layers, heads=(i % dims.heads,))
    window.session.update(layer=3, heads=(2,))
    settle(app)
    print(f"500 changes in a burst: {paints.count} paint of a pane")
    sizes = [pane.area().size().toSize().toTuple() for pane in window.panels.camera_grid.panes]
    taken = []
    for i in range(60):
        window.session.update(layer=i % dims.layers)
        settle(app, 0.02)
        for pane in window.panels.camera_grid.panes:
            pane.heat.drop()
            pane.update_picture()
        start = time.perf_counter()
        app.processEvents()
        taken.append((time.perf_counter() - start) * 1000)
    memory = psutil.Process().memory_info().rss / 1e6  # before matplotlib is loaded
    panes, lowest, other = statistics.median(taken), measure_floor(sizes), measure_matplotlib(results, sizes)
    print(
        f"two panes of {sizes}: {panes:.2f} ms; copy and blend {lowest:.2f} ms ({panes / lowest:.1f} x); "
        f"matplotlib {other:.1f} ms ({other / panes:.0f} x slower)"
    )
    print(f"memory {memory:.0f} MB")
    beside = measure_napari(arguments.napari, sizes[0], 30) if arguments.napari else None
    if beside is not None:
        print(f"napari {beside:.1f} ms ({beside / panes:.0f} x slower)")
    window.close()
    if not arguments.no_start:
        command = (str(arguments.file), "--settings", str(Path(folder) / "start.ini"))
        pairs = [(measure_startup(BARE), measure_startup(OURS, *command)) for _ in range(8)][
            1:
        ]  # the first one writes bytecode
        for index, since in enumerate(("the first line of Python", "the start of the process")):
            bare, ours = (statistics.median(times[index] for times in side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(ours[index] / bare[index] for bare, ours in pairs)
            print(f"first paint from {since}: bare PySide6 {bare:.0f} ms, with data {ours:.0f} ms ({ratio:.2f} x)")


if __name__ == "__main__":
    main()
