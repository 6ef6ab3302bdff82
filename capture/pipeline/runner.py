"""Run a policy over episodes: read, call and write concurrently, one results file an episode.

Three threads and, on a GPU, two processes for each open file are connected by bounded queues:

    readers      plan files, decode and prepare their pictures (reader.py)
    feed         opens files and takes their frames in turns (scheduler.py)
    caller       collects frames into batches and calls the policy
    collector    copies recorded calls to the host and hands them to the writers (collector.py)
    writers      store frames (writer_worker.py)

So memory does not grow with the length of the episodes. A frame counts as finished once it is in its file.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.pipeline.collector import RING_BUFFERS, Collector, EndOfFile, QueuedFrame, RecordedBatch, kept_of
from capture.pipeline.cuda_graphs import GraphReplayer, cuda_graph_factory
from capture.pipeline.frame_builder import compute_datasets
from capture.pipeline.performance import explain_out_of_memory, prioritise_gpu_calls
from capture.pipeline.plan import RunOptions, Setup
from capture.pipeline.reader import InlineReader, Reader, ReaderProcess, can_read_in_workers, pack_setup
from capture.pipeline.scheduler import FileWorkers, Scheduler, choose_file_count
from capture.pipeline.shared_memory import BufferRing, PicturePool, SharedBuffer, buffer_size
from capture.pipeline.types import FileOutcome, Job, Progress, RunOutcome
from capture.pipeline.worker_process import can_start_workers
from capture.pipeline.writer_worker import FrameWriter, WriterProcess, WriterThread
from capture.policies.base import CallRequest, Policy, Prepared, RecordedCall
from capture.stop_request import check_stop


def run_jobs(
    setup: Setup,
    jobs: Iterable[Job],
    progress: Progress,
    failed: Callable[[FileOutcome], None] | None = None,
    *,
    loaded: Callable[[Policy], None] | None = None,
) -> RunOutcome:
    """Run every job and write its file. Finished frames are always kept; finished files are skipped.

    A job whose episode or file cannot be used gets a failure in the outcome, `failed` is called with it, and the other
    jobs go on. `loaded` is called with the policy once its weights are read. Raises UserError if no job can go on:
    weights cannot be read, the disk is full.

    On a GPU, child processes read the episodes if `jobs` is a sequence and the episodes can be pickled, except those
    that hold their observations in memory (`InMemoryEpisode`).
    """
    options = setup.options
    run = _Run(setup, jobs, progress, failed or (lambda _: None))
    try:
        waiting = _look_ahead(run.feed.items(jobs))  # data that does not fit is reported before weights are read
        if waiting is None:
            return run.outcome
        progress.loading(0, setup.policy.parameter_bytes(options.dtype))
        policy = setup.policy.load(options.device, options.dtype, progress.loading)
        if loaded is not None:
            loaded(policy)
        run.go(policy, waiting)
    except KeyboardInterrupt as stop:
        for sentence in run.describe_kept_frames():
            stop.add_note(sentence)
        raise
    finally:
        run.close()
    return run.outcome


def uses_workers(options: RunOptions) -> bool:
    """Return whether child processes read and write: if requested, else on a GPU if the system supports it."""
    if options.workers is not None:
        return options.workers > 0
    return options.device.type == "cuda" and can_start_workers()


def _look_ahead(items: Iterator[QueuedFrame | EndOfFile]) -> Iterator[QueuedFrame | EndOfFile] | None:
    """Return the same items with the first one already read; None if there are none."""
    first = next(items, None)
    return None if first is None else chain([first], items)


class _Run:
    """The state of one run: its threads, workers and queues."""

    def __init__(
        self, setup: Setup, jobs: Iterable[Job], progress: Progress, failed: Callable[[FileOutcome], None]
    ) -> None:
        self._setup, self._progress = setup, progress
        self.outcome = RunOutcome()
        self._cuda = setup.options.device.type == "cuda"
        options, in_workers = setup.options, uses_workers(setup.options)
        count = (options.workers or choose_file_count(options.batch, len(os.sched_getaffinity(0)))) if in_workers else 1
        if isinstance(jobs, Sized):
            count = max(1, min(count, len(jobs)))
        self._ring = BufferRing(RING_BUFFERS, pinned=self._cuda) if in_workers else None
        self._pool = PicturePool() if in_workers else None
        self._writers: Sequence[FrameWriter] = [WriterProcess() if in_workers else WriterThread() for _ in range(count)]
        self._packed_setup: SharedBuffer | None = None
        self._readers = self._create_readers(jobs, count)
        workers = [FileWorkers(*each) for each in zip(self._readers, self._writers, strict=True)]
        self._collector = Collector(setup, self.outcome, self._ring, self._pool, failed)
        self.feed = Scheduler(setup, workers, self.outcome, progress, self._collector.open_files.append, failed)
        self._stop = threading.Event()
        self._feed_ended = threading.Event()
        self._error: BaseException | None = None
        # Opening a file blocks the feed, which happens more often with several files: a longer queue bridges it.
        self._ready_frames: queue.Queue[QueuedFrame | EndOfFile | None] = queue.Queue(
            (1 + count) * setup.options.batch + 2
        )
        self._copy_stream: Any = None
        self._start_event: torch.cuda.Event | None = None
        self._frames_run = 0

    def _create_readers(self, jobs: Iterable[Job], count: int) -> Sequence[Reader]:
        """Create `count` readers: processes if the writers are, and if setup and episodes can be sent to them."""
        if self._pool is not None and isinstance(jobs, Sequence) and can_read_in_workers(jobs):
            packed = pack_setup(self._setup, jobs)
            if packed is not None:
                self._packed_setup, location = packed
                return [ReaderProcess(self._setup, location, self._pool) for _ in range(count)]
        return [InlineReader(self._setup) for _ in range(count)]

    # The policy

    def go(self, policy: Policy, items: Iterator[QueuedFrame | EndOfFile]) -> None:
        """Run all frames; a thread reads `items`."""
        feeder = threading.Thread(target=self._feed, args=(items,), name="feed", daemon=True)
        self._progress.step(0)
        with prioritise_gpu_calls(self._setup.options.device, has_workers=self._ring is not None):
            with explain_out_of_memory(1):
                recorder = policy.recorder(layers=self._setup.layers, steps=self._setup.steps)
            start = time.perf_counter()
            try:
                feeder.start()
                self._collector.start()
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
                self._collector.finish()
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
        options = self._setup.options
        if not options.replayed:
            return None
        graph = cuda_graph_factory(options.device)
        return GraphReplayer(
            policy, recorder, full=options.full, keep=options.kept, graph=graph, log=self._progress.log
        )

    def _call_all(self, policy: Policy, recorder: AbstractContextManager[Any]) -> None:
        replays = self._replays_of(policy, recorder)
        batch: list[QueuedFrame] = []
        ends: list[EndOfFile] = []

        def flush() -> None:
            check_stop()
            if batch:
                self._call(policy, recorder, replays, tuple(batch))
                batch.clear()
            for end in ends:
                self._collector.put(end)
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
            if len(batch) == self._setup.options.batch:
                flush()
        flush()

    def _next(self) -> QueuedFrame | EndOfFile | None:
        start = time.perf_counter()
        try:
            while True:
                self._raise()
                try:
                    return self._ready_frames.get(timeout=0.1)
                except queue.Empty:
                    continue
        finally:
            if self._frames_run:  # the first frames are not counted: the device cannot work before them
                self.outcome.reader_wait_seconds += time.perf_counter() - start

    def _call(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        replays: GraphReplayer | None,
        batch: tuple[QueuedFrame, ...],
    ) -> None:
        with explain_out_of_memory(len(batch)):
            request, results = self._run_call(policy, recorder, replays, batch)
        keep = kept_of(batch, self._setup.options.kept)
        if isinstance(results, RecordedCall):
            self._pass_on(RecordedBatch(request, batch, results, None, None, None, None, None, keep))
            return
        results = keep.select(results)
        ended = self._mark()
        buffer = None
        if self._ring is not None:
            pictures = [size for item in batch for size in item.picture_bytes]
            size = buffer_size([value.nbytes for value in results.values()] + pictures)
            waited = time.perf_counter()
            buffer = self._ring.take(size, lambda: self._collector.error is not None)
            self.outcome.writer_wait_seconds += time.perf_counter() - waited
            if buffer is None:
                return
        host, copied = self._copy(results, buffer)
        self._pass_on(RecordedBatch(request, batch, host, buffer, self._start_event, ended, copied, results, keep))

    def _run_call(
        self,
        policy: Policy,
        recorder: AbstractContextManager[Any],
        replays: GraphReplayer | None,
        batch: tuple[QueuedFrame, ...],
    ) -> tuple[CallRequest, dict[str, Tensor] | RecordedCall]:
        """Run one call. Return its request, and its datasets on the device or, on a CPU, the call itself."""
        options = self._setup.options
        prepared, seeds = [item.prepared for item in batch], [item.seed for item in batch]
        plain = self._plain(policy, prepared, seeds) if options.check else None
        start = time.perf_counter()
        steps, done = self._setup.policy.sizes.denoise_steps, self._frames_run

        def after_step(step: int) -> None:
            self._progress.step(done + len(batch) * (step + 1) / steps)

        if replays is not None:
            request, results = replays.run(prepared, seeds=seeds, begin=self._begin, after_step=after_step)
            self._frames_run += len(batch)
            self._progress.step(self._frames_run)  # a replay reports no steps
            return request, results
        self._begin()
        with recorder:
            call = policy.run(prepared, recorder, seeds=seeds, full=options.full, after_step=after_step)
        self._frames_run += len(batch)
        if plain is not None:
            self._wait_for_device()
            self.outcome.recorded_seconds.append(time.perf_counter() - start)
            apart = (plain - call.path[-1]).abs().flatten(1).amax(1).tolist()  # (B,)
            for item, difference in zip(batch, apart, strict=True):
                written = item.file.outcome
                written.action_difference = float(np.maximum(written.action_difference or 0.0, difference))
        if not self._cuda:
            self.outcome.busy_seconds += time.perf_counter() - start
        if self._ring is None and not self._cuda:
            return call, call
        # The call's other tensors are freed now and do not wait for the disk.
        return CallRequest(call.prepared, call.seeds, call.to_robot), compute_datasets(
            call, kept_of(batch, options.kept)
        )

    def _copy(
        self, results: dict[str, Tensor], buffer: SharedBuffer | None
    ) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
        """Copy to the host; from a GPU on a separate stream, complete when the returned event is reached."""
        device = self._setup.options.device
        if not self._cuda:
            return {
                name: buffer.like(value).copy_(value) for name, value in results.items()
            } if buffer else results, None
        if self._copy_stream is None:
            self._copy_stream = torch.cuda.Stream(device)
        self._copy_stream.wait_stream(torch.cuda.current_stream(device))
        host = {}
        with torch.cuda.stream(self._copy_stream):
            for name, value in results.items():
                size = (
                    torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                    if buffer is None
                    else buffer.like(value)
                )
                host[name] = size.copy_(value, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(self._copy_stream)
        return host, copied

    def _pass_on(self, recorded: RecordedBatch) -> None:
        start = time.perf_counter()
        self._collector.put(recorded)
        self.outcome.writer_wait_seconds += time.perf_counter() - start

    def _plain(self, policy: Policy, prepared: list[Prepared], seeds: list[int]) -> Tensor:
        """Time an unrecorded call while nothing else runs, and return its actions (B, H, A)."""
        if not self.outcome.plain_seconds:
            policy.plain(prepared, seeds=seeds)  # warm up: the first call is slower
        self._collector.settle()
        self._wait_for_device()
        start = time.perf_counter()
        actions = policy.plain(prepared, seeds=seeds).actions
        self._wait_for_device()
        self.outcome.plain_seconds.append(time.perf_counter() - start)
        return actions

    def _wait_for_device(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._setup.options.device)

    def _begin(self) -> None:
        """Record on the device that a call begins."""
        self._start_event = self._mark()

    def _mark(self) -> torch.cuda.Event | None:
        if not self._cuda:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._setup.options.device))
        return event

    # The end

    def describe_kept_frames(self) -> list[str]:
        """Return a sentence for every incomplete file that has frames."""
        sentences = []
        for file in self._collector.open_files:
            done = file.status.frames_done + file.outcome.frames
            if done:
                sentences.append(f"{done} of {file.outcome.total} frames are kept in {file.status.partial_path}")
        return sentences

    def close(self) -> None:
        """End the workers and free shared memory; open files stay under their partial names."""
        for reader in self._readers:
            reader.close()
        for sink in self._writers:
            sink.__exit__(None, None, None)
        if self._ring is not None:
            self._ring.close()
        if self._pool is not None:
            self._pool.close()
        if self._packed_setup is not None:
            self._packed_setup.free()

    def _raise(self) -> None:
        """Raise the exception that ended another thread."""
        for error in (self._collector.error, self._error):
            if error is not None:
                raise error

    def _put(self, item: QueuedFrame | EndOfFile | None) -> bool:
        """Queue an item. Returns False if the run stops while the queue is full."""
        while True:
            try:
                self._ready_frames.put(item, timeout=0.1)
            except queue.Full:
                if self._stop.is_set() or self._collector.error is not None:
                    return False
            else:
                return True
