"""Statistics over episodes: answers worked out by hand, and their rates of error over many seeds."""

import math

import numpy as np
import pytest

from viewer.runs import statistics, student

NAN = np.nan


def make_column(*values):
    return np.array(values, np.float64)[:, None]


@pytest.mark.parametrize("t", [0.1, 1.0, 3.0, 40.0])
def test_student_p_equals_its_closed_forms_for_one_and_two_degrees(t):
    assert student.two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-9)
    # P(T ≤ t) = 1/2 + t / (2 √(2 + t²)) for two degrees of freedom.
    assert student.two_sided_p(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9)


def test_student_quantiles_are_those_of_the_tables():
    quantiles = student.quantile(0.975, [1, 2, 5, 19, 1e9, NAN, 0])
    np.testing.assert_allclose(quantiles, [12.7062, 4.30265, 2.57058, 2.09302, 1.95996, NAN, NAN], rtol=2e-6)
    np.testing.assert_allclose(student.two_sided_p(quantiles[:5], [1, 2, 5, 19, 1e9]), 0.05, rtol=1e-7)


def test_student_p_of_infinite_and_missing_t():
    np.testing.assert_array_equal(student.two_sided_p([0, np.inf, -np.inf, NAN], 3), [1, 0, 0, NAN])


def test_hedges_g_by_hand():
    # Means 2 and 4, variances 1 and 4, pooled √2.5; J = 1 - 3 / (4·4 - 1) = 0.8.
    g = statistics.compute_hedges_g(make_column(1, 2, 3), make_column(2, 4, 6))
    assert g[0] == pytest.approx(0.8 * -2 / math.sqrt(2.5))
    assert np.isnan(statistics.compute_hedges_g(make_column(1, 1), make_column(1, 1))).all()
    assert np.isnan(statistics.compute_hedges_g(make_column(1), make_column(1, 2))).all()


def test_adjusted_p_values_by_hand():
    # In order 0.005, 0.01, 0.03, 0.04, times 4/1, 4/2, 4/3, 4/4: 0.02, 0.02, 0.04, 0.04.
    q = statistics.adjust_p_values(np.array([0.01, 0.04, NAN, 0.03, 0.005]))
    np.testing.assert_allclose(q, [0.02, 0.04, NAN, 0.04, 0.02])
    assert statistics.adjust_p_values(np.array([0.9, 0.8])).tolist() == [0.9, 0.9]
    assert np.isnan(statistics.adjust_p_values(np.array([NAN]))).all()


def test_bootstrap_interval_by_hand():
    # Means of three draws from 0, 0, 3 are 0, 1, 2, 3 with probabilities 8, 12, 6 and 1 of 27. At a confidence of 50 %
    # t is 0.8165 and the tail Φ(-√1.5 · 0.8165) = Φ(-1) = 0.159: the quantiles there are 0 and 2.
    assert statistics.compute_expanded_tail(3, 0.5) == pytest.approx(0.158655, abs=1e-5)
    low, high = statistics.bootstrap_interval(make_column(0, 0, 3), 0.5)
    assert (low[0], high[0]) == pytest.approx((0, 2), abs=1e-6)


def test_bootstrap_interval_needs_two_episodes_and_leaves_missing_ones_out():
    values = np.array([[1.0, 5.0, NAN, 2.0], [3.0, NAN, NAN, 2.0], [2.0, NAN, NAN, NAN]])
    mean = statistics.describe_mean(values)
    np.testing.assert_array_equal(mean.mean, [2, 5, NAN, 2])
    assert mean.episodes.tolist() == [3, 1, 0, 2]
    np.testing.assert_array_equal(np.isnan(mean.low), [False, True, True, False])
    assert mean.low[0] >= 1
    assert mean.high[0] <= 3
    assert (mean.low[3], mean.high[3]) == (2, 2)


def test_bootstrap_in_blocks_equals_one_block(monkeypatch):
    values = np.random.default_rng(0).normal(3, 1, (40, 5))
    at_once = statistics.bootstrap_interval(values)
    monkeypatch.setattr(statistics, "_BLOCK", 40 * 130)
    blocks = statistics.bootstrap_interval(values)
    np.testing.assert_allclose(at_once, blocks, atol=0.05)
    np.testing.assert_array_equal(blocks, statistics.bootstrap_interval(values))  # seeded


def test_welch_by_hand():
    # Standard error √(1/3 + 4/3), degrees (5/3)² / ((1/3)²/2 + (4/3)²/2) = 2.941.
    difference = statistics.compare_groups(make_column(1, 2, 3), make_column(2, 4, 6))
    error = math.sqrt(5 / 3)
    assert difference.difference[0] == -2
    assert difference.p[0] == pytest.approx(float(student.two_sided_p(2 / error, 50 / 17)))
    assert difference.high[0] + 2 == pytest.approx(float(student.quantile(0.975, 50 / 17)) * error)


def test_welch_where_nothing_varies_or_a_group_is_too_small():
    same = statistics.compare_groups(make_column(0.1, 0.1, 0.1), make_column(0.1, 0.1))
    constant = statistics.compare_groups(make_column(0.1, 0.1, 0.1), make_column(0.3, 0.3))
    assert (same.p[0], constant.p[0]) == (1, 0)
    single = statistics.compare_groups(make_column(0.1), make_column(0.3, 0.4))
    assert single.difference[0] == pytest.approx(-0.25)
    assert np.isnan([single.p[0], single.low[0], single.effect[0]]).all()


def test_interval_covers_the_truth_in_95_of_100_runs():
    rng = np.random.default_rng(1)
    runs = 4000  # one a cell
    for episodes in (20, 60):
        for draw, truth in (
            (rng.normal(0.2, 0.1, (episodes, runs)), 0.2),
            (rng.beta(2, 5, (episodes, runs)), 2 / 7),
        ):
            low, high = statistics.bootstrap_interval(draw)
            assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_interval_of_a_difference_covers_it_in_95_of_100_runs():
    rng = np.random.default_rng(2)
    difference = statistics.compare_groups(rng.normal(1, 3, (8, 4000)), rng.normal(0, 1, (14, 4000)))
    assert 0.93 <= np.mean((difference.low <= 1) & (difference.high >= 1)) <= 0.97


def test_planted_heads_are_found_and_false_ones_stay_at_the_stated_rate():
    """200 runs of 20 episodes, half of them failures: 144 heads, ten of which look elsewhere when the robot fails."""
    rng = np.random.default_rng(3)
    seeds, heads, planted_count = 200, 144, 10
    success = rng.normal(0.10, 0.02, (10, seeds, heads))
    failure = rng.normal(0.10, 0.03, (10, seeds, heads))
    success[:, :, :planted_count] += 0.08
    p = statistics.compare_groups(success.reshape(10, -1), failure.reshape(10, -1)).p.reshape(seeds, heads)
    is_significant = np.array([statistics.adjust_p_values(p_values) <= 0.05 for p_values in p])
    false = is_significant[:, planted_count:].sum(1) / np.maximum(is_significant.sum(1), 1)
    assert false.mean() <= 0.05 + 3 * false.std() / math.sqrt(seeds)  # a mean over 200 runs is known that well
    assert is_significant[:, :planted_count].mean() > 0.95


def test_pure_noise_is_marked_in_at_most_5_of_100_runs():
    rng = np.random.default_rng(4)
    seeds, heads = 200, 144
    for draw in (rng.normal, lambda low, high, shape: rng.beta(2, 5, shape)):
        first, second = draw(0, 1, (12, seeds * heads)), draw(0, 1, (12, seeds * heads))
        p = statistics.compare_groups(first, second).p
        assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.01)
        marked = [(statistics.adjust_p_values(p_values) <= 0.05).any() for p_values in p.reshape(seeds, heads)]
        assert np.mean(marked) <= 0.10  # 0.05, and three standard deviations of 200 runs
