"""Norms of the transformed value vectors of each head and key, |W_O(head) v(key)|.

Attention weight times this norm is the size of a key's contribution to the residual stream (Kobayashi et al. 2020,
arXiv 2004.10102). An attention sink, a key with a large weight and a small value, contributes little.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from capture.policies.attention_hooks import Recording
from capture.policies.base import Norms
from capture.policies.process_settings import multiply_exactly


class ValueNorms:
    """Cholesky factors of the output projections of one stack, from which the norms are computed.

    |W v| = |R v| where R, d x d, is the Cholesky factor of W's Gram matrix, W^T W = R^T R. This takes an eighth to a
    quarter of the operations. The Gram matrix is computed in float64, since squaring loses precision.
    """

    def __init__(self, projections: Sequence[nn.Linear], heads: int) -> None:
        """`projections`: `o_proj` of each recorded layer, weight (width, heads * d)."""
        self._factors = torch.stack([_factor(projection.weight.detach(), heads) for projection in projections])
        """(L, N, d, d) float32."""

    @torch.no_grad()
    def lengths(self, values: Tensor) -> Tensor:
        """Return the norms (L, N, keys) float32 of `values` (L, keys, M * d), on the same device."""
        head_dim = self._factors.shape[-1]
        split: Tensor = values.float().unflatten(-1, (-1, head_dim)).transpose(1, 2)  # (L, M, keys, d)
        factors: Tensor = self._factors.unflatten(1, (split.shape[1], -1))  # (L, M, N / M, d, d)
        written = multiply_exactly(split[:, :, None], factors.transpose(-1, -2))  # (L, M, N / M, keys, d)
        lengths: Tensor = torch.linalg.vector_norm(written, dim=-1)  # (L, M, N / M, keys)
        return lengths.flatten(1, 2)  # (L, N, keys)


def measure_norms(recording: Recording, language: ValueNorms, expert: ValueNorms) -> Norms:
    """Return the value norms of a call that was recorded with values; `language`, `expert`: of its layers."""
    prefix = torch.stack(recording.prefix_values)  # (L, B, K, M * d)
    action_values = torch.stack([value for step in recording.suffix_values for value in step])  # (S * L, B, H, M * d)
    axes = (len(recording.steps), len(recording.layers))
    action_values = action_values.unflatten(0, axes).transpose(0, 1)  # (L, S, B, H, M * d)

    def lengths(norms: ValueNorms, values: Tensor) -> Tensor:
        """Return the lengths (..., L, N, keys) of `values` (L, ..., keys, M * d)."""
        key_norms: Tensor = norms.lengths(values.flatten(1, -2))  # (L, N, ... * keys)
        key_norms = key_norms.unflatten(2, values.shape[1:-1])  # (L, N, ..., keys)
        moved: Tensor = key_norms.movedim((0, 1), (-3, -2))  # (..., L, N, keys)
        return moved

    action = lengths(expert, action_values).permute(1, 2, 0, 3, 4)  # (B, L, S, N, H)
    return Norms(lengths(language, prefix), lengths(expert, prefix), action)


def _factor(weight: Tensor, heads: int) -> Tensor:
    columns: Tensor = weight.double().unflatten(1, (heads, -1)).transpose(0, 1)  # (N, width, d)
    gram = columns.transpose(1, 2) @ columns  # (N, d, d)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(gram, upper=True)  # (N, d, d), (N,)
    if bool(failed.any()):  # the Gram matrix of a head whose projection has rank below d is singular
        spread, directions = torch.linalg.eigh(gram)  # (N, d), (N, d, d)
        factor = spread.clamp_min(0).sqrt()[:, :, None] * directions.transpose(1, 2)  # (N, d, d)
    return factor.float()
