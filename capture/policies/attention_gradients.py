"""Gradients of a policy's actions with respect to its attention weights, by hooks and autograd.

    with AttentionGradients(model) as gradients:
        actions = ...  # a call with autograd's graph, (1, H, A)
        [one] = gradients.of([actions[0, :, 2].sum()])

Like `AttentionRecorder` it works on any Pi0.5 module tree that runs eager attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from capture.policies.attention_modules import Phase, eager_execution, find_attention_modules


@dataclass(frozen=True, eq=False)
class WeightGradients:
    """Attention weights of one call of one observation, and the gradient of a number with respect to them; float32."""

    prefix: tuple[tuple[Tensor, Tensor], ...]
    """One a layer: weights and gradient (heads, K, K) of the prefix tokens; empty where the prefix was not run."""
    suffix: tuple[tuple[tuple[Tensor, Tensor], ...], ...]
    """One a denoise step and layer: weights and gradient (heads, H, K + H) of the action tokens."""


class AttentionGradients:
    """Context manager that keeps the attention weights of one call made inside it, with autograd's graph."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._kept: dict[Phase, list[Tensor]] = {"prefix": [], "suffix": []}

    def __enter__(self) -> Self:
        modules = find_attention_modules(self._model)
        self._layers = len(modules["suffix"])
        for phase, modules_by_layer in modules.items():
            for layer in sorted(modules_by_layer):
                self._hooks.append(modules_by_layer[layer].register_forward_hook(self._keep(self._kept[phase])))
        eager_execution.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        eager_execution.__exit__(None, None, None)

    @staticmethod
    def _keep(weights_of_phase: list[Tensor]) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            weights = output[1]  # (1, N, Q, K)
            if not isinstance(weights, Tensor) or weights.ndim != 4 or len(weights) != 1:
                raise RuntimeError("Gradients need the attention weights (1, heads, Q, K) of one observation, eager.")
            weights_of_phase.append(weights)

        return hook

    def differentiate(self, numbers: Sequence[Tensor]) -> list[WeightGradients]:
        """Return the gradients of each number (a tensor of one value), one backward pass each.

        Raises RuntimeError where the call was made without autograd's graph.
        """
        weights = [*self._kept["prefix"], *self._kept["suffix"]]
        layers = len(self._kept["prefix"])  # none where the prefix was not run anew
        if not weights or not all(weights.requires_grad for weights in self._kept["suffix"]):
            raise RuntimeError("No call with autograd's graph was made: there is nothing to differentiate.")
        differentiable = [weight for weight in weights if weight.requires_grad]
        results = []
        for index, number in enumerate(numbers):
            gradients = iter(
                torch.autograd.grad(number, differentiable, retain_graph=index < len(numbers) - 1, allow_unused=True)
            )
            pairs = []
            for weight in weights:
                gradient = next(gradients) if weight.requires_grad else None
                # The last layer's prefix weights change nothing that the actions read.
                value = torch.zeros_like(weight) if gradient is None else gradient
                pairs.append((weight.detach()[0].float(), value[0].float()))
            suffix = pairs[layers:]
            starts = range(0, len(suffix), self._layers)
            steps = tuple(tuple(suffix[start : start + self._layers]) for start in starts)
            results.append(WeightGradients(tuple(pairs[:layers]), steps))
        return results
