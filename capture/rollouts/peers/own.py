"""Our own policies, which `plain` runs and `run` records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from capture.errors import UserError
from capture.policies.base import Layout, Norms, Prepared, RecordedCall
from capture.provenance import Decision
from capture.rollouts.peers.adapter import CallHost, RecordingOptions, describe_model, store
from capture.rollouts.peers.attribute_overrides import AttributeOverrides
from capture.rollouts.peers.model_call import select_row
from capture.rollouts.run_description import RolloutRun


@dataclass(frozen=True)
class _Facts:
    """See `adapter.ModelFacts`."""

    model: nn.Module
    layers: tuple[int, ...]
    layer_count: int
    heads: int
    device: torch.device
    attention: str = "eager"
    has_value_norms: bool = True

    @property
    def dtype(self) -> str:
        parameter = next((parameter for parameter in self.model.parameters() if parameter.ndim > 1), None)
        return str(torch.float32 if parameter is None else parameter.dtype).removeprefix("torch.")


@dataclass(frozen=True)
class _Chunk:
    """What a call of `plain` returns, of a policy whose own result is not to be had."""

    actions: Tensor


class OwnAdapter:
    """A policy of `capture.policies`, as a checkpoint's `load` gives it. Its `plain` is recorded."""

    def __init__(self, policy: Any, layers: Any, steps: Any, *, full: bool) -> None:
        sizes = policy.sizes
        for noun, chosen, count in (("layer", layers, sizes.layers), ("denoise step", steps, sizes.denoise_steps)):
            for number in chosen or ():
                if not 0 <= number < count:
                    raise UserError(f"there is no {noun} {number}: this policy has {count}, numbered 0 to {count - 1}")
        self._policy, self._full = policy, full
        self._recorder = policy.recorder(layers=layers, steps=steps)
        model = getattr(policy, "model", None)
        layer_numbers = tuple(range(sizes.layers)) if layers is None else tuple(layers)
        self._facts = _Facts(
            model if isinstance(model, nn.Module) else nn.Module(),
            layer_numbers,
            sizes.layers,
            sizes.heads,
            policy.device,
        )

    def describe(self, options: RecordingOptions) -> RolloutRun:
        """Return what the files have in common."""
        policy, sizes = self._policy, self._policy.sizes
        preprocessing = getattr(policy, "preprocessing", None)
        about = {
            "kind": "own",
            "name": type(policy).__name__,
            "horizon": sizes.horizon,
            "steps": sizes.denoise_steps,
            "action_dim": sizes.action_dim,
            "tokenizer": str(getattr(getattr(policy, "tokenizer", None), "name", "the policy's own")),
            "time_grid": str(getattr(preprocessing, "time_grid", "the policy's own")),
            "config": [asdict(sizes), repr(preprocessing)],
        }
        decisions = [
            Decision("pictures and state", "as they were prepared", "by the policy's prepare", is_certain=True)
        ]
        return describe_model(self._facts, options, about, decisions, is_compiled=False)

    def install(self, overrides: AttributeOverrides, host: CallHost) -> Callable[[], None]:
        """Begin to pass the policy's calls to the host."""

        def plain(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(prepared: Sequence[Prepared], *, seeds: Sequence[int], **options: Any) -> Any:
                with host.lock:
                    started = time.perf_counter()
                    slots = host.begin([item.observation.prompt for item in prepared])
                    if not any(slot.is_recorded for slot in slots):
                        return original(prepared, seeds=seeds, **options)
                    try:
                        chunk, recorded = self._run(prepared, seeds, options)
                    except BaseException:
                        for slot in slots:
                            if slot.is_recorded:
                                slot.drop()
                        raise
                    seconds = time.perf_counter() - started
                    for row, slot in enumerate(slots):
                        if slot.is_recorded:
                            store(slot, partial(split_row, recorded, row), recorded.path.device, seconds)
                    return chunk

            return call

        overrides.set(self._policy, "plain", plain)
        return lambda: None

    def _run(
        self, prepared: Sequence[Prepared], seeds: Sequence[int], options: dict[str, Any]
    ) -> tuple[Any, RecordedCall]:
        """Run a recorded call; return what `plain` would have returned, and the recording."""
        chunks: list[Any] = []

        def sample(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                chunks.append(original(*arguments, **more))
                return chunks[-1]

            return call

        overrides = AttributeOverrides()
        try:
            if hasattr(self._policy, "sample"):
                overrides.set(self._policy, "sample", sample)
            with self._recorder as recorder:
                call = self._policy.run(prepared, recorder, seeds=seeds, full=self._full, **options)
        finally:
            overrides.restore()
        return chunks[-1] if chunks else _Chunk(call.path[-1].clone()), call


def split_row(call: RecordedCall, row: int) -> RecordedCall:
    """Return one observation of a batched call, without the padding of a shorter prompt."""
    if len(call.prepared) == 1:
        return call
    prepared, layout, norms = call.prepared[row], call.layout, call.norms
    device = call.path.device
    text = slice(layout.text.start, layout.text.start + len(prepared.tokens))
    keys = torch.arange(text.stop, device=device)
    is_full = call.recording.prefix.shape[3] == layout.text.stop
    rows = keys if is_full else torch.arange(len(prepared.tokens), device=device)
    recording = select_row(call.recording, row, rows, keys, layout.text.stop, call.path.shape[2])
    return RecordedCall(
        prepared=(prepared,),
        seeds=(call.seeds[row],),
        to_robot=call.to_robot,
        layout=Layout(layout.cameras, layout.patches, layout.grid, text, layout.positions[row : row + 1, keys]),
        recording=recording,
        norms=Norms(
            norms.language[row : row + 1][..., keys],
            norms.expert[row : row + 1][..., keys],
            norms.action[row : row + 1],
        ),
        path=call.path[:, row : row + 1],
        time=call.time,
    )
