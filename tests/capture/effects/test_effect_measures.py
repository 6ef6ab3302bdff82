"""Measures of effect against values worked out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.effects.measures import count_smaller, noise_floor, rank, root_mean_square, spearman

NUMBERS = st.lists(st.integers(-5, 5), min_size=8, max_size=14)


def test_root_mean_square_over_chunk_and_over_dimensions():
    change = np.array([[[3.0, 4.0], [0.0, 0.0]]])  # (1, 2 actions, 2 dimensions)
    assert root_mean_square(change).tolist() == [2.5]
    assert root_mean_square(change, (-1,)).tolist() == [[np.sqrt(12.5), 0.0]]


def test_noise_floor_is_the_mean_difference_of_all_pairs_of_seeds():
    samples = np.random.default_rng(0).normal(size=(6, 4, 3))
    pairs = np.array([a - b for a, b in combinations(samples, 2)])
    chunk, error, actions = noise_floor(samples)
    assert chunk == pytest.approx(np.sqrt(np.square(pairs).mean()))
    np.testing.assert_allclose(actions, np.sqrt(np.square(pairs).mean(axis=(0, 2))))
    assert 0 < error < chunk / 2


def test_noise_floor_of_equal_calls_is_zero():
    assert noise_floor(np.ones((3, 2, 2)))[0] == 0


def test_controls_that_are_absent_are_not_counted():
    assert count_smaller(2.0, [1.0, 2.0, 3.0, np.nan]) == (1, 3)
    assert count_smaller(2.0, []) == (0, 0)


def test_ranks_of_equal_values_are_shared():
    assert rank([10, 30, 20, 20]).tolist() == [1, 4, 2.5, 2.5]
    assert rank([[1, 1], [2, 1]]).tolist() == [[1.5, 1.5], [2, 1]]


def test_floor_error_is_the_spread_of_repeated_floors():
    """The jackknife's standard error against the spread of the floor over many draws of 16 seeds."""
    generator = np.random.default_rng(1)
    measured = [noise_floor(generator.normal(size=(16, 3, 2)) @ np.diag([3.0, 1.0]))[:2] for _ in range(300)]
    floors, errors = np.transpose(measured)
    assert np.mean(errors) == pytest.approx(np.std(floors), rel=0.2)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 1.0),
        ([8, 7, 6, 5, 4, 3, 2, 1], -1.0),
        ([2, 1, 3, 4, 5, 6, 7, 8], 1 - 6 * 2 / (8 * 63)),
        ([1, 1, 1, 1, 2, 2, 2, 2], 0.8728715609439696),  # ranks 2.5 and 6.5 against 1 to 8: 32 / sqrt(32 * 42)
        ([7, 7, 7, 7, 7, 7, 7, 7], np.nan),
    ],
)
def test_spearman_against_known_values(row, expected):
    np.testing.assert_allclose(spearman(row, [10, 20, 30, 40, 50, 60, 70, 800]), expected)


def test_spearman_of_few_values_is_undefined():
    assert np.isnan(spearman([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]))


@given(NUMBERS, st.integers(0, 1000))
def test_spearman_depends_on_ranks_alone_and_is_symmetric(row, seed):
    permutation = np.random.default_rng(seed).permutation(len(row))
    correlation = spearman(row, permutation)
    np.testing.assert_allclose(spearman(np.exp(row), permutation), correlation)
    np.testing.assert_allclose(spearman(permutation, row), correlation)
    np.testing.assert_allclose(spearman([row, row[::-1]], permutation)[0], correlation)
    assert np.isnan(correlation) or -1 - 1e-9 <= correlation <= 1 + 1e-9
