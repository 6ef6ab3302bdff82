"""The action expert of Pi0.5: Gemma 300M whose norms are conditioned on the flow time (adaRMS).

Formulas follow openpi (`models/gemma.py`). Shapes in comments: B batch, H horizon, E width of the expert, K prefix
tokens, N heads, M kv heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from capture.policies.pi05.config import StackConfig

ROPE_BASE = 10000.0
NORM_EPS = 1e-6


def rope_table(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of rotary position embedding (RoFormer, arXiv 2104.09864), half-split pairing.

    `positions`: (B, H) int64. Returns two (B, 1, H, d) float32 tables; float32 also in a bfloat16 policy, because at
    position 600 a bfloat16 frequency is off by up to 0.8 rad.
    """
    exponent = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim  # (d/2,)
    angle = positions[..., None].float() * (1.0 / ROPE_BASE**exponent)  # (B, H, d/2)
    angle = torch.cat([angle, angle], dim=-1)[:, None]  # (B, 1, H, d)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair (i, i + d/2) of `x` (B, N, H, d) by the table's angle, in float32; return x's dtype."""
    first, second = x.float().chunk(2, dim=-1)  # 2 x (B, N, H, d/2)
    turned = torch.cat([-second, first], dim=-1)  # (B, N, H, d)
    return (x * table[0] + turned * table[1]).to(x.dtype)  # (B, N, H, d)


class AdaptiveNorm(nn.Module):
    """RMS norm whose scale, shift and gate come from a condition (adaRMS, openpi `gemma.py: RMSNorm`)."""

    def __init__(self, width: int, condition_width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(condition_width, 3 * width)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalised `x` (B, H, E) and the gate (B, 1, E) in x's dtype; `condition` is (B, E) float32."""
        scale, shift, gate = (
            self.dense(condition.to(self.dense.weight.dtype))[:, None].float().chunk(3, dim=-1)
        )  # 3 x (B, 1, E)
        wide = x.float()  # (B, H, E)
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPS)  # (B, H, E)
        return (normed * (1 + scale) + shift).to(x.dtype), gate.to(x.dtype)


class ExpertAttention(nn.Module):
    """Attention of the action tokens to the cached prefix and to one another.

    `forward` returns the attention weights as its second output, as eager attention in transformers does, so that a
    forward hook can read them.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.q_proj = nn.Linear(config.width, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.width, bias=False)

    def forward(
        self,
        x: Tensor,
        prefix: tuple[Tensor, Tensor],
        table: tuple[Tensor, Tensor],
        attention_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the output (B, H, E) and the attention weights (B, N, H, K + H), both in x's dtype.

        `x` (B, H, E), `prefix` keys and values (B, M, K, d) each, or (1, M, K, d) where all rows share one prefix,
        `table` from `rope_table`, additive `attention_mask` (B, 1, H, K + H) float32. Its name is that in transformers,
        so that hooks can replace it.
        """
        batch, horizon, _ = x.shape
        split = (batch, horizon, -1, self.head_dim)
        query = rotate(self.q_proj(x).view(split).transpose(1, 2), table)  # (B, N, H, d)
        key = rotate(self.k_proj(x).view(split).transpose(1, 2), table)  # (B, M, H, d)
        value = self.v_proj(x).view(split).transpose(1, 2)  # (B, M, H, d)
        if len(prefix[0]) == 1 < batch:
            mixed, weights = self._attend_to_shared_prefix(query, key, value, prefix, attention_mask)
            return self.o_proj(mixed), weights
        # Concatenated at each step: in a growing cache, step 2 would attend to the action tokens of step 1.
        key = torch.cat([prefix[0], key], dim=2)  # (B, M, K + H, d)
        value = torch.cat([prefix[1], value], dim=2)  # (B, M, K + H, d)
        queries_per_key = self.heads // self.kv_heads
        key = key.repeat_interleave(queries_per_key, dim=1)  # (B, N, K + H, d)
        value = value.repeat_interleave(queries_per_key, dim=1)  # (B, N, K + H, d)
        logits = query @ key.transpose(2, 3) * self.head_dim**-0.5 + attention_mask  # (B, N, H, K + H) float32
        weights = logits.softmax(dim=-1, dtype=torch.float32).to(x.dtype)  # (B, N, H, K + H)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, horizon, -1)  # (B, H, N * d)
        return self.o_proj(mixed), weights

    def _attend_to_shared_prefix(
        self, query: Tensor, key: Tensor, value: Tensor, prefix: tuple[Tensor, Tensor], attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the heads' outputs (B, H, N * d) and the weights (B, N, H, K + H) where all rows share one prefix.

        The same as with B copies of the prefix, which are not made: the rows' queries meet it in one product.
        `query` (B, N, H, d), own `key` and `value` (B, M, H, d), `prefix` keys and values (1, M, K, d) each.
        """
        batch, _, horizon, width = query.shape
        groups = self.heads // self.kv_heads
        shape = (batch, self.kv_heads, groups * horizon)

        def together(rows: Tensor) -> Tensor:
            """Return (M, B * groups * H, x) of (B, M, groups * H, x)."""
            return rows.transpose(0, 1).flatten(1, 2)

        def apart(rows: Tensor) -> Tensor:
            """Return (B, M, groups * H, x) of (M, B * groups * H, x)."""
            by_observation: Tensor = rows.unflatten(1, (batch, -1))  # (M, B, groups * H, x)
            return by_observation.transpose(0, 1)

        query = query.reshape(*shape, width) * self.head_dim**-0.5  # (B, M, groups * H, d)
        to_prefix = apart(together(query) @ prefix[0][0].transpose(1, 2))  # (B, M, groups * H, K)
        to_own = query @ key.transpose(2, 3)  # (B, M, groups * H, H)
        logits = torch.cat([to_prefix, to_own], dim=-1).reshape(batch, self.heads, horizon, -1)  # (B, N, H, K + H)
        logits = logits + attention_mask  # (B, N, H, K + H) float32
        weights = logits.softmax(dim=-1, dtype=torch.float32).to(query.dtype)  # (B, N, H, K + H)
        keys = prefix[0].shape[2]
        rows = weights.reshape(*shape, -1)  # (B, M, groups * H, K + H)
        mixed = apart(together(rows[..., :keys]) @ prefix[1][0]) + rows[..., keys:] @ value  # (B, M, groups * H, d)
        mixed = mixed.reshape(batch, self.heads, horizon, width).transpose(1, 2)  # (B, H, N, d)
        return mixed.reshape(batch, horizon, -1), weights


class GatedMlp(nn.Module):
    """Gemma's feed-forward block: down(gelu(gate(x)) * up(x)), GELU in its tanh form."""

    def __init__(self, width: int, mlp: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, mlp, bias=False)
        self.up_proj = nn.Linear(width, mlp, bias=False)
        self.down_proj = nn.Linear(mlp, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, H, E) for `x` (B, H, E)."""
        gate = nn.functional.gelu(self.gate_proj(x), approximate="tanh")  # (B, H, mlp)
        return cast(Tensor, self.down_proj(gate * self.up_proj(x)))  # (B, H, E)


class ExpertLayer(nn.Module):
    """One block of the action expert: attention and feed-forward, each normalised and gated by the condition."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.self_attn = ExpertAttention(config)
        self.mlp = GatedMlp(config.width, config.mlp)
        self.input_layernorm = AdaptiveNorm(config.width, config.width)
        self.post_attention_layernorm = AdaptiveNorm(config.width, config.width)

    def forward(
        self, x: Tensor, condition: Tensor, prefix: tuple[Tensor, Tensor], table: tuple[Tensor, Tensor], mask: Tensor
    ) -> Tensor:
        """Return the block's output (B, H, E) for `x` (B, H, E); for the rest see `ExpertAttention`, `AdaptiveNorm`."""
        normed, gate = self.input_layernorm(x, condition)  # (B, H, E), (B, 1, E)
        x = x + self.self_attn(normed, prefix, table, attention_mask=mask)[0] * gate  # (B, H, E)
        normed, gate = self.post_attention_layernorm(x, condition)  # (B, H, E), (B, 1, E)
        mixed: Tensor = x + self.mlp(normed) * gate  # (B, H, E)
        return mixed


class Expert(nn.Module):
    """The action expert: Gemma 300M with adaptive norms."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.layers = nn.ModuleList(ExpertLayer(config) for _ in range(config.depth))
        self.norm = AdaptiveNorm(config.width, config.width)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        positions: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        mask: Tensor,
    ) -> Tensor:
        """Return the final hidden states of the action tokens, after the last norm: (B, H, E).

        `x` (B, H, E), `condition` (B, E), `positions` (B, H) int64, `mask` (B, 1, H, K + H); `keys` and `values` of the
        prefix, one (B, M, K, d) per layer.
        """
        table = rope_table(positions, self.head_dim)  # 2 x (B, 1, H, d)
        for layer, *keys_and_values in zip(self.layers, keys, values, strict=True):
            x = layer(x, condition, tuple(keys_and_values), table, mask)  # (B, H, E)
        return cast(Tensor, self.norm(x, condition)[0])  # (B, H, E)
