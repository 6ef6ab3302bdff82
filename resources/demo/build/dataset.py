"""Rendered scenes with tasks, tokens and true actions, as arrays on disk: the training, choosing and test sets."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.policies.letterbox import letterbox
from capture.policies.pi05.preprocessing import Normaliser, Preprocessing
from capture.policies.tokenizer import JsonTokenizer, Tokenizer
from capture.results.schema import GRID, PATCH_PIXELS
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

SPLITS: Final = {"train": 1, "choose": 2, "test": 3, "episode": 4, "statistics": 5, "rollouts": 6}
"""First number of every seed, so that no two sets share a scene."""

BOX: Final = letterbox(scenes.HEIGHT, scenes.WIDTH)


def scene_seed(split: str, number: int) -> np.random.Generator:
    """Return the random seed of scene `number` of a split."""
    return np.random.default_rng([SPLITS[split], number])


def statistics(count: int = 2000) -> dict[str, dict[str, list[float]]]:
    """Return mean, deviation and quantiles of states and actions over `count` scenes, drawn but not rendered."""
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
    path.write_text(json.dumps({"norm_stats": statistics()}, indent=1) + "\n")


def preprocessing(path: Path) -> Preprocessing:
    """Return what the demo policy does before and after its model, from its `norm_stats.json`."""
    stats = json.loads(path.read_text())["norm_stats"]
    state, action = (
        Normaliser("openpi_quantile", {name: np.array(values) for name, values in stats[key].items()})
        for key in ("state", "actions")
    )
    return Preprocessing(
        resize="pil", slots=CAMERAS, state_in_prompt=True, pad_state_to=None, state=state, action=action, robot_dim=8
    )


def expert(scene: scenes.Scene, goal: int) -> npt.NDArray[np.float64]:
    """Return the true actions (H, 8) towards thing number `goal`."""
    joints = scenes.goals(scene)[scene.kinds.index(goal)]
    return arm.chunk(scene.joints, joints, scene.gripper, HORIZON)


def coverage(mask: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.float32]:
    """Share of each patch of the model's picture that thing number `thing` covers: (16, 16) float32."""
    y, x = np.nonzero(mask == number + 1)
    row = (BOX.top + (y + 0.5) * BOX.rows / BOX.height) // PATCH_PIXELS
    col = (BOX.left + (x + 0.5) * BOX.cols / BOX.width) // PATCH_PIXELS
    area = (PATCH_PIXELS * BOX.ratio) ** 2  # source pixels of a patch
    counts = np.bincount((row * GRID + col).astype(np.int64), minlength=GRID * GRID)
    return (counts.reshape(GRID, GRID) / area).astype(np.float32)


def draw(split: str, number: int, renderer: scenes.Renderer) -> tuple[scenes.Scene, Any, list[prompts.Task]]:
    """Return scene `number` of a split, its pictures and tasks; scenes that show no goal are drawn again."""
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
    """Return the tokens (T,), and which thing of the scene each of them names (slot + 1, 0 for none)."""
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
    """Return everything about one scene that training and evaluation read."""
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


def _batch(split: str, numbers: range) -> tuple[range, Arrays]:
    assert _tools is not None
    rows = [record(split, number, *_tools) for number in numbers]
    return numbers, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def render(
    demo: Path, out: Path, split: str, count: int, workers: int, *, seconds: float = math.inf, size: int = 25
) -> bool:
    """Render the first `count` scenes of a split into `out`/<split>/*.npy with several processes.

    Scenes that lie there already, from a run that was stopped, are kept.

    Args:
        demo: folder with the tokenizer and the normalisation statistics.
        out: folder of the splits.
        split: name of one.
        count: scenes.
        workers: processes.
        seconds: stop after this long.
        size: scenes a job.

    Returns:
        Whether all are there.
    """
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    there = _open(folder, "there", np.zeros((0,), np.bool_), count)
    lows = sorted({int(number) // size * size for number in np.flatnonzero(~there)})
    began, files = time.monotonic(), dict[str, npt.NDArray[Any]]()
    if not lows:
        return True
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes: each has a core
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(str(demo),)) as pool:
        jobs = [pool.submit(_batch, split, range(low, min(low + size, count))) for low in lows]
        for job in as_completed(jobs):
            if job.cancelled():
                continue
            numbers, arrays = job.result()
            for name, values in arrays.items():
                if name not in files:
                    files[name] = _open(folder, name, values, count)
                files[name][numbers.start : numbers.stop] = values
            there[numbers.start : numbers.stop] = True  # last: a scene that is marked is whole
            if time.monotonic() - began > seconds:
                for other in jobs:
                    other.cancel()
    print(f"{split}: {there.sum()} of {count} scenes after {time.monotonic() - began:.0f} s", flush=True)
    return bool(there.all())


def _open(folder: Path, name: str, like: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Open array `name` of a split on disk, `count` rows like those of `like`; create it with zeros if missing."""
    path, shape = folder / f"{name}.npy", (count, *like.shape[1:])
    if path.exists():
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r+")
        if found.shape != shape or found.dtype != like.dtype:
            raise ValueError(f"{path} holds {found.shape}, not {shape}: remove {folder} or choose another folder.")
        return found
    return np.lib.format.open_memmap(path, "w+", like.dtype, shape)


def load(out: Path, split: str) -> Arrays:
    """Return the arrays of a split that was rendered completely."""
    arrays = {path.stem: np.load(path, mmap_mode="c") for path in sorted((out / split).glob("*.npy"))}
    there = arrays.pop("there", None)
    if there is None or not there.all():
        raise ValueError(f"{out / split} is not rendered to its end: run the stage render.")
    return arrays
