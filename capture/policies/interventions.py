"""Interventions on a running policy by hooks: attention edges that are cut, and heads that are silenced.

Like `AttentionRecorder` they work on any Pi0.5 module tree that runs eager attention, those of openpi and lerobot
included, and leave the policy unchanged::

    edges = torch.zeros(1, 1, 1, keys, dtype=torch.bool)
    edges[..., :256] = True  # the patches of the first camera
    with Interventions(model, [Knockout("suffix", edges)]):  # from every action token, in all layers and heads
        model.sample_actions(...)

A cut edge gets the logit minus infinity, so that the softmax spreads its weight over the row's other keys (attention
knockout, Geva et al. 2023). A silenced head contributes nothing to the layer's output (Michel et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from capture.policies.attention_modules import Phase, eager_execution, find_attention_modules

HIDDEN_BELOW = -1e30
"""An additive mask's value below which a key counts as hidden: openpi adds -2.4e38, others the lowest of a dtype."""


@dataclass(frozen=True, eq=False)
class Knockout:
    """Attention edges that are cut in every pass of one phase."""

    phase: Phase
    edges: Tensor
    """Bool, broadcastable to (B, heads, queries, keys): True cuts the edge from that query to that key. The keys are
    those of the mask that the policy passes to its attention: for the suffix phase, the prefix and then the actions."""
    layers: tuple[int, ...] | None = None
    """Layers in which they are cut; None means all."""


@dataclass(frozen=True, eq=False)
class HeadSilencing:
    """Attention heads whose output is replaced by zeros in every pass of one phase."""

    phase: Phase
    heads: Tensor
    """Bool, (B or 1, layers, heads): True silences that head of that layer, for that row of the batch."""


class Interventions:
    """Context manager that applies interventions to each call of a policy made inside it.

    Its hooks are removed when the `with` block ends, also after an error. Several rows of a batch can be treated
    differently. Functions compiled with torch.compile run eagerly inside the `with`.

    Raises on entry `TypeError` if `model` is not a module and `ValueError` if it has no attention modules or a layer
    does not exist; during a call `ValueError` where edges or heads do not fit the call or leave a query without a key,
    and `RuntimeError` where attention gets no mask, as it does not under eager attention without one.
    """

    def __init__(self, model: nn.Module, interventions: Sequence[Knockout | HeadSilencing]) -> None:
        self._model = model
        self._interventions = tuple(interventions)
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._checked: set[int] = set()

    def __enter__(self) -> Self:
        if self._hooks:
            raise RuntimeError("These interventions are in use already: make new ones for each `with`.")
        modules = find_attention_modules(self._model)
        try:
            for intervention in self._interventions:
                modules_of_phase = modules[intervention.phase]
                if isinstance(intervention, Knockout):
                    self._hook_knockout(intervention, modules_of_phase)
                else:
                    self._hook_silencing(intervention, modules_of_phase)
            eager_execution.__enter__()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        eager_execution.__exit__(None, None, None)

    def _remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._checked.clear()

    def _hook_knockout(self, knockout: Knockout, modules: dict[int, nn.Module]) -> None:
        if knockout.edges.dtype != torch.bool or not 1 <= knockout.edges.ndim <= 4:
            raise ValueError(
                f"Edges are a bool tensor of at most 4 axes, not {knockout.edges.dtype} {tuple(knockout.edges.shape)}."
            )
        for layer in sorted(modules) if knockout.layers is None else knockout.layers:
            if layer not in modules:
                raise ValueError(f"No layer {layer}: the policy has layers {min(modules)} to {max(modules)}.")

            def cut(
                _: nn.Module, arguments: tuple[Any, ...], kwargs: dict[str, Any]
            ) -> tuple[tuple[Any, ...], dict[str, Any]]:
                mask = kwargs.get("attention_mask")
                if not isinstance(mask, Tensor) or mask.ndim != 4:
                    raise RuntimeError(
                        "Attention got no mask of (B, 1, queries, keys): edges can be cut under eager attention only."
                    )
                return arguments, {**kwargs, "attention_mask": self._masked(mask, knockout)}

            self._hooks.append(modules[layer].register_forward_pre_hook(cut, with_kwargs=True))

    def _masked(self, mask: Tensor, knockout: Knockout) -> Tensor:
        """Return the mask (B, heads or 1, queries, keys) in which the cut edges are hidden too."""
        edges = knockout.edges.to(mask.device)
        try:
            shape = torch.broadcast_shapes(mask.shape, edges.shape)
        except RuntimeError:
            shape = torch.Size()
        if not shape or shape[2:] != mask.shape[2:]:
            raise ValueError(
                f"Edges of shape {tuple(edges.shape)} do not fit the {knockout.phase} phase, whose mask has the shape "
                f"{tuple(mask.shape)}: (B, heads, queries, keys)."
            )
        masked = mask & ~edges if mask.dtype == torch.bool else mask.masked_fill(edges, float("-inf"))
        if id(knockout) not in self._checked:  # once a `with`: it waits for the device
            self._checked.add(id(knockout))
            if bool((_has_key(mask) & ~_has_key(masked)).any()):
                raise ValueError(
                    f"The cut edges leave a query of the {knockout.phase} phase without any key: keep at least one."
                )
        return masked

    def _hook_silencing(self, silencing: HeadSilencing, modules: dict[int, nn.Module]) -> None:
        heads = silencing.heads
        if heads.dtype != torch.bool or heads.ndim != 3 or heads.shape[1] != len(modules):
            raise ValueError(
                f"Heads are a bool tensor (B, {len(modules)} layers, heads), not {heads.dtype} {tuple(heads.shape)}."
            )
        for index, layer in enumerate(sorted(modules)):
            rows = heads[:, index]  # (B or 1, heads)
            if not bool(rows.any()):
                continue
            projection = getattr(modules[layer], "o_proj", None)
            if projection is None:
                raise ValueError(f"Attention module {layer} of the {silencing.phase} phase has no o_proj.")

            def silence(_: nn.Module, arguments: tuple[Any, ...], rows: Tensor = rows) -> tuple[Any, ...]:
                mixed_heads, *others = arguments  # (B, Q, heads * d)
                if mixed_heads.shape[-1] % rows.shape[-1] or rows.shape[0] not in (1, len(mixed_heads)):
                    raise ValueError(
                        f"Silenced heads of shape {tuple(rows.shape)} do not fit an output {tuple(mixed_heads.shape)}."
                    )
                split = mixed_heads.unflatten(-1, (rows.shape[-1], -1))  # (B, Q, heads, d)
                remaining = split.masked_fill(rows.to(mixed_heads.device)[:, None, :, None], 0)  # (B, Q, heads, d)
                return (remaining.flatten(-2), *others)

            self._hooks.append(projection.register_forward_pre_hook(silence))


def _has_key(mask: Tensor) -> Tensor:
    """Return which queries (B, heads, queries) have a key that the mask (B, heads, queries, keys) shows."""
    return (mask if mask.dtype == torch.bool else mask > HIDDEN_BELOW).any(-1)
