"""Takes the README's pictures of the window: `python tests/screenshots.py [RESULTS.h5] [--out FOLDER]`.

Without a file it takes the bundled demo. Runs without a screen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parents[1]))

from PySide6.QtWidgets import QApplication

from viewer.controllers.settings import Settings
from viewer.io.demo_files import find_demo_path
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.rendering import theme
from viewer.widgets.main_window import MainWindow

SHOTS: dict[str, tuple[tuple[int, int], str, dict[str, object]]] = {
    "window-dark": ((1360, 850), "dark", {}),
    "window-light": ((1360, 850), "light", {}),
    "actions": ((1440, 900), "dark", {"query": Query("action", (6,)), "step": 4, "layer": 2, "film": "steps"}),
    "region": ((1440, 900), "dark", {"region": tuple((0, row, col) for row in (6, 7) for col in (6, 7))}),
    "model-picture": ((1280, 800), "dark", {"picture": "model", "left_out": ("bos", "newline", "bars")}),
    "small": ((1024, 700), "dark", {}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Take the pictures of the window for the README.")
    parser.add_argument("file", nargs="?", type=Path, help="results file; the bundled demo without one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "resources" / "screenshots")
    arguments = parser.parse_args()
    path = arguments.file or find_demo_path()
    if path is None:
        print("There is no demo in this checkout; name a results file.", file=sys.stderr)
        return 2
    app = QApplication([])
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, colours, view) in SHOTS.items():
            theme.apply(colours)
            settings = Settings(Path(folder) / f"{name}.ini")
            settings.set_text("toured", "yes")
            settings.set_text("theme", colours)
            window = MainWindow(settings)
            window.resize(*size)
            results = Results(path)
            window.show_results(results, False)
            window.session.update(**view)
            window.show()
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                app.processEvents()
                time.sleep(0.01)
            window.grab().save(str(arguments.out / f"{name}.png"), quality=0)  # pressed as small as it gets
            window.close()
            print(arguments.out / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
