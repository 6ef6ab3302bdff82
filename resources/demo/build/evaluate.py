"""The figures of the demo's card, measured on scenes that training never saw.

Where the arm would go (end point of the predicted chunk), what the heads look at (pointing game), and whether the arm
arrives when it really moves (closed loop in the renderer). Heads are chosen on the split `choose`, figures come from
`test`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.policies.attention_hooks import AttentionRecorder
from capture.policies.pi05.model import Pi05
from capture.policies.pi05.preprocessing import Preprocessing
from capture.policies.tokenizer import JsonTokenizer
from capture.results.schema import GRID
from resources.demo.build import arm, dataset, scenes
from resources.demo.build.bundle import CONFIG, POINTING_ACTION, POINTING_NOUN, STRIDE, rounded
from resources.demo.build.forward import fresh_model
from resources.demo.build.stage import CAMERAS
from resources.demo.build.things import THINGS
from resources.demo.build.train import Data

STEPS: Final = (0, 5, 9)
"""Denoise steps whose attention is scored."""
NEAR: Final = 0.04
"""Metres: a closed-loop episode succeeds if it ends this near to its goal."""
CALLS: Final = 5
"""Calls of the policy in a closed-loop episode; STRIDE waypoints are executed after each."""
SHOWN: Final = dataset.VISIBLE / (14 * dataset.BOX.ratio) ** 2
"""Patches (a sum of shares) that a thing must cover in a camera for that camera to be scored."""

Floats = npt.NDArray[np.float64]
Hits = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """What the policy did on the first task of each of N scenes."""

    actions: Floats
    """(N, H, 8) in robot units."""
    hits: Hits
    """`noun` (N, layers, heads, cameras) and `action <step>` likewise: 1 where the argmax lies in the dilated mask, for
    actions the share of the H tokens; NaN where the thing does not show in the camera. `lift ...`: weight on the
    undilated mask over its share of the patches. `chance` (N, cameras): the dilated mask's share of the 256 patches."""


def dilate(mask: Tensor) -> Tensor:
    """Return a patch mask (..., 16, 16) bool, grown by one patch in all eight directions."""
    grown = torch.nn.functional.max_pool2d(mask.float().flatten(0, -3)[:, None], 3, stride=1, padding=1)
    wide: Tensor = grown[:, 0].unflatten(0, mask.shape[:-2]) > 0
    return wide


def score(weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return pointing and lift of attention maps.

    Args:
        weights: (..., 256) attention of one row on one camera's patches.
        mask: (16, 16) bool, patches that the named thing touches.

    Returns:
        Whether the argmax lies in the mask dilated by one patch, and the weight on the mask (as a share of the weight
        on this camera) over its share of the 256 patches.
    """
    wide = dilate(mask[None])[0].flatten()  # (256,)
    share = weights @ mask.flatten().to(weights.dtype) / weights.sum(-1).clamp_min(1e-12)
    return wide[weights.argmax(-1)].double(), share.double() / mask.double().mean()


@torch.no_grad()
def run(
    model: Pi05, data: Data, prepare: Preprocessing, task: int | Tensor = 0, *, look: bool = True, batch: int = 25
) -> Outcome:
    """Run the policy on one task of every scene; `look` scores attention too."""
    layers, heads = CONFIG.vlm.depth, CONFIG.vlm.heads
    actions, rows = [], []
    for first in range(0, data.count, batch):
        scene = torch.arange(first, min(first + batch, data.count), device=data.device)
        tasks = torch.as_tensor(task, device=data.device)
        tasks = tasks[scene] if tasks.ndim else tasks.expand(len(scene))
        taken = data.take(scene, tasks)
        generator = torch.Generator(data.device).manual_seed(first)
        noise = torch.randn(len(scene), CONFIG.horizon, CONFIG.action_dim, generator=generator, device=data.device)
        # Columns that are padding in the whole batch are left out by the policy: cut here, so that rows can be counted.
        tokens = taken.tokens[:, : int((taken.tokens > 0).sum(1).max())]
        inputs = (taken.pictures.unbind(1), tokens, tokens > 0, noise)
        if not look:
            actions.append(model.sample_actions(*inputs).actions)
            continue
        with AttentionRecorder(model, steps=STEPS, prefix_rows=slice(-tokens.shape[1], None)) as recorder:
            actions.append(model.sample_actions(*inputs).actions)
            recording = recorder.take()
        for index in range(len(scene)):
            slot = int(taken.goal[index])
            named = (taken.names[index] == slot + 1).nonzero()[:, 0]
            row: Hits = {"chance": np.full(2, np.nan)}
            for key in ("noun", *(f"action {step}" for step in STEPS)):
                row[key] = np.full((layers, heads, 2), np.nan)
                row[f"lift {key}"] = np.full((layers, heads, 2), np.nan)
            for camera in range(2):
                mask = (taken.cover[index, camera, slot] > 0).view(GRID, GRID).cpu()
                if taken.cover[index, camera, slot].sum() < SHOWN:
                    continue
                keys = slice(256 * camera, 256 * (camera + 1))
                row["chance"][camera] = dilate(mask[None])[0].double().mean()
                noun = recording.prefix[index, :, :, int(named[-1]), keys].float()  # (layers, heads, 256)
                row["noun"][..., camera], row["lift noun"][..., camera] = score(noun, mask)
                for place, step in enumerate(STEPS):
                    each = score(recording.suffix[index, :, place, :, :, keys].float(), mask)  # (layers, heads, H)
                    row[f"action {step}"][..., camera] = each[0].mean(-1)
                    row[f"lift action {step}"][..., camera] = each[1].mean(-1)
            rows.append(row)
    normal = torch.cat(actions)[..., :8].double().cpu().numpy()
    assert prepare.action is not None
    hits = {key: np.stack([row[key] for row in rows]) for key in rows[0]} if rows else {}
    return Outcome(prepare.action.unnormalise(normal).astype(np.float64), hits)


def reach_points(data: Data) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return where the tip would go for every thing of each scene (N, S, 3), and which stand on the table (N, S)."""
    kinds, carried = (data.tensors[name].cpu().numpy() for name in ("kinds", "carried"))
    tops = (
        np.array([thing.height for thing in THINGS])[kinds]
        + np.where(carried >= 0, scenes.CARRY, scenes.HOVER)[:, None]
    )
    points = np.concatenate([data.tensors["places"].cpu().numpy(), tops[..., None]], axis=-1).astype(np.float64)
    return points, (kinds >= 0) & (np.arange(kinds.shape[1]) != carried[:, None])


def end_points(outcome: Outcome, data: Data, task: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the error of the predicted end point in metres (N,), and whether the goal is the nearest thing (N,)."""
    points, stands = reach_points(data)
    tip = arm.tip(outcome.actions[:, -1, :7])  # (N, 3)
    row = np.arange(len(tip))
    goal = data.tensors["goal"].cpu().numpy()[row, task]
    apart = np.linalg.norm(points[..., :2] - tip[:, None, :2], axis=-1)  # (N, S)
    apart[~stands] = np.inf
    return {
        "error": np.linalg.norm(tip - points[row, goal], axis=-1),
        "nearest": apart.argmin(1) == goal,
        "chance": 1 / stands.sum(1),
        "tip": tip,
    }


def other_tasks(data: Data) -> npt.NDArray[np.int64]:
    """Return for each scene a task with another goal than its first task's; -1 where it has none (N,)."""
    goal = data.tensors["goal"].cpu().numpy()
    differs = goal != goal[:, :1]
    return np.where(differs.any(1), differs.argmax(1), -1)


def pointing(choose: Hits, test: Hits, key: str, *, supervised: bool) -> dict[str, Any]:
    """Return figures of the head that points best on `choose`, measured on `test`."""
    mean = np.nanmean(choose[key], axis=0).mean(-1)  # (layers, heads)
    if not supervised:
        mean[POINTING_NOUN if key == "noun" else POINTING_ACTION] = -1
    layer, head = (int(place) for place in np.unravel_index(mean.argmax(), mean.shape))
    result: dict[str, Any] = {"layer": layer, "head": head}
    for camera, name in enumerate(CAMERAS):
        result[name] = {
            "hit": round(float(np.nanmean(test[key][:, layer, head, camera])), 4),
            "chance": round(float(np.nanmean(test["chance"][:, camera])), 4),
            "lift": round(float(np.nanmean(test[f"lift {key}"][:, layer, head, camera])), 2),
            "scenes": int(np.isfinite(test[key][:, layer, head, camera]).sum()),
        }
    return result


def figures(model: Pi05, choose: Data, test: Data, prepare: Preprocessing) -> dict[str, Any]:
    """Return all figures that need no renderer."""
    zero = np.zeros(test.count, np.int64)
    chosen, tested = run(model, choose, prepare), run(model, test, prepare)
    ends = end_points(tested, test, zero)
    other = other_tasks(test)
    has = other >= 0
    swapped = end_points(
        run(model, test, prepare, torch.from_numpy(np.maximum(other, 0)), look=False), test, np.maximum(other, 0)
    )
    content: dict[str, Any] = {
        "scenes": test.count,
        "goal nearest": round(float(ends["nearest"].mean()), 4),
        "goal nearest by chance": round(float(ends["chance"].mean()), 4),
        "median end point error in cm": round(float(np.median(ends["error"]) * 100), 2),
        "90th percentile of the error in cm": round(float(np.quantile(ends["error"], 0.9) * 100), 2),
        "swapped prompts": int(has.sum()),
        "other goal nearest after the swap": round(float(swapped["nearest"][has].mean()), 4),
        "both prompts right": round(float((ends["nearest"] & swapped["nearest"])[has].mean()), 4),
    }
    for key in ("noun", *(f"action {step}" for step in STEPS)):
        content[key] = {
            "best": pointing(chosen.hits, tested.hits, key, supervised=True),
            "best unsupervised": pointing(chosen.hits, tested.hits, key, supervised=False),
        }
    return content


@torch.no_grad()
def closed_loop(model: Pi05, demo: Path, episodes: int, device: torch.device, split: str = "test") -> dict[str, Any]:
    """Let the policy move the arm in the renderer: the first scenes of a split, first task of each.

    After every call STRIDE waypoints are executed as they are. Distances are in three dimensions, from the tip to the
    goal.
    """
    prepare = dataset.preprocessing(demo / "assets" / "demo" / "norm_stats.json")
    tokenizer = JsonTokenizer(demo / "tokenizer.json")
    renderer = scenes.Renderer()
    model = model.to(device)
    now, tasks = [], []
    for number in range(episodes):
        scene, _, drawn = dataset.draw(split, number, renderer)
        now.append(scene)
        tasks.append(drawn[0])
    goals = np.stack([scenes.reach_points(s)[s.kinds.index(t.goal)] for s, t in zip(now, tasks, strict=True)])
    path = [np.linalg.norm(arm.tip(np.stack([s.joints for s in now])) - goals, axis=-1)]
    for call in range(CALLS):
        pictures, ids = [], np.zeros((episodes, dataset.TOKENS), np.int64)
        for index, (scene, task) in enumerate(zip(now, tasks, strict=True)):
            drawn_now = renderer.draw(scene)
            pictures.append(torch.stack([prepare.picture(drawn_now[camera][0]).pixels for camera in CAMERAS]))
            ids[index] = dataset.encode(task, scene, prepare, tokenizer)["ids"]
        tokens = torch.from_numpy(ids).to(device)
        noise = torch.randn(
            episodes, CONFIG.horizon, CONFIG.action_dim, generator=torch.Generator().manual_seed(call)
        ).to(device)
        chunks = []
        for part in torch.arange(episodes).split(25):
            shown = torch.stack([pictures[index] for index in part]).to(device)  # (b, 2, 3, 224, 224)
            chunk = model.sample_actions(shown.unbind(1), tokens[part], tokens[part] > 0, noise[part])
            chunks.append(chunk.actions[..., :8].double().cpu().numpy())
        assert prepare.action is not None
        actions = prepare.action.unnormalise(np.concatenate(chunks))
        now = [scenes.moved(s, a[STRIDE - 1, :7], s.gripper, s.carried) for s, a in zip(now, actions, strict=True)]
        path.append(np.linalg.norm(arm.tip(np.stack([s.joints for s in now])) - goals, axis=-1))
    renderer.close()
    return {
        "episodes": episodes,
        "calls": CALLS,
        "ended within 4 cm": round(float((path[-1] < NEAR).mean()), 4),
        "median distance in cm, start and after each call": [round(float(np.median(each) * 100), 2) for each in path],
    }


def evaluate(demo: Path, data: Path, weights: Path | None, device: torch.device, episodes: int) -> dict[str, Any]:
    """Return all figures of trained weights, or of the untrained model where None.

    Args:
        demo: folder with the tokenizer and the normalisation statistics.
        data: folder of the splits `choose` and `test`.
        weights: what training left.
        device: where to run.
        episodes: closed-loop episodes.
    """
    torch.set_float32_matmul_precision("highest")
    model = fresh_model(CONFIG, 0)
    if weights is not None:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["model"], strict=False)
    model = rounded(model).to(device).eval()
    prepare = dataset.preprocessing(demo / "assets" / "demo" / "norm_stats.json")
    choose, test = (Data(dataset.load(data, split), device, 0) for split in ("choose", "test"))
    return {**figures(model, choose, test, prepare), "closed loop": closed_loop(model, demo, episodes, device)}
