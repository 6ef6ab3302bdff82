"""Recording of attention weights from a running policy by forward hooks, without changing the policy.

It does not depend on a model class: it accepts any module tree with `…language_model.layers.<i>.self_attn` (the prefix
phase) and `…gemma_expert.model.layers.<i>.self_attn` or `…expert.layers.<i>.self_attn` (the suffix phase) whose
attention modules return their softmax weights (B, heads, queries, keys) as second output. That is true of
`capture.policies.pi05.model.Pi05` and of openpi's and lerobot's own policies, provided that they run eager attention::

    with AttentionRecorder(policy.model) as recorder:
        policy.model.sample_actions(...)
        recording = recorder.take()
    recording.prefix   # (B, layers, heads, queries, keys), one pass
    recording.suffix   # (B, layers, steps, heads, horizon, keys), one pass per denoise step
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from capture.policies.attention_modules import Phase, eager_execution, find_attention_modules


@dataclass(frozen=True)
class Recording:
    """Attention weights of one policy call, in the dtype in which the policy computed them.

    On the host, or on the policy's device if the recorder was created with `to_host=False`.
    """

    prefix: Tensor
    """(B, layers, heads, rows, K): the kept query rows of the prefix pass."""
    suffix_steps: tuple[Tensor, ...]
    """One per kept denoise step, (B, layers, heads, H, K + H): rows of all action tokens."""
    layers: tuple[int, ...]
    """Numbers of the layers kept, in axis order."""
    steps: tuple[int, ...]
    """Numbers of the denoise steps kept, in axis order."""
    steps_taken: int
    """Denoise steps that the policy took, kept or not."""
    prefix_valid: Tensor | None
    """(B, K) bool: False where the attention mask hid a prefix token; None where no mask was passed."""
    prefix_values: tuple[Tensor, ...] = ()
    """Output of `v_proj`, one per layer, (B, K, kv heads * d), on the policy's device. Empty unless requested."""
    suffix_values: tuple[tuple[Tensor, ...], ...] = ()
    """One per step and layer, (B, H, kv heads * d), on the policy's device. Empty unless requested."""

    @cached_property
    def suffix(self) -> Tensor:
        """(B, layers, steps, heads, H, K + H): rows of all action tokens in all kept denoise steps."""
        return torch.stack(self.suffix_steps, dim=2)


@dataclass
class _Pass:
    """Tensors recorded so far in one phase; the prefix pass counts as step 0."""

    calls: dict[int, int] = field(default_factory=dict)
    """Number of runs of each layer, which is the number of the next denoise step."""
    pending: dict[int, Tensor] = field(default_factory=dict)
    """Layer -> weights (B, heads, rows, keys) of the step that is running."""
    weights: dict[int, Tensor] = field(default_factory=dict)
    """Step -> weights (B, layers, heads, rows, keys) on the host, or on their way there."""
    values: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """(step, layer) -> output of `v_proj`."""


class AttentionRecorder:
    """Context manager that records the attention weights of each policy call made inside it.

    `model`: the module tree. `layers`, `steps`: numbers to keep, counted from 0; None keeps all. `prefix_rows`: which
    prefix tokens to keep as queries, a slice or indices; None keeps all (270 MB for a full-size padded prefix in
    bfloat16). `values`: keep the output of `v_proj` as well. `to_host`: copy weights to the host; otherwise they stay
    on the policy's device for further computation.

    The hooks are removed when the `with` block ends, also after an error. On CUDA, weights are copied to pinned memory
    on a separate stream while the model runs. Functions compiled with torch.compile run eagerly inside the `with`,
    since a compiled graph calls no hooks.

    Raises on entry `TypeError` if `model` is not a module, and `ValueError` if the tree has no such attention modules
    or those of several policies, or a requested layer does not exist; during a call `RuntimeError` if attention is not
    eager (the weights are None) or the previous recording was not taken yet.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        prefix_rows: slice | Sequence[int] | None = None,
        values: bool = False,
        to_host: bool = True,
    ) -> None:
        self._model = model
        self._layers = None if layers is None else tuple(layers)
        self._steps = None if steps is None else tuple(steps)
        self.prefix_rows = prefix_rows
        self._values = values
        self._to_host = to_host
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._eager = False
        self._stream: torch.cuda.Stream | None = None
        self._modules_by_phase: dict[Phase, dict[int, nn.Module]] = {}
        self._start()

    def __enter__(self) -> Self:
        if self._hooks:
            raise RuntimeError("This recorder is in use already: make one recorder for each `with`.")
        if not isinstance(self._model, nn.Module):
            raise TypeError(f"{type(self._model).__name__} is no torch module: pass the module that it holds.")
        for noun, requested in (("layers", self._layers), ("steps", self._steps)):
            if requested is not None and (not requested or min(requested) < 0 or len(set(requested)) < len(requested)):
                raise ValueError(
                    f"Give {noun} as different numbers counted from 0, at least one, not {list(requested)}."
                )
        modules_by_phase = self._modules_by_phase = self._modules_by_phase or find_attention_modules(self._model)
        numbers = sorted(modules_by_phase["suffix"])
        beyond = [
            layer
            for layer in self._layers or ()
            if layer not in modules_by_phase["suffix"] or layer not in modules_by_phase["prefix"]
        ]
        if beyond:
            raise ValueError(f"No layer {beyond[0]}: the policy has layers {numbers[0]} to {numbers[-1]}.")
        self._kept_layers = numbers if self._layers is None else list(self._layers)
        try:
            for phase, modules in modules_by_phase.items():
                for layer, module in modules.items():
                    self._hook(phase, layer, module)
            eager_execution.__enter__()
            self._eager = True
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
        """Return the recording of the call made since the last `take`; wait for pending copies.

        Raises `RuntimeError` if no complete call (one prefix pass and at least one denoise step) was made, or if it had
        fewer steps than were requested.
        """
        if self._stream is not None:
            self._stream.synchronize()
        prefix, suffix = self._phases["prefix"], self._phases["suffix"]
        step_count = min(suffix.calls.values(), default=0)
        if not prefix.calls or not step_count:
            raise RuntimeError(
                "Nothing to take: no whole call of the policy (prefix pass and denoise steps) was made since the last."
            )
        layers = tuple(self._kept_layers)
        steps = tuple(range(step_count)) if self._steps is None else self._steps
        beyond = [step for step in steps if step >= step_count]
        if beyond:
            raise RuntimeError(f"No denoise step {beyond[0]}: the policy took {step_count}.")
        recording = Recording(
            prefix=prefix.weights[0],
            suffix_steps=tuple(suffix.weights[step] for step in steps),
            layers=layers,
            steps=steps,
            steps_taken=step_count,
            prefix_valid=self._valid,
            prefix_values=tuple(prefix.values[0, layer] for layer in layers) if self._values else (),
            suffix_values=tuple(tuple(suffix.values[step, layer] for layer in layers) for step in steps)
            if self._values
            else (),
        )
        self._start()
        return recording

    def discard(self) -> None:
        """Discard the recording of a call that was not taken, for instance one that failed half-way."""
        if self._stream is not None:
            self._stream.synchronize()
        self._start()

    def _start(self) -> None:
        self._phases: dict[Phase, _Pass] = {"prefix": _Pass(), "suffix": _Pass()}
        self._valid: Tensor | None = None
        self._held: list[Tensor] = []  # sources of pending copies; keeps their memory from being reused

    def _remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._eager:
            self._eager = False
            eager_execution.__exit__(None, None, None)
        if self._stream is not None:
            self._stream.synchronize()

    def _hook(self, phase: Phase, layer: int, module: nn.Module) -> None:
        kept = layer in self._kept_layers

        def weights(_: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self._take_output(phase, layer, kept, output, kwargs.get("attention_mask"))

        def values(_: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
            step = self._phases[phase].calls.get(layer, 0)
            if self._is_recorded(phase, step):
                self._phases[phase].values[step, layer] = output.detach()

        # `v_proj` runs inside the attention module, so its hook runs before the other one counts the step.
        if kept and self._values:
            projection: nn.Module | None = getattr(module, "v_proj", None)
            if projection is None:
                raise ValueError(f"Attention module {layer} of the {phase} phase has no v_proj: record without values.")
            self._hooks.append(projection.register_forward_hook(values))
        self._hooks.append(module.register_forward_hook(weights, with_kwargs=True))

    def _is_recorded(self, phase: Phase, step: int) -> bool:
        return phase == "prefix" or self._steps is None or step in self._steps

    def _take_output(self, phase: Phase, layer: int, kept: bool, output: Any, mask: Tensor | None) -> None:
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
                f"Layer {layer} of the {phase} phase gave no attention weights: they exist under eager attention only. "
                "Set the model's attention implementation to 'eager' and run it without torch.compile."
            )
        if phase == "prefix" and self._valid is None and mask is not None and mask.ndim == 4:
            # Every valid token attends to itself: the diagonal is True in a boolean mask and 0 in an additive one.
            diagonal = mask.diagonal(dim1=-2, dim2=-1)[:, 0]  # (B, K)
            valid = diagonal if diagonal.dtype == torch.bool else diagonal == 0  # (B, K)
            self._valid = valid.cpu() if self._to_host else valid
        if not kept or not self._is_recorded(phase, step):
            return
        weights = weights.detach()
        rows = self.prefix_rows if phase == "prefix" else None
        if rows is not None:  # copied at once, so that the other rows are freed
            chosen = weights[:, :, rows if isinstance(rows, slice) else list(rows)]  # (B, heads, rows, K)
            weights = chosen.clone() if isinstance(rows, slice) else chosen
        state.pending[layer] = weights
        if len(state.pending) == len(self._kept_layers):
            layers = [state.pending[number] for number in self._kept_layers]
            state.pending.clear()
            state.weights[step] = self._stack(layers)

    def _stack(self, layers: list[Tensor]) -> Tensor:
        """Stack the layers of one pass to (B, layers, heads, rows, keys): one copy per step, not one per layer."""
        device = layers[0].device
        if not self._to_host:
            return torch.stack(layers, dim=1)
        if device.type != "cuda":
            return torch.stack(layers, dim=1).cpu()
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            stacked = torch.stack(layers, dim=1)
            host = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
            host.copy_(stacked, non_blocking=True)
        self._held += layers
        return host
