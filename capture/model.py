"""Pi0.5 inference, readable top to bottom (work in progress: sizes only)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of SigLIP, the picture encoder."""

    width: int
    depth: int
    heads: int
    mlp: int


@dataclass(frozen=True)
class StackConfig:
    """Sizes of one Gemma stack: the language model's or the action expert's."""

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
