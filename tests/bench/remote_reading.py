"""Bytes and times of reading a results file from another machine, through a relay that delays and throttles.

    python tests/bench/remote_reading.py [FILE] [--latency 0.01] [--rate 10e6]

FILE: a results file; a full-size one of 250 planned frames is made where there is none. `--latency`: seconds in each
direction, so that a question and its answer take twice that. Servers are a real sshd and an HTTP server with ranges on
the loopback. Read is what the window reads for its first picture: words, caption, the model's pictures and the heat.
With a screen (DISPLAY, or QT_QPA_PLATFORM=offscreen) `pi0-viewer` is started on each address too, and timed from the
start of its process until it has painted both panes' first heat maps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from large_results import write_large
from remote_servers import RangeServer, Relay, SSHDaemon

from capture.remote import connections
from capture.remote.address import Location, RemotePath, parse_location
from viewer.analysis import initial_view, probe, scene
from viewer.controllers.reading.view_plan import read_view, touch_view
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState


def time_call(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def list_changes(view: ViewState, results: Results) -> dict[str, list[ViewState]]:
    """Return views that differ in one thing from those before, none of them read yet."""
    actions = [replace(view, query=Query("action", (number,))) for number in range(1, min(results.horizon, 8))]
    return {
        "word": [replace(view, query=Query("text", (number,))) for number in range(1, 8)],
        "action": actions,
        "layer": [replace(actions[0], layer=layer) for layer in range(min(len(results.layers), 8))],
        "head": [replace(actions[0], heads=(head,)) for head in range(1, results.heads)],
        "step": [replace(actions[0], step=step) for step in range(1, len(results.steps))],
    }


def measure(name: str, path: Location, count: Callable[[], int]) -> None:
    """Print the times and bytes of opening, of the first picture, and of changes, first and once read."""
    start = count()
    opening, results = time_call(lambda: Results(path))
    view = initial_view.first_view(results)
    first, _ = time_call(lambda: (read_view(results, view), scene.compose(results, view)))
    print(f"{name}: first picture {opening + first:.3f} s (opening {opening:.3f} s), {(count() - start) / 1e6:.2f} MB")
    for change, views in list_changes(view, results).items():
        rows = []
        for changed_view in views:
            before = count()
            new, _ = time_call(
                lambda changed_view=changed_view: (
                    read_view(results, changed_view),
                    scene.compose(results, changed_view),
                )
            )
            second, _ = time_call(
                lambda changed_view=changed_view: (
                    touch_view(results, changed_view),
                    scene.compose(results, changed_view),
                )
            )
            rows.append((new * 1000, second * 1000, (count() - before) / 1000))
        new, second, kilobytes = (list(column) for column in zip(*rows, strict=True))
        print(
            f"  {change:<7} not read yet: median {statistics.median(new):6.1f} ms, longest {max(new):6.1f} ms, "
            f"at most {max(kilobytes):5.0f} kB; read before: {statistics.median(second):6.2f} ms"
        )
    results.close()


WINDOW = """
import os, sys, time
from viewer import __main__ as program
original = program.prepared
def prepared(options):
    window = original(options)
    from viewer.widgets.panels.camera_pane import CameraPane
    paint = CameraPane.paintEvent
    def painted(self, event):
        paint(self, event)
        results = self.session.results
        if results is not None and self.camera == len(results.cameras) - 1:
            print(time.time(), flush=True)
            os._exit(0)
    CameraPane.paintEvent = painted
    return window
program.prepared = prepared
program.main(sys.argv[1:])
"""


def measure_window(address: str, settings: Path, rounds: int = 5) -> None:
    """Print the seconds from the start of `pi0-viewer` until the last pane has painted the first frame."""
    seconds = []
    for _ in range(rounds):
        begin = time.time()
        command = [sys.executable, "-c", WINDOW, address, "--settings", str(settings)]
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        seconds.append(float(out.stdout) - begin)
    print(f"  first picture in a window: median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")


def main() -> None:
    """Measure the local file, then each server."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--latency", type=float, default=0.01)
    parser.add_argument("--rate", type=float, default=10e6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PI0_REMOTE_CACHE"] = str(folder / "cache")
        file = options.file or write_large(folder / "large.h5").rename(folder / "large.h5")
        measure("this machine", file, lambda: 0)
        daemon, server = SSHDaemon(folder / "ssh"), RangeServer(file.absolute().parent)
        os.environ["HOME"] = str(daemon.home)
        print(f"relay: {2000 * options.latency:.0f} ms for a question and its answer, {options.rate / 1e6:.0f} MB/s")
        for port in (daemon.port, server.port):
            relay = Relay(port, options.latency, options.rate)
            daemon.trust(relay.port)
            is_ssh = port == daemon.port
            address = (
                daemon.address(file.absolute(), relay.port) if is_ssh else f"http://127.0.0.1:{relay.port}/{file.name}"
            )
            path = parse_location(address)
            assert isinstance(path, RemotePath)
            measure("ssh" if is_ssh else "https without TLS", path, lambda relay=relay: relay.received)
            os.environ["PI0_REMOTE_CACHE"] = str(folder / f"cache{port}")
            seconds, answer = time_call(lambda path=path: probe.Probe(path).wait())
            print(f"  look in another process, with its start: {seconds:.2f} s {answer}")
            measure("  after that look", path, lambda relay=relay: relay.received)
            if os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM"):
                del os.environ["PI0_REMOTE_CACHE"]  # nothing is kept between the rounds
                os.environ["XDG_CACHE_HOME"] = str(folder / "kept")
                measure_window(address, folder / "settings.ini")
            connections.close()
            relay.close()
        daemon.close()
        server.close()


if __name__ == "__main__":
    main()
