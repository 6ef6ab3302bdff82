"""What ships of a rebuilt demo: weights, config and the short episodes, written from a model and the scenes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from capture.checkpoints.key_names import openpi_name
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.policies.pi05.model import Pi05
from resources.demo.build import arm, scenes
from resources.demo.build.dataset import HORIZON
from resources.demo.build.stage import CAMERAS
from resources.demo.build.things import NAMES

POINTING_NOUN: Final = (1, 0)
POINTING_ACTION: Final = (2, 0)
"""Layer and head, counted from 0, whose attention is trained to point: words (language model), actions (expert)."""

STRIDE: Final = 6
"""Waypoints that are executed before the policy is asked again."""

PERIOD: Final = 0.2
"""Seconds between two waypoints."""

CONFIG: Final = Pi05Config(
    vision=VisionConfig(width=128, depth=3, heads=8, mlp=384),
    vlm=StackConfig(width=128, depth=4, heads=8, kv_heads=1, head_dim=32, mlp=384),
    expert=StackConfig(width=128, depth=4, heads=8, kv_heads=1, head_dim=32, mlp=384),
    vocabulary=587,
    action_dim=32,
    horizon=HORIZON,
    denoise_steps=10,
)

ARRANGED: Final = scenes.Scene(
    kinds=tuple(NAMES.index(name) for name in ("duck", "mug", "bowl", "ball", "red cube")),
    places=np.array([[0.55, 0.17], [0.58, -0.10], [0.40, -0.19], [0.45, 0.02], [0.37, 0.20]]),
    yaws=np.array([-0.7, -1.9, 0.0, 0.0, 0.5]),
    joints=arm.REST,
    gripper=0.0,
    carried=-1,
    table=0,
    look=np.zeros(12),
)
"""The table of the shipped episodes, laid by hand; it is in no training set, but drawn from the same ranges."""


def write_config(folder: Path, config: Pi05Config, name: str) -> None:
    """Write `config.json`: the sizes, and all that `capture` must know of the policy's inputs and outputs."""
    sizes = asdict(config)
    keys = ("width", "depth", "heads", "mlp")
    content: dict[str, Any] = {
        "kind": "demo",
        "name": name,
        "precision": "bfloat16",
        "action_dim": config.action_dim,
        "action_horizon": config.horizon,
        "denoise_steps": config.denoise_steps,
        "vocabulary": config.vocabulary,
        "vision": {key: sizes["vision"][key] for key in keys},
        "vlm": sizes["vlm"],
        "expert": sizes["expert"],
        "cameras": list(CAMERAS),
        "resize": "pil",
        "state_in_prompt": True,
        "state_dim": 8,
        "robot_dim": 8,
        "delta_dims": 0,
        "max_token_len": 200,
        "normalisation": "openpi_quantile",
        "asset_id": "demo",
        "action_names": [*(f"joint {number}" for number in range(1, 8)), "gripper"],
        "pointing_heads": {
            name: {"layer": layer, "head": head}
            for name, (layer, head) in (("text", POINTING_NOUN), ("action", POINTING_ACTION))
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content, indent=1) + "\n")


def write_weights(folder: Path, model: Pi05) -> None:
    """Write `model.safetensors`: bfloat16, under the names of openpi's converted PyTorch checkpoints."""
    tower = openpi_name("vision_tower.")
    tensors = {}
    for name, value in model.state_dict().items():
        stored = openpi_name(name).replace(tower, f"{tower}vision_model.")
        if stored.endswith("language_model.embed_tokens.weight"):
            stored = (
                "paligemma_with_expert.paligemma.lm_head.weight"  # openpi stores the tied embedding under this name
            )
        tensors[stored] = value.detach().to("cpu", torch.bfloat16).contiguous()
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # as the other files; the package would carry a tighter mode to whoever installs it


def rounded(model: Pi05) -> Pi05:
    """Return the same model with every weight rounded to bfloat16, as it is shipped."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).to(parameter.dtype))
    return model


def write_episodes(folder: Path, renderer: scenes.Renderer) -> None:
    """Write the three episodes: two prompts about one table, and one task in two parts."""
    start = replace(ARRANGED, joints=arm.inverse(np.array([[0.36, -0.02, 0.27]]))[0])
    _write_episode(folder / "duck", renderer, start, "pick up the duck", ["duck"], frames=4)
    _write_episode(folder / "mug", renderer, start, "pick up the mug", ["mug"], frames=4)
    _write_episode(folder / "bowl", renderer, start, "put the ball in the bowl", ["ball", "bowl"], frames=3)


def _write_episode(
    folder: Path, renderer: scenes.Renderer, scene: scenes.Scene, prompt: str, goals: list[str], *, frames: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frame_entries: list[dict[str, Any]] = []
    for name in goals:
        goal = scene.kinds.index(NAMES.index(name))
        for step in range(frames):
            chunk = arm.chunk(scene.joints, scenes.goals(scene)[goal], scene.gripper, HORIZON)
            files = _write_pictures(folder, len(frame_entries), renderer.draw(scene))
            frame_entries.append(
                {
                    "index": len(frame_entries),
                    "time": round(len(frame_entries) * STRIDE * PERIOD, 3),
                    "goal": name,
                    **files,
                    "state": [*scene.joints.round(5).tolist(), scene.gripper],
                    "actions": chunk.round(5).tolist(),
                }
            )
            last = step == frames - 1
            scene = scenes.moved(scene, chunk[-1 if last else STRIDE - 1, :7], scene.gripper, scene.carried)
        scene = scenes.moved(scene, scene.joints, 1.0 - scene.gripper, goal)
    episode = {
        "prompt": prompt,
        "cameras": list(CAMERAS),
        "mask_values": {name: number + 1 for number, name in enumerate(NAMES)},
        "seconds_between_actions": PERIOD,
        "frames": frame_entries,
    }
    (folder / "episode.json").write_text(json.dumps(episode, indent=1) + "\n")


def _write_pictures(folder: Path, index: int, drawn: dict[str, tuple[scenes.Pixels, scenes.Pixels]]) -> dict[str, Any]:
    files: dict[str, dict[str, str]] = {"pictures": {}, "masks": {}}
    for camera, (picture, mask) in drawn.items():
        files["pictures"][camera] = f"{camera}_{index:02d}.jpg"
        files["masks"][camera] = f"{camera}_{index:02d}_mask.png"
        Image.fromarray(picture).save(folder / files["pictures"][camera], quality=93, subsampling=0, optimize=True)
        (folder / files["masks"][camera]).write_bytes(scenes.png(mask))
    return files
