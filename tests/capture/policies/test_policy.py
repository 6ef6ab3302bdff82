"""From an observation to a frame: every number of the file against the model's own tensors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_policy import make_observation, small_policy

from capture.errors import UserError
from capture.pipeline.frame_builder import Kept, build_frames
from capture.policies.attention_hooks import AttentionRecorder
from capture.results import schema
from capture.results.dataset_layout import list_datasets


@pytest.fixture(scope="module")
def call(policy):
    recorder = policy.recorder()
    with recorder:
        return policy.run([policy.prepare(make_observation())], recorder, seeds=[5])


@pytest.fixture(scope="module")
def frame(call):
    return build_frames(call)[0][0]


def record_all_weights(policy, prepared, seed):
    """All weights of the same call, from a recorder of its own."""
    with AttentionRecorder(policy.model) as recorder:
        chunk = policy.plain([prepared], seeds=[seed])
        return chunk, recorder.take()


def test_frame_shapes_match_schema(policy, call, frame):
    sizes = schema.Sizes(
        frames=1,
        cameras=("exterior", "wrist"),
        layers=(0, 1, 2),
        steps=(0, 1, 2, 3),
        heads=4,
        tokens=len(call.prepared[0].tokens),
        horizon=6,
        denoise_steps=4,
        state_dim=4,
        robot_dim=4,
        model_dim=32,
        pictures=((90, 160), (96, 128)),
    )
    expected = {
        dataset.name: dataset.shape[1:] for dataset in list_datasets(sizes) if dataset.name != schema.FRAMES_DONE
    }
    assert {name: np.shape(value) for name, value in frame.items()} == expected


def test_weights_are_sliced_at_block_boundaries(policy, call, frame):
    _, whole = record_all_weights(policy, call.prepared[0], 5)
    text = len(call.prepared[0].tokens)
    prefix, suffix = whole.prefix[0].numpy(), whole.suffix[0].numpy()  # (L, N, K, K), (L, S, N, H, K + H)
    layer, head, token, step, action = 2, 3, 4, 1, 5
    row = prefix[layer, head, 512 + token]
    assert np.array_equal(frame[schema.TEXT_TO_IMAGE][layer, token, head, 0].ravel(), row[:256])
    assert np.array_equal(frame[schema.TEXT_TO_IMAGE][layer, token, head, 1].ravel(), row[256:512])
    assert np.array_equal(frame[schema.TEXT_TO_TEXT][layer, token, head], row[512:])
    row = suffix[layer, step, head, action]
    assert np.array_equal(frame[schema.ACTION_TO_IMAGE][layer, action, step, head, 1].ravel(), row[256:512])
    assert np.array_equal(frame[schema.ACTION_TO_TEXT][layer, action, step, head], row[512 : 512 + text])
    assert np.array_equal(frame[schema.ACTION_TO_ACTION][layer, action, step, head], row[512 + text :])


def test_every_valid_row_sums_to_one(frame):
    text = frame[schema.TEXT_TO_IMAGE].sum((-3, -2, -1)) + frame[schema.TEXT_TO_TEXT].sum(-1)
    action = frame[schema.ACTION_TO_IMAGE].sum((-3, -2, -1))
    action = action + frame[schema.ACTION_TO_TEXT].sum(-1) + frame[schema.ACTION_TO_ACTION].sum(-1)
    np.testing.assert_allclose(text, 1, atol=1e-5)
    np.testing.assert_allclose(action, 1, atol=1e-5)
    np.testing.assert_allclose(frame[schema.TEXT_MASS].sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(frame[schema.ACTION_MASS].sum(-1), 1, atol=1e-5)


def test_bar_patches_have_a_mass_group_of_their_own(frame):
    groups = schema.mass_groups(["exterior", "wrist"])
    # 160 x 90 becomes 224 x 126 with 49 black rows above and below: patch rows 0-2 and 13-15 lie wholly in them.
    maps = frame[schema.ACTION_TO_IMAGE][..., 0, :, :]
    bars = maps[..., [0, 1, 2, 13, 14, 15], :].sum((-2, -1))
    np.testing.assert_allclose(frame[schema.ACTION_MASS][..., groups.index("exterior bars")], bars, atol=1e-6)
    np.testing.assert_allclose(
        frame[schema.ACTION_MASS][..., groups.index("exterior")], maps.sum((-2, -1)) - bars, atol=1e-6
    )


def test_stored_positions_match_model_input(frame):
    assert frame[schema.IMAGE_POSITION][0, 0, 0] == 0
    assert frame[schema.IMAGE_POSITION][1, 15, 15] == 511
    assert frame[schema.TEXT_POSITION].tolist() == list(range(512, 512 + len(frame[schema.TEXT_ID])))


def test_stored_value_norms_are_norms_of_head_outputs(policy, call, frame):
    attention = policy.model.expert.layers[1].self_attn
    values = {}
    handle = attention.v_proj.register_forward_hook(lambda module, args, output: values.setdefault("first", output[0]))
    chunk = policy.plain(call.prepared, seeds=[5])
    handle.remove()
    weight = attention.o_proj.weight.unflatten(1, (4, 8))  # (width, N, d)
    prefix = chunk.prefix.values[1][0].repeat_interleave(2, dim=0)  # (N, K, d)
    lengths = torch.einsum("wnd,nkd->nkw", weight, prefix).norm(dim=-1).detach().numpy()  # (N, K)
    np.testing.assert_allclose(
        frame[schema.ACTION_VALUE_NORM_IMAGE][1, :, 1].reshape(4, 256), lengths[:, 256:512], rtol=2e-4
    )
    np.testing.assert_allclose(frame[schema.ACTION_VALUE_NORM_TEXT][1], lengths[:, 512:], rtol=2e-4)
    own = values["first"].unflatten(-1, (2, 8)).transpose(0, 1).repeat_interleave(2, dim=0)  # (N, H, d)
    lengths = torch.einsum("wnd,nkd->nkw", weight, own).norm(dim=-1).detach().numpy()
    np.testing.assert_allclose(frame[schema.ACTION_VALUE_NORM_ACTION][1, 0], lengths, rtol=2e-4)


def test_call_is_reproducible_from_stored_inputs(policy, call, frame):
    noise = torch.from_numpy(frame[schema.FRAMES_NOISE])[None]
    assert torch.equal(noise, policy.noise(frame[schema.FRAMES_SEED]))
    ids = torch.from_numpy(frame[schema.TEXT_ID]).long()[None]
    pictures = [
        torch.from_numpy(frame[schema.model_picture_name(camera)]).permute(2, 0, 1)[None] / 255 * 2 - 1
        for camera in ("exterior", "wrist")
    ]
    chunk = policy.model.sample_actions(pictures, ids, torch.ones_like(ids, dtype=torch.bool), noise)
    np.testing.assert_allclose(chunk.path[:, 0].numpy(), frame[schema.ACTION_X], atol=1e-5)


def test_predicted_actions_are_in_robot_units(call, frame):
    last = frame[schema.ACTION_X][-1][:, :4].astype(np.float64)
    low, high = np.array([-1.0, -2.0, 0.0, 0.5]), np.array([1.0, 2.0, 4.0, 0.9])
    expected = (last + 1) / 2 * (high - low + 1e-6) + low
    np.testing.assert_allclose(frame[schema.ACTION_PREDICTED], expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(frame[schema.ACTION_TRUTH]).all()


def test_true_actions_are_truncated_or_padded(policy):
    recorder = policy.recorder(layers=[0], steps=[3])
    truth = np.arange(12, dtype=np.float32).reshape(4, 3)
    with recorder:
        call = policy.run([policy.prepare(make_observation(true_actions=truth))], recorder, seeds=[0])
    stored = build_frames(call)[0][0][schema.ACTION_TRUTH]
    assert np.array_equal(stored[:4, :3], truth)
    assert np.isnan(stored[4:]).all()
    assert np.isnan(stored[:, 3]).all()


def test_full_run_keeps_image_rows(policy, call):
    recorder = policy.recorder(layers=[1])
    with recorder:
        full_call = policy.run(call.prepared, recorder, seeds=[5], full=True)
    [(frame, errors)] = build_frames(full_call)
    _, whole = record_all_weights(policy, call.prepared[0], 5)
    row = whole.prefix[0, 1, 2, 256 + 16 * 3 + 7].numpy()  # camera 1, patch row 3, column 7; head 2
    assert np.array_equal(frame[schema.IMAGE_TO_IMAGE][0, 2, 1, 3, 7].ravel(), row[:512])
    assert np.array_equal(frame[schema.IMAGE_TO_TEXT][0, 2, 1, 3, 7], row[512:])
    assert np.array_equal(frame[schema.TEXT_TO_IMAGE][0], build_frames(call)[0][0][schema.TEXT_TO_IMAGE][1])
    assert errors.row_sum < 1e-5


def test_masked_slot_has_no_camera_and_no_positions(policy):
    shown = make_observation()
    wrist_only = dataclasses.replace(shown, pictures={"wrist": shown.pictures["wrist"]})
    recorder = policy.recorder()
    with recorder:
        [(frame, errors)] = build_frames(policy.run([policy.prepare(wrist_only)], recorder, seeds=[0]))
    assert frame[schema.ACTION_TO_IMAGE].shape[4] == 1
    assert schema.source_name("exterior") not in frame
    assert frame[schema.TEXT_POSITION][0] == 256
    assert errors.masked_weight == 0


def test_upside_down_source_pictures_are_rotated(policy):
    shown = make_observation()
    flipped = {camera: np.ascontiguousarray(picture[::-1, ::-1]) for camera, picture in shown.pictures.items()}
    turned = policy.prepare(dataclasses.replace(shown, pictures=flipped, is_upside_down=True))
    for camera, picture in policy.prepare(shown).pictures.items():
        assert np.array_equal(turned.pictures[camera].model_u8, picture.model_u8)
        assert turned.pictures[camera].letterbox.turned


def test_cameras_are_ordered_by_policy_slots(policy, frame):
    shown = make_observation()
    swapped = dataclasses.replace(shown, pictures=dict(reversed(shown.pictures.items())))
    recorder = policy.recorder()
    with recorder:
        swapped_frame = build_frames(policy.run([policy.prepare(swapped)], recorder, seeds=[5]))[0][0]
    assert np.array_equal(swapped_frame[schema.ACTION_TO_IMAGE], frame[schema.ACTION_TO_IMAGE])


def test_only_the_words_differ_between_prompts_on_one_picture(policy):
    recorder = policy.recorder()
    frames = []
    for prompt in ("pick up the red block", "pick up the blue block"):
        with recorder:
            frames.append(
                build_frames(policy.run([policy.prepare(make_observation(prompt))], recorder, seeds=[0]))[0][0]
            )
    assert np.array_equal(frames[0][schema.FRAMES_NOISE], frames[1][schema.FRAMES_NOISE])
    assert not np.array_equal(frames[0][schema.ACTION_PREDICTED], frames[1][schema.ACTION_PREDICTED])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pictures": {}}, "no camera picture"),
        ({"pictures": {"top": np.zeros((9, 9, 3), np.uint8)}}, "no camera 'top'"),
        ({"state": None}, "none was given"),
        ({"state": np.zeros(3)}, "3 numbers"),
        ({"state": np.array([0, np.nan, 0, 0])}, "finite"),
    ],
)
def test_observation_that_does_not_fit_raises_one_sentence(policy, change, sentence):
    with pytest.raises(UserError, match=sentence):
        policy.prepare(dataclasses.replace(make_observation(), **change))


def test_state_changes_prompt_and_attention(policy):
    shown = make_observation()
    other = dataclasses.replace(shown, state=np.array([0.9, 1.9, 0.1, 0.6]))
    recorder = policy.recorder()
    texts, maps = [], []
    for moment in (shown, other):
        with recorder:
            frame = build_frames(policy.run([policy.prepare(moment)], recorder, seeds=[0]))[0][0]
        texts.append(frame[schema.FRAMES_TEXT])
        maps.append(frame[schema.ACTION_TO_IMAGE])
    assert texts[0] != texts[1]
    assert maps[0].shape != maps[1].shape or not np.array_equal(maps[0], maps[1])


def test_bfloat16_weights_are_stored_bit_for_bit(call):
    recording = dataclasses.replace(
        call.recording,
        prefix=call.recording.prefix.bfloat16(),
        suffix_steps=tuple(step.bfloat16() for step in call.recording.suffix_steps),
    )
    [(frame, _)] = build_frames(dataclasses.replace(call, recording=recording))
    stored = frame[schema.TEXT_TO_IMAGE]
    assert stored.dtype == np.uint16
    to_float32 = schema.from_bfloat16(stored)
    exact = recording.prefix[0].float().transpose(1, 2)[..., :256].unflatten(-1, (16, 16)).numpy()
    assert np.array_equal(to_float32[..., 0, :, :], exact)


def test_delta_actions_are_added_to_state():
    policy = small_policy(relative=(True, True))
    recorder = policy.recorder(layers=[0])
    with recorder:
        call = policy.run([policy.prepare(make_observation())], recorder, seeds=[5])
    absolute_policy = small_policy()
    recorder = absolute_policy.recorder(layers=[0])
    with recorder:
        without = absolute_policy.run([absolute_policy.prepare(make_observation())], recorder, seeds=[5])
    np.testing.assert_allclose(
        call.actions[0] - without.actions[0],
        np.tile([0.1, -0.4, 0, 0], (6, 1)),
        atol=1e-6,
    )


# Batches

PROMPTS = ("go", "pick up the red block", "put the mug down beside the bowl and then go back")


def moments(policy):
    """Three prompts on one pair of pictures, and one on another."""
    shown = make_observation()
    draw = np.random.default_rng(8)
    other_pictures = {
        name: draw.integers(0, 255, picture.shape, dtype=np.uint8) for name, picture in shown.pictures.items()
    }
    first = policy.prepare(shown)
    same = [
        dataclasses.replace(policy.prepare(dataclasses.replace(shown, prompt=prompt)), pictures=first.pictures)
        for prompt in PROMPTS
    ]
    return [*same, policy.prepare(make_observation(PROMPTS[1], pictures=other_pictures))]


@pytest.mark.parametrize("full", [False, True])
def test_batched_call_equals_single_calls(policy, full):
    prepared = moments(policy)
    assert len({len(observation.tokens) for observation in prepared}) == 3
    recorder = policy.recorder(layers=[0, 2], steps=[1, 3])
    seeds = [0, 0, 0, 9]
    with recorder:
        batched = build_frames(policy.run(prepared, recorder, seeds=seeds, full=full))
        singles = [
            build_frames(policy.run([observation], recorder, seeds=[seed], full=full))[0]
            for observation, seed in zip(prepared, seeds, strict=True)
        ]
    for (frame, errors), (single, single_errors) in zip(batched, singles, strict=True):
        assert frame.keys() == single.keys()
        for name, value in single.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                assert frame[name].shape == value.shape, name
                # Other shapes and threads sum in another order: weights lie under 1, lengths and the path's values do not.
                limit = 2e-5 if "_to_" in name or "/to_" in name else 2e-4
                np.testing.assert_allclose(frame[name], value, rtol=3e-4, atol=limit, err_msg=name)
            else:
                assert np.array_equal(frame[name], value), name
        assert errors.row_sum < 1e-5
        assert errors.masked_weight == single_errors.masked_weight == 0


def test_pictures_that_prompts_share_are_encoded_once(policy):
    prepared = moments(policy)
    encoded = []
    handle = policy.model.vision_tower.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: encoded.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )
    chunk = policy.plain(prepared, seeds=[0, 0, 0, 9])
    handle.remove()
    assert encoded == [2, 2]  # two moments, a camera at a time
    for row, call in enumerate(prepared):
        single = policy.plain([call], seeds=[9 if row == 3 else 0])
        torch.testing.assert_close(chunk.actions[row], single.actions[0], rtol=3e-4, atol=3e-4)


def test_padding_has_no_attention_as_query_or_key(policy):
    prepared = moments(policy)
    with AttentionRecorder(policy.model) as recorder:
        policy.plain(prepared, seeds=[0, 0, 0, 9])
        recording = recorder.take()
    length = 512 + len(prepared[0].tokens)
    assert not recording.prefix_valid[0, length:].any()
    assert recording.prefix[0, :, :, :length, length:].max() == 0
    assert recording.suffix[0, ..., length:-6].max() == 0


def test_batch_with_different_cameras_is_refused(policy):
    shown = make_observation()
    wrist_only = dataclasses.replace(shown, pictures={"wrist": shown.pictures["wrist"]})
    with pytest.raises(ValueError, match="same cameras"):
        policy.plain([policy.prepare(shown), policy.prepare(wrist_only)], seeds=[0, 0])


def test_weights_are_stored_in_requested_dtype(policy, call, frame):
    rounded = build_frames(call, Kept(torch.bfloat16))[0][0]
    assert rounded[schema.ACTION_TO_IMAGE].dtype == np.uint16
    assert np.array_equal(rounded[schema.ACTION_TO_IMAGE], schema.to_bfloat16(frame[schema.ACTION_TO_IMAGE]))
    assert np.array_equal(rounded[schema.ACTION_MASS], frame[schema.ACTION_MASS])
