"""Deletion and insertion in the order of attention, on a policy in which one patch alone counts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from handmade_policy import HandmadePolicy

from capture.effects.agreement import rank_correlations, removal_curves
from capture.effects.effect_map import measure_blocks
from capture.effects.engine import EffectEngine, Intervention
from capture.effects.frame_calls import EffectsRequest, FrameCalls
from capture.effects.measures import area_under

KEY = 21
BLOCKS = 2 * 16
POINTS = 4


@pytest.fixture(scope="module")
def calls():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    policy = HandmadePolicy(KEY)
    noise = np.random.default_rng(5).standard_normal((6, 32), np.float32)
    engine = EffectEngine(policy, None, noise, batch=32)
    request = EffectsRequest(Intervention(), map_block=1, curves=POINTS, controls=6)
    stored, pictured = SimpleNamespace(), np.ones((2, 4, 4), bool)
    yield FrameCalls(policy, engine, None, stored, 0, request, engine.baseline(), 1.0, pictured)
    torch.set_num_threads(before)


def test_area_is_by_the_trapezoidal_rule():
    assert area_under([0, 1, 1], [0, 0.5, 1]) == 0.75
    assert area_under([[0, 2], [1, 1]], [0, 1]).tolist() == [1, 1]


def test_agreement_is_best_where_the_patch_ranks_first_and_worst_where_last(calls):
    effects = measure_blocks(calls)
    rows = np.full((6, 1, 1, 3, BLOCKS), 1.0)  # (actions, 1 layer, 1 step, 3 heads, blocks)
    rows[..., 0, KEY], rows[..., 1, KEY] = 2.0, 0.5  # the third head ranks nothing
    curves = removal_curves(calls, effects, rows)
    large = effects.of_chunk[KEY] / 2  # without the patch, the others share its weight
    first, last, _ = curves["curves/deletion"][0, 0]
    assert (first > large).tolist() == [False, True, True, True, True]
    assert (last > large).tolist() == [False, False, False, False, True]
    assert np.abs([first[0], *last[:-1]]).max() < 1e-4
    shown, hidden, _ = curves["curves/insertion"][0, 0]
    assert (shown > large).tolist() == [True, False, False, False, False]
    assert (hidden > large).tolist() == [True, True, True, True, False]
    assert np.abs([hidden[-1], *shown[1:]]).max() < 1e-4
    assert (curves["curves/effect_deletion"] > large).tolist() == [False, True, True, True, True]
    for name in ("deletion", "insertion"):
        best, worst, without_weight = curves[f"agreement/{name}"][0, 0]
        assert best >= without_weight >= worst
        assert best > 0 > worst
        better, worse, _ = curves[f"agreement/{name}_smaller"][0, 0]
        assert better > worse


def test_spearman_ranks_the_head_that_looks_where_the_effect_is(calls):
    effects = measure_blocks(calls)
    rows = np.random.default_rng(0).random((6, 1, 1, 2, BLOCKS))
    rows[..., 0, :] = effects.of_chunk
    correlations = rank_correlations(rows, effects)
    assert correlations["agreement/spearman_of_chunk"][0, 0, 0] == pytest.approx(1)
    assert abs(correlations["agreement/spearman_of_chunk"][0, 0, 1]) < 0.6
    assert correlations["agreement/spearman"].shape == (6, 1, 1, 2)


def test_area_needs_random_orders(calls):
    calls_without_orders = FrameCalls(
        **{**vars(calls), "request": EffectsRequest(Intervention(), map_block=4, curves=2, controls=0)}
    )
    effects = measure_blocks(calls_without_orders)
    curves = removal_curves(calls_without_orders, effects, np.random.default_rng(0).random((6, 1, 1, 1, 2)))
    assert np.isnan(curves["agreement/deletion"]).all()
    assert curves["curves/random_deletion"].shape == (0, 3)
