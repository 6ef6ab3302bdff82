"""Reads attention weights out of a running policy by forward hooks, without touching the policy.

It knows no model class: any module tree with `…language_model.layers.<i>.self_attn` (the prefix phase) and
`…gemma_expert.model.layers.<i>.self_attn` (the suffix phase) will do, whose attention modules return their softmax
weights (B, heads, queries, keys) as second output. That is true of `capture.model.Pi05` and of openpi's and
lerobot's own policies, as long as they run eager attention::

    with AttentionRecorder(policy.model) as recorder:
        policy.model.sample_actions(...)
        recording = recorder.take()
    recording.prefix   # (B, layers, heads, queries, keys), one pass
    recording.suffix   # (B, layers, steps, heads, horizon, keys), one pass a denoise step
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

Phase = Literal["prefix", "suffix"]

_PATHS: dict[Phase, re.Pattern[str]] = {
    "prefix": re.compile(r"(?:^|\.)language_model\.layers\.(\d+)\.self_attn$"),
    "suffix": re.compile(r"(?:^|\.)gemma_expert\.model\.layers\.(\d+)\.self_attn$"),
}


@dataclass(frozen=True)
class Recording:
    """The attention of one call of a policy, on the host, in the number type in which the policy computed it."""

    prefix: Tensor
    """(B, layers, heads, rows, K): the kept query rows of the one prefix pass."""
    suffix: Tensor
    """(B, layers, steps, heads, H, K + H): every action token of every kept denoise step."""
    layers: tuple[int, ...]
    """Numbers of the layers kept, in axis order."""
    steps: tuple[int, ...]
    """Numbers of the denoise steps kept, in axis order."""
    steps_taken: int
    """Denoise steps that the policy took, kept or not."""
    prefix_valid: Tensor | None
    """(B, K) bool: False where the attention mask hid a prefix token; None where no mask was passed."""
    prefix_values: tuple[Tensor, ...] = ()
    """One a layer, (B, K, kv heads * d), on the policy's device: what `v_proj` gave. Empty unless asked for."""
    suffix_values: tuple[tuple[Tensor, ...], ...] = ()
    """One a layer and step, (B, H, kv heads * d), on the policy's device. Empty unless asked for."""


@dataclass
class _Pass:
    """What one phase has left so far."""

    weights: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """(layer, step) -> (B, heads, rows, keys) on the host; the prefix counts as step 0."""
    values: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    """How often each layer ran: the denoise step is found by counting."""


class AttentionRecorder:
    """A context manager that keeps the attention of every call made inside it.

    `model`: the module tree. `layers`, `steps`: numbers to keep, counted from 0; all if left out. `prefix_rows`: which
    prefix tokens to keep as queries, a slice or indices; all if left out (a full-size padded prefix is then 270 MB in bfloat16).
    `values`: keep what `v_proj` gave as well.

    Hooks are removed on every way out of the `with`. On CUDA, weights are copied to pinned memory on a stream of their
    own while the model goes on. Functions that were compiled with torch.compile run eagerly inside the `with`, since a
    compiled graph calls no hooks.

    Raises `ValueError` on entry if the tree has no such attention modules or a layer that was asked for does not exist, and
    `RuntimeError` during a call if attention is not eager (the weights are None) or the last call was not taken yet.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        prefix_rows: slice | Sequence[int] | None = None,
        values: bool = False,
    ) -> None:
        self._model = model
        self._layers = None if layers is None else tuple(layers)
        self._steps = None if steps is None else tuple(steps)
        self.prefix_rows = prefix_rows
        self._values = values
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._stance: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._start()

    def __enter__(self) -> AttentionRecorder:
        if self._hooks:
            raise RuntimeError("This recorder is in use already: make one recorder for each `with`.")
        found = {phase: self._modules(path) for phase, path in _PATHS.items()}
        missing = [phase for phase, modules in found.items() if not modules]
        if missing:
            raise ValueError(
                "No attention modules found for the "
                + " and the ".join(f"{phase} phase (…{_readable(_PATHS[phase])})" for phase in missing)
                + f" in {type(self._model).__name__}: pass the module that holds the whole Pi0.5 policy."
            )
        numbers = sorted(found["suffix"])
        beyond = [layer for layer in self._layers or () if layer not in found["suffix"] or layer not in found["prefix"]]
        if beyond:
            raise ValueError(f"No layer {beyond[0]}: the policy has layers {numbers[0]} to {numbers[-1]}.")
        self._kept_layers = numbers if self._layers is None else list(self._layers)
        try:
            for phase, modules in found.items():
                for layer, module in modules.items():
                    self._hook(phase, layer, module)
            if hasattr(torch.compiler, "set_stance"):  # torch 2.6
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        self._start()

    def take(self) -> Recording:
        """The attention of the call made since the last `take`; waits for copies under way.

        Raises `RuntimeError` if no whole call was made: one prefix pass and at least one denoise step.
        """
        if self._stream is not None:
            self._stream.synchronize()
        prefix, suffix = self._phases["prefix"], self._phases["suffix"]
        taken = min(suffix.calls.values(), default=0)
        if not prefix.calls or not taken:
            raise RuntimeError(
                "Nothing to take: no whole call of the policy (a prefix pass and a denoise step) was made since the last one."
            )
        layers = self._kept_layers
        steps = list(range(taken)) if self._steps is None else [step for step in self._steps if step < taken]
        beyond = [step for step in self._steps or () if step >= taken]
        if beyond:
            raise RuntimeError(f"No denoise step {beyond[0]}: the policy took {taken}.")
        recording = Recording(
            prefix=torch.stack([prefix.weights[layer, 0] for layer in layers], dim=1),
            suffix=torch.stack(
                [torch.stack([suffix.weights[layer, step] for step in steps], dim=1) for layer in layers], dim=1
            ),
            layers=tuple(layers),
            steps=tuple(steps),
            steps_taken=taken,
            prefix_valid=self._valid,
            prefix_values=tuple(prefix.values[layer, 0] for layer in layers) if self._values else (),
            suffix_values=tuple(tuple(suffix.values[layer, step] for step in steps) for layer in layers)
            if self._values
            else (),
        )
        self._start()
        return recording

    def discard(self) -> None:
        """Forget a call that was not taken, one that failed half-way for instance."""
        if self._stream is not None:
            self._stream.synchronize()
        self._start()

    def _start(self) -> None:
        self._phases: dict[Phase, _Pass] = {"prefix": _Pass(), "suffix": _Pass()}
        self._valid: Tensor | None = None

    def _remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        if self._stream is not None:
            self._stream.synchronize()

    def _modules(self, path: re.Pattern[str]) -> dict[int, nn.Module]:
        matches = ((path.search(name), module) for name, module in self._model.named_modules())
        return {int(match.group(1)): module for match, module in matches if match}

    def _hook(self, phase: Phase, layer: int, module: nn.Module) -> None:
        kept = layer in self._kept_layers

        def weights(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self._seen(phase, layer, kept, output, kwargs.get("attention_mask"))

        def values(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            step = self._phases[phase].calls.get(layer, 0)
            if self._wanted(phase, step):
                self._phases[phase].values[layer, step] = output.detach()

        # `v_proj` runs inside the attention module, so its hook sees the step before the other one counts it.
        if kept and self._values:
            projection: nn.Module | None = getattr(module, "v_proj", None)
            if projection is None:
                raise ValueError(f"Attention module {layer} of the {phase} phase has no v_proj: record without values.")
            self._hooks.append(projection.register_forward_hook(values))
        self._hooks.append(module.register_forward_hook(weights, with_kwargs=True))

    def _wanted(self, phase: Phase, step: int) -> bool:
        return phase == "prefix" or self._steps is None or step in self._steps

    def _seen(self, phase: Phase, layer: int, kept: bool, output: Any, mask: Tensor | None) -> None:
        state = self._phases[phase]
        step = state.calls.get(layer, 0)
        if phase == "prefix" and step:
            raise RuntimeError(
                "The policy was called again before the last call was taken: call `take` after each call."
            )
        state.calls[layer] = step + 1
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if not isinstance(weights, Tensor) or weights.ndim != 4:
            raise RuntimeError(
                f"Layer {layer} of the {phase} phase gave no attention weights: they exist under eager attention only. Set "
                "the model's attention implementation to 'eager' and run it without torch.compile."
            )
        if phase == "prefix" and self._valid is None and mask is not None and mask.ndim == 4:
            # Read off the mask's diagonal: every valid token sees itself. Boolean masks say so, additive ones have 0 there.
            diagonal = mask.diagonal(dim1=-2, dim2=-1)[:, 0]  # (B, K)
            self._valid = (diagonal if diagonal.dtype == torch.bool else diagonal == 0).cpu()
        if not kept or not self._wanted(phase, step):
            return
        weights = weights.detach()
        rows = self.prefix_rows if phase == "prefix" else None
        if rows is not None:
            weights = weights[:, :, rows if isinstance(rows, slice) else list(rows)]  # (B, heads, rows, K)
        state.weights[layer, step] = self._to_host(weights)

    def _to_host(self, weights: Tensor) -> Tensor:
        if weights.device.type != "cuda":
            return weights.to("cpu", copy=True)
        if self._stream is None:
            self._stream = torch.cuda.Stream(weights.device)
        self._stream.wait_stream(torch.cuda.current_stream(weights.device))
        with torch.cuda.stream(self._stream):
            host = torch.empty(weights.shape, dtype=weights.dtype, pin_memory=True)
            host.copy_(weights, non_blocking=True)
        weights.record_stream(self._stream)  # its memory is not given away before the copy is done
        return host


def _readable(path: re.Pattern[str]) -> str:
    return path.pattern.replace(r"(?:^|\.)", "").replace(r"\.", ".").replace(r"(\d+)", "<i>").rstrip("$")
