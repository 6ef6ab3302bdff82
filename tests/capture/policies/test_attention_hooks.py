"""The attention recorder on module trees of this project and of others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from capture.policies.attention_hooks import AttentionRecorder


class Attention(nn.Module):
    """Any attention that returns its weights second; `eager` False returns None, as sdpa does."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads, self.eager = heads, True
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, hidden_states, attention_mask=None):
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        logits = split(self.q_proj(hidden_states)) @ split(self.k_proj(hidden_states)).transpose(2, 3)
        if attention_mask is not None:
            logits = logits + attention_mask
        weights = logits.softmax(-1)
        mixed = (weights @ split(self.v_proj(hidden_states))).transpose(1, 2).flatten(2)
        return mixed, weights if self.eager else None


class Stack(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(depth):
            layer = nn.Module()
            layer.self_attn = Attention()
            self.layers.append(layer)

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = x + layer.self_attn(x, attention_mask=mask)[0]
        return x


class Foreign(nn.Module):
    """A policy with the two module paths that public code bases share, nested `depth` levels deep."""

    def __init__(self, depth=3, path="paligemma.language_model"):
        super().__init__()
        self.inner = nn.Module()
        self.inner.paligemma = nn.Module()
        self.inner.paligemma.language_model = Stack(depth)
        self.inner.gemma_expert = nn.Module()
        self.inner.gemma_expert.model = Stack(depth)
        self.vision_tower = Stack(1)  # has self_attn too, but is neither phase

    def forward(self, prefix, actions, steps=4, mask=None):
        self.vision_tower(prefix)
        self.inner.paligemma.language_model(prefix, mask)
        for _ in range(steps):
            actions = self.inner.gemma_expert.model(actions)
        return actions


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return Foreign()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.randn(1, 6, 8), torch.randn(1, 3, 8)


def hooks_of(module):
    return sum(len(child._forward_hooks) for child in module.modules())


def test_recording_equals_what_the_modules_returned(policy, inputs):
    returned = []
    expert = policy.inner.gemma_expert.model.layers[1].self_attn
    handle = expert.register_forward_hook(lambda *event: returned.append(event[-1][1].detach().clone()))
    with AttentionRecorder(policy, values=True) as recorder:
        policy(*inputs)
        recording = recorder.take()
    handle.remove()
    assert recording.prefix.shape == (1, 3, 2, 6, 6)
    assert recording.suffix.shape == (1, 3, 4, 2, 3, 3)
    assert (recording.layers, recording.steps, recording.steps_taken) == ((0, 1, 2), (0, 1, 2, 3), 4)
    for step in range(4):
        assert torch.equal(recording.suffix[:, 1, step], returned[step])
    assert (
        len({tuple(weights.flatten().tolist()) for weights in returned}) == 4
    )  # steps differ, so their order was tested
    first = policy.inner.paligemma.language_model.layers[0].self_attn
    assert torch.equal(recording.prefix_values[0], first.v_proj(inputs[0]).detach())
    assert [len(steps) for steps in recording.suffix_values] == [3, 3, 3, 3]


def test_recorder_keeps_only_requested_layers_and_steps(policy, inputs):
    with AttentionRecorder(policy) as recorder:
        policy(*inputs)
        everything = recorder.take()
    with AttentionRecorder(policy, layers=[2, 0], steps=[3, 1], prefix_rows=[4, 5]) as recorder:
        policy(*inputs)
        selected = recorder.take()
    assert (selected.layers, selected.steps) == ((2, 0), (3, 1))
    assert torch.equal(selected.prefix, everything.prefix[:, [2, 0]][:, :, :, [4, 5]])
    assert torch.equal(selected.suffix, everything.suffix[:, [2, 0]][:, :, [3, 1]])


def test_recording_does_not_change_the_result(policy, inputs):
    baseline = policy(*inputs)
    with AttentionRecorder(policy, values=True) as recorder:
        assert torch.equal(policy(*inputs), baseline)
        recorder.take()


def test_recorder_takes_several_calls(policy, inputs):
    with AttentionRecorder(policy) as recorder:
        policy(*inputs, steps=4)
        first = recorder.take()
        policy(inputs[0].flip(1), inputs[1], steps=2)
        second = recorder.take()
    assert (first.steps_taken, second.steps_taken) == (4, 2)
    assert not torch.equal(first.prefix, second.prefix)


def test_second_call_before_take_is_an_error(policy, inputs):
    with AttentionRecorder(policy) as recorder:
        policy(*inputs)
        with pytest.raises(RuntimeError, match="call `take` after each call"):
            policy(*inputs)
        recorder.discard()
        policy(*inputs)
        recorder.take()


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
def test_hooks_are_removed_after_success_and_error(policy, inputs, kind):
    with AttentionRecorder(policy):
        assert hooks_of(policy) == 6
    assert hooks_of(policy) == 0
    recorder = AttentionRecorder(policy)

    def fail_inside():
        with recorder:
            policy(*inputs)
            raise kind

    with pytest.raises(kind):
        fail_inside()
    assert hooks_of(policy) == 0
    with pytest.raises(RuntimeError, match="Nothing to take"):
        recorder.take()  # and nothing of the failed call is left


def test_hooks_of_the_user_stay_in_place(policy):
    handle = policy.inner.gemma_expert.model.layers[0].self_attn.register_forward_hook(lambda *event: None)
    with AttentionRecorder(policy):
        pass
    assert hooks_of(policy) == 1
    handle.remove()


def test_missing_weights_are_an_error_and_say_eager(policy, inputs):
    policy.inner.gemma_expert.model.layers[1].self_attn.eager = False
    with AttentionRecorder(policy) as recorder:
        with pytest.raises(RuntimeError, match=r"Layer 1 of the suffix phase.*eager"):
            policy(*inputs)
        recorder.discard()
    assert hooks_of(policy) == 0


def test_gemma_under_sdpa_is_caught(tiny):
    """The real failure: transformers' Gemma switched to sdpa returns None without a word."""
    config = tiny.model.language_model.config
    config._attn_implementation = "sdpa"
    try:
        with AttentionRecorder(tiny.model), pytest.raises(RuntimeError, match="eager"):
            tiny.model.sample_actions(
                tiny.pictures, tiny.inputs["tokens"], tiny.inputs["token_mask"], tiny.inputs["noise"]
            )
    finally:
        config._attn_implementation = "eager"


def test_module_trees_without_both_stacks_are_refused(policy):
    with pytest.raises(ValueError, match=r"prefix phase \(…language_model\.layers\.<i>\.self_attn\)"):
        AttentionRecorder(nn.Linear(2, 2)).__enter__()
    with pytest.raises(ValueError, match="suffix phase"):
        AttentionRecorder(policy.inner.paligemma).__enter__()
    with pytest.raises(ValueError, match="No layer 7: the policy has layers 0 to 2"):
        AttentionRecorder(policy, layers=[7]).__enter__()
    assert hooks_of(policy) == 0


@pytest.mark.parametrize("requested", [{"layers": []}, {"layers": [1, 1]}, {"steps": []}, {"steps": [-1]}])
def test_invalid_layer_and_step_numbers_are_refused(policy, requested):
    with pytest.raises(ValueError, match="different numbers counted from 0"):
        AttentionRecorder(policy, **requested).__enter__()


def test_two_policies_in_one_module_tree_are_refused(policy):
    both = nn.ModuleDict({"live": policy, "average": Foreign()})
    with pytest.raises(ValueError, match=r"holds several modules …language_model\.layers"):
        AttentionRecorder(both).__enter__()
    with AttentionRecorder(both["live"]):
        assert hooks_of(both["average"]) == 0


def test_object_that_is_not_a_module_is_refused(policy):
    class Wrapper:
        model = policy

    with pytest.raises(TypeError, match="Wrapper is no torch module"):
        AttentionRecorder(Wrapper()).__enter__()


# torch 2.5's, when an import is compiled, which PySide6 watches through sys._getframe once it is loaded
@pytest.mark.filterwarnings("ignore:Graph break due to unsupported builtin sys._getframe:UserWarning")
def test_modules_are_found_behind_compile_wrappers(policy, inputs):
    with AttentionRecorder(policy) as recorder:
        policy(*inputs)
        baseline = recorder.take()
    inner = policy.inner
    inner.paligemma.language_model = torch.compile(inner.paligemma.language_model, backend="eager")
    inner.gemma_expert.model = torch.compile(inner.gemma_expert.model, backend="eager")
    with AttentionRecorder(policy) as recorder:
        policy(*inputs)
        assert torch.equal(recorder.take().suffix, baseline.suffix)


def test_take_refuses_step_beyond_steps_taken(policy, inputs):
    with AttentionRecorder(policy, steps=[0, 9]) as recorder:
        policy(*inputs, steps=4)
        with pytest.raises(RuntimeError, match="No denoise step 9: the policy took 4"):
            recorder.take()


@pytest.mark.parametrize("kind", ["additive", "boolean"])
def test_valid_tokens_are_read_from_the_attention_mask(policy, inputs, kind):
    valid = torch.tensor([True, True, False, True, False, True])
    is_visible = (valid[:, None] & valid[None])[None, None]
    mask = torch.zeros(is_visible.shape).masked_fill(~is_visible, -1e30)
    if kind == "boolean":
        for layer in policy.inner.paligemma.language_model.layers:
            forward = layer.self_attn.forward
            layer.self_attn.forward = lambda hidden_states, attention_mask=None, f=forward: f(
                hidden_states, torch.zeros(is_visible.shape).masked_fill(~attention_mask, -1e30)
            )
        mask = is_visible
    with AttentionRecorder(policy) as recorder:
        policy(*inputs, mask=mask)
        recording = recorder.take()
    assert torch.equal(recording.prefix_valid[0], valid)


def test_compiled_policies_run_eagerly_inside(policy, inputs):
    """openpi compiles its sampling function; a compiled graph would call no hooks."""
    compiled = torch.compile(policy.forward, backend="eager")
    baseline = compiled(*inputs)
    with AttentionRecorder(policy) as recorder:
        recorded = compiled(*inputs)
        recording = recorder.take()
    torch.testing.assert_close(recorded, baseline)
    assert recording.steps_taken == 4


def test_recorded_tensors_hold_no_graph(policy, inputs):
    with AttentionRecorder(policy) as recorder:
        policy(*inputs)
        recording = recorder.take()
    assert not recording.suffix.requires_grad
    assert recording.suffix.sum() > 0
