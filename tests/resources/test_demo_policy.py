"""The demo policy as it ships: a known answer for everything between picture, word, token and heatmap.

Its figures are measured here on a small part of the test split, through `capture`'s own code, against masks that the
renderer drew. A map that is off by a row, transposed or mirrored misses them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import h5py
import numpy as np
import pytest
import torch
from paths import DATA, DEMO
from PIL import Image
from safetensors import safe_open

from capture.checkpoints import open_checkpoint
from capture.datasets.folder.reader import read_episode
from capture.observation import Observation
from capture.policies.pi05.policy import Pi05Policy, prepare
from capture.policies.tokenizer import read_tokenizer
from capture.results.schema import ROLES
from resources.demo.build import arm, bundle, card, results, train
from resources.demo.build.dataset import coverage
from resources.demo.build.evaluate import SHOWN, dilate
from resources.demo.build.things import NAMES

HELD_OUT = DATA / "demo"
SCENES = json.loads((HELD_OUT / "scenes.json").read_text())
CAMERAS = ("exterior", "wrist")


@dataclass(frozen=True)
class Answer:
    """What the policy did on one task, and what would have been right."""

    scene: int
    prompt: str
    goal: str
    tip: np.ndarray
    """(3,) where the chunk ends, metres."""
    noun: np.ndarray
    """(cameras, 16, 16) attention of the goal's name in its pointing head."""
    action: np.ndarray
    """(H, cameras, 16, 16) attention of the action tokens in theirs, last denoise step."""


@pytest.fixture(scope="module")
def policy() -> Pi05Policy:
    torch.manual_seed(0)
    checkpoint = open_checkpoint(DEMO)
    return Pi05Policy(
        checkpoint.load("cpu", torch.float32), checkpoint.preprocessing, read_tokenizer(DEMO / "tokenizer.json")
    )


def record_answer(policy: Pi05Policy, observation: Observation, goal: str, scene: int = -1) -> Answer:
    """Record one call and read its pointing heads by the token table and the layout."""
    prepared = policy.prepare(observation)
    with policy.recorder(steps=[9]) as recorder:
        call = policy.run([prepared], recorder, seeds=[0])
    table = prepared.tokens
    start = table.text.index(observation.prompt) + observation.prompt.index(goal)
    token = int(np.flatnonzero((table.stop <= start + len(goal)) & (table.stop > start))[-1])
    assert table.text[table.start[token] : table.stop[token]].strip() == goal.split()[-1]
    patches = [call.layout.patches[call.layout.cameras.index(camera)] for camera in CAMERAS]
    (noun_layer, noun_head), (layer, head) = bundle.POINTING_NOUN, bundle.POINTING_ACTION
    return Answer(
        scene=scene,
        prompt=observation.prompt,
        goal=goal,
        tip=arm.tip(call.actions[0][-1, :7].astype(np.float64)),
        noun=np.stack(
            [call.recording.prefix[0, noun_layer, noun_head, token, patch].reshape(16, 16) for patch in patches]
        ),
        action=np.stack(
            [call.recording.suffix[0, layer, 0, head, :, patch].reshape(-1, 16, 16) for patch in patches], axis=1
        ),
    )


def held_out_observation(number: int, prompt: str) -> Observation:
    both = np.asarray(Image.open(HELD_OUT / f"{number:02d}.jpg"))
    pictures = {"exterior": both[:, :480], "wrist": both[:, 480:]}
    return Observation(pictures, prompt, np.array(SCENES[number]["state"]))


def held_out_cover(number: int, goal: str) -> np.ndarray:
    """Share of each patch that the goal covers: (cameras, 16, 16)."""
    both = np.asarray(Image.open(HELD_OUT / f"{number:02d}_mask.png"))
    return np.stack([coverage(mask, NAMES.index(goal)) for mask in (both[:, :480], both[:, 480:])])


@pytest.fixture(scope="module")
def answers(policy: Pi05Policy) -> list[Answer]:
    """Both tasks of every held-out scene."""
    return [
        record_answer(policy, held_out_observation(number, task["prompt"]), task["goal"], number)
        for number, scene in enumerate(SCENES)
        for task in scene["tasks"]
    ]


def hit_share(answers: list[Answer], which: str, camera: int, *, mirrored: bool = False, shift: int = 0) -> float:
    """Share of maps whose greatest weight lies in the goal's mask dilated by one patch, where the goal shows."""
    scores: list[float] = []
    for answer in answers:
        cover = held_out_cover(answer.scene, answer.goal)[camera]
        if cover.sum() < SHOWN:
            continue
        wide = dilate(torch.from_numpy(cover > 0)[None])[0].numpy()
        maps = np.atleast_3d(getattr(answer, which)[..., camera, :, :]).reshape(-1, 16, 16)
        if mirrored:
            maps = maps[..., ::-1]
        maps = np.roll(maps, shift, axis=1).reshape(len(maps), 256)
        scores.append(float(wide.ravel()[maps.argmax(1)].mean()))
    assert len(scores) >= 20
    return float(np.mean(scores))


def test_weights_are_bfloat16_under_openpi_names_and_files_stay_small():
    weights = DEMO / "model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    assert sum(file.stat().st_size for file in (DEMO / "episodes").rglob("*")) <= 4_000_000
    with safe_open(weights, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
        assert "paligemma_with_expert.paligemma.lm_head.weight" in file.keys()  # noqa: SIM118


def test_demo_checkpoint_needs_no_options():
    checkpoint = open_checkpoint(DEMO)
    assert checkpoint.kind == "demo"
    assert all(decision.is_certain for decision in checkpoint.decisions)
    assert checkpoint.config == bundle.CONFIG
    assert (checkpoint.config.vlm.heads, checkpoint.config.horizon, checkpoint.config.denoise_steps) == (8, 15, 10)
    assert checkpoint.preprocessing.slots == CAMERAS
    assert checkpoint.preprocessing.state_in_prompt


def test_tokenizer_follows_paligemma_conventions():
    tokenizer = read_tokenizer(DEMO / "tokenizer.json")
    assert tokenizer.bos == 2
    assert tokenizer.size == bundle.CONFIG.vocabulary
    pieces = tokenizer.encode("Task: grab the  duck 12 ü, State: 128 -1;\nAction: ")
    words = "Task : ▁grab ▁the ▁ ▁duck ▁ 1 2 ▁ <0xC3> <0xBC> , ▁State : ▁ 1 2 8 ▁- 1 ; \n Action : ▁"
    assert [piece.text for piece in pieces] == words.split(" ")


@pytest.mark.parametrize("name", ["duck", "mug", "bowl"])
def test_masks_states_and_true_actions_of_an_episode_match(name):
    folder = DEMO / "episodes" / name
    episode = json.loads((folder / "episode.json").read_text())
    frames = read_episode(folder)
    assert len(frames) == len(episode["frames"])
    for number, (frame, more) in enumerate(zip(frames, episode["frames"], strict=True)):
        assert frame.pictures["exterior"].shape == frame.pictures["wrist"].shape == (270, 480, 3)
        assert frame.state is not None
        assert frame.true_actions is not None
        assert frame.state.shape == (8,)
        assert frame.true_actions.shape == (15, 8)
        assert np.abs(frame.true_actions[0, :7] - frame.state[:7]).max() < 0.2  # the chunk starts where the arm is
        mask = np.asarray(Image.open(folder / more["masks"]["exterior"]))
        assert mask.shape == (270, 480)
        assert (mask == episode["mask_values"][more["goal"]]).sum() > 80
        if number and more["goal"] == episode["frames"][number - 1]["goal"]:
            np.testing.assert_allclose(frame.state[:7], frames[number - 1].true_actions[5, :7], atol=2e-5)
    place = bundle.ARRANGED.places[bundle.ARRANGED.kinds.index(NAMES.index(episode["frames"][-1]["goal"]))]
    np.testing.assert_allclose(arm.tip(frames[-1].true_actions[-1, :7].astype(np.float64))[:2], place, atol=1e-3)


def test_masks_name_only_objects_in_the_picture():
    """A renderer that blends the samples of a pixel writes the numbers of other things along edges."""
    for name in ("duck", "mug", "bowl"):
        allowed = {0, *(kind + 1 for kind in bundle.ARRANGED.kinds)}
        for path in (DEMO / "episodes" / name).glob("*_mask.png"):
            assert set(np.unique(np.asarray(Image.open(path)))) <= allowed, path
    for number, scene in enumerate(SCENES):
        named = {NAMES.index(name) + 1 for name in scene["reach"]}
        present = set(np.unique(np.asarray(Image.open(HELD_OUT / f"{number:02d}_mask.png")))) - {0}
        assert len(present - named) <= 1, number  # what the gripper carries is not to be reached


def test_duck_mask_covers_yellow_pixels():
    folder = DEMO / "episodes" / "duck"
    picture = read_episode(folder)[0].pictures["exterior"].astype(int)
    mask = np.asarray(Image.open(folder / "exterior_00_mask.png")) == NAMES.index("duck") + 1
    red, green, blue = picture[mask].mean(0)
    assert min(red, green) > 1.8 * blue
    assert min(red, green) > 110


def test_arm_goes_to_the_object_that_the_prompt_names(answers):
    nearest, error = [], []
    for answer in answers:
        reach = {name: np.array(point) for name, point in SCENES[answer.scene]["reach"].items()}
        distances = {name: np.linalg.norm(answer.tip[:2] - point[:2]) for name, point in reach.items()}
        nearest.append(min(distances, key=lambda name: distances[name]) == answer.goal)
        error.append(np.linalg.norm(answer.tip - reach[answer.goal]))
    assert len(answers) >= 30
    assert np.mean(nearest) >= 0.95
    assert np.median(error) < 0.04


def test_noun_attends_to_its_object_in_both_cameras(answers):
    assert hit_share(answers, "noun", 0) >= 0.95
    assert hit_share(answers, "noun", 1) >= 0.95


def test_actions_of_the_last_denoise_step_attend_to_the_object(answers):
    assert hit_share(answers, "action", 0) >= 0.9
    assert hit_share(answers, "action", 1) >= 0.7


def test_mirrored_or_shifted_maps_miss_the_object(answers):
    assert hit_share(answers, "noun", 0, mirrored=True) < 0.5
    assert hit_share(answers, "noun", 0, shift=3) < 0.5


def test_another_noun_on_the_same_picture_changes_action_and_map(policy):
    frame = read_episode(DEMO / "episodes" / "duck")[0]
    duck, mug = (
        record_answer(policy, Observation(frame.pictures, f"pick up the {goal}", frame.state), goal)
        for goal in ("duck", "mug")
    )
    for answer in (duck, mug):
        place = bundle.ARRANGED.places[bundle.ARRANGED.kinds.index(NAMES.index(answer.goal))]
        assert np.linalg.norm(answer.tip[:2] - place) < 0.05
        mask = np.asarray(Image.open(DEMO / "episodes" / "duck" / "exterior_00_mask.png"))
        wide = dilate(torch.from_numpy(coverage(mask, NAMES.index(answer.goal)) > 0)[None])[0].numpy()
        assert wide.ravel()[answer.noun[0].argmax()]
        assert not wide.ravel()[(mug if answer is duck else duck).noun[0].argmax()]


def test_prompt_holds_the_digits_of_the_state(policy):
    frame = read_episode(DEMO / "episodes" / "bowl")[0]
    table = prepare(frame, policy.preprocessing, policy.tokenizer, bundle.CONFIG.vocabulary).tokens
    stats = json.loads((DEMO / "assets" / "demo" / "norm_stats.json").read_text())["norm_stats"]["state"]
    low, high = np.array(stats["q01"]), np.array(stats["q99"])
    share = (frame.state - low) / (high - low + 1e-6)
    expected = np.minimum(np.floor(share * 256), 255).astype(int)
    for index, value in enumerate(expected):
        digits = "".join(table.pieces[i].strip("▁") for i in np.flatnonzero(table.state_index == index))
        assert digits == str(value)
    assert {ROLES[role] for role in table.role[table.state_index >= 0]} == {"state"}


def test_card_figures_equal_measured_figures():
    figures, card = json.loads((DEMO / "figures.json").read_text()), (DEMO / "README.md").read_text()
    trained = figures["trained"]
    assert trained["goal nearest"] >= 0.95
    assert trained["median end point error in cm"] < 4
    assert trained["closed loop"]["ended within 4 cm"] >= 0.8
    least = {("noun", "exterior"): 0.95, ("noun", "wrist"): 0.95, ("action 9", "exterior"): 0.9}
    for (row, camera), expected in {**least, ("action 9", "wrist"): 0.7}.items():
        assert trained[row]["best"][camera]["hit"] >= expected, (row, camera)
    for row, (layer, head) in {"noun": bundle.POINTING_NOUN, "action 9": bundle.POINTING_ACTION}.items():
        assert (trained[row]["best"]["layer"], trained[row]["best"]["head"]) == (layer, head)
    for name in figures:
        assert f"{figures[name]['goal nearest']:.3f}" in card
        assert f"{figures[name]['median end point error in cm']:.1f} cm" in card
        for row in ("noun", "action 0", "action 5", "action 9"):
            for head in ("best", "best unsupervised"):
                for camera in CAMERAS:
                    on_card = figures[name][row][head][camera]
                    assert f"{on_card['hit']:.3f} ({on_card['lift']:.1f})" in card, (name, row, head, camera)


def test_card_names_the_training_run():
    run, text = json.loads((DEMO / "run.json").read_text()), (DEMO / "README.md").read_text()
    assert card.story(run) in text
    assert f"{run['render']['scenes']['train']:,} scenes" in text
    assert f"{json.loads((DEMO / 'figures.json').read_text())['trained']['scenes']:,} to test" in text
    assert all(run[stage]["finished"] for stage in ("render", "train", "evaluate"))
    assert run["train"]["losses"] == train.LOSSES
    assert [stage["patches"] for stage in run["train"]["stages"]] == [64, 256]
    ends = [max(each["step"] for each in run["train"]["log"] if each["stage"] == stage) for stage in (0, 1)]
    assert ends == [stage["steps"] for stage in run["train"]["stages"]]


def test_config_hash_of_earlier_results_files_holds():
    """The bundled file was written before options were added to the preprocessing; it must count as this policy's."""
    checkpoint = open_checkpoint(DEMO)
    with h5py.File(DEMO / "results.h5") as file:
        assert json.loads(file.attrs["model"])["config_hash"] == checkpoint.config_hash


def test_bundled_results_equal_those_of_the_shipped_weights():
    """Two prompts on one table, small, whole, and what the shipped weights compute."""
    shipped = DEMO / "results.h5"
    assert shipped.stat().st_size < 6_000_000
    checkpoint = open_checkpoint(DEMO)
    policy = Pi05Policy(
        checkpoint.load("cpu", torch.float32), checkpoint.preprocessing, read_tokenizer(DEMO / "tokenizer.json")
    )
    with h5py.File(shipped) as file:
        assert file.attrs["complete"]
        assert [text.decode() for text in file["frames/prompt"]] == ["pick up the duck", "pick up the mug"]
        assert file["action/to_image"].shape[1:5] == (4, 15, 4, 8)
        assert file.attrs["steps"].tolist() == list(results.STEPS)
        assert json.loads(file.attrs["model"])["steps"] == bundle.CONFIG.denoise_steps == len(file["action/time"][0])
        shown = read_episode(DEMO / "episodes" / "duck")[0]
        recorder = policy.recorder()
        with recorder:
            policy.plain([policy.prepare(shown)], seeds=[0])
            taken = recorder.take()
            rows = taken.prefix[0, :, :, 512:]  # (L, N, T, K)
            actions = taken.suffix[0][:, list(results.STEPS), :, :, :512]  # (L, S, N, H, patches)
        stored = file["text/to_image"][0].astype(np.float32)  # (L, T, N, C, 16, 16)
        found = rows.transpose(1, 2)[..., :512].numpy().reshape(stored.shape)
        np.testing.assert_allclose(stored, found, rtol=2**-7, atol=1e-5)
        stored_actions = file["action/to_image"][0].astype(np.float32)  # (L, H, S, N, C, 16, 16)
        found = actions.permute(0, 3, 1, 2, 4).numpy().reshape(stored_actions.shape)
        np.testing.assert_allclose(stored_actions, found, rtol=2**-6, atol=1e-4)
        pieces = [piece.decode() for piece in file["text/piece"][0]]
        duck = pieces.index("\u2581duck")
        first, second = file["images/exterior/source"][0], file["images/exterior/source"][1]
        assert np.array_equal(first, second)
        assert stored[1, duck, 0, 0].max() > 0.2


def test_card_has_the_measured_effects() -> None:
    effects, text = json.loads((DEMO / "effects.json").read_text()), (DEMO / "README.md").read_text()
    assert card.effects_text(effects) in text
    assert effects["named"]["ratio"]["low"] > effects["another"]["ratio"]["high"] > 1
    agreement = effects["agreement"]
    assert agreement["taught head"] < agreement["median head"] < agreement["best"]["value"]  # as the card says
