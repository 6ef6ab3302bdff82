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


def compute_relevance(gradients: WeightGradients) -> Relevance:
    """Add up the products of weights and gradients of one call."""
    first_weights = gradients.suffix[0][0][0]  # (heads, H, K + H)
    keys = first_weights.shape[2] - first_weights.shape[1]
    prefix_relevance = torch.eye(keys, dtype=first_weights.dtype, device=first_weights.device)  # (K, K)
    layer_inputs = []  # relevance among prefix tokens at each layer's input, where its keys come from
    for weights, gradient in gradients.prefix:
        layer_inputs.append(prefix_relevance)
        prefix_relevance = prefix_relevance + (weights * gradient).clamp_min(0).mean(0) @ prefix_relevance  # (K, K)
    layer_inputs = layer_inputs or [prefix_relevance] * len(gradients.suffix[0])
    raising = lowering = passed_on = torch.zeros_like(first_weights[0, :, :keys])  # (H, K)
    for step in gradients.suffix:
        action_relevance = torch.zeros_like(raising)  # (H, K)
        for (weights, gradient), prefix_relevance_at_layer in zip(step, layer_inputs, strict=True):
            product = weights * gradient  # (heads, H, K + H)
            raising = raising + product[..., :keys].clamp_min(0).sum(0)
            lowering = lowering - product[..., :keys].clamp_max(0).sum(0)
            positive = product.clamp_min(0).mean(0)  # (H, K + H)
            action_relevance = (
                action_relevance
                + positive[:, :keys] @ prefix_relevance_at_layer
                + positive[:, keys:] @ action_relevance
            )
        passed_on = passed_on + action_relevance
    return Relevance(raising, lowering, passed_on)


def measure_gradients(calls: FrameCalls, dims: Sequence[int]) -> list[Relevance]:
    """Return the relevance for each robot dimension, summed over the actions; one forward pass, one backward each."""
    with AttentionGradients(calls.policy.module) as recorded:
        actions = calls.engine.differentiate()  # (1, H, A)
        gradients = recorded.differentiate([actions[0, :, dim].sum() for dim in dims])
    return [compute_relevance(gradient) for gradient in gradients]


def gradient_datasets(calls: FrameCalls, dims: Sequence[int], effects: EffectMap | None) -> Frame:
    """Return the datasets of `gradient/`, and their agreement with an effect map where there is one."""
    layout, pictured = calls.engine.layout, calls.pictured
    values_by_name: dict[str, list[npt.NDArray[np.float32]]] = {}
    agreement: dict[str, list[float]] = {"agreement/gradient": [], "agreement/relevance": []}
    for dim, gradient in zip(dims, measure_gradients(calls, dims), strict=True):
        maps = {}
        for name, tokens_relevance in (
            ("raising", gradient.raising),
            ("lowering", gradient.lowering),
            ("relevance", gradient.passed_on),
        ):
            values = tokens_relevance.cpu().numpy()  # (H, K)
            blocks = [values[:, positions].reshape(-1, *layout.grid) for positions in layout.patches]
            maps[name] = patches = np.stack(blocks, axis=1)  # (H, cameras, rows, cols)
            text = np.full((len(values), calls.frames.tokens), np.nan, np.float32)
            text[:, : layout.text.stop - layout.text.start] = values[:, layout.text]
            values_by_name.setdefault(f"gradient/{name}", []).append(
                np.where(pictured, patches, np.nan).astype(np.float32)
            )
            values_by_name.setdefault(f"gradient/text_{name}", []).append(text)
        if effects is not None:
            for name, rows in (("gradient", maps["raising"] + maps["lowering"]), ("relevance", maps["relevance"])):
                means = [rows[:, block].mean() for block in effects.blocks]  # (n,)
                agreement[f"agreement/{name}"].append(float(spearman(means, effects.of_dim[:, dim])))
    frame: Frame = {name: np.stack(each) for name, each in values_by_name.items()}
    frame["gradient/dim"] = np.array(dims, np.int32)
    if effects is not None:
        frame |= {name: np.array(each, np.float32) for name, each in agreement.items()}
    return frame
