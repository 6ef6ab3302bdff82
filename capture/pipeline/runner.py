"""Runs a policy over episodes: read, call, sum up and write, all at the same time, one results file an episode.

Three threads work hand in hand and, on a GPU, two processes for each file under way, with bounded queues between:

    the readers  plan files, decode and prepare their pictures (reading.py)
    feed         opens files and lets them take turns (feeding.py)
    the caller   gathers frames to batches and calls the policy
    deliver      brings what was recorded to the host and hands it to the writers (delivery.py)
    the writers  store frames (writing.py)

So memory stays the same however long the episodes are, and a frame counts as finished once it is in its file.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.errors import UserError
from capture.pipeline.collector import RING_BUFFERS, Collector, EndOfFile, QueuedFrame, RecordedBatch
from capture.pipeline.cuda_graphs import GraphReplayer, cuda_graph_factory
from capture.pipeline.frame_builder import compute_datasets
from capture.pipeline.performance import prioritise_gpu_calls
from capture.pipeline.plan import RunOptions, Setup
from capture.pipeline.reader import InlineReader, Reader, ReaderProcess, can_read_in_workers, pack_setup
from capture.pipeline.scheduler import FileWorkers, Scheduler, choose_file_count
from capture.pipeline.shared_memory import BufferRing, PicturePool, SharedBuffer, buffer_size
from capture.pipeline.types import FileOutcome, Job, Progress, RunOutcome
from capture.pipeline.worker_process import can_start_workers
from capture.pipeline.writer_worker import FrameWriter, WriterProcess, WriterThread
from capture.policies.base import CallRequest, Policy, Prepared, RecordedCall


def run_jobs(
    setup: Setup, jobs: Iterable[Job], progress: Progress, failed: Callable[[FileOutcome], None] | None = None
) -> RunOutcome:
    """Run every job and write its file. Finished frames are kept whatever happens; finished files are passed over.

    A job whose episode or file does not do is noted in the outcome with a sentence, `failed` is called with it, and the
    others go on. Raises UserError where nothing can go on: weights that cannot be read, a disk that is full.

    On a GPU, where `jobs` is a sequence and its episodes can be pickled, other processes read them; not so those that
    hold their observations in memory (`InMemoryEpisode`).
    """
    choices = setup.choices
    run = _Run(setup, jobs, progress, failed or (lambda _: None))
    try:
        waiting = _peeked(run.feed.items(jobs))  # what does not fit is told before weights are read
        if waiting is None:
            return run.outcome
        progress.loading(0, setup.policy.parameter_bytes(choices.dtype))
        run.go(setup.policy.load(choices.device, choices.dtype, progress.loading), waiting)
    except KeyboardInterrupt as stop:
        for sentence in run.kept():
            stop.add_note(sentence)
        raise
    finally:
        run.close()
    return run.outcome


def uses_workers(choices: RunOptions) -> bool:
    """Whether other processes read and write: where asked for, else where a GPU waits, if the system allows it."""
    if choices.workers is not None:
        return choices.workers > 0
    return choices.device.type == "cuda" and can_start_workers()


def _peeked(items: Iterator[QueuedFrame | EndOfFile]) -> Iterator[QueuedFrame | EndOfFile] | None:
    """The same items, the first of which is already there; None if there are none."""
    first = next(items, None)
    if first is None:
        return None

    def again() -> Iterator[QueuedFrame | EndOfFile]:
        yield first
        yield from items

    return again()


@contextlib.contextmanager
def _room_for(frames: int) -> Iterator[None]:
    """A sentence for the user where the device has no memory for a call of so many frames."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"the device has no room to run {frames} frame{'s' * (frames != 1)} at once; "
            + ("give a smaller --batch" if frames > 1 else "free its memory, or give another --device")
        ) from None


class _Run:
    """One run from its first job to its last."""

    def __init__(
        self, setup: Setup, jobs: Iterable[Job], progress: Progress, failed: Callable[[FileOutcome], None]
    ) -> None:
        self._setup, self._progress = setup, progress
        self.outcome = RunOutcome()
        self._cuda = setup.choices.device.type == "cuda"
        choices, beside = setup.choices, uses_workers(setup.choices)
        count = (choices.workers or choose_file_count(choices.batch, len(os.sched_getaffinity(0)))) if beside else 1
        if isinstance(jobs, Sized):
            count = max(1, min(count, len(jobs)))
        self._ring = BufferRing(RING_BUFFERS, pinned=self._cuda) if beside else None
        self._shelf = PicturePool() if beside else None
        self._sinks: Sequence[FrameWriter] = [WriterProcess() if beside else WriterThread() for _ in range(count)]
        self._parcel: SharedBuffer | None = None
        self._readers = self._read_by(jobs, count)
        lanes = [FileWorkers(*each) for each in zip(self._readers, self._sinks, strict=True)]
        self._delivery = Collector(setup, self.outcome, self._ring, self._shelf, failed)
        self.feed = Scheduler(setup, lanes, self.outcome, progress, self._delivery.open_files.append, failed)
        self._stop = threading.Event()
        self._feed_ended = threading.Event()
        self._error: BaseException | None = None
        # A file that is being opened keeps others waiting; with several, that is more often.
        self._fed: queue.Queue[QueuedFrame | EndOfFile | None] = queue.Queue((1 + count) * setup.choices.batch + 2)
        self._copies: Any = None
        self._begun: torch.cuda.Event | None = None
        self._done = 0

    def _read_by(self, jobs: Iterable[Job], count: int) -> Sequence[Reader]:
        """As many readers; they are processes if writers are, and what is to be read can be sent there."""
        if self._shelf is not None and isinstance(jobs, Sequence) and can_read_in_workers(jobs):
            parcel = pack_setup(self._setup, jobs)
            if parcel is not None:
                self._parcel, place = parcel
                return [ReaderProcess(self._setup, place, self._shelf) for _ in range(count)]
        return [InlineReader(self._setup) for _ in range(count)]

    # The policy

    def go(self, policy: Policy, items: Iterator[QueuedFrame | EndOfFile]) -> None:
        """Run all frames; `items` is read by a thread of its own."""
        feeder = threading.Thread(target=self._feed, args=(items,), name="feed", daemon=True)
        self._progress.step(0)
        with prioritise_gpu_calls(self._setup.choices.device, beside=self._ring is not None):
            with _room_for(1):
                recorder = policy.recorder(layers=self._setup.layers, steps=self._setup.steps)
            start = time.perf_counter()
            try:
                feeder.start()
                self._delivery.start()
                self._call_all(policy, recorder)
            finally:
                self._finish(feeder)
                self.outcome.seconds = time.perf_counter() - start
        self._raise()

    def _finish(self, feeder: threading.Thread) -> None:
        """End the other threads. Ctrl-C is raised once they have: Python aborts if it exits while one is in torch."""
        stop: KeyboardInterrupt | None = None
        ended = False
        while not ended:
            try:
                self._stop.set()
                self._delivery.finish()
                if feeder.ident is not None:
                    self._feed_ended.wait()
                    feeder.join()
                ended = True
            except KeyboardInterrupt as error:
                stop = error
        if stop is not None:
            raise stop

    def _feed(self, items: Iterator[QueuedFrame | EndOfFile]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            self._error = error
        finally:
            self._put(None)
            self._feed_ended.set()

    def _replays_of(self, policy: Policy, recorder: AbstractContextManager[Any]) -> GraphReplayer | None:
        choices = self._setup.choices
        if not choices.replayed:
            return None
        graph = cuda_graph_factory(choices.device)
        return GraphReplayer(
            policy, recorder, full=choices.full, weights=choices.stored_as, graph=graph, tell=self._progress.tell
        )

    def _call_all(self, policy: Policy, recorder: AbstractContextManager[Any]) -> None:
        replays = self._replays_of(policy, recorder)
        batch: list[QueuedFrame] = []
        ends: list[EndOfFile] = []

        def flush() -> None:
            if batch:
                self._call(policy, recorder, replays, tuple(batch))
                batch.clear()
            for end in ends:
                self._delivery.put(end)
            ends.clear()

        while (item := self._next()) is not None:
            if isinstance(item, EndOfFile):
                ends.append(item)
                if not batch:
                    flush()
                continue
            if batch and tuple(batch[0].prepared.pictures) != tuple(item.prepared.pictures):
                flush()
            batch.append(item)
            if len(batch) == self._setup.choices.batch:
                flush()
        flush()

    def _next(self) -> QueuedFrame | EndOfFile | None:
        start = time.perf_counter()
        try:
            while True:
                self._raise()
                try:
                    return self._fed.get(timeout=0.1)
                except queue.Empty:
                    continue
        finally:
            if self._done:  # the first pictures are no wait: nothing could be done before
                self.outcome.starved += time.perf_counter() - start

    def _call(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        replays: GraphReplayer | None,
        batch: tuple[QueuedFrame, ...],
    ) -> None:
        with _room_for(len(batch)):
            asked, found = self._found(policy, recorder, replays, batch)
        if isinstance(found, RecordedCall):
            self._hand_over(RecordedBatch(asked, batch, found, None, None, None, None, None))
            return
        ended = self._mark()
        pictures = [
            array.nbytes
            for item in batch
            if item.room is None
            for array in (
                *item.prepared.observation.pictures.values(),
                *(shown.model_u8 for shown in item.prepared.pictures.values()),
            )
        ]
        slot = None
        if self._ring is not None:
            room = buffer_size([value.nbytes for value in found.values()] + pictures)
            waited = time.perf_counter()
            slot = self._ring.take(room, lambda: self._delivery.error is not None)
            self.outcome.held_up += time.perf_counter() - waited
            if slot is None:
                return
        host, copied = self._copy(found, slot)
        self._hand_over(RecordedBatch(asked, batch, host, slot, self._begun, ended, copied, found))

    def _found(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        replays: GraphReplayer | None,
        batch: tuple[QueuedFrame, ...],
    ) -> tuple[CallRequest, dict[str, Tensor] | RecordedCall]:
        """What a call was asked, and what is gathered of it, on the device; or the call, to be gathered later."""
        choices = self._setup.choices
        prepared, seeds = [item.prepared for item in batch], [item.seed for item in batch]
        plain = self._plain(policy, prepared, seeds) if choices.check else None
        start = time.perf_counter()
        steps, done = self._setup.policy.sizes.denoise_steps, self._done

        def after_step(step: int) -> None:
            self._progress.step(done + len(batch) * (step + 1) / steps)

        if replays is not None:
            asked, found = replays.run(prepared, seeds=seeds, begin=self._begin, after_step=after_step)
            self._done += len(batch)
            self._progress.step(self._done)  # a replay has no steps to tell of
            return asked, found
        self._begin()
        with recorder:
            call = policy.run(prepared, recorder, seeds=seeds, full=choices.full, after_step=after_step)
        self._done += len(batch)
        if plain is not None:
            self._wait_for_device()
            self.outcome.recorded_seconds.append(time.perf_counter() - start)
            apart = (plain - call.path[-1]).abs().flatten(1).amax(1).tolist()  # (B,)
            for item, one in zip(batch, apart, strict=True):
                written = item.file.written
                written.action_difference = float(np.maximum(written.action_difference or 0.0, one))
        if not self._cuda:
            self.outcome.busy += time.perf_counter() - start
        if self._ring is None and not self._cuda:
            return call, call
        # Nothing of the device is to wait for the disk but what is stored.
        return CallRequest(call.prepared, call.seeds, call.to_robot), compute_datasets(call, choices.stored_as)

    def _copy(
        self, found: dict[str, Tensor], slot: SharedBuffer | None
    ) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
        """Copy to the host. From a GPU it is begun on a stream of its own, and done when the event is reached."""
        device = self._setup.choices.device
        if not self._cuda:
            return {name: slot.like(value).copy_(value) for name, value in found.items()} if slot else found, None
        if self._copies is None:
            self._copies = torch.cuda.Stream(device)
        self._copies.wait_stream(torch.cuda.current_stream(device))
        host = {}
        with torch.cuda.stream(self._copies):
            for name, value in found.items():
                room = (
                    torch.empty(value.shape, dtype=value.dtype, pin_memory=True) if slot is None else slot.like(value)
                )
                host[name] = room.copy_(value, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(self._copies)
        return host, copied

    def _hand_over(self, recorded: RecordedBatch) -> None:
        start = time.perf_counter()
        self._delivery.put(recorded)
        self.outcome.held_up += time.perf_counter() - start

    def _plain(self, policy: Policy, prepared: list[Prepared], seeds: list[int]) -> Tensor:
        """The actions (B, H, A) of an unrecorded call, its time noted; neither call shares the machine with others."""
        if not self.outcome.plain_seconds:
            policy.plain(prepared, seeds=seeds)  # the first call of all pays for warming up
        self._delivery.settle()
        self._wait_for_device()
        start = time.perf_counter()
        actions = policy.plain(prepared, seeds=seeds).actions
        self._wait_for_device()
        self.outcome.plain_seconds.append(time.perf_counter() - start)
        return actions

    def _wait_for_device(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._setup.choices.device)

    def _begin(self) -> None:
        """A call is about to be launched."""
        self._begun = self._mark()

    def _mark(self) -> torch.cuda.Event | None:
        if not self._cuda:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._setup.choices.device))
        return event

    # The end

    def kept(self) -> list[str]:
        """A sentence for every file that is not whole but has frames; all frames that were handed over are in."""
        said = []
        for file in self._delivery.open_files:
            done = file.opened.frames_done + file.written.frames
            if done:
                said.append(f"{done} of {file.written.total} frames are kept in {file.opened.partial_path}")
        return said

    def close(self) -> None:
        """Leave every file that is still open."""
        for reader in self._readers:
            reader.close()
        for sink in self._sinks:
            sink.__exit__(None, None, None)
        if self._ring is not None:
            self._ring.close()
        if self._shelf is not None:
            self._shelf.close()
        if self._parcel is not None:
            self._parcel.free()

    def _raise(self) -> None:
        """Raise what stopped one of the other threads."""
        for error in (self._delivery.error, self._error):
            if error is not None:
                raise error

    def _put(self, item: QueuedFrame | EndOfFile | None) -> bool:
        """Feed an item; gives up, and says False, once the run is to stop and there is no room."""
        while True:
            try:
                self._fed.put(item, timeout=0.1)
            except queue.Full:
                if self._stop.is_set() or self._delivery.error is not None:
                    return False
            else:
                return True
