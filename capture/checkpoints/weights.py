"""Load weights from disk into a model one tensor at a time, so that memory never holds both in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from capture.checkpoints.infer_config import Shape, check_shapes
from capture.checkpoints.key_names import openpi_name, parameter_name
from capture.checkpoints.lora import StoredAdapter
from capture.checkpoints.safetensors_reader import FLOATS, StoredTensor, read_into
from capture.errors import UserError
from capture.policies.pi05.config import Pi05Config, parameter_dtype

if TYPE_CHECKING:
    from capture.policies.pi05.model import Pi05

Progress = Callable[[int, int], None]
"""Called with the bytes loaded so far and the total."""


class Weights(Protocol):
    """A policy's parameters on disk, under our names."""

    @property
    def where(self) -> str:
        """File or folder, for messages."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every parameter, from headers only."""

    def fill(self, tensors: Mapping[str, Tensor]) -> Iterator[str]:
        """Read every parameter into the tensor of its name, which has its shape and is contiguous.

        Number type and device are the tensor's. Yields each name when it is done.
        """


@dataclass(frozen=True)
class SafetensorsWeights:
    """Parameters in one or several safetensors files. Raises UserError for a parameter that is not floating-point."""

    tensors: Mapping[str, StoredTensor]
    where: str
    adapters: Mapping[str, StoredAdapter] = field(default_factory=dict)
    """LoRA adapters by the parameter into which each is merged when it is read."""

    def __post_init__(self) -> None:
        parts = [
            (f"{adapter.adapter.module} (LoRA)", part) for adapter in self.adapters.values() for part in adapter.parts
        ]
        for name, stored in (*self.tensors.items(), *parts):
            if stored.dtype not in FLOATS:
                raise UserError(
                    f"{name!r} in {stored.path} has number type {stored.dtype!r}, but weights must be one of "
                    f"{', '.join(FLOATS)}; give the checkpoint as it was before it was quantised"
                )

    @property
    def scales(self) -> Mapping[str, tuple[int, float]]:
        """Rank and scale of every adapter, by parameter."""
        return {name: (adapter.rank, adapter.scale) for name, adapter in sorted(self.adapters.items())}

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every parameter."""
        return {name: stored.shape for name, stored in self.tensors.items()}

    def fill(self, tensors: Mapping[str, Tensor]) -> Iterator[str]:
        """Read every parameter into its tensor, in the order of the files' bytes; yield each name when it is read."""
        for name, stored in sorted(self.tensors.items(), key=lambda item: (item[1].path, item[1].start)):
            if name in self.adapters:
                self.adapters[name].merge(stored, tensors[name])
            else:
                read_into(stored, tensors[name])
            yield name


def load_model(
    weights: Weights,
    config: Pi05Config,
    device: torch.device | str,
    dtype: torch.dtype,
    progress: Progress | None = None,
) -> Pi05:
    """Return the policy with its weights on `device`, ready to run in `dtype` (float32 or bfloat16).

    The model is built without memory, then each parameter is read into a tensor that becomes it; besides the model's
    own size a few tens of MB are needed. Raises UserError, with nothing loaded, where weights do not fit the model,
    cannot be read, or find no room.
    """
    from capture.policies.pi05.model import (
        Pi05,  # imports transformers, which takes seconds, so only when weights are loaded
    )

    if dtype not in (torch.float32, torch.bfloat16):
        raise UserError(f"a policy runs in float32 or bfloat16, not in {str(dtype).removeprefix('torch.')}")
    with torch.device("meta"):
        model = Pi05(config)
    expected = {openpi_name(name): tuple(parameter.shape) for name, parameter in model.named_parameters()}
    check_shapes(weights.shapes, expected, weights.where)
    total_bytes, loaded_bytes = parameter_bytes(expected, dtype), 0
    try:
        # Allocate all before filling the first, so that too little memory is noticed at once.
        tensors = {
            name: torch.empty(shape, dtype=parameter_dtype(name, dtype), device=device)
            for name, shape in expected.items()
        }
    except (RuntimeError, AssertionError) as error:  # raised by torch if a device is full or missing
        reason = str(error).splitlines()[0]
        raise UserError(
            f"no room for the policy's {total_bytes / 1e9:.1f} GB on {device} ({reason}); choose another --device, or "
            "--dtype bfloat16, which takes half of float32"
        ) from error
    for name in weights.fill(tensors):
        loaded_bytes += tensors[name].nbytes
        if progress is not None:
            progress(loaded_bytes, total_bytes)
    model.load_state_dict({parameter_name(name): tensor for name, tensor in tensors.items()}, strict=True, assign=True)
    model.requires_grad_(requires_grad=False)
    model.refill_buffers(device)
    return model.eval()


def parameter_bytes(shapes: Mapping[str, Shape], dtype: torch.dtype) -> int:
    """Return the size in bytes of parameters of these names and shapes in a policy that runs in `dtype`."""
    return sum(torch.Size(shape).numel() * parameter_dtype(name, dtype).itemsize for name, shape in shapes.items())
