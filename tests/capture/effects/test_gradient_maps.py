"""Gradients of attention weights against finite differences, and relevance against values worked out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from double_precision import DoublePrecision
from handmade_policy import KEYS, HandmadePolicy
from small_policy import make_observation

from capture.effects.gradient_maps import compute_relevance
from capture.policies.attention_gradients import AttentionGradients, WeightGradients
from capture.policies.pi05.policy import Pi05Policy

DIM = 2


@pytest.fixture(scope="module")
def double(policy):
    """The small policy in float64, with an observation and noise."""
    model = copy.deepcopy(policy.model).double()
    double_policy = Pi05Policy(model, policy.preprocessing, policy.tokenizer)
    return double_policy, double_policy.prepare(make_observation()), policy.noise(3).double()


def test_gradients_are_finite_differences_in_float64(double):
    policy, prepared, noise = double
    layers = policy.sizes.layers
    with DoublePrecision(), AttentionGradients(policy.module) as gradients:
        actions = policy.differentiate(prepared, noise)
        [weight_gradients] = gradients.differentiate([actions[0, :, DIM].sum()])
    assert weight_gradients.prefix[0][1].dtype == torch.float64
    tensors = [(f"prefix layer {layer}", layer, weight_gradients.prefix[layer]) for layer in range(layers - 1)]
    for step, layer in ((0, 0), (1, 1), (policy.sizes.denoise_steps - 1, layers - 1)):
        tensors.append(
            (f"step {step} layer {layer}", layers * (1 + step) + layer, weight_gradients.suffix[step][layer])
        )
    generator = torch.Generator().manual_seed(0)
    size = 1e-6
    for name, number, (weights, gradient) in tensors:
        direction = torch.randn(weights.shape, generator=generator, dtype=torch.float64)

        def result(sign, number=number, direction=direction):
            def change(call, softmax):
                return softmax + sign * size * direction if call == number else softmax

            with torch.no_grad(), DoublePrecision(change):
                return float(policy.differentiate(prepared, noise)[0, :, DIM].sum())

        expected = (result(1) - result(-1)) / (2 * size)
        assert abs(expected) > 1e-4, name
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5), name
    assert not weight_gradients.prefix[-1][1].any()  # nothing reads what the last layer mixes


def test_differentiated_call_gives_the_actions_of_the_plain_call(policy):
    prepared = policy.prepare(make_observation())
    actions = policy.differentiate(prepared, policy.noise(3))
    assert actions.requires_grad
    expected = policy.plain([prepared], seeds=[3]).actions
    assert not expected.requires_grad
    torch.testing.assert_close(actions.detach(), expected, rtol=0, atol=1e-6)


def test_only_the_planted_patch_is_relevant():
    policy = HandmadePolicy(9)
    noise = torch.from_numpy(np.random.default_rng(5).standard_normal((1, 6, 32), np.float32))
    with AttentionGradients(policy.module) as gradients:
        actions = policy.differentiate(None, noise)
        [gradient] = gradients.differentiate([actions[0, :, DIM].sum()])
    relevance = compute_relevance(gradient)
    magnitude = (relevance.raising + relevance.lowering).sum(0)  # (KEYS,)
    assert magnitude.shape == (KEYS,)
    assert int(magnitude.argmax()) == 9
    assert magnitude.sum() - magnitude[9] < 1e-5 * magnitude[9]


def test_relevance_adds_up_layers_and_steps_and_what_prefix_tokens_pass_on():
    """Two prefix tokens, one action token, one head, two layers, one step: products of weights and gradients."""

    def pair(rows):
        return torch.tensor([rows]), torch.ones(1, len(rows), len(rows[0]))

    prefix = (pair([[0.0, 0.5], [0.0, 0.0]]), pair([[0.0, 9.0], [0.0, 0.0]]))  # the last layer's are not read
    suffix = (pair([[1.0, -2.0, 0.5]]), pair([[3.0, 0.0, 0.5]]))
    relevance = compute_relevance(WeightGradients(prefix, (suffix,)))
    assert relevance.raising.tolist() == [[4.0, 0.0]]
    assert relevance.lowering.tolist() == [[0.0, 2.0]]
    # Layer 0: [1, 0]. Layer 1: + 3 x (token 0, which holds half of token 1) + 0.5 x the action's own [1, 0].
    assert relevance.passed_on.tolist() == [[1.0 + 3.0 + 0.5, 1.5]]
    twice = compute_relevance(WeightGradients(prefix, (suffix, suffix)))
    assert twice.passed_on.tolist() == [[9.0, 3.0]]


def test_call_without_a_graph_is_refused(policy):
    with AttentionGradients(policy.module) as gradients:
        policy.plain([policy.prepare(make_observation())], seeds=[0])
        with pytest.raises(RuntimeError, match="nothing to differentiate"):
            gradients.differentiate([torch.zeros(())])
    assert not any(module._forward_hooks for module in policy.module.modules())
