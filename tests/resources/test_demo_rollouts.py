"""The episodes in which the demo policy acts, as they ship: outcomes, masks, and actions that the policy repeats."""

from __future__ import annotations

import importlib.util
import itertools
import json

import numpy as np
import pytest
from paths import DEMO
from PIL import Image

from capture.datasets.folder.reader import read_episode
from resources.demo.build import arm, card, dataset, evaluate, rollouts, scenes
from resources.demo.build.effects import open_policy
from resources.demo.build.things import NAMES

FOLDER = DEMO / rollouts.FOLDER
EPISODES = sorted(FOLDER.glob("episode_*"))
SELECTION = json.loads((FOLDER / rollouts.SELECTION).read_text())
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def policy():
    return open_policy(DEMO)


def read_json(folder):
    return json.loads((folder / "episode.json").read_text())


def test_rollouts_are_ten_successes_and_ten_failures_of_five_calls():
    episodes = [read_json(folder) for folder in EPISODES]
    assert [folder.name for folder in EPISODES] == [f"episode_{number:06d}" for number in range(20)]
    assert sum(episode["success"] for episode in episodes) == 10
    assert {len(episode["frames"]) for episode in episodes} == {evaluate.CALLS}
    assert {episode["prompt"] for episode in episodes} == {"pick up the duck"}


def test_rollouts_take_less_than_three_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < LARGEST


@pytest.mark.parametrize("folder", EPISODES, ids=lambda folder: folder.name)
def test_success_follows_from_states_and_actions(folder):
    episode = read_json(folder)
    waypoints = np.array([*(frame["state"] for frame in episode["frames"]), episode["frames"][-1]["actions"][-1]])
    distances = np.linalg.norm(arm.tip(waypoints[:, :7]) - episode["goal"], axis=-1)
    np.testing.assert_allclose(distances * 100, episode["distance_cm"], atol=0.006)
    assert episode["success"] == (distances[-1] < evaluate.NEAR)


def test_arm_goes_to_the_last_waypoint_that_was_followed():
    frames = read_json(EPISODES[0])["frames"]
    for now, then in itertools.pairwise(frames):
        assert then["state"][:7] == now["actions"][5][:7]
        assert then["actions"][0] == now["actions"][6]


def test_selection_keeps_the_first_ten_of_each_outcome_in_the_order_of_seeds():
    drawn = SELECTION["drawn"]
    assert [rollout["seed"] for rollout in drawn] == list(range(len(drawn)))
    for outcome in (True, False):
        those = [rollout["is_kept"] for rollout in drawn if rollout["success"] is outcome]
        assert those == [True] * 10 + [False] * (len(those) - 10)
    kept = [(rollout["seed"], rollout["success"]) for rollout in drawn if rollout["is_kept"]]
    episodes = [read_json(folder) for folder in EPISODES]
    assert kept == [(rollout["seed"], rollout["success"]) for rollout in episodes]


def test_card_describes_the_drawn_scenes():
    assert card.rollouts_text(SELECTION) in (DEMO / "README.md").read_text()


def test_masks_of_the_duck_lie_on_yellow_pixels():
    yellow = []
    for folder in EPISODES:
        frame = read_json(folder)["frames"][0]
        picture = np.asarray(Image.open(folder / frame["pictures"]["exterior"]), np.float64)
        mask = np.asarray(Image.open(folder / frame["masks"]["exterior"])) == NAMES.index("duck") + 1
        assert mask.shape == (rollouts.HEIGHT, rollouts.WIDTH)
        assert mask.sum() >= dataset.VISIBLE * mask.size / (480 * 270)
        red, green, blue = picture[mask].mean(0)
        yellow.append(min(red, green) - blue)
    assert min(yellow) > 25


@pytest.mark.parametrize(("number", "frame"), [(0, 0), (9, 3)])
def test_policy_repeats_the_stored_actions(policy, number, frame):
    observation = read_episode(EPISODES[number])[frame]
    chunk = policy.plain([policy.prepare(observation)], seeds=[observation.index])
    repeated = policy.to_robot(chunk.actions[0].numpy(), observation.state)
    assert observation.true_actions is not None
    np.testing.assert_allclose(repeated[: rollouts.STRIDE], observation.true_actions[: rollouts.STRIDE], atol=1e-4)


def test_rollout_of_a_seed_is_reproducible(policy):
    if importlib.util.find_spec("mujoco") is None:  # imported by the renderer, which first chooses its OpenGL
        pytest.skip("the package mujoco, which renders the demo's scenes, is not installed")
    try:
        renderer = scenes.Renderer(width=rollouts.WIDTH, height=rollouts.HEIGHT)
    except (AttributeError, ImportError, RuntimeError) as error:
        pytest.skip(f"no OpenGL for MuJoCo on this machine: {error}")
    episode = read_json(EPISODES[2])  # which ends 1 cm from its goal
    repeated = rollouts.roll_out(policy, renderer, episode["seed"])
    renderer.close()
    assert list(repeated.names) == list(episode["mask_values"])
    assert repeated.success == episode["success"]
    states = np.array([frame["state"] for frame in episode["frames"]])
    np.testing.assert_allclose(
        [call.state for call in repeated.calls], states, atol=0.02
    )  # drivers draw alike, not equal


def test_choose_takes_ten_of_each_outcome():
    def made(seed, *, success):
        return rollouts.Rollout(seed, ("duck",), (), np.zeros(3), np.array([0.3, 0.01 if success else 0.2]))

    drawn = [made(seed, success=seed % 3 == 0) for seed in range(36)]
    chosen = rollouts.choose(drawn)
    assert [rollout.seed for rollout in chosen if rollout.success] == list(range(0, 30, 3))
    assert [rollout.seed for rollout in chosen if not rollout.success] == [1, 2, 4, 5, 7, 8, 10, 11, 13, 14]
