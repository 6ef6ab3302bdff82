"""Recorded calls that a GPU is asked for in one go, instead of by ten thousand launches from Python.

Until it has some sixteen frames to work at, a GPU is done with a kernel sooner than Python has launched the next one.
So a call is kept as a CUDA graph, hooks and all, and replayed with other numbers for other frames of the same shape.
A graph is used only once it has given, bit for bit, what the same call gave without one.
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

from capture.pipeline.frame_builder import TokenMasks, compute_datasets, token_masks
from capture.policies.base import CallRequest, ModelInputs, Policy, Prepared, upload

MOST_GRAPHS: Final = 16
"""Graphs that are kept, one for each shape of a call: prompts differ in length, and so do states as digits."""
_ALIGNMENT: Final = 256
_UNWRITTEN: Final = 255
"""Fills memory that is to be written to: in floats NaN, in integers -1, which nothing that is found is."""
_recording: Final = threading.Lock()
"""torch records one graph at a time in a process."""

Shape = tuple[tuple[torch.Size, ...], tuple[str, ...], bool]
"""Shapes of the inputs, cameras, and whether any frame has fewer text tokens than the longest."""


class Graph(Protocol):
    """Work on a device that can be done again."""

    def record(self, work: Callable[[], None]) -> None:
        """Keep what `work` launches; nothing is computed. Raises RuntimeError where that cannot be."""

    def replay(self) -> None:
        """Launch it, in the stream that is current."""


def cuda_graph_factory(device: torch.device) -> Callable[[], Graph]:
    """Makes CUDA's own. All share one pool of memory: nothing of what lies there is needed after a replay."""
    with torch.cuda.device(device):
        number, pool = torch.cuda.current_device(), torch.cuda.graph_pool_handle()
    return lambda: _CudaGraph(number, pool)


@functools.cache
def _stream_to_record(device: int) -> torch.cuda.Stream:
    """A stream of the device that nothing else uses, one for all its graphs: for each stream cuBLAS keeps memory."""
    return torch.cuda.Stream(device)


class _CudaGraph:
    def __init__(self, device: int, pool: Any) -> None:
        self._device, self._pool = device, pool
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        stream = _stream_to_record(self._device)  # torch's own is of the device that recorded first in this process
        with (
            _recording,
            torch.cuda.device(self._device),
            # torch leaves its stream the current one where a recording cannot be ended: this puts back what was.
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            # Other threads copy and wait meanwhile, which concerns no graph.
            torch.cuda.graph(self._graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"),
        ):
            work()

    def replay(self) -> None:
        with torch.cuda.device(self._device):
            self._graph.replay()


@dataclass(frozen=True)
class _MemoryPart:
    """Where a dataset lies in the memory that graphs write to."""

    start: int
    shape: torch.Size
    dtype: torch.dtype

    def bytes_of(self, memory: Tensor) -> Tensor:
        """Its part of (bytes,) uint8."""
        return memory[self.start : self.start + self.shape.numel() * self.dtype.itemsize]

    def of(self, memory: Tensor) -> Tensor:
        """Its values in (bytes,) uint8."""
        return self.bytes_of(memory).view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class _RecordedGraph:
    """One graph with the memory that it reads and writes."""

    graph: Graph
    inputs: ModelInputs
    marks: TokenMasks
    parts: dict[str, _MemoryPart]
    memory: Tensor
    size: int


class GraphReplayer:
    """Runs recorded calls of a policy, by replaying a CUDA graph where a call of the same shapes came before.

    `full` as in `Policy.run`, `weights` as in `compute_datasets`; `graph` makes an empty graph; `tell` is called once
    with the reason if graphs cannot be used. Waits for the device only while a graph is recorded and compared.
    """

    def __init__(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        *,
        full: bool,
        weights: torch.dtype | None,
        graph: Callable[[], Graph],
        tell: Callable[[str], None],
    ) -> None:
        self._policy, self._recorder = policy, recorder
        self._full, self._weights = full, weights
        self._graph, self._tell = graph, tell
        self._seen: set[Shape] = set()
        """Shapes that were there once."""
        self._known: OrderedDict[Shape, _RecordedGraph] = OrderedDict()
        """The one used last comes last. It never gets empty: torch records nothing more in a pool without graphs."""
        self._memory: Tensor | None = None
        self._given_up = False
        self.replayed = 0
        """Calls that were replayed."""

    def run(
        self,
        prepared: Sequence[Prepared],
        *,
        seeds: Sequence[int],
        begin: Callable[[], None] = lambda: None,
        after_step: Callable[[int], None] | None = None,
    ) -> tuple[CallRequest, dict[str, Tensor]]:
        """One recorded call, as by `Policy.run`, and what `compute_datasets` finds in it.

        `begin` is called when all is ready to be launched, `after_step` when a step was: a replay has no steps.
        """
        asked = CallRequest(tuple(prepared), tuple(seeds), self._policy.to_robot)
        inputs = self._policy.inputs(prepared, seeds)
        marks = token_masks(prepared, self._policy.sizes.horizon, self._policy.sizes.state_tokens)
        begin()
        if not self._given_up:
            try:
                return asked, self._with_graphs(asked, inputs, marks, after_step)
            except torch.OutOfMemoryError as error:
                if self._memory is None:
                    raise
                self._give_up(error)
        return asked, self._once(asked, *self._moved(inputs, marks), after_step)

    def _with_graphs(
        self, asked: CallRequest, inputs: ModelInputs, marks: TokenMasks, after_step: Callable[[int], None] | None
    ) -> dict[str, Tensor]:
        cameras = tuple(asked.prepared[0].pictures)
        shape: Shape = tuple(tensor.shape for tensor in inputs.tensors), cameras, marks.padded
        replay = self._known.get(shape)
        if replay is not None:
            self._known.move_to_end(shape)
            self.replayed += 1
            return self._again(replay, inputs, marks)
        on_device = self._moved(inputs, marks)
        found = self._once(asked, *on_device, after_step)
        if shape not in self._seen:
            self._seen.add(shape)
        elif (replay := self._made(asked, *on_device, found)) is not None:
            self._known[shape] = replay
            if len(self._known) > MOST_GRAPHS:
                oldest, _ = self._known.popitem(last=False)
                self._seen.remove(oldest)
        return found

    def _moved(self, inputs: ModelInputs, marks: TokenMasks) -> tuple[ModelInputs, TokenMasks]:
        def to_device(tensor: Tensor) -> Tensor:
            return upload(tensor, self._policy.device)

        return inputs.each(to_device), marks.each(to_device)

    @torch.no_grad()
    def _once(
        self,
        asked: CallRequest,
        inputs: ModelInputs,
        marks: TokenMasks,
        after_step: Callable[[int], None] | None = None,
    ) -> dict[str, Tensor]:
        with self._recorder:
            call = self._policy.run(
                asked.prepared,
                self._recorder,
                seeds=asked.seeds,
                full=self._full,
                after_step=after_step,
                inputs=inputs,
            )
        return compute_datasets(call, self._weights, marks)

    @torch.no_grad()
    def _made(
        self, asked: CallRequest, inputs: ModelInputs, marks: TokenMasks, found: dict[str, Tensor]
    ) -> _RecordedGraph | None:
        """A replay of this call, if it gives what was found; else all go on without."""
        parts, size = {}, 0
        for name, value in found.items():
            parts[name] = _MemoryPart(size, value.shape, value.dtype)
            size += -(-value.nbytes // _ALIGNMENT) * _ALIGNMENT
        try:
            if self._memory is None or len(self._memory) < size:
                self._memory = torch.empty(size + size // 8, dtype=torch.uint8, device=self._policy.device)
            memory = self._memory

            def work() -> None:
                for name, value in self._once(asked, inputs, marks).items():
                    parts[name].of(memory).copy_(value)

            replay = _RecordedGraph(self._graph(), inputs, marks, parts, memory, size)
            replay.graph.record(work)
            memory.fill_(_UNWRITTEN)  # a graph that does nothing must not find what was there before
            replay.graph.replay()
            if all(torch.equal(part.bytes_of(memory), _bytes(found[name])) for name, part in parts.items()):
                return replay
            self._give_up("its numbers differ")
        except RuntimeError as error:  # no memory for it, or something that no graph can hold
            if isinstance(error.__context__, KeyboardInterrupt):  # which broke off what was being recorded
                raise error.__context__ from None
            self._give_up(error)
        return None

    def _give_up(self, reason: object) -> None:
        self._given_up, self._memory = True, None
        self._known.clear()
        said = str(reason).strip().partition("\n")[0] or type(reason).__name__
        self._tell(f"calls are not replayed as CUDA graphs, which is slower and changes no number ({said})")

    def _again(self, replay: _RecordedGraph, inputs: ModelInputs, marks: TokenMasks) -> dict[str, Tensor]:
        for here, there in zip(
            (*inputs.tensors, *marks.tensors), (*replay.inputs.tensors, *replay.marks.tensors), strict=True
        ):
            there.copy_(here.pin_memory() if there.is_cuda else here, non_blocking=True)
        replay.graph.replay()
        memory = replay.memory[: replay.size].clone()  # the next replay writes there again
        return {name: part.of(memory) for name, part in replay.parts.items()}


def _bytes(values: Tensor) -> Tensor:
    """The same memory as (bytes,) uint8, in which NaN is equal to itself."""
    return values.flatten().view(torch.uint8)
