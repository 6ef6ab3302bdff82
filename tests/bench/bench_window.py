"""A window of one work tree in a process of its own, whose repaints are measured on request.

`show_window` and `measure_changes` run in that process, with `sys.path` of a tree that may be as old as 605d2eb, whose
modules had other names; `WindowProcess` is the other side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget


class WindowProcess:
    """Runs a script with the modules of a tree; it answers each line of JSON with one."""

    def __init__(self, tree: Path, script: str, *arguments: str) -> None:
        path = os.pathsep.join((str(tree), str(Path(__file__).parent)))
        self.process = subprocess.Popen(
            [sys.executable, "-P", script, *arguments], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    def read(self) -> Any:
        """Return the next answer."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, kind: str, count: int = 0) -> Any:
        """Return the milliseconds of each of `count` changes of a kind, or another answer of the script."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"kind": kind, "count": count}) + "\n")
        return self.read()

    def stop(self) -> None:
        """Let the script end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


def show_window(path: Path, size: tuple[int, int], *, plots: bool = True) -> Any:
    """Return a window that shows a file, once everything is loaded and built."""
    from PySide6.QtWidgets import QApplication

    app = QApplication([])
    try:
        from viewer.startup import bypass_import_hook, calm
    except ImportError:  # commit 605d2eb
        from viewer.start import bypass_import_hook, calm
    bypass_import_hook()  # as the program does: PySide keeps the source of each module that is imported without it
    try:
        from viewer.controllers.settings import Settings
        from viewer.io.results import Results
        from viewer.rendering import theme
        from viewer.widgets.main_window import MainWindow as Window
    except ImportError:  # commit 605d2eb
        from viewer.results import Results
        from viewer.settings import Settings
        from viewer.window import Window

        from viewer import theme
    theme.apply("dark")
    settings = Settings(Path(tempfile.mkdtemp()) / "settings.ini")
    settings.set_text("toured", "yes")
    window = Window(settings)
    window.bench_app = app  # it must live as long as the window
    window.resize(*size)
    window.show_results(Results(path), False)
    if not plots:
        window.panels.removeEventFilter(window.plot_loader)
    window.show()
    settle(2.5)
    calm()
    settle(0.5)
    return window


def settle(seconds: float) -> None:
    """Run the event loop for a time."""
    from PySide6.QtCore import QCoreApplication

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QCoreApplication.processEvents()
        time.sleep(0.004)


def measure_changes(widget: QWidget, count: int, change: Callable[[], object]) -> list[float]:
    """Return the milliseconds of this thread from each call of `change` until `widget` was painted."""
    from PySide6.QtCore import QCoreApplication, QEvent, QObject

    class Paints(QObject):
        count = 0

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            self.count += event.type() == QEvent.Type.Paint
            return False

    paints = Paints()
    widget.installEventFilter(paints)
    taken = []
    for _ in range(count + 1):
        settle(0.015)
        before, start = paints.count, time.thread_time()
        change()
        limit = time.perf_counter() + 2
        while paints.count == before and time.perf_counter() < limit:
            QCoreApplication.processEvents()
        QCoreApplication.processEvents()
        taken.append((time.thread_time() - start) * 1000)
    widget.removeEventFilter(paints)
    return taken[1:]  # the first one of a kind warms up
