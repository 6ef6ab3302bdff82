"""What is known of a policy without its modules: its sizes, and the number types that it computes in."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of SigLIP, the picture encoder (So400m/14: width 1152, depth 27, 16 heads, mlp 4304)."""

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
    """Sizes of a whole policy. `horizon` and `denoise_steps` are not in the weights: any value runs."""

    vision: VisionConfig
    vlm: StackConfig
    expert: StackConfig
    vocabulary: int
    action_dim: int = 32
    horizon: int = 15
    denoise_steps: int = 10


def parameter_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Number type of the parameter `name`, the model's name or openpi's, in a policy that runs in `dtype`.

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
