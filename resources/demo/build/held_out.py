"""A few scenes of the test split as files, for tests that must run without a renderer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resources.demo.build import dataset, scenes
from resources.demo.build.stage import CAMERAS
from resources.demo.build.things import NAMES


def write_held_out(folder: Path, count: int, renderer: scenes.Renderer) -> None:
    """Write the first `count` test scenes to `folder`.

    A scene is one JPEG (exterior left, wrist right, 480 x 270 each), one PNG of masks laid out alike (thing number + 1)
    and an entry in `scenes.json`: state, where the tip would go for each thing on the table, and its first task with,
    where the scene has one, a task with another goal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    for number in range(count):
        scene, drawn, tasks = dataset.draw("test", number, renderer)
        picture = np.concatenate([drawn[camera][0] for camera in CAMERAS], axis=1)
        mask = np.concatenate([drawn[camera][1] for camera in CAMERAS], axis=1)
        Image.fromarray(picture).save(folder / f"{number:02d}.jpg", quality=93, subsampling=0, optimize=True)
        (folder / f"{number:02d}_mask.png").write_bytes(scenes.png(mask))
        points = scenes.reach_points(scene).round(5).tolist()
        other = [task for task in tasks if task.goal != tasks[0].goal][:1]
        entries.append(
            {
                "state": [*scene.joints.round(6).tolist(), scene.gripper],
                "reach": {
                    NAMES[kind]: point
                    for place, (kind, point) in enumerate(zip(scene.kinds, points, strict=True))
                    if place != scene.carried
                },
                "tasks": [{"prompt": task.prompt, "goal": NAMES[task.goal]} for task in (tasks[0], *other)],
            }
        )
    (folder / "scenes.json").write_text(json.dumps(entries, indent=1) + "\n")
