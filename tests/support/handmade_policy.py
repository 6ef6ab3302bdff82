"""A policy whose actions depend on one prefix token, through one head, and on nothing else of the prefix.

Its action expert is the small random one with planted weights: norms give every action token the same hidden state, all
queries point along the slowest RoPE direction, and one prefix key answers them so strongly that its weight is 1. Only
one head of one layer writes what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from small_policy import small_model
from torch import Tensor

from capture.policies.base import Layout, PolicySizes, Prepared
from capture.policies.pi05.model import Pi05, Prefix

GRID = (4, 4)
CAMERAS = ("exterior", "wrist")
TEXT = 6
KEYS = 2 * 16 + TEXT


class HandmadePolicy:
    """A policy for `EffectEngine`: two cameras of 4 x 4 patches and six text tokens, three layers of four heads."""

    def __init__(self, key: int, layer: int = 1, head: int = 2) -> None:
        """`key`: number of the prefix token that counts; `layer`, `head`: where it is read."""
        self.module: Pi05 = small_model()
        self.device = torch.device("cpu")
        config = self.module.config
        self.sizes = PolicySizes(
            layers=config.expert.depth, heads=config.expert.heads, horizon=config.horizon,
            denoise_steps=config.denoise_steps, action_dim=config.action_dim, robot_dim=7, cameras=CAMERAS,
            picture=(56, 56), grid=GRID,
        )  # fmt: skip
        self.calls = 0
        width, size = config.expert.head_dim, config.expert
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for number, block in enumerate(self.module.expert.layers):
                norm, attention = block.input_layernorm.dense, block.self_attn
                norm.weight.zero_()
                norm.bias.copy_(torch.cat([-torch.ones(size.width), torch.ones(size.width), torch.ones(size.width)]))
                queries = torch.zeros(size.heads, width, size.width)
                queries[:, width // 2 - 1] = 1.0  # the slowest of the rotations, in its first half
                attention.q_proj.weight.copy_(queries.flatten(0, 1))
                attention.k_proj.weight.zero_()
                written = torch.zeros(size.width, size.heads, width)
                if number == layer:
                    written[:, head] = torch.randn(size.width, width, generator=generator)
                attention.o_proj.weight.copy_(written.flatten(1))
        shape = (1, size.kv_heads, KEYS, width)
        keys = [torch.zeros(shape) for _ in range(size.depth)]
        for cached in keys:
            cached[:, :, key, width // 2 - 1] = 60.0
        values = [torch.randn(shape, generator=generator) for _ in range(size.depth)]
        empty = torch.zeros(1, KEYS, 1)
        self._prefix = Prefix(
            tuple(keys), tuple(values), empty, empty, torch.arange(KEYS)[None],
            torch.ones(1, KEYS, dtype=torch.bool), torch.arange(KEYS),
        )  # fmt: skip

    def run_prefix(self, prepared: Sequence[Prepared], *, copies: int = 1) -> Prefix:
        return self._prefix

    def layout(self, prepared: Prepared, prefix: Prefix) -> Layout:
        return Layout(CAMERAS, (slice(0, 16), slice(16, 32)), GRID, slice(32, KEYS), self._prefix.positions)

    def denoise(self, prefix: Prefix, noise: Tensor) -> Tensor:
        self.calls += 1
        return self.module.denoise(noise, prefix).actions

    def differentiate(self, prepared: Prepared, noise: Tensor) -> Tensor:
        return self.module.denoise(noise, self._prefix, differentiable=True).actions
