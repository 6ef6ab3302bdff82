"""Sizes of a Pi0.5 policy and the dtypes of its parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of SigLIP, the image encoder (So400m/14: width 1152, depth 27, 16 heads, mlp 4304)."""

    width: int
    depth: int
    heads: int
    mlp: int
    image_size: int = 224
    patch_size: int = 14


@dataclass(frozen=True)
class StackConfig:
    """Sizes of one Gemma stack: the language model's (2B) or the action expert's (300M)."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True)
class Pi05Config:
    """Sizes of a whole policy. `horizon` and `denoise_steps` do not depend on the weights and can take any value."""

    vision: VisionConfig
    vlm: StackConfig
    expert: StackConfig
    vocabulary: int
    action_dim: int = 32
    horizon: int = 15
    denoise_steps: int = 10


def parameter_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the parameter `name` in a policy that runs in `dtype`; `name` is ours or openpi's.

    In bfloat16, as in openpi's PyTorch port: SigLIP's patch and position embeddings, all norms of both Gemma stacks
    (the adaRMS projections among them), the action projections and the time MLP stay float32.
    """
    if dtype == torch.float32:
        return dtype
    if name.startswith(("action_", "time_mlp_")) or "vision_tower.embeddings." in name:
        return torch.float32
    if "vision_tower." not in name and ("layernorm." in name or ".norm." in name):
        return torch.float32
    return dtype
