"""Behind the policy: what was recorded goes to the host, is cut into frames and handed to the writer of its file."""

from __future__ import annotations

import contextlib
import queue
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from capture.pipeline.frame_builder import WeightErrors, compute_datasets, frame_metadata, to_host_arrays
from capture.pipeline.frame_slicing import BatchRow
from capture.pipeline.performance import current_device
from capture.pipeline.plan import Setup
from capture.pipeline.shared_memory import BufferRing, PictureBlock, PicturePool, SharedBuffer
from capture.pipeline.types import FileOutcome, RunOutcome
from capture.pipeline.writer_worker import SHARED_ARRAY_BYTES, FileStatus, FrameWriter
from capture.policies.base import CallRequest, Prepared, RecordedCall
from capture.results import schema

RING_BUFFERS: Final = 3
"""Batches that may lie between the GPU and the disk: one being filled, one full, one being written."""
WAITING_CALLS: Final = 1
"""Calls whose frames may wait for the disk where the policy runs on the CPU."""


@dataclass
class OpenFile:
    """A results file that is being written."""

    sink: FrameWriter
    cameras: tuple[str, ...]
    opened: FileStatus
    written: FileOutcome
    given: int = 0


@dataclass(frozen=True)
class QueuedFrame:
    """A frame on its way to the policy."""

    file: OpenFile
    prepared: Prepared
    seed: int
    room: PictureBlock | None
    """Where its pictures lie, to be released once it is stored."""


@dataclass(frozen=True)
class EndOfFile:
    """The last frame of a file has gone by; or no more will come, because of a failure."""

    file: OpenFile
    failure: str | None = None


@dataclass(frozen=True)
class RecordedBatch:
    """A call whose frames are to be written."""

    asked: CallRequest
    items: tuple[QueuedFrame, ...]
    host: dict[str, Tensor] | RecordedCall
    """What was gathered, on the host once `copied` is reached; or the call of which it is still to be gathered."""
    slot: SharedBuffer | None
    begun: torch.cuda.Event | None
    ended: torch.cuda.Event | None
    copied: torch.cuda.Event | None
    on_device: dict[str, Tensor] | None
    """Kept alive until it is copied."""


class Collector:
    """A thread that delivers recorded calls and ends files, in the order in which they are put.

    What stops it is kept in `error`; it then delivers nothing more, and `put` goes on to take what it is given.
    `open_files`: those that are being written. `failed` is called with files that are left unfinished.
    """

    def __init__(
        self,
        setup: Setup,
        outcome: RunOutcome,
        ring: BufferRing | None,
        shelf: PicturePool | None,
        failed: Callable[[FileOutcome], None],
    ) -> None:
        self._setup, self.outcome, self._ring, self._shelf, self._failed = setup, outcome, ring, shelf, failed
        self.open_files: list[OpenFile] = []
        self.error: BaseException | None = None
        self._recorded: queue.Queue[RecordedBatch | EndOfFile | None] = queue.Queue(RING_BUFFERS)
        self._pending: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()
        """What the writer was asked for, and what to do with its answer, in order."""
        self._begun = 0.0
        self._given = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="deliver", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._begun = time.perf_counter()
        self._thread.start()

    def put(self, item: RecordedBatch | EndOfFile) -> None:
        """Hand over the next call or end; waits while three are waiting."""
        self._recorded.put(item)

    def settle(self) -> None:
        """Wait until all that was put is delivered."""
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

    def _deliver(self) -> None:
        try:
            with current_device(self._setup.choices.device):
                self._deliver_all()
        finally:
            self._ended.set()

    def _deliver_all(self) -> None:
        while True:
            item = self._recorded.get()
            try:
                if item is None:
                    break
                if isinstance(item, EndOfFile):
                    self._end(item)
                elif self.error is None:
                    self._write(item)
            except BaseException as error:  # noqa: BLE001 - raised where the caller sees it
                self._fail(error)
            finally:
                self._recorded.task_done()
        while self._pending:
            try:
                self._settle(0)
            except BaseException as error:  # noqa: BLE001 - likewise; what other files got still counts
                self._fail(error)

    def _write(self, item: RecordedBatch) -> None:
        if item.copied is not None and item.begun is not None and item.ended is not None:
            item.copied.synchronize()
            self.outcome.busy += item.begun.elapsed_time(item.ended) / 1000
        found = item.host
        if isinstance(found, RecordedCall):
            found = {
                name: value.cpu() for name, value in compute_datasets(found, self._setup.choices.stored_as).items()
            }
        arrays, errors = to_host_arrays(found)
        by_sink: dict[int, list[tuple[OpenFile, BatchRow]]] = {}
        shared: dict[int, Any] = {}  # pictures that several prompts are shown are copied once
        slots = [*([item.slot] if item.slot else []), *(self._shelf.buffers if self._shelf else [])]
        for row, (each, one) in enumerate(zip(item.items, errors, strict=True)):
            file = each.file
            self._note(file.written, one)
            values = frame_metadata(item.asked, arrays, row)
            if item.slot is not None:
                _share(values, item.slot, slots, shared)
            by_sink.setdefault(id(file.sink), []).append((file, BatchRow(file.opened.number, row, values)))
            file.given += 1
            self._given += 1
        left = len(by_sink)
        lock = threading.Lock()

        def stored(_: Future[Any]) -> None:
            nonlocal left
            with lock:
                left -= 1
                last = not left
            if not last:
                return
            if item.slot is not None and self._ring is not None:
                self._ring.give_back(item.slot)
            for each in item.items:
                if each.room is not None:
                    each.room.release()

        for mine in by_sink.values():
            files = [file for file, _ in mine]
            future = files[0].sink.write(arrays, [row for _, row in mine], slots)
            future.add_done_callback(stored)
            self._pending.append((future, partial(self._count, files)))
        self._settle(len(self._pending) if item.slot else 0 if self._setup.choices.check else WAITING_CALLS)

    def _settle(self, down_to: int) -> None:
        """Take the writer's answers; wait until no more than so many are missing. Raises what it failed with."""
        while self._pending and (len(self._pending) > down_to or self._pending[0][0].done()):
            future, act = self._pending.popleft()
            act(future.result())

    def _count(self, files: Sequence[OpenFile], _: None) -> None:
        for file in files:
            file.written.frames += 1
        self.outcome.frames += len(files)

    def _note(self, written: FileOutcome, errors: WeightErrors) -> None:
        # np.maximum, since the built-in max loses NaN, and a model that gives NaN must not pass for a good one.
        written.row_sum = float(np.maximum(written.row_sum, errors.row_sum))
        written.masked_weight = float(np.maximum(written.masked_weight, errors.masked_weight))

    def _end(self, end: EndOfFile) -> None:
        """Make a file complete, or leave it as far as it came."""
        file = end.file
        file.written.failure = end.failure
        whole = file.opened.frames_done + file.given == file.written.total
        if end.failure is None and not whole:
            file.written.failure = f"the episode gave {file.given} frames and then no more"
        number = file.opened.number
        if file.written.failure is None:
            self._pending.append((file.sink.finish(number, self._checks(file)), lambda _: self.open_files.remove(file)))
        else:
            self._pending.append((file.sink.leave(number), partial(self._left, file)))
        self._settle(len(self._pending))

    def _left(self, file: OpenFile, kept: int) -> None:
        self.open_files.remove(file)
        if kept:
            told = f"finished frames ({kept}) stay in {file.opened.partial_path}"
            file.written.failure = f"{file.written.failure}; {told}"
        self._failed(file.written)

    def _checks(self, file: OpenFile) -> dict[str, float]:
        """The file's attribute `checks`; what was not asked for is left out."""
        written = file.written
        found = {schema.CHECK_ROW_SUM: written.row_sum, schema.CHECK_MASKED: written.masked_weight}
        if written.action_difference is not None:
            found[schema.CHECK_ACTIONS] = written.action_difference
            found[schema.CHECK_TIME] = statistics.median(self.outcome.recorded_seconds) / statistics.median(
                self.outcome.plain_seconds
            )
        if written.kept:
            found[schema.CHECK_SINCE] = written.kept
        given = self._given + 1e-9
        found[schema.CHECK_SECONDS] = round((time.perf_counter() - self._begun) / given, 4)
        return found

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error


def _share(values: schema.Frame, slot: SharedBuffer, slots: Sequence[SharedBuffer], shared: dict[int, Any]) -> None:
    """Put large arrays that are in no slot yet, pictures, into this one; `shared` holds those that were before."""
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.dtype != object and value.nbytes > SHARED_ARRAY_BYTES:
            if id(value) not in shared:
                there = any(one.locate(value) is not None for one in slots)
                shared[id(value)] = value if there else slot.copy(value)
            values[name] = shared[id(value)]
