"""Value norms against the formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from capture.policies.value_norms import ValueNorms


@pytest.mark.parametrize(("width", "kv_heads"), [(40, 1), (40, 2), (6, 4)])
def test_value_norms_are_norms_of_each_heads_output(width, kv_heads):
    torch.manual_seed(0)
    heads, head_dim, keys = 4, 8, 11
    projections = [nn.Linear(heads * head_dim, width, bias=False) for _ in range(2)]
    values = torch.randn(2, keys, kv_heads * head_dim)
    lengths = ValueNorms(projections, heads).lengths(values)
    assert lengths.shape == (2, heads, keys)
    for layer, projection in enumerate(projections):
        for head in range(heads):
            columns = projection.weight[:, head * head_dim : (head + 1) * head_dim]  # head h owns columns h * d on
            shared = head // (heads // kv_heads)
            value = values[layer, :, shared * head_dim : (shared + 1) * head_dim]
            torch.testing.assert_close(lengths[layer, head], (value @ columns.T).norm(dim=-1), rtol=1e-5, atol=1e-5)


def test_bfloat16_values_are_measured_in_float32():
    torch.manual_seed(0)
    projection = nn.Linear(32, 40, bias=False).to(torch.bfloat16)
    values = torch.randn(1, 5, 8).to(torch.bfloat16)
    lengths = ValueNorms([projection], 4).lengths(values)
    columns = projection.weight.double().unflatten(1, (4, 8))  # (width, N, d)
    exact = torch.einsum("wnd,lkd->lnkw", columns, values.double()).norm(dim=-1)
    assert lengths.dtype == torch.float32
    torch.testing.assert_close(lengths, exact.float(), rtol=1e-5, atol=1e-6)
