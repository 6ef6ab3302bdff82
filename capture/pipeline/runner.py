"""Run a policy over episodes: read, call and write concurrently, one results file an episode.

Three threads and, on a GPU, two processes for each open file are connected by bounded queues:

    readers      plan files, decode and prepare their pictures (reader.py)
    feed         opens files and takes their frames in turns (scheduler.py)
    caller       collects frames into batches and calls the policy (policy_calls.py)
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
from itertools import chain

from capture.pipeline.collector import RING_BUFFERS, Collector, EndOfFile, QueuedFrame, RecordedBatch, kept_of
from capture.pipeline.performance import explain_out_of_memory, prioritise_gpu_calls
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.policy_calls import PolicyCalls
from capture.pipeline.reader import InlineReader, Reader, ReaderProcess, can_read_in_workers, pack_setup
from capture.pipeline.scheduler import FileWorkers, Scheduler, choose_file_count
from capture.pipeline.shared_memory import BufferRing, PicturePool, SharedBuffer, buffer_size
from capture.pipeline.types import FileOutcome, Job, Progress, RunOutcome
from capture.pipeline.worker_process import can_start_workers
from capture.pipeline.writer_worker import FrameWriter, WriterProcess, WriterThread
from capture.policies.base import Policy, RecordedCall
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
        options, in_workers = setup.options, uses_workers(setup.options)
        count = (options.workers or choose_file_count(options.batch, len(os.sched_getaffinity(0)))) if in_workers else 1
        if isinstance(jobs, Sized):
            count = max(1, min(count, len(jobs)))
        self._ring = BufferRing(RING_BUFFERS, pinned=options.device.type == "cuda") if in_workers else None
        self._pool = PicturePool() if in_workers else None
        self._writers: Sequence[FrameWriter] = [WriterProcess() if in_workers else WriterThread() for _ in range(count)]
        self._packed_setup: SharedBuffer | None = None
        self._readers = self._create_readers(jobs, count)
        workers = [FileWorkers(*pair) for pair in zip(self._readers, self._writers, strict=True)]
        self._collector = Collector(setup, self.outcome, self._ring, self._pool, failed)
        self.feed = Scheduler(setup, workers, self.outcome, progress, self._collector.open_files.append, failed)
        self._stop = threading.Event()
        self._feed_ended = threading.Event()
        self._error: BaseException | None = None
        # Opening a file blocks the feed, which happens more often with several files: a longer queue bridges it.
        self._ready_frames: queue.Queue[QueuedFrame | EndOfFile | None] = queue.Queue(
            (1 + count) * setup.options.batch + 2
        )
        self._calls: PolicyCalls | None = None

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
            self._calls = PolicyCalls(
                self._setup, policy, recorder, self._progress, self.outcome, self._collector.settle
            )
            start = time.perf_counter()
            try:
                feeder.start()
                self._collector.start()
                self._call_all()
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

    def _call_all(self) -> None:
        batch: list[QueuedFrame] = []
        ends: list[EndOfFile] = []

        def flush() -> None:
            check_stop()
            if batch:
                self._call(tuple(batch))
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
            # The first frames are not counted: the device cannot work before them.
            if self._calls is not None and self._calls.frames_run:
                self.outcome.reader_wait_seconds += time.perf_counter() - start

    def _call(self, batch: tuple[QueuedFrame, ...]) -> None:
        calls = self._calls
        assert calls is not None
        with explain_out_of_memory(len(batch)):
            request, results = calls.run(batch, keeps_call=self._ring is None)
        keep = kept_of(batch, self._setup.options.kept)
        if isinstance(results, RecordedCall):
            self._pass_on(RecordedBatch(request, batch, results, None, None, None, None, None, keep))
            return
        results = keep.select(results)
        ended = calls.mark()
        buffer = None
        if self._ring is not None:
            pictures = [size for item in batch for size in item.picture_bytes]
            size = buffer_size([value.nbytes for value in results.values()] + pictures)
            waited = time.perf_counter()
            buffer = self._ring.take(size, lambda: self._collector.error is not None)
            self.outcome.writer_wait_seconds += time.perf_counter() - waited
            if buffer is None:
                return
        host, copied = calls.copy(results, buffer)
        self._pass_on(RecordedBatch(request, batch, host, buffer, calls.start_event, ended, copied, results, keep))

    def _pass_on(self, recorded: RecordedBatch) -> None:
        start = time.perf_counter()
        self._collector.put(recorded)
        self.outcome.writer_wait_seconds += time.perf_counter() - start

    # The end

    def describe_kept_frames(self) -> list[str]:
        """Return a sentence for every incomplete file that has frames."""
        sentences = []
        for file in self._collector.open_files:
            finished = file.status.frames_done + file.outcome.frames
            if finished:
                sentences.append(f"{finished} of {file.outcome.total} frames are kept in {file.status.partial_path}")
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
