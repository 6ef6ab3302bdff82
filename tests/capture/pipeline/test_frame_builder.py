"""Masses and entropies against hand-made rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from capture.pipeline import frame_builder
from capture.results import schema

ROLES = np.array(
    [schema.ROLES.index(role) for role in ("bos", "template", "prompt", "state", "newline", "template")], np.int32
)


def make_keys(actions=2, cameras=2):
    bars = np.zeros((cameras, 16, 16), dtype=bool)
    bars[0, :3] = True  # 48 patches of the first camera
    return frame_builder.key_groups(list(bars), ROLES, actions)


def test_group_mass_counts_each_key_in_its_group():
    groups = schema.mass_groups(["a", "b"])
    assert groups == ("a", "a bars", "b", "b bars", "bos", "prompt", "template", "state", "newline", "action")
    one_hot = torch.eye(2 * 256 + 6 + 2)
    mass = frame_builder.group_mass(one_hot, make_keys())
    named = [groups[index] for index in mass.argmax(-1).tolist()]
    assert named[: 3 * 16] == ["a bars"] * 48
    assert named[48:256] == ["a"] * 208
    assert named[256:512] == ["b"] * 256
    assert named[512:] == ["bos", "template", "prompt", "state", "newline", "template", "action", "action"]
    assert torch.equal(mass.sum(-1), torch.ones(len(named)))


@given(st.integers(0, 2**32 - 1))
def test_group_masses_sum_to_the_row_sum(seed):
    rows = torch.rand(3, 2 * 256 + 8, generator=torch.Generator().manual_seed(seed)) ** 8
    rows = rows / rows.sum(-1, keepdim=True)
    torch.testing.assert_close(frame_builder.group_mass(rows, make_keys()).sum(-1), torch.ones(3))


def test_picture_entropy_ignores_other_keys():
    row = torch.zeros(4, 2 * 256 + 8)
    row[0, 48:512] = 0.5 / 464  # even over all picture patches, half of the weight elsewhere
    row[0, 512] = 0.5
    row[1, 60] = 0.1  # one patch
    row[1, 0] = 0.9  # and a bar, which is no picture
    row[2, [60, 300]] = 0.2  # two patches alike
    row[3, 512] = 1.0  # nothing on any picture
    entropy = frame_builder.picture_entropy(row, make_keys())
    expected = torch.tensor([math.log(464), 0.0, math.log(2), schema.UNDEFINED_ENTROPY])
    assert math.isnan(entropy[3])
    torch.testing.assert_close(entropy, expected, rtol=0, atol=1e-5, equal_nan=True)


def test_picture_entropy_of_tiny_weights_is_finite():
    row = torch.full((1, 2 * 256 + 8), 1e-41)
    assert torch.isfinite(frame_builder.picture_entropy(row, make_keys())).all()
