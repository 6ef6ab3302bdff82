"""Collect recorded calls in a thread: split them into frames and hand these to the writers of their files."""

from __future__ import annotations

import contextlib
import queue
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from capture.pipeline.frame_builder import Kept, WeightErrors, compute_datasets, frame_metadata, to_host_arrays
from capture.pipeline.frame_slicing import BatchRow
from capture.pipeline.performance import current_device
from capture.pipeline.planning.setup import Setup
from capture.pipeline.shared_memory import BufferRing, PictureBlock, PicturePool, SharedBuffer
from capture.pipeline.types import FileOutcome, RunOutcome
from capture.pipeline.writer_worker import SHARED_ARRAY_BYTES, FileStatus, FrameWriter
from capture.policies.base import CallRequest, Prepared, RecordedCall
from capture.results import schema

RING_BUFFERS: Final = 3
"""Buffers between GPU and disk: one is filled, one is full, one is written."""
WAITING_CALLS: Final = 1
"""Calls whose frames may wait for the disk if the policy runs on the CPU."""


@dataclass
class OpenFile:
    """A results file that is being written."""

    writer: FrameWriter
    cameras: tuple[str, ...]
    status: FileStatus
    outcome: FileOutcome
    frames_sent: int = 0
    """Frames handed to the writer by this run."""
    frames_queued: int = 0
    """Frames handed to the policy by this run."""


@dataclass(frozen=True)
class QueuedFrame:
    """A frame that is ready for the policy."""

    file: OpenFile
    prepared: Prepared
    seed: int
    block: PictureBlock | None
    """Shared memory of its pictures, released once the frame is stored."""
    has_maps: bool = True
    """Whether its maps are kept."""

    @property
    def picture_bytes(self) -> list[int]:
        """Bytes of each of its pictures, if they lie in no shared memory yet."""
        if self.block is not None:
            return []
        shown = (picture.model_u8 for picture in self.prepared.pictures.values())
        return [picture.nbytes for picture in (*self.prepared.observation.pictures.values(), *shown)]


@dataclass(frozen=True)
class EndOfFile:
    """Follows the last frame of a file; with `failure`, its further frames could not be read."""

    file: OpenFile
    failure: str | None = None


@dataclass(frozen=True)
class RecordedBatch:
    """A call whose frames are to be written."""

    request: CallRequest
    items: tuple[QueuedFrame, ...]
    host: dict[str, Tensor] | RecordedCall
    """Datasets on the host, complete once `copied` is reached; or the call, of which they are still to be computed."""
    buffer: SharedBuffer | None
    started: torch.cuda.Event | None
    ended: torch.cuda.Event | None
    copied: torch.cuda.Event | None
    on_device: dict[str, Tensor] | None
    """Source of the copy, kept alive until it is done."""
    keep: Kept
    """What is kept of it."""


class Collector:
    """A thread that processes recorded calls and ends of files in the order in which they are put.

    An exception is kept in `error`; the thread then writes nothing more but goes on to empty its queue. `open_files`:
    files that are being written. `failed` is called with the outcome of each file that stays incomplete.
    """

    def __init__(
        self,
        setup: Setup,
        outcome: RunOutcome,
        ring: BufferRing | None,
        pool: PicturePool | None,
        failed: Callable[[FileOutcome], None],
    ) -> None:
        self._setup, self.outcome, self._ring, self._pool, self._failed = setup, outcome, ring, pool, failed
        self.open_files: list[OpenFile] = []
        self.error: BaseException | None = None
        self._recorded: queue.Queue[RecordedBatch | EndOfFile | None] = queue.Queue(RING_BUFFERS)
        self._pending: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()
        """Requests to the writers, in order, and the function to call with each result."""
        self._start_time = 0.0
        self._frames_sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._start_time = time.perf_counter()
        self._thread.start()

    def put(self, item: RecordedBatch | EndOfFile) -> None:
        """Queue the next call or end of a file; blocks while the queue is full."""
        self._recorded.put(item)

    def settle(self) -> None:
        """Wait until all that was put is processed."""
        self._recorded.join()

    def finish(self) -> None:
        """Process what was put, and end the thread. May be called again after Ctrl-C interrupted it."""
        if self._thread.ident is None:  # it was never started
            return
        # Up to Python 3.12 an interrupted `join` marks a running thread as ended, so the thread itself says when it is.
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._recorded.put(None, timeout=0.1)
            self._ended.wait(0.1)
        self._thread.join()

    def _run(self) -> None:
        try:
            with current_device(self._setup.options.device):
                self._process_queue()
        finally:
            self._ended.set()

    def _process_queue(self) -> None:
        while True:
            item = self._recorded.get()
            try:
                if item is None:
                    break
                if isinstance(item, EndOfFile):
                    self._end(item)
                elif self.error is None:
                    self._write(item)
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                self._fail(error)
            finally:
                self._recorded.task_done()
        while self._pending:
            try:
                self._settle(0)
            except BaseException as error:  # noqa: BLE001 - likewise; the results of other files still count
                self._fail(error)

    def _write(self, item: RecordedBatch) -> None:
        if item.copied is not None and item.started is not None and item.ended is not None:
            item.copied.synchronize()
            self.outcome.busy_seconds += item.started.elapsed_time(item.ended) / 1000
        results = item.host
        if isinstance(results, RecordedCall):
            results = {name: value.cpu() for name, value in compute_datasets(results, item.keep).items()}
        arrays, errors = to_host_arrays(results)
        by_writer: dict[int, list[tuple[OpenFile, BatchRow]]] = {}
        shared: dict[int, Any] = {}  # pictures of frames with several prompts are copied once
        buffers = [*([item.buffer] if item.buffer else []), *(self._pool.buffers if self._pool else [])]
        for row, (frame, error) in enumerate(zip(item.items, errors, strict=True)):
            file = frame.file
            self._note(file.outcome, error)
            values = frame_metadata(item.request, arrays, row, error)
            if item.buffer is not None:
                _copy_into(values, item.buffer, buffers, shared)
            by_writer.setdefault(id(file.writer), []).append((file, BatchRow(file.status.number, row, values)))
            file.frames_sent += 1
            self._frames_sent += 1
        remaining = len(by_writer)
        lock = threading.Lock()

        def stored(_: Future[Any]) -> None:
            nonlocal remaining
            with lock:
                remaining -= 1
                last = not remaining
            if not last:
                return
            if item.buffer is not None and self._ring is not None:
                self._ring.give_back(item.buffer)
            for frame in item.items:
                if frame.block is not None:
                    frame.block.release()

        for rows in by_writer.values():
            files = [file for file, _ in rows]
            future = files[0].writer.write(arrays, [row for _, row in rows], buffers)
            future.add_done_callback(stored)
            self._pending.append((future, partial(self._count, files)))
        self._settle(len(self._pending) if item.buffer else 0 if self._setup.options.check else WAITING_CALLS)

    def _settle(self, down_to: int) -> None:
        """Process results of the writers until at most `down_to` are outstanding. Raises what a writer raised."""
        while self._pending and (len(self._pending) > down_to or self._pending[0][0].done()):
            future, act = self._pending.popleft()
            act(future.result())

    def _count(self, files: Sequence[OpenFile], _: None) -> None:
        for file in files:
            file.outcome.frames += 1
        self.outcome.frames += len(files)

    def _note(self, written: FileOutcome, errors: WeightErrors) -> None:
        # np.maximum propagates NaN, which the built-in max may drop: a model that returns NaN must fail the check.
        written.row_sum = float(np.maximum(written.row_sum, errors.row_sum))
        written.masked_weight = float(np.maximum(written.masked_weight, errors.masked_weight))

    def _end(self, end: EndOfFile) -> None:
        """Complete a file, or close it under its partial name if frames are missing."""
        file = end.file
        file.outcome.failure = end.failure
        is_complete = file.status.frames_done + file.frames_sent == file.outcome.total
        if end.failure is None and not is_complete:
            file.outcome.failure = f"the episode ended after {file.frames_sent} frames"
        number = file.status.number
        if file.outcome.failure is None:
            self._pending.append(
                (file.writer.finish(number, self._checks(file)), lambda _: self.open_files.remove(file))
            )
        else:
            self._pending.append((file.writer.leave(number), partial(self._note_incomplete, file)))
        self._settle(len(self._pending))

    def _note_incomplete(self, file: OpenFile, kept: int) -> None:
        self.open_files.remove(file)
        if kept:
            remaining = f"finished frames ({kept}) stay in {file.status.partial_path}"
            file.outcome.failure = f"{file.outcome.failure}; {remaining}"
        self._failed(file.outcome)

    def _checks(self, file: OpenFile) -> dict[str, float]:
        """Return the file's attribute `checks`; checks that were not requested are left out."""
        written = file.outcome
        checks = {schema.CHECK_ROW_SUM: written.row_sum, schema.CHECK_MASKED: written.masked_weight}
        if written.action_difference is not None:
            checks[schema.CHECK_ACTIONS] = written.action_difference
            checks[schema.CHECK_TIME] = statistics.median(self.outcome.recorded_seconds) / statistics.median(
                self.outcome.plain_seconds
            )
        if written.kept:
            checks[schema.CHECK_SINCE] = written.kept
        frames_sent = self._frames_sent + 1e-9
        checks[schema.CHECK_SECONDS] = round((time.perf_counter() - self._start_time) / frames_sent, 4)
        return checks

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error


def kept_of(batch: Sequence[QueuedFrame], kept: Kept) -> Kept:
    """Return what is kept of a batch, of what a run keeps: no maps where none of its frames keeps them."""
    return replace(kept, maps=kept.maps and any(item.has_maps for item in batch))


def _copy_into(
    values: schema.Frame, buffer: SharedBuffer, buffers: Sequence[SharedBuffer], shared: dict[int, Any]
) -> None:
    """Copy large arrays that lie in no buffer (pictures) into `buffer`; `shared` holds earlier copies by identity."""
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.dtype != object and value.nbytes > SHARED_ARRAY_BYTES:
            if id(value) not in shared:
                is_in_buffer = any(buffer.locate(value) is not None for buffer in buffers)
                shared[id(value)] = value if is_in_buffer else buffer.copy(value)
            values[name] = shared[id(value)]
