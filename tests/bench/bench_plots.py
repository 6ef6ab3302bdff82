"""Measures the window in turn with another checkout: first picture, building of plots, changes, memory.

    xvfb-run -s "-screen 0 2600x1500x24" python tests/bench/bench_plots.py FILE.h5 --before CHECKOUT [--rounds 6]

`--before` is a work tree of an older commit, 605d2eb included, whose modules had other names. Each tree runs in a
process of its own; both show their window, and a few changes are measured in one, then in the other, so that a busy
machine slows down both. All times are processor time: of the window's thread for changes, of the process for starts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from bench_window import WindowProcess, measure_changes, settle, show_window

ROOT = Path(__file__).parents[2]
KINDS = ("word", "action", "layer", "head", "step", "frame")
BARE = """
import time
from PySide6.QtWidgets import QApplication, QWidget
app = QApplication([])
class Window(QWidget):
    def paintEvent(self, event):
        print(time.process_time(), flush=True); app.quit()
window = Window(); window.resize(1280, 800); window.show(); app.exec()
"""
STOCK = """
import time
import numpy as np, pyqtgraph as pg
app = pg.mkQApp()
class Window(pg.GraphicsLayoutWidget):
    def paintEvent(self, event):
        super().paintEvent(event)
        print(time.process_time(), flush=True); app.quit()
window = Window(); window.resize(1280, 800)
rng = np.random.default_rng(0)
window.addPlot().addItem(pg.ImageItem(rng.random((270, 480, 3)) * 255))
window.addPlot().addItem(pg.ImageItem(rng.random((270, 480, 3)) * 255))
window.nextRow()
window.addPlot(colspan=2).plot(rng.random(300))
window.show(); app.exec()
"""
FIRST = """
import os, sys, time
sys.argv = ["pi0-viewer", *sys.argv[1:]]
from viewer import __main__ as program
original = program.prepared
def prepared(options):
    window = original(options)
    try:
        from viewer.widgets.panels.camera_pane import CameraPane
        from viewer.widgets.plot_loader import PlotLoader
    except ImportError:  # before the plots
        from viewer.panels.camera import CameraPane
        PlotLoader = None
    paint, first, pieces = CameraPane.paintEvent, [], []
    def painted(self, event):
        paint(self, event)
        if self.camera == len(self.session.results.cameras) - 1 and not first:
            first.append(time.process_time())
            if PlotLoader is None or os.environ.get("ONLY_FIRST"):
                print(first[0], 0, 0, flush=True); os._exit(0)
    CameraPane.paintEvent = painted
    if PlotLoader is not None:
        run = PlotLoader._run_piece
        def timed(self):
            start = time.thread_time()
            run(self)
            pieces.append(time.thread_time() - start)
            if self.is_done:
                print(first[0], sum(pieces), max(pieces), flush=True); os._exit(0)
        PlotLoader._run_piece = timed
    return window
program.prepared = prepared
program.main(sys.argv[1:])
"""


def serve(path: Path, size: tuple[int, int], *, plots: bool) -> None:
    """Show the window of the tree on `sys.path`; read requests on standard input and answer each with JSON."""
    import psutil

    window = show_window(path, size, plots=plots)
    try:
        from viewer.model.view_state import Query
    except ImportError:  # commit 605d2eb
        from viewer.state import Query
    window.session.update(query=Query("action", (6,)), layer=3, smooth=False)  # as it was by default at 605d2eb
    settle(0.5)

    grid = window.panels.camera_grid if hasattr(window, "panels") else window.room.cameras
    pane = grid.panes[0]
    plot = getattr(pane, "_plot", None)
    dims, number = window.session.dims, 0

    def change(kind: str) -> dict[str, Any]:
        return {
            "word": {"query": Query("text", (number % dims.chips,))},
            "action": {"query": Query("action", (number % dims.actions,))},
            "layer": {"layer": number % dims.layers},
            "head": {"heads": (number % dims.heads,)},
            "step": {"step": number % dims.steps},
            "frame": {"frame": number % dims.frames},
        }[kind]

    print(json.dumps({"plots": plot is not None}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["kind"] == "memory":
            print(json.dumps(psutil.Process().memory_info().rss / 1e6), flush=True)
            continue
        if request["kind"] == "loop":
            print(json.dumps(measure_loop(request["count"])), flush=True)
            continue
        if request["kind"] in {"step", "layer", "head"}:
            window.session.update(query=Query("action", (6,)))
        settle(0.15)

        def change_next(kind: str = request["kind"]) -> None:
            nonlocal number
            number += 1
            window.session.update(**change(kind))

        painted = pane if plot is None else plot.viewport()
        print(json.dumps(measure_changes(painted, request["count"], change_next)), flush=True)
    window.close()


def measure_loop(count: int) -> list[float]:
    """Return the milliseconds of this thread for each of `count` equal loops; their spread is the machine's."""
    taken = []
    for _ in range(count):
        settle(0.015)
        start = time.thread_time()
        for number in range(100_000):
            number + 1
        taken.append((time.thread_time() - start) * 1000)
    return taken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def compare_changes(trees: dict[str, Path], path: Path, size: str, rounds: int) -> None:
    trees = {**trees, "plain": trees["now"]}
    servers = {}
    for name, tree in trees.items():
        option = "--serve-plain" if name == "plain" else "--serve"
        servers[name] = WindowProcess(tree, __file__, str(path), "--size", size, option)
    ready = {name: server.read() for name, server in servers.items()}
    print(f"\n{size}: milliseconds of the window's thread from a change to its pixels; plots: {ready}")
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for kind in (*KINDS, "loop"):
            for name, server in servers.items():
                taken.setdefault((kind, name), []).extend(server.ask(kind, 10))
    memory = {name: server.ask("memory") for name, server in servers.items()}
    for server in servers.values():
        server.stop()
    for kind in KINDS:
        before, now, plain = (taken[kind, name] for name in ("before", "now", "plain"))
        print(
            f"{kind:8} before {statistics.median(before):5.2f}   now {statistics.median(now):5.2f} "
            f"({statistics.median(now) / statistics.median(before):.2f} x; without plots "
            f"{statistics.median(plain) / statistics.median(before):.2f} x)   99th percentile "
            f"{percentile(before, 0.99):5.2f}, {percentile(now, 0.99):5.2f}   least {min(before):5.2f}, {min(now):5.2f}"
        )
    loops = taken["loop", "before"] + taken["loop", "now"]
    print(
        f"machine  an equal loop: 99th percentile {percentile(loops, 0.99) / statistics.median(loops):.2f} x its median; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"memory   before {memory['before']:.0f} MB, now {memory['now']:.0f} MB (+{memory['now'] - memory['before']:.0f})"
    )


def run_start(script: str, tree: Path, *arguments: str, **environment: str) -> list[float]:
    completed = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments], capture_output=True, text=True, check=False,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, "PYTHONPATH": str(tree), **environment},
    )  # fmt: skip
    if not completed.stdout.strip():
        raise SystemExit(completed.stderr)
    return [float(word) * 1000 for word in completed.stdout.split()]


def measure_starts(trees: dict[str, Path], path: Path, rounds: int) -> None:
    folder = tempfile.mkdtemp()
    arguments = (str(path), "--settings", str(Path(folder) / "settings.ini"))
    first: dict[str, list[float]] = {"bare": [], "stock": [], "before": [], "now": []}
    whole, longest = [], []
    for number in range(rounds + 1):
        bare = run_start(BARE, ROOT)[0]
        stock = run_start(STOCK, ROOT)[0]
        old = run_start(FIRST, trees["before"], *arguments)[0]
        new, built, piece = run_start(FIRST, trees["now"], *arguments)
        if number:  # the first one writes bytecode
            for name, value in zip(first, (bare, stock, old, new), strict=True):
                first[name].append(value)
            whole.append(built)
            longest.append(piece)
    median = {name: statistics.median(values) for name, values in first.items()}
    print("\nfirst painted window, milliseconds of processor time from the start of Python")
    print(
        f"bare PySide6 {median['bare']:.0f}, stock pyqtgraph {median['stock']:.0f}, before {median['before']:.0f}, "
        f"now {median['now']:.0f}: {median['now'] / median['before']:.2f} x before, "
        f"{median['now'] / median['stock']:.2f} x stock"
    )
    print(
        f"building the plots after it: {statistics.median(whole):.0f} in all, longest piece {statistics.median(longest):.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the window with another checkout's.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--before", type=Path, help="work tree of the commit to compare with")
    parser.add_argument("--size", default="", help="of the window; both sizes without it")
    parser.add_argument("--rounds", type=int, default=6, help="10 changes of each kind in each; a 99th percentile of "
                        "less than 100 changes is that of the slowest one")  # fmt: skip
    parser.add_argument("--no-start", action="store_true", help="leave out the first picture")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve-plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve or arguments.serve_plain:
        width, height = (int(side) for side in arguments.size.split("x"))
        serve(arguments.file, (width, height), plots=arguments.serve)
        return
    if arguments.before is None:
        parser.error("--before names a work tree of the commit to compare with")
    trees = {"before": arguments.before.absolute(), "now": ROOT}
    if not arguments.no_start:
        measure_starts(trees, arguments.file, arguments.rounds)
    for size in [arguments.size] if arguments.size else ["1280x800", "2560x1440"]:
        compare_changes(trees, arguments.file, size, arguments.rounds)


if __name__ == "__main__":
    main()
