"""How well pi0-regions follows things in rendered sequences of the demo's scenes, whose masks are known.

    pip install mujoco
    python tests/bench/bench_tracking.py --sequences 40

The arm moves to one of the things over 40 pictures, and the wrist's camera with it; in every third sequence the exterior
camera moves too. Every thing of at least 60 pixels is tracked from its mask in the first picture. Masks show what is
visible: where the gripper covers a thing, its mask is smaller than what is tracked.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from viewer.export.masks.tracking import track_region

WIDTH, HEIGHT, FRAMES, LEAST_PIXELS = 320, 180, 40, 60


def render(number: int, renderer: Any) -> tuple[tuple[int, ...], dict[str, tuple[Any, Any]]]:
    """Return the kinds of things and each camera's pictures (frames, h, w, 3) and masks (frames, h, w)."""
    from resources.demo.build.scenes import draw_scene, goals

    rng = np.random.default_rng(1000 + number)
    scene = draw_scene(rng)
    goal = goals(scene)[int(rng.integers(len(scene.kinds)))]
    drawn = []
    for frame in range(FRAMES):
        part = frame / (FRAMES - 1)
        current = replace(scene, joints=scene.joints + part**2 * (3 - 2 * part) * (goal - scene.joints))
        if number % 3 == 0:
            look = scene.look.copy()
            look[:6] += 1.5 * np.sin(2 * np.pi * part + np.arange(6))
            current = replace(current, look=look)
        drawn.append(renderer.draw(current))
    cameras = {
        name: (np.stack([shown[name][0] for shown in drawn]), np.stack([shown[name][1] for shown in drawn]))
        for name in drawn[0]
    }
    return scene.kinds, cameras


def main() -> None:
    """Render, track and print the figures."""
    from resources.demo.build.scenes import Renderer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=40)
    count = parser.parse_args().sequences
    renderer = Renderer(width=WIDTH, height=HEIGHT)
    medians, lows, lengths = [], [], []
    frames = seconds = 0.0
    for number in range(count):
        kinds, cameras = render(number, renderer)
        for pictures, masks in cameras.values():
            for truth in (masks == kind + 1 for kind in kinds):
                if truth[0].sum() < LEAST_PIXELS:
                    continue
                begin = time.process_time()
                found = list(track_region(pictures.__getitem__, 0, truth[0], range(1, FRAMES)))
                seconds += time.process_time() - begin
                frames += len(found)
                overlaps = [
                    (tracked.mask & truth[tracked.frame]).sum() / max((tracked.mask | truth[tracked.frame]).sum(), 1)
                    for tracked in found
                    if tracked.mask is not None
                ]
                lengths.append(len(overlaps) / (FRAMES - 1))
                medians.append(float(np.median(overlaps)) if overlaps else np.nan)
                lows.append(min(overlaps, default=1.0))
    print(f"{len(lows)} tracks; median IoU {np.nanmedian(medians):.3f} until they stop")
    print(f"median IoU at least 0.8 in {np.mean(np.array(medians) >= 0.8):.1%} of them")
    print(f"IoU below 0.3 without a stop in {np.mean(np.array(lows) < 0.3):.1%}")
    print(f"followed for {np.mean(lengths):.1%} of the frames; {1000 * seconds / frames:.1f} ms of CPU time a frame")


if __name__ == "__main__":
    main()
