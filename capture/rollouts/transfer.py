"""Take a recorded call off the policy's device without waiting for it, and make the frame of the file from it later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from capture.datasets.regions.source import Masks
from capture.pipeline.frame_builder import (
    Kept,
    WeightErrors,
    add_scores,
    compute_datasets,
    frame_metadata,
    to_host_arrays,
)
from capture.pipeline.frame_slicing import BatchRow, slice_frame
from capture.policies.base import CallRequest, Prepared, RecordedCall
from capture.results import schema
from capture.rollouts.call_regions import CallRegions, CoveredObservation


@dataclass(frozen=True)
class BuiltFrame:
    """A frame of the results file, and what decides the sizes of a file that begins with it."""

    frame: schema.Frame
    errors: WeightErrors
    prepared: Prepared
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    regions: tuple[str, ...] = ()
    """Names of the regions that are scored, in order."""
    masks: Masks = field(default_factory=dict)
    """Masks of those that are known in the frame."""
    problem: str = ""
    """Why masks that were given with the call are not used."""


class Transfer(Protocol):
    """A recorded call of one observation on its way to the file."""

    def build(self) -> BuiltFrame:
        """Wait for the device, and return the frame. Raises UserError for what cannot be stored."""


@dataclass(frozen=True)
class _HostCall:
    """A call on the CPU, of which everything is still to be computed."""

    call: RecordedCall | Callable[[], RecordedCall]
    keep: Kept
    regions: CallRegions

    def build(self) -> BuiltFrame:
        call = self.call if isinstance(self.call, RecordedCall) else self.call()
        covered = self.regions.cover(call.prepared[0])
        call = replace(call, prepared=(covered.prepared,))
        datasets = {name: value.cpu() for name, value in compute_datasets(call, self.keep).items()}
        return _build(call, covered, call.recording, datasets)


@dataclass(frozen=True)
class _DeviceCall:
    """The datasets of a call on a GPU, which are copied to the host."""

    request: CallRequest
    covered: CoveredObservation
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    host: dict[str, Tensor]
    """Complete once `copied` is reached."""
    copied: torch.cuda.Event
    on_device: dict[str, Tensor]
    """Source of the copy, kept alive until it is done."""

    def build(self) -> BuiltFrame:
        self.copied.synchronize()
        return _build(self.request, self.covered, self, self.host)


class _Axes(Protocol):
    @property
    def layers(self) -> tuple[int, ...]: ...

    @property
    def steps(self) -> tuple[int, ...]: ...


def _build(request: CallRequest, covered: CoveredObservation, axes: _Axes, datasets: dict[str, Tensor]) -> BuiltFrame:
    arrays, [errors] = to_host_arrays(datasets)
    request = CallRequest((covered.prepared,), request.seeds, request.to_robot)
    frame = slice_frame(arrays, BatchRow(0, 0, frame_metadata(request, arrays, 0, errors)))
    return BuiltFrame(
        frame, errors, covered.prepared, axes.layers, axes.steps, covered.names, covered.masks, covered.problem
    )


@dataclass(frozen=True)
class ComputedCall(CallRequest):
    """A recorded call of which only the datasets are left, as `GraphReplayer` gives them."""

    layers: tuple[int, ...]
    steps: tuple[int, ...]
    datasets: dict[str, Tensor]
    """As `compute_datasets` returns them, with maps and without regions, on the policy's device."""


@dataclass(frozen=True)
class _ComputedHostCall:
    """Datasets that are on the host already; those of regions are still to be computed."""

    call: ComputedCall
    keep: Kept
    regions: CallRegions

    def build(self) -> BuiltFrame:
        covered = self.regions.cover(self.call.prepared[0])
        return _build(self.call, covered, self.call, _complete(self.call, covered, self.keep))


def _complete(call: ComputedCall, covered: CoveredObservation, keep: Kept) -> dict[str, Tensor]:
    """Return what is kept of the datasets of a call, with the scores of regions, which the call did not know."""
    has_regions = covered.prepared.coverage is not None
    return keep.select(add_scores(call.datasets, [covered.prepared], keep) if has_regions else call.datasets)


StorableCall = RecordedCall | ComputedCall | Callable[[], RecordedCall]
"""What can be stored: a recorded call, its datasets, or a function that makes it later."""


class Copier:
    """Starts the transfers of a policy's calls; thread-safe.

    On a GPU the datasets are computed on the current stream, so that the call's other tensors are freed, and copied to
    pinned memory on another stream. On a CPU, `Transfer.build` computes them, in whatever thread calls it.
    """

    def __init__(self, keep: Kept) -> None:
        """`keep`: what is kept of a call."""
        self._keep = keep
        self._streams: dict[torch.device, Any] = {}

    def start(self, call: StorableCall, regions: CallRegions) -> Transfer:
        """Start the transfer of a call of one observation, which must not be changed afterwards.

        Does not wait for the device. A function is called later to make the call, which lies on the CPU. The scores of
        `regions` are computed with the other datasets, after the call.
        """
        axes: _Axes
        if isinstance(call, ComputedCall):
            axes = call
            device = next(iter(call.datasets.values())).device
            if device.type != "cuda":
                return _ComputedHostCall(call, self._keep, regions)
            covered = regions.cover(call.prepared[0])
            found = _complete(call, covered, self._keep)
        elif not isinstance(call, RecordedCall) or call.path.device.type != "cuda":
            return _HostCall(call, self._keep, regions)
        else:
            device, axes = call.path.device, call.recording
            covered = regions.cover(call.prepared[0])
            found = compute_datasets(replace(call, prepared=(covered.prepared,)), self._keep)
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
        stream = self._streams[device]
        stream.wait_stream(torch.cuda.current_stream(device))
        host = {}
        with torch.cuda.stream(stream):
            for name, value in found.items():
                host[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                host[name].copy_(value, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(stream)
        request = CallRequest(call.prepared, call.seeds, call.to_robot)
        return _DeviceCall(request, covered, axes.layers, axes.steps, host, copied, found)
