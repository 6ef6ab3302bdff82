"""Times napari at the same job: two camera pictures with a heat map each, another layer's maps at every change.

    xvfb-run -s "-screen 0 2600x1500x24" python tests/bench/bench_napari.py --size 443x249 --changes 30

Runs in any Python that has napari (`pip install "napari[pyside6]"`) and needs nothing of this project; prints the
median milliseconds from setting the data to the canvas's next drawing. `bench_viewer.py --napari PYTHON` runs it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np


def main() -> int:
    parser = argparse.ArgumentParser(description="Time napari at two pictures with heat.")
    parser.add_argument("--size", default="443x249", help="of one picture on the screen")
    parser.add_argument("--changes", type=int, default=30)
    arguments = parser.parse_args()
    try:
        import napari
        from qtpy.QtWidgets import QApplication
    except ImportError as error:
        print(f"napari is not installed here ({error}); skipped", file=sys.stderr)
        return 3
    width, height = (int(side) for side in arguments.size.split("x"))
    rng = np.random.default_rng(0)
    viewer = napari.Viewer(show=False)
    heats = []
    for camera in range(2):
        picture = rng.integers(0, 255, (720, 1280, 3), dtype=np.uint8)
        viewer.add_image(picture, rgb=True, translate=(0, camera * 1300))
        # The patches that lie on a 16:9 picture: 9 of 16 rows, 80 pixels each.
        heats.append(
            viewer.add_image(
                np.zeros((9, 16), np.float32), colormap="inferno", opacity=0.5, scale=(80, 80),
                translate=(40, camera * 1300 + 40), contrast_limits=(0, 1), interpolation2d="nearest",
            )
        )  # fmt: skip
    canvas = viewer.window._qt_viewer.canvas
    native = canvas.native
    viewer.window._qt_window.show()
    side = viewer.window._qt_window.size() - native.size()
    viewer.window._qt_window.resize(2 * width + 20 + side.width(), height + side.height())
    app = QApplication.instance()
    drawn = [0]
    canvas._scene_canvas.events.draw.connect(lambda event: drawn.__setitem__(0, drawn[0] + 1))
    end = time.perf_counter() + 3
    while time.perf_counter() < end:
        app.processEvents()
        time.sleep(0.01)
    viewer.reset_view()
    maps = np.exp(2.2 * rng.standard_normal((arguments.changes, 2, 9, 16), dtype=np.float32)) / 40
    taken = []
    for pair in maps:
        before = drawn[0]
        start = time.perf_counter()
        for heat, image in zip(heats, pair, strict=True):
            heat.data = image
        while drawn[0] == before and time.perf_counter() - start < 5:
            app.processEvents()
        app.processEvents()
        taken.append((time.perf_counter() - start) * 1000)
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            app.processEvents()
    print(f"napari {napari.__version__}: {statistics.median(taken):.2f} ms for {native.width()}x{native.height()}")
    viewer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
