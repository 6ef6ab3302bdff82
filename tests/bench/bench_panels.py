"""Measures film, atlas, curves and timeline in turn with another checkout: from new data to pixels.

    xvfb-run -s "-screen 0 2600x1500x24" python tests/bench/bench_panels.py FILE.h5 --before CHECKOUT [--rounds 6]

`--before` is a work tree of an older commit, 605d2eb included, whose modules had other names. Each tree runs in a
process of its own; a few repaints are measured in one, then in the other. All times are processor time of the window's
thread. The lines of the timeline and the curves over frames are invented: 5,000 frames of ten groups.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from bench_window import WindowProcess, measure_changes, settle, show_window

ROOT = Path(__file__).parents[2]
FRAMES = 5_000
KINDS = ("film", "atlas", "curves", "curves over 5,000 frames", "timeline of 5,000 frames", "cursor of the timeline")


def serve(path: Path, size: tuple[int, int]) -> None:
    """Show the window of the tree on `sys.path`; read requests on standard input and answer each with JSON."""
    import numpy as np

    window = show_window(path, size)
    try:
        from viewer.analysis.curves import Curves
        from viewer.analysis.frame_timeline import plain
        from viewer.model.view_state import Query
    except ImportError:  # commit 605d2eb
        from viewer.course import plain
        from viewer.overview import Curves
        from viewer.state import Query
    window.session.update(query=Query("action", (6,)), layer=3, film="steps", curve="layers")
    settle(1.0)
    panels = window.panels if hasattr(window, "panels") else window.room
    series = panels.frame_series if hasattr(panels, "frame_series") else panels.over_frames
    rng = np.random.default_rng(0)
    groups = len(series.curves.names)
    invented = [
        np.clip(np.cumsum(rng.normal(size=(FRAMES, groups)), 0) * 0.002 + 0.3, 0, 1).astype(np.float32)
        for _ in range(2)
    ]

    def painted_widget(panel: Any) -> Any:
        plot = getattr(panel, "plot", None)
        return panel if plot is None or callable(plot) else plot.viewport()

    def repaint(panel: Any, *kept: str) -> None:
        for name in kept:
            value = getattr(panel, name, None)
            if hasattr(value, "drop"):
                value.drop()
            elif hasattr(panel, name):
                setattr(panel, name, None)
        panel.update()

    def show_invented(number: int) -> None:
        places = tuple(range(FRAMES))
        series.curves = Curves(series.curves.names, invented[number % 2], places, places)
        series.ready.emit()

    def change(kind: str, number: int) -> None:
        if kind == "film":
            repaint(panels.film, "_words", "_mosaics")
        elif kind == "atlas":
            repaint(panels.atlas, "_static_layer", "_frame")
        elif kind == "curves":
            repaint(panels.curves, "_static_layer")
        elif kind == "cursor of the timeline":
            panels.timeline.update()
        else:
            show_invented(number)

    widgets = {
        "film": panels.film, "atlas": panels.atlas, "curves": panels.curves, KINDS[3]: panels.curves,
        KINDS[4]: panels.timeline, KINDS[5]: panels.timeline,
    }  # fmt: skip
    print(json.dumps({name: [widget.width(), widget.height()] for name, widget in widgets.items()}), flush=True)
    number = 0
    for line in sys.stdin:
        request = json.loads(line)
        kind = request["kind"]
        over_frames = kind == KINDS[3]
        if over_frames or kind in KINDS[4:]:
            setattr(series, "timeline" if hasattr(series, "timeline") else "course", plain(FRAMES))
            series.followed.emit()
        window.session.update(curve="frames" if over_frames else "layers")
        settle(0.3)

        def change_next(kind: str = kind) -> None:
            nonlocal number
            number += 1
            change(kind, number)

        print(json.dumps(measure_changes(painted_widget(widgets[kind]), request["count"], change_next)), flush=True)
    window.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the plots' paints with another checkout's.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--before", type=Path, help="work tree of the commit to compare with")
    parser.add_argument("--size", default="", help="of the window; both sizes without it")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        width, height = (int(side) for side in options.size.split("x"))
        serve(options.file, (width, height))
        return
    if options.before is None:
        parser.error("--before names a work tree of the commit to compare with")
    for size in [options.size] if options.size else ["1280x800", "2560x1440"]:
        arguments = (__file__, str(options.file), "--size", size, "--serve")
        trees = {"before": options.before.absolute(), "now": ROOT}
        servers = {name: WindowProcess(tree, *arguments) for name, tree in trees.items()}
        sizes = {name: server.read() for name, server in servers.items()}
        taken: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for kind in KINDS:
                for name, server in servers.items():
                    taken.setdefault((kind, name), []).extend(server.ask(kind, 8))
        for server in servers.values():
            server.stop()
        print(f"\n{size}: milliseconds of the window's thread from new data to pixels, medians")
        for kind in KINDS:
            before, now = (statistics.median(taken[kind, name]) for name in ("before", "now"))
            shapes = " and ".join("x".join(map(str, sizes[name][kind])) for name in ("before", "now"))
            print(f"{kind:28} before {before:6.2f}   now {now:6.2f}   {now / before:.2f} x   ({shapes} pixels)")


if __name__ == "__main__":
    main()
