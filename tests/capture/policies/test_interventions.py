"""Interventions against known answers: edges cut by hand, heads silenced by zeroed weights, nothing changed unasked."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from small_policy import GOLDEN

from capture.policies.attention_hooks import AttentionRecorder
from capture.policies.interventions import HeadSilencing, Interventions, Knockout

PREFIX, HORIZON, LAYERS, HEADS = 529, 15, 3, 8
"""Of the tiny policy: keys of two cameras and 17 valid text tokens, action tokens."""


def sample(tiny, model=None, *, batch=1, noise=None):
    """Return the chunk of the golden inputs, repeated `batch` times."""
    inputs = tiny.inputs
    rows = [inputs["tokens"], inputs["token_mask"], inputs["noise"] if noise is None else noise]
    tokens, mask, noise = (row.repeat_interleave(batch, dim=0) for row in rows)
    pictures = [picture.repeat_interleave(batch, dim=0) for picture in tiny.pictures]
    return (model or tiny.model).sample_actions([*pictures, None], tokens, mask, noise)


def record(tiny, interventions):
    with AttentionRecorder(tiny.model) as recorder, Interventions(tiny.model, interventions):
        chunk = sample(tiny)
        return recorder.take(), chunk.actions


def edges(keys: int, *cut: int) -> torch.Tensor:
    """Return edges (1, 1, 1, keys) from every query to the keys `cut`."""
    table = torch.zeros(1, 1, 1, keys, dtype=torch.bool)
    table[..., list(cut)] = True
    return table


def test_no_edge_and_no_head_change_no_bit(tiny):
    baseline = sample(tiny).actions
    nothing = [
        Knockout("prefix", edges(PREFIX)),
        Knockout("suffix", edges(PREFIX + HORIZON)),
        HeadSilencing("suffix", torch.zeros(1, LAYERS, HEADS, dtype=torch.bool)),
    ]
    assert torch.equal(record(tiny, nothing)[1], baseline)
    with Interventions(tiny.model, []):
        assert torch.equal(sample(tiny).actions, baseline)


def test_cut_edges_get_no_weight_and_the_rest_renormalises(tiny):
    baseline, _ = record(tiny, [])
    cut = [3, 300, PREFIX - 1]
    changed, _ = record(tiny, [Knockout("suffix", edges(PREFIX + HORIZON, *cut), layers=(0,))])
    rows, before = changed.suffix[0, 0, 0], baseline.suffix[0, 0, 0]  # layer 0, step 0: its inputs are unchanged
    assert torch.equal(rows[..., cut], torch.zeros(HEADS, HORIZON, 3))
    copy = before.clone()
    copy[..., cut] = 0
    torch.testing.assert_close(rows, copy / copy.sum(-1, keepdim=True), rtol=0, atol=1e-6)
    assert torch.equal(changed.prefix, baseline.prefix)


def test_only_the_given_queries_heads_and_layers_lose_edges(tiny):
    table = torch.zeros(1, HEADS, HORIZON, PREFIX + HORIZON, dtype=torch.bool)
    table[0, 2, 7, :512] = True
    changed, _ = record(tiny, [Knockout("suffix", table, layers=(1,))])
    mass = changed.suffix[0, :, :, :, :, :512].sum(-1)  # (layers, steps, heads, actions)
    assert torch.equal(mass[1, :, 2, 7], torch.zeros(10))
    mass[1, :, 2, 7] = 1
    assert (mass > 0).all()


def test_knockout_of_all_picture_keys_makes_actions_independent_of_pictures(tiny):
    """Neither text nor actions see the patches, so that other pictures give the same actions."""
    table = torch.zeros(1, 1, PREFIX, PREFIX, dtype=torch.bool)
    table[..., 512:, :512] = True  # from the text to the patches; patches keep one another
    knockouts = [Knockout("prefix", table), Knockout("suffix", edges(PREFIX + HORIZON, *range(512)))]
    with Interventions(tiny.model, knockouts):
        first = sample(tiny).actions
        tiny_pictures = [torch.flip(picture, dims=(-1,)) for picture in tiny.pictures]
        inputs = tiny.inputs
        second = tiny.model.sample_actions(
            [*tiny_pictures, None], inputs["tokens"], inputs["token_mask"], inputs["noise"]
        ).actions
    assert torch.equal(first, second)
    assert not torch.equal(first, sample(tiny).actions)


def test_rows_of_a_batch_are_treated_separately(tiny):
    table = torch.zeros(3, 1, 1, PREFIX + HORIZON, dtype=torch.bool)
    table[1, ..., :256] = True
    silenced = torch.zeros(3, LAYERS, HEADS, dtype=torch.bool)
    silenced[2, 1, 4] = True
    with Interventions(tiny.model, [Knockout("suffix", table), HeadSilencing("suffix", silenced)]):
        batched = sample(tiny, batch=3).actions
    with Interventions(tiny.model, [Knockout("suffix", table[1:2])]):
        cut = sample(tiny).actions
    with Interventions(tiny.model, [HeadSilencing("suffix", silenced[2:])]):
        quiet = sample(tiny).actions
    expected = torch.cat([sample(tiny).actions, cut, quiet])
    torch.testing.assert_close(batched, expected, rtol=0, atol=1e-5)
    assert (cut - quiet).abs().max() > 1e-3


@pytest.mark.parametrize("phase", ["prefix", "suffix"])
def test_silenced_head_equals_zeroed_output_weights(tiny, phase):
    silenced = torch.zeros(1, LAYERS, HEADS, dtype=torch.bool)
    silenced[0, 1, 3] = True
    with Interventions(tiny.model, [HeadSilencing(phase, silenced)]):
        actions = sample(tiny).actions
    stack = tiny.model.language_model if phase == "prefix" else tiny.model.expert
    weight = stack.layers[1].self_attn.o_proj.weight
    copy = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.view(weight.shape[0], HEADS, -1)[:, 3] = 0
        expected = sample(tiny).actions
    finally:
        with torch.no_grad():
            weight.copy_(copy)
    torch.testing.assert_close(actions, expected, rtol=0, atol=1e-6)
    assert (expected - sample(tiny).actions).abs().max() > 1e-4


def test_query_without_any_key_is_an_error(tiny):
    everything = torch.ones(1, 1, 1, PREFIX + HORIZON, dtype=torch.bool)
    with (
        pytest.raises(ValueError, match="without any key"),
        Interventions(tiny.model, [Knockout("suffix", everything)]),
    ):
        sample(tiny)


def test_edges_of_another_size_are_an_error(tiny):
    with (
        pytest.raises(ValueError, match="do not fit the suffix phase"),
        Interventions(tiny.model, [Knockout("suffix", edges(PREFIX))]),
    ):
        sample(tiny)


@pytest.mark.parametrize(
    ("intervention", "sentence"),
    [
        (Knockout("prefix", edges(PREFIX), layers=(9,)), "No layer 9: the policy has layers 0 to 2"),
        (Knockout("prefix", edges(PREFIX).float()), "bool tensor"),
        (HeadSilencing("suffix", torch.zeros(1, 2, HEADS, dtype=torch.bool)), "bool tensor \\(B, 3 layers, heads\\)"),
    ],
)
def test_impossible_interventions_are_refused_on_entry(tiny, intervention, sentence):
    with pytest.raises(ValueError, match=sentence), Interventions(tiny.model, [intervention]):
        pass


def test_hooks_are_removed_after_success_and_error(tiny):
    baseline = sample(tiny).actions
    with (
        pytest.raises(ZeroDivisionError),
        Interventions(tiny.model, [Knockout("suffix", edges(PREFIX + HORIZON, *range(256)))]),
    ):
        assert not torch.equal(sample(tiny).actions, baseline)
        raise ZeroDivisionError
    assert torch.equal(sample(tiny).actions, baseline)
    for module in tiny.model.modules():
        assert not module._forward_pre_hooks


def test_actions_under_interventions_equal_the_stored_ones():
    """What `run_recorder_with_peers.py` compares the classes of openpi and lerobot with."""
    import run_recorder_with_peers as peers

    expected = load_file(GOLDEN / "interventions.safetensors")
    repeated = peers.our_actions("openpi")
    assert set(repeated) == set(expected)
    for name, actions in repeated.items():
        torch.testing.assert_close(actions, expected[name], rtol=0, atol=1e-5, msg=name)
