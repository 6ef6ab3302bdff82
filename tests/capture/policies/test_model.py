"""The model against the references: every tensor stored from openpi, lerobot and JAX."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from safetensors.torch import load_file
from small_policy import small_model, tiny_config, tiny_model

from capture.checkpoints.key_names import openpi_name
from capture.policies.attention_hooks import AttentionRecorder
from capture.policies.pi05.config import parameter_dtype
from capture.policies.pi05.expert import rope_table
from capture.policies.pi05.model import MASKED, Pi05, step_times, time_embedding
from capture.policies.process_settings import exact_float32

CLOSE = {"rtol": 0.0, "atol": 1e-5}


def call(tiny, *, third="random", **options):
    """The tiny policy's call in the reference's layout: three slots, the last one masked whatever it shows."""
    batch = 1
    third_picture = torch.rand(batch, 3, 224, 224) * 2 - 1 if third == "random" else None
    return tiny.model.sample_actions(
        [*tiny.pictures, third_picture],
        tiny.inputs["tokens"],
        tiny.inputs["token_mask"],
        tiny.inputs["noise"],
        camera_mask=tiny.inputs["image_mask"],
        **options,
    )


@pytest.mark.parametrize("drop_masked", [True, False])
def test_actions_and_denoise_path_match_reference(tiny, drop_masked):
    chunk = call(tiny, drop_masked=drop_masked)
    torch.testing.assert_close(chunk.actions, tiny.openpi["actions"], **CLOSE)
    torch.testing.assert_close(chunk.path, tiny.openpi["x_t"], **CLOSE)
    torch.testing.assert_close(chunk.velocity, tiny.openpi["v_t"], **CLOSE)
    assert torch.equal(chunk.time, tiny.openpi["time"][:, 0])


def test_padded_and_dropped_layouts_agree(tiny):
    dropped, padded = call(tiny, third=None), call(tiny, drop_masked=False)
    torch.testing.assert_close(dropped.actions, padded.actions, rtol=0, atol=1e-6)
    assert dropped.prefix.embeddings.shape[1] == 2 * 256 + 17
    assert padded.prefix.embeddings.shape[1] == 3 * 256 + 24
    kept = dropped.prefix.kept
    assert torch.equal(dropped.prefix.positions, padded.prefix.positions[:, kept])
    for ours, theirs in zip(dropped.prefix.keys, padded.prefix.keys, strict=True):
        torch.testing.assert_close(ours, theirs[:, :, kept], rtol=0, atol=2e-6)


def test_recorded_text_rows_match_reference(tiny):
    with AttentionRecorder(tiny.model, prefix_rows=slice(768, 785)) as recorder:
        call(tiny, drop_masked=False)
        recording = recorder.take()
    torch.testing.assert_close(recording.prefix[0], tiny.openpi["prefix_attn_text_rows"], **CLOSE)


def test_recorded_action_rows_match_reference(tiny):
    with AttentionRecorder(tiny.model) as recorder:
        call(tiny, third=None)
        recording = recorder.take()
    rows = recording.suffix[0].transpose(0, 1)  # (steps, layers, heads, H, K + H), dropped layout
    segments = [rows[..., 0:256], rows[..., 256:512], rows[..., :0], rows[..., 512:529], rows[..., :0], rows[..., 529:]]
    mass = torch.stack([segment.sum(-1) for segment in segments], dim=-1)
    torch.testing.assert_close(mass, tiny.openpi["suffix_attn_segment_mass"], **CLOSE)
    torch.testing.assert_close(rows[..., 529:], tiny.openpi["suffix_attn_action_block"], **CLOSE)


def test_intermediate_tensors_match_openpi(tiny, shared):
    """The whole trace, attention read through the recorder."""
    trace = load_file(shared / "reference/golden/openpi/trace.safetensors")
    with AttentionRecorder(tiny.model) as recorder:
        chunk = call(tiny, drop_masked=False)
        recording = recorder.take()
    prefix, weights = chunk.prefix, recording.prefix[0]  # weights (layers, heads, 792, 792)
    valid = trace["prefix_pad_mask"][0]
    embeddings = prefix.embeddings.clone()
    # The reference embeds its masked black picture; ours held random pixels. Masked tokens influence nothing.
    embeddings[:, 512:768] = trace["prefix_embs"][:, 512:768]
    torch.testing.assert_close(embeddings, trace["prefix_embs"], **CLOSE)
    assert torch.equal(prefix.valid, trace["prefix_pad_mask"])
    assert torch.equal(recording.prefix_valid, trace["prefix_pad_mask"])
    assert torch.equal(prefix.positions, trace["prefix_position_ids"])
    index = trace["prefix_attn_rows_index"]
    torch.testing.assert_close(weights[:, :, index], trace["prefix_attn_rows"], **CLOSE)
    bounds = [0, 256, 512, 768, 785, 792]
    pairs = list(itertools.pairwise(bounds))
    mass = torch.stack([weights[..., start:stop].sum(-1) for start, stop in pairs], dim=-1)
    torch.testing.assert_close(mass, trace["prefix_attn_segment_mass"], **CLOSE)
    torch.testing.assert_close(weights.amax(-1), trace["prefix_attn_row_max"], **CLOSE)
    torch.testing.assert_close(weights[:, :, valid].sum(2), trace["prefix_attn_col_sum_valid_q"], rtol=0, atol=5e-5)
    keys, values = torch.stack(prefix.keys)[:, 0], torch.stack(prefix.values)[:, 0]  # (layers, M, 792, d)
    torch.testing.assert_close(keys[:, :, valid], trace["prefix_key_cache"][:, :, valid], **CLOSE)
    torch.testing.assert_close(values[:, :, valid], trace["prefix_value_cache"][:, :, valid], **CLOSE)
    eighth = valid[::8]
    torch.testing.assert_close(prefix.hidden[:, ::8][:, eighth], trace["prefix_last_hidden"][:, eighth], **CLOSE)
    for step, time in enumerate(trace["time"]):
        torch.testing.assert_close(tiny.model.condition(time), trace["adarms_cond"][step], **CLOSE)
    torch.testing.assert_close(tiny.model.action_in_proj(chunk.path[0]), trace["suffix_embs_step0"], **CLOSE)
    suffix = recording.suffix[0].transpose(0, 1)  # (steps, layers, heads, H, 807)
    torch.testing.assert_close(suffix[trace["suffix_attn_full_steps_index"]], trace["suffix_attn_full"], **CLOSE)
    rows = trace["suffix_attn_last_step_rows_index"]
    torch.testing.assert_close(suffix[9][:, :, rows], trace["suffix_attn_last_step_rows"], **CLOSE)
    pairs.append((792, 807))
    mass = torch.stack([suffix[..., start:stop].sum(-1) for start, stop in pairs], dim=-1)
    torch.testing.assert_close(mass, trace["suffix_attn_segment_mass"], **CLOSE)
    torch.testing.assert_close(suffix[..., 792:], trace["suffix_attn_action_block"], **CLOSE)
    torch.testing.assert_close(suffix.amax(-1), trace["suffix_attn_row_max"], **CLOSE)
    assert int(prefix.valid.sum()) == int(trace["suffix_position_ids"][0, 0])


def test_actions_match_lerobot_and_jax(tiny, shared):
    lerobot = load_file(shared / "reference/golden/lerobot/trace.safetensors")
    jax = load_file(shared / "reference/golden/jax/actions.safetensors")
    chunk = call(tiny, grid="lerobot")
    torch.testing.assert_close(chunk.actions, lerobot["actions"], **CLOSE)
    torch.testing.assert_close(chunk.path, lerobot["x_t"], **CLOSE)
    torch.testing.assert_close(call(tiny).actions, jax["actions"], rtol=0, atol=5e-5)
    assert torch.equal(step_times(10, "lerobot"), lerobot["time"][:, 0])


def test_batched_rows_equal_single_calls(tiny):
    """Two prompts of different length and two masks: padding and masking of one row do not reach the other."""
    tokens = tiny.inputs["tokens"].repeat(2, 1)
    mask = tiny.inputs["token_mask"].repeat(2, 1)
    mask[1, 11:] = False
    cameras = torch.tensor([[True, True], [True, False]])
    noise = torch.cat([tiny.inputs["noise"], tiny.inputs["noise"].flip(1)])
    pictures = [picture.repeat(2, 1, 1, 1) for picture in tiny.pictures]
    batched = tiny.model.sample_actions(pictures, tokens, mask, noise, camera_mask=cameras)
    first = tiny.model.sample_actions(tiny.pictures, tokens[:1, :17], mask[:1, :17], noise[:1])
    second = tiny.model.sample_actions([tiny.pictures[0], None], tokens[1:, :11], mask[1:, :11], noise[1:])
    torch.testing.assert_close(batched.actions[:1], first.actions, rtol=0, atol=2e-6)
    torch.testing.assert_close(batched.actions[1:], second.actions, rtol=0, atol=2e-6)


def test_cache_length_is_constant_over_denoise_steps(tiny):
    with AttentionRecorder(tiny.model) as recorder:
        chunk = call(tiny, third=None)
        recording = recorder.take()
    assert recording.suffix.shape[-1] == 529 + 15
    second = tiny.model.denoise(tiny.inputs["noise"], chunk.prefix)
    assert torch.equal(second.actions, chunk.actions)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_steps_and_horizon_can_be_chosen(tiny, steps):
    noise = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(1))
    chunk = tiny.model.sample_actions(
        tiny.pictures, tiny.inputs["tokens"][:, :17], tiny.inputs["token_mask"][:, :17], noise, steps=steps
    )
    assert chunk.path.shape == (steps + 1, 1, 7, 32)
    torch.testing.assert_close(chunk.path[-1], noise - chunk.velocity.sum(0) / steps, rtol=0, atol=1e-5)


def test_bfloat16_is_close_to_float32_and_keeps_float32_tables(tiny):
    model = tiny_model(torch.bfloat16)
    assert model.language_model.rotary_emb.inv_freq.dtype == torch.float32
    assert model.language_model.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16
    assert model.action_out_proj.weight.dtype == model.expert.norm.dense.weight.dtype == torch.float32
    chunk = model.sample_actions(
        tiny.pictures, tiny.inputs["tokens"][:, :17], tiny.inputs["token_mask"][:, :17], tiny.inputs["noise"]
    )
    assert chunk.actions.dtype == torch.float32
    assert chunk.prefix.keys[0].dtype == torch.bfloat16
    difference = (chunk.actions - tiny.openpi["actions"]).abs()
    assert difference.max() < 0.06
    assert difference.mean() < 0.008  # a bfloat16 table of frequencies alone would double the mean error


def test_rope_angle_is_position_times_frequency():
    cos, sin = rope_table(torch.tensor([[0, 600]]), head_dim=256)
    assert cos.dtype == sin.dtype == torch.float32
    assert torch.all(cos[0, 0, 0] == 1)
    angle = 600 * 10000 ** (-2 * torch.arange(128, dtype=torch.float64) / 256)
    torch.testing.assert_close(sin[0, 0, 1, :128].double(), angle.sin(), rtol=0, atol=1e-4)
    assert torch.equal(sin[0, 0, 1, :128], sin[0, 0, 1, 128:])


def test_time_embedding_lists_sines_before_cosines():
    table = time_embedding(torch.tensor([0.0, 1.0]), 8)
    assert torch.equal(table[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    shortest = 2 * torch.pi / 4e-3
    torch.testing.assert_close(table[1, 0].double(), torch.tensor(shortest).double().sin(), rtol=0, atol=1e-3)
    torch.testing.assert_close(table[1, 3].double(), torch.tensor(2 * torch.pi / 4.0).double().sin(), rtol=0, atol=1e-6)


def test_step_times_accumulate_for_openpi_only():
    assert step_times(10)[-1].item() == pytest.approx(0.09999993, abs=5e-9)
    assert step_times(10, "lerobot")[-1].item() == pytest.approx(0.1, abs=3e-8)


def test_parameter_dtypes_follow_the_reference():
    with torch.device("meta"):
        model = Pi05(tiny_config())
    ours = {name for name in model.state_dict() if parameter_dtype(name, torch.bfloat16) == torch.float32}
    wide = {openpi_name(name) for name in ours}
    assert wide == {
        name for name in map(openpi_name, model.state_dict()) if parameter_dtype(name, torch.bfloat16) == torch.float32
    }
    assert "paligemma_with_expert.paligemma.model.vision_tower.embeddings.patch_embedding.weight" in wide
    assert "paligemma_with_expert.paligemma.model.language_model.norm.weight" in wide
    assert "paligemma_with_expert.gemma_expert.model.layers.2.input_layernorm.dense.bias" in wide
    assert "paligemma_with_expert.gemma_expert.model.norm.dense.weight" in wide
    assert "time_mlp_in.weight" in wide
    assert not any(
        ".vision_tower.encoder." in name
        or "post_layernorm" in name
        or "_proj.weight" in name.replace("action_in_proj", "").replace("action_out_proj", "")
        for name in wide
    )
    assert {parameter_dtype(name, torch.float32) for name in model.state_dict()} == {torch.float32}


def test_exact_float32_restores_setting_on_error():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with contextlib.suppress(KeyError), exact_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_masked_logits_stay_finite_in_bfloat16():
    assert torch.isfinite(torch.tensor(MASKED).bfloat16())


def test_call_results_can_be_modified_without_affecting_later_calls(tiny):
    def called():
        return tiny.model.sample_actions(
            tiny.pictures,
            tiny.inputs["tokens"][:, :17],
            tiny.inputs["token_mask"][:, :17],
            tiny.inputs["noise"],
        )

    first = called()
    copies = {name: getattr(first, name).clone() for name in ("actions", "path", "velocity", "time")}
    for name in copies:
        getattr(first, name).zero_()
    second = called()
    for name, value in copies.items():
        torch.testing.assert_close(getattr(second, name), value, rtol=0, atol=1e-6)


def test_prefix_of_one_row_is_shared_by_all_rows_of_noise(tiny):
    """As with copies of the prefix, to rounding; with two key heads too, which the tiny policy has not."""
    inputs = tiny.inputs
    for model, tokens in ((tiny.model, inputs["tokens"]), (small_model(), inputs["tokens"])):
        mask = inputs["token_mask"]
        with torch.no_grad():
            prefix = model.run_prefix(*model.embed_prefix([*tiny.pictures, None], tokens, mask))
        noise = torch.randn(3, model.config.horizon, 32, generator=torch.Generator().manual_seed(1))
        shared = model.denoise(noise, prefix).actions
        single = torch.cat([model.denoise(noise[row : row + 1], prefix).actions for row in range(3)])
        torch.testing.assert_close(shared, single, rtol=0, atol=5e-5)
        assert (shared[0] - shared[1]).abs().max() > 0.1
