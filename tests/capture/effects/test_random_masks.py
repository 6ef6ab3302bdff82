"""The regression on random masks, on values whose weights are known."""

from __future__ import annotations

import numpy as np
import pytest

from capture.effects.random_masks import regress


def test_regression_finds_the_planted_weights():
    generator = np.random.default_rng(0)
    covered = generator.random((300, 24)) < 0.5
    weights = np.zeros((24, 2))
    weights[3], weights[17] = (2.0, 0.0), (1.0, 4.0)
    values = 0.5 + covered @ weights + generator.normal(0, 0.05, (300, 2))
    regressed, explained = regress(covered, values)
    np.testing.assert_allclose(regressed, weights, atol=0.06)
    assert (explained > 0.99).all()


def test_noise_explains_nothing_of_masks_that_are_left_out():
    generator = np.random.default_rng(1)
    covered = generator.random((60, 40)) < 0.5
    weights, explained = regress(covered, generator.normal(size=(60, 1)))
    assert explained[0] < 0.2
    assert np.abs(weights).max() < 0.4


def test_left_out_error_is_that_of_regressions_without_each_mask():
    generator = np.random.default_rng(2)
    covered = generator.random((20, 4)) < 0.5
    values = covered @ np.array([1.0, 0.0, -2.0, 0.5]) + generator.normal(0, 0.3, 20)
    _, explained = regress(covered, values[:, None])
    errors, means = [], []
    for mask in range(20):
        others = np.arange(20) != mask
        inputs = np.column_stack([np.ones(19), covered[others]])
        solved = np.linalg.lstsq(inputs, values[others], rcond=None)[0]
        errors.append(values[mask] - solved @ np.r_[1.0, covered[mask]])
        means.append(values[mask] - values[others].mean())
    expected = 1 - np.square(errors).sum() / np.square(means).sum()  # without a penalty
    assert explained[0] == pytest.approx(expected, abs=0.03)
    assert explained[0] >= expected - 1e-3


def test_equal_effects_explain_nothing():
    weights, explained = regress(np.random.default_rng(3).random((16, 5)) < 0.5, np.ones((16, 1)))
    assert np.abs(weights).max() < 1e-12
    assert np.isnan(explained[0])
