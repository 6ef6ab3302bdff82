"""Does what the demo policy is asked for matter to it, and does its attention say so? Measured on test scenes.

    python -m resources.demo.build.effects --work /somewhere

On each scene the named thing is covered in the pictures, then another thing, each beside random areas of the same
shape; then every block of patches in turn, for an effect map with which the attention of each head is compared. Scenes
that are measured are kept in the work folder: called again, the command goes on from there. Needs mujoco.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from capture.checkpoints import open_checkpoint
from capture.effects.effect_map import shown_patches
from capture.effects.engine import EffectEngine, Intervention
from capture.effects.measures import root_mean_square, spearman
from capture.effects.targets import Mask, Target, draw_controls, list_blocks
from capture.observation import Observation
from capture.policies.pi05.policy import Pi05Policy
from capture.policies.tokenizer import read_tokenizer
from resources.demo.build import arm, card, dataset, scenes
from resources.demo.build.bundle import POINTING_ACTION
from resources.demo.build.evaluate import SHOWN
from resources.demo.build.stage import CAMERAS

DEMO: Final = Path(__file__).parents[1]
NAME: Final = "effects.json"
SCENES: Final = 100
MAPPED: Final = 30
"""Scenes, the first ones, on which an effect map is measured."""
CONTROLS: Final = 10
"""Random areas for each thing."""
BLOCK: Final = 4
"""Side of the blocks of the effect map, patches."""
DRAWS: Final = 10_000
"""Bootstrap samples of the scenes."""

Array = npt.NDArray[np.float64]


def open_policy(demo: Path) -> Pi05Policy:
    """Return the demo policy in float32 on the CPU."""
    checkpoint = open_checkpoint(demo)
    model = checkpoint.load("cpu", torch.float32)
    return Pi05Policy(model, checkpoint.preprocessing, read_tokenizer(demo / "tokenizer.json"))


def measure_scene(
    policy: Pi05Policy, number: int, observation: Observation, masks: dict[str, Mask], *, is_mapped: bool
) -> dict[str, Any]:
    """Return what is measured on one scene, as plain numbers; with `is_mapped` the agreement of heads too.

    `things`: patches (cameras, rows, cols) that the `named` thing touches, and those of `another` where there is one.
    Distances are those by which the end of the chunk moves, in centimetres.
    """
    prepared = policy.prepare(observation)
    noise = policy.noise(number)[0].numpy()
    engine = EffectEngine(policy, prepared, noise)
    baseline = engine.baseline()
    dims = policy.sizes.robot_dim

    def end(actions: npt.NDArray[np.float32]) -> Array:
        robot = np.stack([policy.to_robot(row, observation.state) for row in actions])  # (n, H, 8)
        return arm.tip(robot[:, -1, :7].astype(np.float64))

    def moved(actions: npt.NDArray[np.float32]) -> list[float]:
        apart: Array = np.linalg.norm(end(actions) - end(baseline[None]), axis=-1) * 100
        return [round(float(one), 4) for one in apart]

    grid = policy.sizes.grid
    pictured = np.zeros((len(CAMERAS), *grid), bool)
    for camera, picture in enumerate(prepared.pictures.values()):
        shown = np.ptp(picture.model_u8, axis=-1) > 0  # bars are black
        pictured[camera] = shown.reshape(grid[0], -1, grid[1], shown.shape[1] // grid[1]).any(axis=(1, 3))
    cover = Intervention(mode="occlude")
    found: dict[str, Any] = {"scene": number}
    for place, (name, mask) in enumerate(masks.items()):
        allowed = pictured if name == "named" else pictured & ~_grown(masks["named"])
        controls = draw_controls(mask, allowed, CONTROLS, seed=2 * number + place)
        areas = [Target("area", "region", one) for one in (mask, *controls)]
        [own, *random] = moved(engine.run_without(areas, cover))
        found[name] = {"cm": own, "random areas, cm": random}
    if not is_mapped:
        return found
    places = [target for _, target in list_blocks(pictured, BLOCK)]
    changed = engine.run_without(places, cover)[..., :dims] - baseline[:, :dims]
    with policy.recorder() as recorder:
        suffix = policy.run([prepared], recorder, seeds=[number]).recording.suffix[0].float()  # (L, S, N, H, K)
    rows = suffix.mean(3)  # (L, S, N, K), mean of the actions
    weights = np.stack([rows[..., patches].numpy() for patches in engine.layout.patches], axis=-2)  # (L, S, N, C, 256)
    means = np.stack([mask.reshape(len(CAMERAS), -1) for mask in shown_patches(places, pictured)])  # (b, C, 256)
    of_blocks = np.einsum("lsncp,bcp->lsnb", weights, means / means.sum(axis=(1, 2), keepdims=True))
    effects = root_mean_square(changed)  # (b,)
    found["agreement"] = spearman(of_blocks, effects).mean(1).round(4).tolist()  # (L, N), mean of the steps
    found["same block"] = (of_blocks.mean(1).argmax(-1) == effects.argmax()).astype(int).tolist()  # (L, N)
    sizes = policy.sizes
    heads = [Target("head", "head", head=(layer, head)) for layer in range(sizes.layers) for head in range(sizes.heads)]
    silenced = np.array(moved(engine.run_without(heads, Intervention())))
    found["silenced, cm"] = silenced.reshape(sizes.layers, sizes.heads).tolist()
    return found


def _grown(mask: Mask) -> Mask:
    """Return the mask (cameras, rows, cols) grown by one patch in all eight directions."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    rows, cols = mask.shape[1:]
    shifted = [padded[:, down : down + rows, right : right + cols] for down in range(3) for right in range(3)]
    grown: Mask = np.any(shifted, axis=0)
    return grown


def draw_scene(number: int, renderer: scenes.Renderer) -> tuple[Observation, dict[str, Mask]] | None:
    """Return a test scene with its first task and the things that show in it; None where the named one does not."""
    scene, drawn, tasks = dataset.draw("test", number, renderer)
    task = tasks[0]

    def patches(kind: int) -> tuple[Mask, float]:
        share = np.stack([dataset.coverage(drawn[camera][1], kind) for camera in CAMERAS])  # (2, 16, 16)
        is_shown = share.sum(axis=(1, 2)) >= SHOWN  # (2,) cameras that show it
        return (share > 0) & is_shown[:, None, None], float(share.sum())

    mask, _ = patches(task.goal)
    if not mask.any():
        return None
    masks = {"named": mask}
    carried = scene.kinds[scene.carried] if scene.carried >= 0 else -1
    others = [kind for kind in scene.kinds if kind not in (task.goal, task.first, task.second, carried)]
    largest = max(others, key=lambda kind: patches(kind)[1], default=None)
    if largest is not None and patches(largest)[0].any():
        masks["another"] = patches(largest)[0]
    state = np.array([*scene.joints, scene.gripper])
    pictures = {camera: drawn[camera][0] for camera in CAMERAS}
    return Observation(pictures, task.prompt, state), masks


def summarise(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the card."""
    found: dict[str, Any] = {"scenes": len(measured), "controls": CONTROLS, "block": BLOCK}
    for name in ("named", "another"):
        pairs = [(one[name]["cm"], one[name]["random areas, cm"]) for one in measured if name in one]
        pairs = [(own, random) for own, random in pairs if random]
        own, random = np.array([pair[0] for pair in pairs]), np.array([np.mean(pair[1]) for pair in pairs])
        found[name] = {
            "scenes": len(pairs),
            "cm": round(float(own.mean()), 2),
            "random areas, cm": round(float(random.mean()), 2),
            "ratio": ratio_interval(own, random),
            "beyond all random areas": round(float(np.mean([one > max(others) for one, others in pairs])), 3),
        }
    for name in ("agreement", "same block", "silenced, cm"):
        values = np.array([one[name] for one in measured if name in one], float)  # (scenes, L, N)
        mean = np.nanmean(values, axis=0)  # (L, N)
        best = tuple(int(place) for place in np.unravel_index(mean.argmax(), mean.shape))
        low, high = interval(values[:, POINTING_ACTION[0], POINTING_ACTION[1]])
        found[name] = {
            "taught head": round(float(mean[POINTING_ACTION]), 3),
            "interval": [round(low, 3), round(high, 3)],
            "place": int((mean > mean[POINTING_ACTION]).sum()) + 1,
            "heads": mean.size,
            "scenes": len(values),
            "best": {"layer": best[0], "head": best[1], "value": round(float(mean[best]), 3)},
            "median head": round(float(np.median(mean)), 3),
        }
    return found


def ratio_interval(own: Array, random: Array) -> dict[str, float]:
    """Return the ratio of the means over scenes, and its 95 % interval by a bootstrap over scenes."""
    draws = np.random.default_rng(0).integers(len(own), size=(DRAWS, len(own)))
    low, high = np.quantile(own[draws].mean(1) / random[draws].mean(1), (0.025, 0.975))
    mean = float(own.mean() / random.mean())
    return {"mean": round(mean, 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def interval(values: Array) -> tuple[float, float]:
    """Return the 95 % interval of a mean over scenes, by a bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
    return float(low), float(high)


def measure(demo: Path, work: Path, count: int) -> dict[str, Any]:
    """Measure `count` test scenes that show what they name; keep each in the work folder."""
    kept = work / "effects.jsonl"
    lines = kept.read_text().splitlines() if kept.exists() else []
    measured = [json.loads(line) for line in lines]
    number = measured[-1]["scene"] + 1 if measured else 0
    if len(measured) < count:
        policy, renderer = open_policy(demo), scenes.Renderer()
        while len(measured) < count:
            drawn = draw_scene(number, renderer)
            if drawn is not None:
                is_mapped = len(measured) < MAPPED
                measured.append(measure_scene(policy, number, *drawn, is_mapped=is_mapped))
                with kept.open("a") as file:
                    file.write(json.dumps(measured[-1]) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            number += 1
        renderer.close()
    return summarise(measured[:count])


def main() -> None:
    """Measure, and write the figures and the card."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.demo.build.effects",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes that are measured")
    parser.add_argument("--demo", type=Path, default=DEMO, help="the demo's folder (default: in place)")
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    figures = measure(options.demo, options.work, options.scenes)
    (options.demo / NAME).write_text(json.dumps(figures, indent=1) + "\n")
    card.write_effects(options.demo / "README.md", figures)


if __name__ == "__main__":
    main()
