"""Decide which frame is run next: plan, open and read several files at a time, in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from capture.errors import UserError
from capture.pipeline.collector import EndOfFile, OpenFile, QueuedFrame
from capture.pipeline.output_path import is_finished
from capture.pipeline.planning.plan import GENERATOR
from capture.pipeline.planning.setup import Setup
from capture.pipeline.reader import Moment, Reader, describe_unexpected_error
from capture.pipeline.types import FileOutcome, Job, Progress, RunOutcome
from capture.pipeline.worker_process import ProcessGoneError
from capture.pipeline.writer_worker import FrameWriter
from capture.provenance import to_json
from capture.results.scores_schema import keeps_maps

MOST_FILES: Final = 4
_CORES_A_FILE: Final = 4


def choose_file_count(batch: int, cores: int) -> int:
    """Return how many files are run in turns, each with its own writer process and, if possible, reader process.

    Measured: one process stores 27 to 33 full-size frames a second, limited by the allocation of 40 MB for each; an
    H100 computes 21 frames a second with a batch of 1, 45 with 4, 60 with 8 and 67 with 16. Each pair of processes
    needs several cores, for itself, the kernel and decoding.
    """
    return max(1, min(MOST_FILES, batch.bit_length(), cores // _CORES_A_FILE))


@dataclass(frozen=True)
class FileWorkers:
    """Reader and writer of one file at a time."""

    reader: Reader
    writer: FrameWriter


@dataclass(frozen=True)
class _FileTurn:
    """An open file and the moments still to be read."""

    file: OpenFile
    workers: FileWorkers
    moments: Iterator[Moment]


class Scheduler:
    """Yields the frames of all jobs in the order in which they are run. For one thread at a time.

    As many files are open at once as there are `workers`, and they take turns, one moment each. So a batch holds frames
    of several files, and all workers are busy. Which frames share a batch depends on the jobs alone. `opened` is called
    with each opened file, `failed` with the outcome of each one that could not be opened.
    """

    def __init__(
        self,
        setup: Setup,
        workers: Sequence[FileWorkers],
        outcome: RunOutcome,
        progress: Progress,
        opened: Callable[[OpenFile], None],
        failed: Callable[[FileOutcome], None],
    ) -> None:
        self._setup, self._outcome, self._progress = setup, outcome, progress
        self._opened, self._failed = opened, failed
        self._free = deque(workers)
        self._warned: set[str] = set()
        self._finished: list[FileOutcome] = []
        """Finished files that were not reported yet."""

    def items(self, jobs: Iterable[Job]) -> Iterator[QueuedFrame | EndOfFile]:
        """Yield the remaining frames of every job, each file's frames followed by its `EndOfFile`."""
        turns: deque[_FileTurn] = deque()
        other: _FileTurn | None = None
        remaining_jobs = enumerate(jobs)
        while True:
            while other is None and self._free and (turn := self._next(remaining_jobs)) is not None:
                if not turns or turn.file.cameras == turns[0].file.cameras:
                    turns.append(turn)
                else:
                    other = turn  # a batch has one set of cameras: this file waits until the open ones are done
            if not turns and other is not None:
                turns.append(other)
                other = None
                continue
            if not turns:
                return
            turn = turns.popleft()
            moment, failure = self._moment(turn)
            if moment is not None:
                for prepared, seed in moment.frames:
                    number = turn.file.status.frames_done + turn.file.frames_queued
                    turn.file.frames_queued += 1
                    has_maps = keeps_maps(self._setup.options.maps_every, number)
                    yield QueuedFrame(turn.file, prepared, seed, moment.block, has_maps)
                turns.append(turn)
            else:
                yield EndOfFile(turn.file, failure)
                self._free.append(turn.workers)

    def _next(self, jobs: Iterator[tuple[int, Job]]) -> _FileTurn | None:
        """Open the next file that has frames left, with the next free workers."""
        turn = self._next_of(jobs)
        if self._finished:  # there may be thousands: one sentence for all
            path, others = self._finished[0].path, len(self._finished) - 1
            self._progress.log(
                f"{path} and {others} more file{'s' * (others > 1)} are finished already; they are left as they are"
                if others
                else f"{path} is finished already; it is left as it is"
            )
            self._finished.clear()
        return turn

    def _next_of(self, jobs: Iterator[tuple[int, Job]]) -> _FileTurn | None:
        for number, job in jobs:
            written = FileOutcome(job.path)
            self._outcome.files.append(written)
            try:
                turn = self._open(number, job, written, self._free[0])
            except ProcessGoneError:
                raise
            except UserError as error:
                written.failure = str(error)
            except Exception as error:  # noqa: BLE001 - one bad file must not end the run
                written.failure = describe_unexpected_error(error)
            else:
                if turn is not None:
                    self._free.popleft()
                    return turn
                continue
            self._failed(written)
        return None

    def _moment(self, turn: _FileTurn) -> tuple[Moment | None, str | None]:
        """Return a file's next moment, or None at its end, and the failure if it ends early."""
        try:
            return next(turn.moments, None), None
        except ProcessGoneError:
            raise
        except UserError as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 - likewise
            return None, describe_unexpected_error(error)

    def _open(self, number: int, job: Job, written: FileOutcome, workers: FileWorkers) -> _FileTurn | None:
        outline = workers.reader.plan(number, job.episode)
        options = self._setup.options
        written.total, written.warnings = outline.sizes.frames, outline.warnings
        for sentence in outline.warnings:
            if sentence not in self._warned:  # files of a data set often have the same warnings
                self._warned.add(sentence)
                self._progress.log(f"warning: {sentence}")
        for decision in outline.decisions:
            self._progress.decided(decision)
        if not options.overwrite and is_finished(job.path, outline):
            self._note_finished(written)
            return None
        writer_options = {
            "model": self._setup.model,
            "generator": GENERATOR,
            "weights": options.store,
            "compress": options.compress,
            "overwrite": options.overwrite,
            "run": outline.run,
            "provenance": to_json(outline.decisions),
        }
        try:
            opened = workers.writer.open(job.path, outline.sizes, writer_options).result()
        except UserError:
            if options.overwrite or not is_finished(job.path, outline):
                raise
            self._note_finished(written)  # another process finished it meanwhile
            return None
        written.kept, written.row_sum = opened.frames_done, opened.earlier_row_sum_error
        if opened.frames_done:
            self._progress.log(
                f"{opened.partial_path} has {opened.frames_done} of {written.total} frames; it is gone on with"
            )
        self._progress.expect(written.total - opened.frames_done)
        file = OpenFile(workers.writer, outline.sizes.cameras, opened, written)
        self._opened(file)
        return _FileTurn(file, workers, workers.reader.moments_from(opened.frames_done))

    def _note_finished(self, written: FileOutcome) -> None:
        written.kept = written.total
        self._finished.append(written)
