"""The scripts that rebuild the demo policy: kinematics, prompts, coverage, losses, and the reduced training pass."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import DEMO

from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.policies.tokenizer import JsonTokenizer
from resources.demo.build import arm, card, dataset, journal, prompts, train
from resources.demo.build.bundle import ARRANGED
from resources.demo.build.evaluate import dilate, score
from resources.demo.build.forward import fresh_model, run_prefix, velocity
from resources.demo.build.losses import draw_flow, pointing_loss
from resources.demo.build.scenes import AREA, Renderer, draw_scene, goals, reach_points
from resources.demo.build.things import NAMES, THINGS

SMALL = Pi05Config(
    vision=VisionConfig(width=16, depth=1, heads=2, mlp=16),
    vlm=StackConfig(width=24, depth=3, heads=2, kv_heads=1, head_dim=8, mlp=16),
    expert=StackConfig(width=16, depth=3, heads=2, kv_heads=1, head_dim=8, mlp=16),
    vocabulary=20,
    horizon=4,
)

DUCK, BALL, BOWL = (NAMES.index(name) for name in ("duck", "ball", "bowl"))


@settings(max_examples=30)
@given(st.floats(0.30, 0.68), st.floats(-0.3, 0.3), st.floats(0.05, 0.42))
def test_inverse_kinematics_reaches_every_place_over_the_table_with_the_hand_down(x, y, z):
    joints = arm.inverse(np.array([[x, y, z]]))
    place, turn, _ = arm.forward(joints)
    np.testing.assert_allclose(place, [[x, y, z]], atol=2e-4)
    np.testing.assert_allclose(turn[0], arm.DOWN, atol=2e-3)
    assert (joints >= arm.LOWER).all()
    assert (joints <= arm.UPPER).all()


def test_joint_axes_are_the_derivative_of_the_tip_position():
    joints, step = np.array([0.2, -0.3, 0.1, -2.2, 0.05, 2.0, 0.8]), 1e-6
    place, _, axes = arm.forward(joints)
    for number in range(7):
        nudged = joints.copy()
        nudged[number] += step
        slope = (arm.tip(nudged) - place) / step
        np.testing.assert_allclose(slope, np.cross(axes[number, 0], place - axes[number, 1]), atol=1e-5)


def test_chunk_ends_at_goal_and_gripper_moves_on_arrival():
    goal = goals(ARRANGED)[0]
    chunk = arm.chunk(ARRANGED.joints, goal, 0.0, 15)
    np.testing.assert_allclose(chunk[-1, :7], goal)
    distances = np.linalg.norm(arm.tip(chunk[:, :7]) - arm.tip(goal), axis=-1)
    assert (np.diff(distances) < 0).all()
    np.testing.assert_array_equal(chunk[:, 7], distances < 0.015)
    assert arm.chunk(ARRANGED.joints, goal, 1.0, 15)[-1, 7] == 0


def test_reach_points_lie_above_objects_and_higher_when_carrying():
    points = reach_points(ARRANGED)
    np.testing.assert_array_equal(points[:, :2], ARRANGED.places)
    np.testing.assert_allclose(points[0, 2], THINGS[DUCK].height + 0.03)
    np.testing.assert_allclose(reach_points(replace(ARRANGED, carried=3))[0, 2], THINGS[DUCK].height + 0.11)


def test_drawn_scenes_keep_objects_apart_and_on_the_table():
    for number in range(20):
        scene = draw_scene(np.random.default_rng(number))
        assert len(set(scene.kinds)) == len(scene.kinds)
        assert ((scene.places >= [AREA[0][0], AREA[1][0]]) & (scene.places <= [AREA[0][1], AREA[1][1]])).all()
        for index in range(len(scene.kinds)):
            for other in range(index):
                gap = np.linalg.norm(scene.places[index] - scene.places[other])
                assert gap > THINGS[scene.kinds[index]].radius + THINGS[scene.kinds[other]].radius


def test_goal_of_a_two_part_task_is_first_the_object_then_the_place():
    rng = np.random.default_rng(0)
    carrying = replace(ARRANGED, carried=ARRANGED.kinds.index(BALL), gripper=1.0)
    for _ in range(20):
        task = prompts.draw_task(rng, carrying)
        assert task.first == BALL
        assert THINGS[task.goal].takes
        assert task.goal == task.second
        first, second = task.spans()
        assert task.prompt[slice(*first)] == "ball"
        assert task.prompt[slice(*second)] == NAMES[task.second]
    reaching = [prompts.draw_task(rng, ARRANGED) for _ in range(50)]
    assert all(task.goal == task.first for task in reaching)
    assert {task.second for task in reaching} - {-1}  # distractors occur


def test_object_covers_the_patches_of_its_pixels_in_the_letterboxed_picture():
    mask = np.zeros((270, 480), np.uint8)
    mask[:30, :30] = DUCK + 1  # 14 x 14 model pixels from the picture's corner, which lies 49 rows below the square's
    cover = dataset.coverage(mask, DUCK)
    assert cover[3, 0] == pytest.approx(0.5, abs=0.04)
    assert cover[4, 0] == pytest.approx(0.5, abs=0.04)
    assert cover.sum() == pytest.approx(1, abs=0.01)
    assert dataset.coverage(mask, BALL).sum() == 0
    full = dataset.coverage(np.full((270, 480), DUCK + 1, np.uint8), DUCK)
    assert full[4:12] == pytest.approx(np.ones((8, 16)), abs=0.08)
    assert full[:3].sum() == full[13:].sum() == 0


def test_pointing_game_accepts_mask_and_its_neighbours_only():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5, 0] = True
    assert dilate(mask[None])[0].nonzero().tolist() == [[4, 0], [4, 1], [5, 0], [5, 1], [6, 0], [6, 1]]
    weights = torch.zeros(3, 256)
    weights[0, 5 * 16] = weights[1, 6 * 16 + 1] = weights[2, 6 * 16 + 2] = 0.5
    weights[:, 255] = 0.1
    hit, lift = score(weights, mask)
    assert hit.tolist() == [1, 1, 0]
    assert lift.tolist() == pytest.approx([256 * 0.5 / 0.6, 0, 0])


def test_flow_matching_paths_are_straight_and_their_times_follow_beta_of_one_and_a_half():
    actions = torch.randn(500, 4, 32)
    x, v, time = draw_flow(actions, 20, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(x - time[..., None, None] * v, actions[:, None].expand_as(x), atol=2e-5)
    assert time.min() > 0.001
    assert time.max() <= 1
    part = (time - 0.001) / 0.999
    assert part.mean().item() == pytest.approx(0.6, abs=0.01)  # Beta(a, b) has mean a / (a + b)
    assert (part < 0.5).double().mean().item() == pytest.approx(0.5**1.5, abs=0.02)


def test_pointing_loss_is_minimal_when_split_between_cameras():
    target = torch.zeros(1, 2, 4)
    target[0, 0, 1] = target[0, 1, 2] = 0.8
    both = torch.ones(1, 2, dtype=torch.bool)
    split, one_camera, nothing = torch.zeros(3, 1, 8).unbind()
    split[0, [1, 6]] = 0.5
    one_camera[0, 1] = 1.0
    nothing[0, 0] = 1.0
    assert pointing_loss(split, target, both) == pytest.approx(np.log(2))
    assert pointing_loss(one_camera, target, both) > 10
    assert pointing_loss(nothing, target, both) > 40
    assert pointing_loss(one_camera, target, torch.tensor([[True, False]])) == 0


def test_training_pass_on_all_patches_equals_the_pass_of_the_policy():
    model = fresh_model(SMALL, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        pictures, noise = torch.randn(2, 2, 3, 224, 224), torch.randn(2, 4, 32)
        tokens = torch.tensor([[2, 7, 8, 9, 4], [2, 5, 6, 0, 0]])
        whole = torch.arange(256).expand(2, 2, -1)
        chunk = model.sample_actions(pictures.unbind(1), tokens, tokens > 0, noise, drop_masked=False)
        passed = run_prefix(model, pictures, whole, tokens)
        v, weights = velocity(model, noise[:, None], torch.ones(2, 1), passed.prefix)
        torch.testing.assert_close(v[:, 0], chunk.velocity[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 4))
        for ours, theirs in zip(passed.prefix.keys, chunk.prefix.keys, strict=True):
            torch.testing.assert_close(ours[0], theirs[0], atol=1e-6, rtol=1e-5)


def test_dropped_patches_have_no_effect_and_others_keep_positions():
    model = fresh_model(SMALL, 0)
    kept = torch.stack([torch.arange(0, 256, 4), torch.arange(3, 256, 4)])[None]  # (1, 2, 64)
    pictures, tokens = torch.randn(1, 2, 3, 224, 224), torch.tensor([[2, 7, 8]])
    changed = pictures.clone()
    changed[:, 0, :, :14, 14:28] = 5.0  # patch 1 of the first camera, which is not kept
    with torch.no_grad():
        first, second = (run_prefix(model, each, kept, tokens) for each in (pictures, changed))
    torch.testing.assert_close(first.prefix.keys[-1], second.prefix.keys[-1])
    assert first.prefix.positions[0, :64].tolist() == list(range(0, 256, 4))
    assert first.prefix.positions[0, 64] == 256 + 3
    assert first.prefix.positions[0, -3:].tolist() == [512, 513, 514]


def make_noise_split(count: int) -> dataset.Arrays:
    """A training split of noise, shaped as `dataset.record` makes it."""
    rng = np.random.default_rng(0)
    ids = np.zeros((count, dataset.TASKS, dataset.TOKENS), np.int16)
    ids[..., :9] = rng.integers(2, 500, (count, dataset.TASKS, 9))
    names = np.zeros(ids.shape, np.int8)
    names[..., 4] = 1
    return {
        "pictures": rng.integers(0, 256, (count, 2, dataset.BOX.rows, dataset.BOX.cols, 3), np.uint8),
        "cover": rng.integers(0, 256, (count, 2, dataset.MOST, 16, 16), np.uint8),
        "kinds": np.tile(np.array([0, 1, 2, -1, -1], np.int8), (count, 1)),
        "places": rng.random((count, dataset.MOST, 2), np.float32),
        "ids": ids,
        "names": names,
        "goal": np.zeros((count, dataset.TASKS), np.int8),
        "actions": rng.standard_normal((count, dataset.TASKS, dataset.HORIZON, 8), np.float32),
    }


@pytest.fixture
def stages(monkeypatch) -> list[train.Stage]:
    small = replace(SMALL, vocabulary=500, horizon=dataset.HORIZON)
    monkeypatch.setattr(train, "CONFIG", small)
    return [train.Stage(3, 2, 24, 2, 1e-3, 0.2, warm=2, report=2), train.Stage(2, 2, 256, 2, 5e-4, 0.01, warm=2)]


def test_resumed_training_equals_uninterrupted_training(stages, tmp_path, monkeypatch):
    arrays, device = make_noise_split(4), torch.device("cpu")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    assert train.train(arrays, whole, stages, 0, device)
    ticks = itertools.count()  # a clock that counts how often it is looked at
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    stops = 0
    while not train.train(arrays, parts, stages, 0, device, seconds=6):
        assert (parts / "training.pt").exists()
        stops += 1
    assert stops >= 2
    first, second = (torch.load(folder / train.TRAINED, weights_only=True) for folder in (whole, parts))
    fresh = dict(fresh_model(train.CONFIG, 0).named_parameters())
    assert first["model"].keys() == second["model"].keys() == fresh.keys()
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
    assert not torch.equal(first["model"]["action_out_proj.bias"], fresh["action_out_proj.bias"])
    for trained in (first, second):
        assert [(each["stage"], each["step"]) for each in trained["log"]] == [(0, 2), (0, 3), (1, 2)]
    assert [each["flow"] for each in first["log"]] == [each["flow"] for each in second["log"]]
    assert [path.name for path in parts.iterdir()] == [train.TRAINED]


def test_training_with_other_settings_is_not_resumed(stages, tmp_path):
    arrays, device = make_noise_split(4), torch.device("cpu")
    assert not train.train(arrays, tmp_path, stages, 0, device, seconds=0)
    with pytest.raises(ValueError, match="other settings"):
        train.train(arrays, tmp_path, stages, 1, device)
    with pytest.raises(ValueError, match="other settings"):
        train.train(arrays, tmp_path, stages[:1], 0, device)


def test_journal_adds_the_seconds_of_a_stage_until_it_is_finished(tmp_path):
    journal.note(tmp_path, "render", {"scenes": 3}, 1.5, finished=False)
    journal.note(tmp_path, "render", {"scenes": 3}, 2.0)
    journal.note(tmp_path, "render", {"scenes": 3}, 0.1)  # called again: nothing was left to do
    journal.note(tmp_path, "train", {"seed": 0}, 9)
    assert journal.read(tmp_path) == {
        "render": {"scenes": 3, "seconds": 3.5, "finished": True},
        "train": {"seed": 0, "seconds": 9.0, "finished": True},
    }
    journal.note(tmp_path, "render", {"scenes": 4}, 1)
    assert journal.read(tmp_path)["render"] == {"scenes": 4, "seconds": 1.0, "finished": True}


def test_incomplete_split_is_refused(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    np.save(folder / "goal.npy", np.zeros((3, 6), np.int8))
    for present in (None, np.array([True, False, True])):
        if present is not None:
            np.save(folder / "there.npy", present)
        with pytest.raises(ValueError, match="not rendered to its end"):
            dataset.load(tmp_path, "train")
    np.save(folder / "there.npy", np.ones(3, np.bool_))
    assert set(dataset.load(tmp_path, "train")) == {"goal"}


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    if importlib.util.find_spec("mujoco") is None:  # imported by the renderer, which first chooses its OpenGL
        pytest.skip("the package mujoco, which renders the demo's scenes, is not installed")
    try:
        renderer = Renderer(width=64, height=36)
    except (AttributeError, ImportError, RuntimeError) as error:
        pytest.skip(f"no OpenGL for MuJoCo on this machine: {error}")
    yield renderer
    renderer.close()


def test_mujoco_and_numpy_arm_kinematics_agree(renderer):
    scene = draw_scene(np.random.default_rng(3))
    drawn = renderer.draw(scene)
    hand = renderer.data.body("hand")
    place, turn, _ = arm.forward(scene.joints)
    np.testing.assert_allclose(hand.xmat.reshape(3, 3), turn, atol=1e-6)
    np.testing.assert_allclose(hand.xpos + turn[:, 2] * (arm.TIP - 0.107), place, atol=1e-6)
    assert set(np.unique(drawn["exterior"][1])) <= {0, *(kind + 1 for kind in scene.kinds)}


@pytest.mark.usefixtures("renderer")
def test_resumed_rendering_renders_only_missing_frames(tmp_path):
    count = 6
    assert not dataset.render(DEMO, tmp_path, "test", count, 1, seconds=0, size=1)
    present = np.load(tmp_path / "test" / "there.npy")
    assert 1 <= present.sum() < count
    pictures = np.load(tmp_path / "test" / "pictures.npy", mmap_mode="r+")
    kept = int(np.flatnonzero(present)[0])
    pictures[kept] = 77  # what is there is not drawn again
    pictures.flush()
    assert dataset.render(DEMO, tmp_path, "test", count, 1, size=1)
    arrays = dataset.load(tmp_path, "test")
    assert (arrays["pictures"][kept] == 77).all()
    tools = dataset.preprocessing(DEMO / "assets/demo/norm_stats.json"), JsonTokenizer(DEMO / "tokenizer.json")
    whole = Renderer()
    for name, value in dataset.record("test", count - 1, whole, *tools).items():
        np.testing.assert_array_equal(arrays[name][count - 1], value, err_msg=name)
    whole.close()
    with pytest.raises(ValueError, match="remove"):
        dataset.render(DEMO, tmp_path, "test", count + 1, 1)


def test_card_tables_are_replaced_between_marks_only(tmp_path):
    camera = {"hit": 0.9876, "chance": 0.0812, "lift": 51.26, "scenes": 3}
    head = {"layer": 1, "head": 0, "exterior": camera, "wrist": camera}
    pointing = {key: {"best": head, "best unsupervised": head} for key in ("noun", "action 0", "action 5", "action 9")}
    figures = {
        "goal nearest": 0.9875,
        "goal nearest by chance": 0.29,
        "median end point error in cm": 1.83,
        "90th percentile of the error in cm": 3.1,
        "other goal nearest after the swap": 1.0,
        "both prompts right": 0.99,
        "closed loop": {"ended within 4 cm": 0.9, "median distance in cm, start and after each call": [30.02, 2.0]},
        **pointing,
    }
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n{card.BEGIN}\nold\n{card.END}\nlimits\n")
    card.write_figures(path, {"trained": figures})
    once = path.read_text()
    card.write_figures(path, {"trained": figures})
    assert path.read_text() == once
    assert once.startswith(f"# Card\n{card.BEGIN}\n")
    assert once.endswith(f"{card.END}\nlimits\n")
    assert "old" not in once
    assert "| median error of the end point | 1.8 cm |" in once
    assert "| trained, noun (prefix) | best: layer 1, head 0 | 0.988 (51.3) | 0.988 (51.3) |" in once
    assert "| … median distance at the start and after each call, cm | 30.0, 2.0 |" in once
