"""Replay recorded calls as CUDA graphs, instead of launching some ten thousand kernels from Python each time.

With batches below about 16 frames, a GPU finishes a kernel before Python has launched the next one. So a call, with its
hooks, is recorded as a CUDA graph and replayed for other inputs of the same shapes. A graph is used only after its
result was equal, bit for bit, to that of the same call without a graph.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from capture.pipeline.frame_builder import Kept, TokenMasks, compute_datasets, token_masks
from capture.policies.base import CallRequest, ModelInputs, Policy, Prepared, upload

MOST_GRAPHS: Final = 16
"""Graphs that are kept, one for each shape of a call: prompts differ in length, and so do states in tokens."""
_ALIGNMENT: Final = 256
_UNWRITTEN: Final = 255
"""Byte that fills output memory before a test replay: NaN in floats, -1 in integers, which no result contains."""
_recording: Final = threading.Lock()
"""torch can record only one graph at a time in a process."""

Shape = tuple[tuple[torch.Size, ...], tuple[str, ...], bool]
"""Shapes of the inputs and masks, cameras, and whether any frame has fewer text tokens than the longest."""


class Graph(Protocol):
    """Device work that can be repeated."""

    def record(self, work: Callable[[], None]) -> None:
        """Record what `work` launches without executing it. Raises RuntimeError if it cannot be recorded."""

    def replay(self) -> None:
        """Launch the recorded work in the current stream."""


def cuda_graph_factory(device: torch.device) -> Callable[[], Graph]:
    """Return a factory of CUDA graphs. They share one memory pool, since no tensor in it is used after a replay."""
    with torch.cuda.device(device):
        number, pool = torch.cuda.current_device(), torch.cuda.graph_pool_handle()
    return lambda: _CudaGraph(number, pool)


@functools.cache
def _stream_to_record(device: int) -> torch.cuda.Stream:
    """Return the stream in which all graphs of a device are recorded: cuBLAS keeps a workspace for each stream."""
    return torch.cuda.Stream(device)


class _CudaGraph:
    def __init__(self, device: int, pool: Any) -> None:
        self._device, self._pool = device, pool
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        stream = _stream_to_record(self._device)  # torch's default belongs to the device that recorded first
        with (
            _recording,
            torch.cuda.device(self._device),
            # torch does not restore the current stream if ending the recording fails.
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            # Other threads may copy and synchronise meanwhile; that does not affect the graph.
            torch.cuda.graph(self._graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"),
        ):
            work()

    def replay(self) -> None:
        with torch.cuda.device(self._device):
            self._graph.replay()


@dataclass(frozen=True)
class _MemoryPart:
    """Location of a dataset in the memory that graphs write to."""

    start: int
    shape: torch.Size
    dtype: torch.dtype

    def bytes_of(self, memory: Tensor) -> Tensor:
        """Return its bytes in the memory, (bytes,) uint8."""
        return memory[self.start : self.start + self.shape.numel() * self.dtype.itemsize]

    def of(self, memory: Tensor) -> Tensor:
        """Return its values in the memory."""
        return self.bytes_of(memory).view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class _RecordedGraph:
    """One graph with the tensors that it reads and writes."""

    graph: Graph
    inputs: ModelInputs
    masks: TokenMasks
    parts: dict[str, _MemoryPart]
    memory: Tensor
    size: int


class GraphReplayer:
    """Runs recorded calls of a policy, by replaying a CUDA graph where a call of the same shapes came before.

    `full` as in `Policy.run`, `keep` as in `compute_datasets`; `graph` makes an empty graph; `log` is called once
    with the reason if graphs cannot be used. Waits for the device only while a graph is recorded and compared.
    """

    def __init__(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        *,
        full: bool,
        keep: Kept,
        graph: Callable[[], Graph],
        log: Callable[[str], None],
    ) -> None:
        self._policy, self._recorder = policy, recorder
        self._full, self._keep = full, keep
        self._graph, self._log_line = graph, log
        self._known_shapes: set[Shape] = set()
        """Shapes that occurred."""
        self._graphs: OrderedDict[Shape, _RecordedGraph] = OrderedDict()
        """In order of last use. Never empty once filled: torch cannot record in a pool whose graphs are all gone."""
        self._memory: Tensor | None = None
        self._disabled = False
        self.replayed = 0
        """Number of replayed calls."""

    def run(
        self,
        prepared: Sequence[Prepared],
        *,
        seeds: Sequence[int],
        begin: Callable[[], None] = lambda: None,
        after_step: Callable[[int], None] | None = None,
    ) -> tuple[CallRequest, dict[str, Tensor]]:
        """Run one recorded call and return its request and its datasets, as `compute_datasets` does.

        `begin` is called just before the launch, `after_step` after each denoise step, but not in a replay.
        """
        request = CallRequest(tuple(prepared), tuple(seeds), self._policy.to_robot)
        inputs = self._policy.inputs(prepared, seeds)
        sizes = self._policy.sizes
        masks = token_masks(prepared, sizes.horizon, sizes.state_tokens, scores=self._keep.scores)
        begin()
        if not self._disabled:
            try:
                return request, self._with_graphs(request, inputs, masks, after_step)
            except torch.OutOfMemoryError as error:
                if self._memory is None:
                    raise
                self._disable(error)
        return request, self._run_eagerly(request, *self._upload(inputs, masks), after_step)

    def _with_graphs(
        self, request: CallRequest, inputs: ModelInputs, masks: TokenMasks, after_step: Callable[[int], None] | None
    ) -> dict[str, Tensor]:
        cameras = tuple(request.prepared[0].pictures)
        shape: Shape = tuple(tensor.shape for tensor in (*inputs.tensors, *masks.tensors)), cameras, masks.padded
        replay = self._graphs.get(shape)
        if replay is not None:
            self._graphs.move_to_end(shape)
            self.replayed += 1
            return self._replay(replay, inputs, masks)
        on_device = self._upload(inputs, masks)
        datasets = self._run_eagerly(request, *on_device, after_step)
        if shape not in self._known_shapes:
            self._known_shapes.add(shape)
        elif (replay := self._record(request, *on_device, datasets)) is not None:
            self._graphs[shape] = replay
            if len(self._graphs) > MOST_GRAPHS:
                oldest, _ = self._graphs.popitem(last=False)
                self._known_shapes.remove(oldest)
        return datasets

    def _upload(self, inputs: ModelInputs, masks: TokenMasks) -> tuple[ModelInputs, TokenMasks]:
        def to_device(tensor: Tensor) -> Tensor:
            return upload(tensor, self._policy.device)

        return inputs.each(to_device), masks.each(to_device)

    @torch.no_grad()
    def _run_eagerly(
        self,
        request: CallRequest,
        inputs: ModelInputs,
        masks: TokenMasks,
        after_step: Callable[[int], None] | None = None,
    ) -> dict[str, Tensor]:
        with self._recorder:
            call = self._policy.run(
                request.prepared,
                self._recorder,
                seeds=request.seeds,
                full=self._full,
                after_step=after_step,
                inputs=inputs,
            )
        return compute_datasets(call, self._keep, masks)

    @torch.no_grad()
    def _record(
        self, request: CallRequest, inputs: ModelInputs, masks: TokenMasks, datasets: dict[str, Tensor]
    ) -> _RecordedGraph | None:
        """Record this call as a graph. Returns None, and uses no more graphs, if it fails or its result differs."""
        parts, size = {}, 0
        for name, value in datasets.items():
            parts[name] = _MemoryPart(size, value.shape, value.dtype)
            size += -(-value.nbytes // _ALIGNMENT) * _ALIGNMENT
        try:
            if self._memory is None or len(self._memory) < size:
                self._memory = torch.empty(size + size // 8, dtype=torch.uint8, device=self._policy.device)
            memory = self._memory

            def work() -> None:
                for name, value in self._run_eagerly(request, inputs, masks).items():
                    parts[name].of(memory).copy_(value)

            replay = _RecordedGraph(self._graph(), inputs, masks, parts, memory, size)
            replay.graph.record(work)
            memory.fill_(_UNWRITTEN)  # so that a graph that writes nothing is noticed
            replay.graph.replay()
            if all(torch.equal(part.bytes_of(memory), _bytes(datasets[name])) for name, part in parts.items()):
                return replay
            self._disable("its numbers differ")
        except RuntimeError as error:  # out of memory, or an operation that cannot be recorded
            if isinstance(error.__context__, KeyboardInterrupt):  # it interrupted the recording
                raise error.__context__ from None
            self._disable(error)
        return None

    def _disable(self, reason: object) -> None:
        self._disabled, self._memory = True, None
        self._graphs.clear()
        first_line = str(reason).strip().partition("\n")[0] or type(reason).__name__
        self._log_line(f"calls are not replayed as CUDA graphs, which is slower and changes no number ({first_line})")

    def _replay(self, replay: _RecordedGraph, inputs: ModelInputs, masks: TokenMasks) -> dict[str, Tensor]:
        for call_input, graph_input in zip(
            (*inputs.tensors, *masks.tensors), (*replay.inputs.tensors, *replay.masks.tensors), strict=True
        ):
            graph_input.copy_(call_input.pin_memory() if graph_input.is_cuda else call_input, non_blocking=True)
        replay.graph.replay()
        memory = replay.memory[: replay.size].clone()  # the next replay overwrites it
        return {name: part.of(memory) for name, part in replay.parts.items()}


def _bytes(values: Tensor) -> Tensor:
    """Return the same memory as (bytes,) uint8, in which NaN equals NaN."""
    return values.flatten().view(torch.uint8)
