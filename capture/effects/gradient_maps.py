"""Gradient-weighted attention: attention weight times gradient of an action dimension, summed as relevance.

Chefer et al. 2021 (Generic Attention-model Explainability) keep the positive part of that product, average it over
heads and add it up over layers. Here the prefix and the action tokens are one sequence, in which prefix tokens do not
attend to actions, and the denoise steps are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.effects.effect_map import EffectMap
from capture.effects.effects_file import Frame
from capture.effects.frame_calls import FrameCalls
from capture.effects.measures import spearman
from capture.policies.attention_gradients import AttentionGradients, WeightGradients


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance of prefix tokens for the actions, each (H, K) float32."""

    raising: Tensor
    """Sum over steps, layers and heads of the positive part of weight times gradient, in the actions' own rows."""
    lowering: Tensor
    """The same of the negative part, its magnitude."""
    passed_on: Tensor
    """Chefer et al.'s relevance: also what other tokens pass on, summed over steps."""


def relevance(gradients: WeightGradients) -> Relevance:
    """Add up the products of weights and gradients of one call."""
    first = gradients.suffix[0][0][0]  # (heads, H, K + H)
    keys = first.shape[2] - first.shape[1]
    of_prefix = torch.eye(keys, dtype=first.dtype, device=first.device)  # (K, K)
    before = []  # relevance among prefix tokens at each layer's input, where its keys come from
    for weights, gradient in gradients.prefix:
        before.append(of_prefix)
        of_prefix = of_prefix + (weights * gradient).clamp_min(0).mean(0) @ of_prefix  # (K, K)
    before = before or [of_prefix] * len(gradients.suffix[0])
    raising = lowering = passed_on = torch.zeros_like(first[0, :, :keys])  # (H, K)
    for step in gradients.suffix:
        own = torch.zeros_like(raising)  # (H, K)
        for (weights, gradient), among in zip(step, before, strict=True):
            product = weights * gradient  # (heads, H, K + H)
            raising = raising + product[..., :keys].clamp_min(0).sum(0)
            lowering = lowering - product[..., :keys].clamp_max(0).sum(0)
            positive = product.clamp_min(0).mean(0)  # (H, K + H)
            own = own + positive[:, :keys] @ among + positive[:, keys:] @ own
        passed_on = passed_on + own
    return Relevance(raising, lowering, passed_on)


def measure_gradients(calls: FrameCalls, dims: Sequence[int]) -> list[Relevance]:
    """Return the relevance for each robot dimension, summed over the actions; one forward pass, one backward each."""
    with AttentionGradients(calls.policy.module) as collected:
        actions = calls.engine.differentiate()  # (1, H, A)
        found = collected.of([actions[0, :, dim].sum() for dim in dims])
    return [relevance(gradient) for gradient in found]


def gradient_datasets(calls: FrameCalls, dims: Sequence[int], effects: EffectMap | None) -> Frame:
    """Return the datasets of `gradient/`, and their agreement with an effect map where there is one."""
    layout, pictured = calls.engine.layout, calls.pictured
    found: dict[str, list[npt.NDArray[np.float32]]] = {}
    agreement: dict[str, list[float]] = {"agreement/gradient": [], "agreement/relevance": []}
    for dim, gradient in zip(dims, measure_gradients(calls, dims), strict=True):
        maps = {}
        for name, relevant in (
            ("raising", gradient.raising),
            ("lowering", gradient.lowering),
            ("relevance", gradient.passed_on),
        ):
            values = relevant.cpu().numpy()  # (H, K)
            blocks = [values[:, place].reshape(-1, *layout.grid) for place in layout.patches]
            maps[name] = patches = np.stack(blocks, axis=1)  # (H, cameras, rows, cols)
            text = np.full((len(values), calls.frames.tokens), np.nan, np.float32)
            text[:, : layout.text.stop - layout.text.start] = values[:, layout.text]
            found.setdefault(f"gradient/{name}", []).append(np.where(pictured, patches, np.nan).astype(np.float32))
            found.setdefault(f"gradient/text_{name}", []).append(text)
        if effects is not None:
            for name, rows in (("gradient", maps["raising"] + maps["lowering"]), ("relevance", maps["relevance"])):
                means = [rows[:, block].mean() for block in effects.blocks]  # (n,)
                agreement[f"agreement/{name}"].append(float(spearman(means, effects.of_dim[:, dim])))
    frame: Frame = {name: np.stack(each) for name, each in found.items()}
    frame["gradient/dim"] = np.array(dims, np.int32)
    if effects is not None:
        frame |= {name: np.array(each, np.float32) for name, each in agreement.items()}
    return frame
