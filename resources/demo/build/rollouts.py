"""Twenty episodes in which the demo policy acts by itself, half of which fail: what `pi0-capture --demo-run` captures.

    python -m resources.demo.build.rollouts

Every episode is a scene of its own, drawn from seeds 0, 1, 2, … in order, in which cameras and light stray STRAY times
as far as in training. The policy sees the pictures as they are stored (JPEG), is called CALLS times with the noise
seeds that `pi0-capture` will use, and its own waypoints move the arm. An episode succeeds if the hand ends within
`evaluate.NEAR` of its goal above the duck. The first EACH successes and the first EACH failures are kept. Needs mujoco.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from capture.observation import Observation
from capture.policies.pi05.policy import Pi05Policy
from resources.demo.build import arm, card, dataset, scenes
from resources.demo.build.bundle import PERIOD, STRIDE
from resources.demo.build.effects import DEMO, open_policy
from resources.demo.build.evaluate import CALLS, NEAR
from resources.demo.build.stage import CAMERAS
from resources.demo.build.things import NAMES

FOLDER: Final = "rollouts"
"""Of the episodes, in the demo's folder."""
SELECTION: Final = "selection.json"
"""Which seeds were drawn, and what became of each."""
THING: Final = "duck"
PROMPT: Final = f"pick up the {THING}"
STRAY: Final = 4.0
"""How many times as far as in training a scene's cameras and light are from the middle of their ranges."""
EACH: Final = 10
"""Episodes of each outcome."""
WIDTH, HEIGHT = 320, 180
"""Of the stored pictures, pixels: two thirds of the training scenes', still larger than what the model sees of them."""
QUALITY: Final = 85
"""Of the JPEGs: 8 KB a picture."""
DIGITS: Final = 5
"""Decimals of stored states and actions, to which the arm's waypoints are rounded before it moves."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Call:
    """What the policy was shown in one call, and the waypoints of its answer that the arm followed."""

    pictures: dict[str, bytes]
    """JPEG of each camera."""
    masks: dict[str, scenes.Pixels]
    """(height, width) of each camera: thing number + 1, and 0 elsewhere."""
    state: Array
    """(8,) joint positions in radians, gripper."""
    taken: Array
    """(STRIDE, 8) actions, rounded."""


@dataclass(frozen=True)
class Rollout:
    """An episode in which the policy acted."""

    seed: int
    names: tuple[str, ...]
    """Of the things on the table."""
    calls: tuple[Call, ...]
    goal: Array
    """(3,) metres: where the hand should go."""
    distances: Array
    """(calls + 1,) metres from the hand to its goal, at the start and after each call."""

    @property
    def success(self) -> bool:
        """Whether the hand ended near enough to its goal."""
        return bool(self.distances[-1] < NEAR)


def draw_start(seed: int, renderer: scenes.Renderer) -> scenes.Scene:
    """Return the scene of a seed: nothing is carried, and the duck shows in the exterior picture as in training."""
    rng = dataset.scene_seed(FOLDER, seed)
    kind, visible = NAMES.index(THING), dataset.VISIBLE * (WIDTH * HEIGHT) / (scenes.WIDTH * scenes.HEIGHT)
    while True:
        scene = scenes.draw_scene(rng, carrying=0.0)
        scene = replace(scene, joints=scene.joints.round(DIGITS), look=scene.look * STRAY)
        if kind in scene.kinds and (renderer.draw(scene)["exterior"][1] == kind + 1).sum() >= visible:
            return scene


def roll_out(policy: Pi05Policy, renderer: scenes.Renderer, seed: int) -> Rollout:
    """Let the policy move the arm in the scene of a seed; STRIDE waypoints are followed after each call.

    The gripper stays open, whatever the policy says: nothing can be gripped here.
    """
    scene = draw_start(seed, renderer)
    goal = scenes.reach_points(scene)[scene.kinds.index(NAMES.index(THING))]
    distances, calls = [np.linalg.norm(arm.tip(scene.joints) - goal)], []
    for number in range(CALLS):
        drawn = renderer.draw(scene)
        stored = {camera: _encode_jpeg(drawn[camera][0]) for camera in CAMERAS}
        state = np.array([*scene.joints, scene.gripper])
        observation = Observation({camera: decode_jpeg(stored[camera]) for camera in CAMERAS}, PROMPT, state)
        chunk = policy.plain([policy.prepare(observation)], seeds=[number])
        taken = policy.to_robot(chunk.actions[0].numpy(), state)[:STRIDE].astype(np.float64).round(DIGITS)
        calls.append(Call(stored, {camera: drawn[camera][1] for camera in CAMERAS}, state, taken))
        scene = scenes.moved(scene, taken[-1, :7], scene.gripper, scene.carried)
        distances.append(np.linalg.norm(arm.tip(scene.joints) - goal))
    return Rollout(seed, tuple(NAMES[kind] for kind in scene.kinds), tuple(calls), goal, np.array(distances))


def _encode_jpeg(picture: scenes.Pixels) -> bytes:
    store = io.BytesIO()
    Image.fromarray(picture).save(store, "JPEG", quality=QUALITY, optimize=True)
    return store.getvalue()


def decode_jpeg(content: bytes) -> scenes.Pixels:
    """Return the picture (height, width, 3) RGB of a JPEG."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def write_rollout(folder: Path, rollout: Rollout) -> None:
    """Write an episode as a folder with `episode.json`, pictures and masks."""
    folder.mkdir(parents=True)
    taken = np.concatenate([call.taken for call in rollout.calls])  # (calls * STRIDE, 8)
    frames: list[dict[str, Any]] = []
    for number, call in enumerate(rollout.calls):
        names: dict[str, dict[str, str]] = {"pictures": {}, "masks": {}}
        for camera in CAMERAS:
            names["pictures"][camera] = f"{camera}_{number}.jpg"
            names["masks"][camera] = f"{camera}_{number}_mask.png"
            (folder / names["pictures"][camera]).write_bytes(call.pictures[camera])
            (folder / names["masks"][camera]).write_bytes(scenes.png(call.masks[camera]))
        actions = taken[number * STRIDE : number * STRIDE + dataset.HORIZON].tolist()
        time = round(number * STRIDE * PERIOD, 3)
        frames.append({"index": number, "time": time, **names, "state": call.state.tolist(), "actions": actions})
    episode = {
        "prompt": PROMPT,
        "success": rollout.success,
        "rate": round(1 / (STRIDE * PERIOD), 4),
        "cameras": list(CAMERAS),
        "mask_values": {name: NAMES.index(name) + 1 for name in rollout.names},
        "seed": rollout.seed,
        "goal": rollout.goal.round(DIGITS).tolist(),
        "distance_cm": (rollout.distances * 100).round(2).tolist(),
    }
    rows = ",\n".join(f"  {json.dumps(frame)}" for frame in frames)
    (folder / "episode.json").write_text(f'{json.dumps(episode)[:-1]},\n "frames": [\n{rows}\n ]}}\n')


def choose(rollouts: list[Rollout]) -> list[Rollout]:
    """Return the first EACH successes and the first EACH failures, in the order of their seeds."""
    each = {
        outcome: [rollout for rollout in rollouts if rollout.success is outcome][:EACH] for outcome in (True, False)
    }
    return sorted(each[True] + each[False], key=lambda one: one.seed)


def write_rollouts(demo: Path, folder: Path) -> dict[str, Any]:
    """Draw, roll out and write the episodes to `folder`, which is replaced; return what `selection.json` tells."""
    policy, renderer = open_policy(demo), scenes.Renderer(width=WIDTH, height=HEIGHT)
    drawn: list[Rollout] = []
    while len(chosen := choose(drawn)) < 2 * EACH:
        drawn.append(roll_out(policy, renderer, len(drawn)))
        print(f"seed {drawn[-1].seed}: {'success' if drawn[-1].success else 'failure'}", flush=True)
    renderer.close()
    shutil.rmtree(folder, ignore_errors=True)
    for number, rollout in enumerate(chosen):
        write_rollout(folder / f"episode_{number:06d}", rollout)
    kept = {rollout.seed for rollout in chosen}
    selection = {
        "prompt": PROMPT,
        "stray": STRAY,
        "calls": CALLS,
        "near_cm": NEAR * 100,
        "drawn": [
            {
                "seed": one.seed,
                "end_cm": round(float(one.distances[-1]) * 100, 2),
                "success": one.success,
                "is_kept": one.seed in kept,
            }
            for one in drawn
        ],
    }
    (folder / SELECTION).write_text(json.dumps(selection, indent=1) + "\n")
    return selection


def main() -> None:
    """Write the episodes and their paragraph of the card."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.demo.build.rollouts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--demo", type=Path, default=DEMO, help="the demo's folder (default: in place)")
    options = parser.parse_args()
    selection = write_rollouts(options.demo, options.demo / FOLDER)
    card.write_rollouts(options.demo / "README.md", selection)


if __name__ == "__main__":
    main()
