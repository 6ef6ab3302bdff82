from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.results import schema
from viewer.analysis import scene
from viewer.model import attention
from viewer.model.attention import Row, Rows
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from viewer.io.results import Results


def test_bfloat16_bits_widen_exactly() -> None:
    values = np.array([0, 1, 0.5, 3.14e-30, 1 / 3], np.float32)
    assert (attention.to_float32(schema.to_bfloat16(values)) == make_results.rounded(values)).all()
    assert attention.to_float32(values) is values


def test_masses_equal_the_stored_ones(results: Results) -> None:
    for kind in ("text", "action"):
        stored = results.mass(0, kind)
        assert stored is not None
        mass = scene.masses(results, 0, Query(kind, (2,)))
        token = scene.find_query_tokens(results, 0, Query(kind, (2,)))[0]
        expected = stored[:, token] if kind == "action" else stored[:, token][:, None]
        assert mass == pytest.approx(expected, abs=4e-3)
        assert mass.sum(-1) == pytest.approx(1, abs=4e-3)
        rows, matrix = scene.rows_of(results, 0, Query(kind, (2,))), scene.group_matrix(results, 0)
        assert attention.masses(rows, matrix) == pytest.approx(expected, abs=4e-3), "as the weights have it"


def test_scene_masses_are_computed_from_the_weights(results: Results) -> None:
    for reduce in ("mean", "max"):
        state = ViewState(query=Query("action", (2,)), layer=1, step=2, heads=(0, 2), reduce=reduce)
        masses = attention.masses(scene.rows_of(results, 0, state.query), scene.group_matrix(results, 0))
        mass = scene.compose(results, state).mass
        assert list(mass.values()) == pytest.approx(masses[1, 2, [0, 2]].mean(0).tolist(), abs=1e-5)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=600))
def test_shared_color_range_ends_at_the_99th_percentile(values: list[float]) -> None:
    maps = np.array(values, np.float32)[None]
    expected = float(np.percentile(maps, 99))
    if expected < maps.max() * 0.02:
        expected = float(maps.max())
    assert attention.color_range(maps, "shared", 0, 0)[0][1] == pytest.approx(expected or 1.0, rel=1e-5)


def test_pick_is_mean_or_maximum_of_the_chosen_heads() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((2, 3, 4, 1, 16, 16), np.float32)
    rows = [Rows(image, rng.random((2, 3, 4, 6), np.float32), rng.random((2, 3, 4, 5), np.float32))]
    assert attention.pick(rows, 1, 2, (0, 3), "mean").image == pytest.approx((image[1, 2, 0] + image[1, 2, 3]) / 2)
    assert (attention.pick(rows, 1, 2, (), "max").image == image[1, 2].max(0)).all()
    assert attention.pick(rows * 2, 0, 0, (1,), "mean").image == pytest.approx(image[0, 0, 1])


@given(st.integers(0, 2**32 - 1))
def test_leaving_groups_out_keeps_the_rest_in_proportion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cameras, bars = ("a", "b"), rng.random((2, 16, 16)) < 0.4
    groups = schema.mass_groups(cameras)
    matrix = attention.group_matrix(groups, cameras, bars, ["bos", "prompt", "newline", "pad"], 3)
    row = Row(rng.random((2, 16, 16), np.float32), rng.random(4, np.float32) * [1, 1, 1, 0], rng.random(3, np.float32))
    total = row.image.sum() + row.text.sum() + row.action.sum()
    remaining, removed = attention.without(row, ("bos", "newline", "bars"), groups, matrix)
    assert remaining.text[[0, 2]] == pytest.approx(0)
    assert remaining.image[bars] == pytest.approx(0)
    assert remaining.image.sum() + remaining.text.sum() + remaining.action.sum() == pytest.approx(total, rel=1e-4)
    removed_share = (row.image[bars].sum() + row.text[[0, 2]].sum()) / total
    assert removed == pytest.approx(removed_share, abs=1e-5)
    free = ~bars
    assert remaining.image[free] == pytest.approx(row.image[free] / (1 - removed_share), rel=1e-3)


def test_leaving_nothing_out_keeps_the_row(results: Results) -> None:
    row = Row(np.ones((2, 16, 16), np.float32), np.ones(3, np.float32), np.ones(0, np.float32))
    assert attention.without(row, (), results.groups, scene.group_matrix(results, 0)) == (row, 0.0)


def test_shared_range_is_one_range_and_the_99th_percentile() -> None:
    rng = np.random.default_rng(1)
    maps = np.stack([rng.random((16, 16), np.float32), 0.001 * rng.random((16, 16), np.float32)])
    shared = attention.color_range(maps, "shared", 0, 0)
    assert shared[0] == shared[1] == (0.0, pytest.approx(np.percentile(maps, 99)))
    own = attention.color_range(maps, "map", 0, 0)
    assert own[1][1] == pytest.approx(np.percentile(maps[1], 99))
    assert attention.color_range(maps, "locked", 0.1, 0.4) == ((0.1, 0.4), (0.1, 0.4))


def test_range_of_a_single_patch_is_its_weight() -> None:
    maps = np.zeros((2, 16, 16), np.float32)
    maps[0, 3, 4] = 0.25
    assert attention.color_range(maps, "shared", 0, 0)[0] == (0.0, 0.25)
    assert attention.color_range(maps * 0, "shared", 0, 0)[0] == (0.0, 1.0)


@pytest.mark.parametrize("scale", ["linear", "log", "rank"])
def test_color_positions_increase_with_the_weight(scale: str) -> None:
    values = np.sort(np.random.default_rng(3).random(256, np.float32)).reshape(16, 16)
    placed = attention.places(values, 0.0, 1.0, scale).ravel()
    assert (np.diff(placed) >= 0).all()
    assert 0 <= placed.min() <= placed.max() <= 1
    assert placed.max() > 0.95


def test_entropy_of_uniform_and_of_one_patch() -> None:
    keep = np.ones((1, 16, 16), bool)
    keep[0, :3] = False
    uniform, peaked = np.ones((1, 16, 16), np.float32), np.zeros((1, 16, 16), np.float32)
    peaked[0, 8, 8] = 0.3
    assert attention.entropy(uniform, keep) == pytest.approx(np.log(keep.sum()), rel=1e-5)
    assert attention.entropy(peaked, keep) == pytest.approx(0)
    assert np.isnan(attention.entropy(peaked * 0, keep))


def test_change_is_the_mean_total_variation_between_steps() -> None:
    maps = np.zeros((1, 3, 1, 4), np.float32)
    maps[0, 0, 0, 0] = maps[0, 1, 0, 1] = maps[0, 2, 0, 1] = 1
    assert attention.change(maps) == pytest.approx(0.5)


def test_heaviest_patch_has_rank_one(results: Results) -> None:
    composed = scene.compose(results, ViewState(query=Query("action", (1,))))
    camera, row, col = np.unravel_index(composed.maps.argmax(), composed.maps.shape)
    assert composed.rank(int(camera), int(row), int(col)) == 1


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_batched_color_positions_equal_those_of_each_map(scale: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.pareto(1.5, (40, 256)).astype(np.float32) * np.float32(1e-3)
    values[0] = 0
    values[1, 5] = np.nan
    lows = rng.choice([0.0, 1e-3], 40).astype(np.float32)
    highs = (lows + rng.random(40).astype(np.float32) * np.float32(0.02)).astype(np.float32)
    highs[2] = lows[2]
    positions = attention.scale_between(values, lows, highs, scale)
    for value, low, high, places in zip(values, lows, highs, positions, strict=True):
        np.testing.assert_array_equal(places, attention.places(value, float(low), float(high), scale))


@pytest.mark.parametrize("count", [1, 2, 99, 256, 512])
def test_batched_upper_ends_equal_the_range_of_each_map(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.pareto(1.5, (30, count)).astype(np.float32)
    values[0] = 0
    values[1] = 0
    values[1, 0] = 3
    ends = attention.find_upper_ends(values)
    expected = [attention.color_range(value[None], "shared", 0, 0)[0][1] for value in values]
    np.testing.assert_array_equal(ends, np.array(expected, np.float32))
    values[2, 0] = np.nan
    assert np.isfinite(attention.find_upper_ends(values)).all()
