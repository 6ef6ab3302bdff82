"""Rendered scenes with tasks, tokens and true actions, as arrays on disk: the training, choosing and test sets."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.pictures import letterbox
from capture.preprocess import Normaliser, Preprocessing
from capture.schema import GRID, PATCH_PIXELS
from capture.tokenizer import JsonTokenizer, Tokenizer
from resources.demo.build import arm, prompts, scenes
from resources.demo.build.stage import CAMERAS

Arrays = dict[str, npt.NDArray[Any]]

HORIZON: Final = 15
TOKENS: Final = 56
"""Longest text of any task, in tokens, with some room; a longer one is an error."""
TASKS: Final = 6
"""Tasks drawn for each scene."""
MOST: Final = 5
"""Most things in a scene."""
VISIBLE: Final = 80
"""Source pixels of the exterior picture (of 129,600) in which a thing must show to be anyone's goal."""

NEAR: Final = 0.3
"""Share of training scenes in which the arm is on its way already; the other splits begin anywhere."""

SPLITS: Final = {"train": 1, "choose": 2, "test": 3, "episode": 4, "statistics": 5}
"""First number of every seed, so that no two sets share a scene."""

BOX: Final = letterbox(scenes.HEIGHT, scenes.WIDTH)


def scene_seed(split: str, number: int) -> np.random.Generator:
    """The source of chance of scene `number` of a split."""
    return np.random.default_rng([SPLITS[split], number])


def statistics(count: int = 2000) -> dict[str, dict[str, list[float]]]:
    """Mean, deviation and quantiles of states and actions over `count` scenes that are drawn but not rendered."""
    states, actions = [], []
    for number in range(count):
        rng = scene_seed("statistics", number)
        scene = scenes.draw_scene(rng)
        task = prompts.draw_task(rng, scene)
        states.append(np.array([*scene.joints, scene.gripper]))
        actions.append(expert(scene, task.goal))
    found = {}
    for name, values in (("state", np.stack(states)), ("actions", np.concatenate(actions))):
        found[name] = {
            "mean": values.mean(0).round(6).tolist(),
            "std": values.std(0).round(6).tolist(),
            "q01": np.quantile(values, 0.01, axis=0).round(6).tolist(),
            "q99": np.quantile(values, 0.99, axis=0).round(6).tolist(),
        }
    return found


def write_statistics(path: Path) -> None:
    """Write `norm_stats.json` in openpi's form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"norm_stats": statistics()}, indent=1) + "\n")


def preprocessing(path: Path) -> Preprocessing:
    """What the demo policy does before and after its model, from its `norm_stats.json`."""
    stats = json.loads(path.read_text())["norm_stats"]
    state, action = (
        Normaliser("openpi_quantile", {name: np.array(values) for name, values in stats[key].items()})
        for key in ("state", "actions")
    )
    return Preprocessing(
        resize="pil", slots=CAMERAS, state_in_prompt=True, pad_state_to=None, state=state, action=action, robot_dim=8
    )


def expert(scene: scenes.Scene, goal: int) -> npt.NDArray[np.float64]:
    """True actions (H, 8) towards thing number `goal`."""
    joints = scenes.goals(scene)[scene.kinds.index(goal)]
    return arm.chunk(scene.joints, joints, scene.gripper, HORIZON)


def coverage(mask: npt.NDArray[np.uint8], thing: int) -> npt.NDArray[np.float32]:
    """Share of each patch of the model's picture that thing number `thing` covers: (16, 16) float32."""
    y, x = np.nonzero(mask == thing + 1)
    row = (BOX.top + (y + 0.5) * BOX.rows / BOX.height) // PATCH_PIXELS
    col = (BOX.left + (x + 0.5) * BOX.cols / BOX.width) // PATCH_PIXELS
    area = (PATCH_PIXELS * BOX.ratio) ** 2  # source pixels of a patch
    counts = np.bincount((row * GRID + col).astype(np.int64), minlength=GRID * GRID)
    return (counts.reshape(GRID, GRID) / area).astype(np.float32)


def draw(split: str, number: int, renderer: scenes.Renderer) -> tuple[scenes.Scene, Any, list[prompts.Task]]:
    """Scene `number` of a split, its pictures and its tasks; scenes in which no goal shows are drawn again."""
    rng = scene_seed(split, number)
    while True:
        scene = scenes.draw_scene(rng, near=NEAR if split == "train" else 0.0)
        drawn = renderer.draw(scene)
        mask = drawn["exterior"][1]
        shows = {kind for kind in scene.kinds if (mask == kind + 1).sum() >= VISIBLE}
        tasks = [task for _ in range(TASKS * 4) if (task := prompts.draw_task(rng, scene)).goal in shows]
        if len(tasks) >= TASKS:
            return scene, drawn, tasks[:TASKS]


def encode(task: prompts.Task, scene: scenes.Scene, prepare: Preprocessing, tokenizer: Tokenizer) -> Arrays:
    """Tokens (T,), and which thing of the scene each of them names (slot + 1, 0 for none)."""
    table = prepare.prompt(task.prompt, np.array([*scene.joints, scene.gripper]), tokenizer)
    shift = table.text.index(task.prompt)
    ids, names = np.zeros(TOKENS, np.int16), np.zeros(TOKENS, np.int8)
    ids[: len(table.ids)] = table.ids
    for span, kind in zip(task.spans(), (task.first, task.second), strict=True):
        if span is not None and kind in scene.kinds:
            inside = (table.stop > span[0] + shift) & (table.start < span[1] + shift)
            names[: len(inside)][inside] = scene.kinds.index(kind) + 1
    return {"ids": ids, "names": names}


def record(split: str, number: int, renderer: scenes.Renderer, prepare: Preprocessing, tokenizer: Tokenizer) -> Arrays:
    """Everything about one scene that training and evaluation read."""
    scene, drawn, tasks = draw(split, number, renderer)
    count = len(scene.kinds)
    kinds, places = np.full(MOST, -1, np.int8), np.zeros((MOST, 2), np.float32)
    kinds[:count], places[:count] = scene.kinds, scene.places
    cover = np.zeros((2, MOST, GRID, GRID), np.uint8)
    pictures = np.empty((2, BOX.rows, BOX.cols, 3), np.uint8)
    for slot, camera in enumerate(CAMERAS):
        picture, mask = drawn[camera]
        pictures[slot] = prepare.picture(picture).model_u8[BOX.top : BOX.top + BOX.rows]
        for place, kind in enumerate(scene.kinds):
            cover[slot, place] = np.minimum(np.ceil(coverage(mask, kind) * 255), 255)
    chunks = [arm.chunk(scene.joints, goal, scene.gripper, HORIZON) for goal in scenes.goals(scene)]
    assert prepare.action is not None
    text = [encode(task, scene, prepare, tokenizer) for task in tasks]
    return {
        "pictures": pictures,
        "cover": cover,
        "kinds": kinds,
        "places": places,
        "carried": np.array(scene.carried, np.int8),
        "state": np.array([*scene.joints, scene.gripper], np.float32),
        "ids": np.stack([each["ids"] for each in text]),
        "names": np.stack([each["names"] for each in text]),
        "goal": np.array([scene.kinds.index(task.goal) for task in tasks], np.int8),
        "actions": np.stack([prepare.action.normalise(chunks[scene.kinds.index(task.goal)]) for task in tasks]).astype(
            np.float32
        ),
    }


_tools: tuple[scenes.Renderer, Preprocessing, Tokenizer] | None = None


def _start(folder: str) -> None:
    global _tools
    demo = Path(folder)
    stats = demo / "assets" / "demo" / "norm_stats.json"
    _tools = scenes.Renderer(), preprocessing(stats), JsonTokenizer(demo / "tokenizer.json")


def _batch(split: str, numbers: range, first: int) -> tuple[range, Arrays]:
    assert _tools is not None
    rows = [record(split, first + number, *_tools) for number in numbers]
    return numbers, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def render(
    demo: Path, out: Path, split: str, count: int, workers: int, seconds: float = float("inf"), first: int = 0
) -> int:
    """Render `count` scenes of a split, from number `first` on, into `out`/<split>/*.npy with several processes.

    Stops early after `seconds`. Returns how many scenes are there, counted without a gap.
    """
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    began, files, done, size = time.monotonic(), {}, set(), 25
    batches = [range(low, min(low + size, count)) for low in range(0, count, size)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(str(demo),)) as pool:
        jobs = [pool.submit(_batch, split, numbers, first) for numbers in batches]
        for job in as_completed(jobs):
            if job.cancelled():
                continue
            numbers, arrays = job.result()
            for name, values in arrays.items():
                if name not in files:
                    shape = (count, *values.shape[1:])
                    files[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", values.dtype, shape)
                files[name][numbers.start : numbers.stop] = values
            done.add(numbers.start)
            if time.monotonic() - began > seconds:
                for other in jobs:
                    other.cancel()
    kept = next((numbers.start for numbers in batches if numbers.start not in done), count)
    (folder / "count").write_text(str(kept))
    print(f"{split}: {kept} scenes in {time.monotonic() - began:.0f} s", flush=True)
    return kept


def load(out: Path, split: str) -> Arrays:
    """Arrays of a split, cut to the scenes that are there."""
    folder = out / split
    count = int((folder / "count").read_text())
    return {path.stem: np.load(path, mmap_mode="r")[:count] for path in sorted(folder.glob("*.npy"))}


def main() -> None:
    """Command line: render one split."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("split", choices=list(SPLITS))
    parser.add_argument("count", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    options = parser.parse_args()
    render(options.demo, options.out, options.split, options.count, options.workers, options.seconds, options.first)


if __name__ == "__main__":
    main()
