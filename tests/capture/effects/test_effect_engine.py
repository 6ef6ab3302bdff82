"""The engine on policies whose answer is known, and on the demo policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade_policy import KEYS, TEXT, HandmadePolicy
from small_policy import make_observation

from capture.effects.engine import EffectEngine, Intervention
from capture.effects.measures import root_mean_square
from capture.effects.occlusion import cover
from capture.effects.targets import FILLS, Target, list_blocks

NOISE = np.random.default_rng(5).standard_normal((6, 32), np.float32)
ROUNDING = 5e-6
"""Calls of other batch sizes add in another order."""
PICTURED = np.ones((2, 4, 4), bool)
PATCHES = [target for _, target in list_blocks(PICTURED, 1)]
WORDS = [Target(f"word {token}", "word", tokens=(token,)) for token in range(TEXT)]
HEADS = [Target(f"{layer}.{head}", "head", head=(layer, head)) for layer in range(3) for head in range(4)]


def measure_effects(policy, targets, intervention=None, batch=16):
    engine = EffectEngine(policy, None, NOISE, batch=batch)
    return root_mean_square(engine.run_without(targets, intervention or Intervention()) - engine.baseline())


pytestmark = pytest.mark.usefixtures("one_thread_per_module")


@pytest.mark.parametrize("key", [0, 21, KEYS - 1])
def test_only_the_planted_patch_or_word_has_an_effect(key):
    effects = measure_effects(HandmadePolicy(key), [*PATCHES, *WORDS])
    assert effects[key] > 1e-2
    assert np.delete(effects, key).max() < ROUNDING


def test_only_the_planted_head_has_an_effect():
    effects = measure_effects(HandmadePolicy(9, layer=1, head=2), HEADS)
    assert effects[1 * 4 + 2] > 1e-2
    assert np.delete(effects, 6).max() < ROUNDING


@pytest.mark.parametrize(
    ("intervention", "has_effect"),
    [
        (Intervention(layers=(1,)), True),
        (Intervention(layers=(0, 2)), False),
        (Intervention(heads=(2,)), True),
        (Intervention(heads=(0, 1, 3)), False),
        (Intervention(layers=(1,), heads=(2, 3)), True),
    ],
)
def test_edges_are_cut_in_the_chosen_layers_and_heads_alone(intervention, has_effect):
    [effect] = measure_effects(HandmadePolicy(9), [PATCHES[9]], intervention)
    assert (effect > 1e-2) == has_effect
    assert has_effect or effect < ROUNDING


def test_batches_equal_single_calls_and_progress_counts_targets():
    policy = HandmadePolicy(9)
    counts: list[int] = []
    engine = EffectEngine(policy, None, NOISE, batch=5, after_call=counts.append)
    batched = engine.run_without(PATCHES[:12], Intervention())
    assert counts == [5, 5, 2]
    single = EffectEngine(policy, None, NOISE, batch=1).run_without(PATCHES[:12], Intervention())
    np.testing.assert_allclose(batched, single, rtol=0, atol=5e-5)


def test_noise_changes_the_actions_and_the_same_noise_does_not():
    engine = EffectEngine(HandmadePolicy(9), None, NOISE)
    same_noise, other_noise = engine.resample(np.stack([NOISE, NOISE + 1]))
    np.testing.assert_allclose(same_noise, engine.baseline(), rtol=0, atol=2e-5)
    assert root_mean_square(other_noise - same_noise) > 0.1


# The small policy, whole: pictures, prompt and all.


@pytest.fixture(scope="module")
def small(policy):
    prepared = policy.prepare(make_observation())
    return policy, prepared, policy.noise(3)[0].numpy()


def everything(policy, prepared):
    rows, cols = policy.sizes.grid
    return Target("pictures", "region", np.ones((len(prepared.pictures), rows, cols), bool))


def test_baseline_is_the_unhooked_call(small):
    policy, prepared, noise = small
    engine = EffectEngine(policy, prepared, noise)
    chunk = policy.plain([prepared], seeds=[3]).actions[0].numpy()
    np.testing.assert_allclose(engine.baseline(), chunk, rtol=0, atol=1e-6)


def test_fully_covered_pictures_do_not_affect_the_actions(small):
    policy, prepared, noise = small
    shown = make_observation()
    flipped = type(shown)(
        {name: np.ascontiguousarray(255 - picture) for name, picture in shown.pictures.items()},
        shown.prompt, shown.state,
    )  # fmt: skip
    intervention = Intervention(mode="occlude", fill="grey")
    actions = [
        EffectEngine(policy, prepared_call, noise).run_without([everything(policy, prepared_call)], intervention)
        for prepared_call in (prepared, policy.prepare(flipped))
    ]
    np.testing.assert_allclose(*actions, rtol=0, atol=1e-6)


def test_words_and_actions_blind_to_pictures_equal_a_call_of_other_pictures(small):
    """With the edges of text and actions cut, patches feed nothing: other pictures give the same actions."""
    policy, prepared, noise = small
    shown = make_observation()
    flipped = policy.prepare(
        type(shown)(
            {name: np.ascontiguousarray(255 - picture) for name, picture in shown.pictures.items()},
            shown.prompt, shown.state,
        )
    )  # fmt: skip
    results = []
    for call in (prepared, flipped):
        [actions] = EffectEngine(policy, call, noise).run_without(
            [everything(policy, call)], Intervention(queries="words")
        )
        [blind] = EffectEngine(policy, call, noise).run_without([everything(policy, call)], Intervention())
        results.append((actions, blind))
    (words, actions), (other_words, other_actions) = results
    assert np.abs(words - other_words).max() > 1e-3  # the actions still see the patches
    assert np.abs(actions - other_actions).max() > 1e-3  # and through the words when they do not


def test_word_cut_off_from_all_queries_has_no_influence(small):
    """Left out with its position kept: whatever word stands there, the actions are the same."""
    policy, prepared, noise = small
    token = int(np.flatnonzero(prepared.tokens.word >= 0)[1])
    ids = prepared.tokens.ids.copy()
    ids[token] = ids[token] % 50 + 3
    other_word = replace(prepared, tokens=replace(prepared.tokens, ids=ids))
    target = Target("word", "word", tokens=(token,))
    baselines = [EffectEngine(policy, call, noise).baseline() for call in (prepared, other_word)]
    assert np.abs(baselines[0] - baselines[1]).max() > 1e-4
    cut = [
        EffectEngine(policy, call, noise).run_without([target], Intervention(queries="all"))[0]
        for call in (prepared, other_word)
    ]
    np.testing.assert_allclose(*cut, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(
        EffectEngine(policy, prepared, noise).run_others([other_word])[0].shape, baselines[1].shape
    )
    np.testing.assert_allclose(
        EffectEngine(policy, prepared, noise).run_others([other_word])[0], baselines[1], atol=1e-6
    )


def test_cutting_no_edge_changes_no_bit(small):
    policy, prepared, noise = small
    nothing = [Target("nothing", "region", np.zeros_like(everything(policy, prepared).patches))]
    for queries in ("actions", "words", "patches", "all"):
        engine = EffectEngine(policy, prepared, noise)
        [untouched] = engine.run_without(nothing, Intervention(queries=queries))
        assert untouched.tobytes() == engine.baseline().tobytes(), queries


def test_no_picture_seen_equals_a_call_without_pictures(small):
    """Text and actions that are cut off from all patches do what they do where the cameras are masked."""
    policy, prepared, noise = small
    [blind] = EffectEngine(policy, prepared, noise).run_without(
        [everything(policy, prepared)], Intervention(queries="all")
    )
    inputs = policy.inputs([prepared], [0])
    masked = policy.model.sample_actions(
        inputs.pictures, inputs.tokens, inputs.mask, torch.from_numpy(noise)[None],
        camera_mask=torch.zeros(1, len(inputs.pictures), dtype=torch.bool), grid=policy.preprocessing.time_grid,
    ).actions[0].numpy()  # fmt: skip
    # Masked patches take no positions; float32 angles of rotary embeddings differ by that at other positions.
    np.testing.assert_allclose(blind, masked, rtol=0, atol=5e-4)
    assert np.abs(blind - EffectEngine(policy, prepared, noise).baseline()).max() > 0.02


def test_a_word_cannot_be_covered(small):
    policy, prepared, noise = small
    with pytest.raises(ValueError, match="cannot be covered"):
        EffectEngine(policy, prepared, noise).run_without([WORDS[0]], Intervention(mode="occlude"))


@pytest.mark.parametrize("fill", FILLS)
def test_covering_changes_the_masked_pixels_alone(fill):
    picture = torch.rand(3, 28, 42, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = np.zeros((2, 3), bool)
    mask[1, 2] = True
    other_picture = torch.rand(3, 28, 42, generator=torch.Generator().manual_seed(1)) * 2 - 1
    covered = cover(picture, mask, fill, other_picture)
    area = torch.zeros(28, 42, dtype=torch.bool)
    area[14:, 28:] = True
    assert torch.equal(covered[:, ~area], picture[:, ~area])
    assert (covered[:, area] - picture[:, area]).abs().mean() > 0.1
    assert covered.abs().max() <= 1 + 1e-6
    if fill == "mean":
        torch.testing.assert_close(covered[:, 20, 35], picture[:, ~area].mean(1))
    if fill == "frame":
        assert torch.equal(covered[:, area], other_picture[:, area])
    if fill == "grey":
        assert covered[:, area].abs().max() == 0
