"""Take a recorded call off the policy's device without waiting for it, and make the frame of the file from it later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from capture.pipeline.frame_builder import WeightErrors, compute_datasets, frame_metadata, to_host_arrays
from capture.pipeline.frame_slicing import BatchRow, slice_frame
from capture.policies.base import CallRequest, RecordedCall
from capture.results import schema


@dataclass(frozen=True)
class Transfer:
    """A recorded call of one observation on its way to the file."""

    request: CallRequest
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    weights: torch.dtype | None
    call: RecordedCall | None
    """The call, of which the datasets are still to be computed; None if they lie in `host`."""
    host: dict[str, Tensor]
    """The datasets, complete once `copied` is reached."""
    copied: torch.cuda.Event | None = None
    on_device: dict[str, Tensor] | None = None
    """Source of the copy, kept alive until it is done."""

    def build_frame(self) -> tuple[schema.Frame, WeightErrors]:
        """Wait for the copy, and return the frame and the errors of its weights."""
        host = self.host
        if self.copied is not None:
            self.copied.synchronize()
        if self.call is not None:
            host = {name: value.cpu() for name, value in compute_datasets(self.call, self.weights).items()}
        arrays, [errors] = to_host_arrays(host)
        return slice_frame(arrays, BatchRow(0, 0, frame_metadata(self.request, arrays, 0))), errors


class Copier:
    """Starts the transfers of a policy's calls; thread-safe.

    On a GPU the datasets are computed on the current stream, so that the call's other tensors are freed, and copied to
    pinned memory on another stream. On a CPU, `Transfer.build_frame` computes them, in whatever thread calls it.
    """

    def __init__(self, weights: torch.dtype | None) -> None:
        """`weights`: number type of the stored attention, None for the policy's own."""
        self._weights = weights
        self._streams: dict[torch.device, Any] = {}

    def start(self, call: RecordedCall) -> Transfer:
        """Start the transfer of a call; does not wait for the device. The call must not be changed afterwards."""
        device, recording = call.path.device, call.recording
        if device.type != "cuda":
            return Transfer(call, recording.layers, recording.steps, self._weights, call, {})
        found = compute_datasets(call, self._weights)
        stream = self._streams.setdefault(device, torch.cuda.Stream(device))
        stream.wait_stream(torch.cuda.current_stream(device))
        host = {}
        with torch.cuda.stream(stream):
            for name, value in found.items():
                host[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                host[name].copy_(value, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(stream)
        request = CallRequest(call.prepared, call.seeds, call.to_robot)
        return Transfer(request, recording.layers, recording.steps, self._weights, None, host, copied, found)
