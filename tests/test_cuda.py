"""What only a GPU can show: copies on a side stream arrive whole, and the policy computes what the CPU computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_policy import observation, small_policy, tiny_model

from capture import schema
from capture.frames import assemble
from capture.recorder import AttentionRecorder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: GPU tests did not run")


def test_actions_are_the_references(tiny):
    model = tiny_model().to("cuda")
    chunk = model.sample_actions(
        [picture.cuda() for picture in tiny.pictures],
        tiny.inputs["tokens"][:, :17].cuda(),
        tiny.inputs["token_mask"][:, :17].cuda(),
        tiny.inputs["noise"].cuda(),
    )
    torch.testing.assert_close(chunk.actions.cpu(), tiny.openpi["actions"], rtol=0, atol=5e-5)


def test_every_copied_weight_is_what_the_module_returned():
    policy = small_policy()
    policy.model.to("cuda")
    prepared = policy.prepare(observation())
    kept = []
    modules = [layer.self_attn for layer in policy.model.expert.layers]
    handles = [module.register_forward_hook(lambda *event: kept.append(event[-1][1].clone())) for module in modules]
    with AttentionRecorder(policy.model) as recorder:
        for seed in range(20):
            kept.clear()
            policy.plain([prepared], seeds=[seed])
            recording = recorder.take()
            whole = torch.stack(kept).unflatten(0, (4, 3)).transpose(0, 1)[:, :, 0].cpu()  # (L, S, N, H, K + H)
            assert torch.equal(recording.suffix[0], whole)
    for handle in handles:
        handle.remove()


def test_frames_agree_with_the_cpus():
    frames = []
    for device in ("cpu", "cuda"):
        policy = small_policy()
        policy.model.to(device)
        recorder = policy.recorder()
        with recorder:
            frames.append(assemble(policy.run([policy.prepare(observation())], recorder, seeds=[1]))[0][0])
    for name in (schema.ACTION_TO_IMAGE, schema.TEXT_TO_TEXT, schema.ACTION_VALUE_NORM_IMAGE, schema.ACTION_X):
        np.testing.assert_allclose(frames[1][name], frames[0][name], rtol=2e-3, atol=2e-4)
