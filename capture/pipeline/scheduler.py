"""In front of the policy: files are planned, opened for writing and read, several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from capture.errors import UserError
from capture.pipeline.collector import EndOfFile, OpenFile, QueuedFrame
from capture.pipeline.output_path import is_finished
from capture.pipeline.plan import GENERATOR, Setup
from capture.pipeline.reader import Moment, Reader, describe_unexpected_error
from capture.pipeline.types import FileOutcome, Job, Progress, RunOutcome
from capture.pipeline.worker_process import ProcessGoneError
from capture.pipeline.writer_worker import FrameWriter

MOST_FILES: Final = 4
_CORES_A_FILE: Final = 4


def choose_file_count(batch: int, cores: int) -> int:
    """How many files take turns, each with a process of its own that writes and, where that can be, one that reads.

    One process stores 27 to 33 frames of full size a second, since the system has to find room for 40 MB each. An H100
    makes 21 when it runs one at a time, 45 with 4, 60 with 8 and 67 with 16. Each process needs cores: its own, the
    system's, and some for decoding.
    """
    return max(1, min(MOST_FILES, batch.bit_length(), cores // _CORES_A_FILE))


@dataclass(frozen=True)
class FileWorkers:
    """What a file that is under way has to itself."""

    reader: Reader
    sink: FrameWriter


@dataclass(frozen=True)
class _FileTurn:
    """A file that is being read."""

    file: OpenFile
    lane: FileWorkers
    moments: Iterator[Moment]


class Scheduler:
    """The frames of all jobs in the order in which they are run, for one thread at a time.

    As many files are open at once as there are `lanes`, and take turns, a moment each. So a batch holds frames of
    several, and all lanes work at the same time; which frames meet in a batch depends on the jobs alone. `opened` is
    called with each file that is open, `failed` with those that could not be.
    """

    def __init__(
        self,
        setup: Setup,
        lanes: Sequence[FileWorkers],
        outcome: RunOutcome,
        progress: Progress,
        opened: Callable[[OpenFile], None],
        failed: Callable[[FileOutcome], None],
    ) -> None:
        self._setup, self._outcome, self._progress = setup, outcome, progress
        self._opened, self._failed = opened, failed
        self._free = deque(lanes)
        self._warned: set[str] = set()
        self._passed: list[FileOutcome] = []
        """Finished files that were not told of yet."""

    def items(self, jobs: Iterable[Job]) -> Iterator[QueuedFrame | EndOfFile]:
        """The frames of every job that has any left, each file's followed by its end."""
        turns: deque[_FileTurn] = deque()
        other: _FileTurn | None = None
        left = enumerate(jobs)
        while True:
            while other is None and self._free and (turn := self._next(left)) is not None:
                if not turns or turn.file.cameras == turns[0].file.cameras:
                    turns.append(turn)
                else:
                    other = turn  # no batch can hold both: it waits until those that are open are through
            if not turns and other is not None:
                turns.append(other)
                other = None
                continue
            if not turns:
                return
            turn = turns.popleft()
            moment, failure = self._moment(turn)
            if moment is not None:
                yield from (QueuedFrame(turn.file, prepared, seed, moment.block) for prepared, seed in moment.frames)
                turns.append(turn)
            else:
                yield EndOfFile(turn.file, failure)
                self._free.append(turn.lane)

    def _next(self, jobs: Iterator[tuple[int, Job]]) -> _FileTurn | None:
        """The next file that has something left to do, open in the next free lane."""
        turn = self._next_of(jobs)
        if self._passed:  # a thousand of them in one sentence
            path, others = self._passed[0].path, len(self._passed) - 1
            self._progress.tell(
                f"{path} and {others} more file{'s' * (others > 1)} are finished already; they are left as they are"
                if others
                else f"{path} is finished already; it is left as it is"
            )
            self._passed.clear()
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
            except Exception as error:  # noqa: BLE001 - one bad file must not end a night's run
                written.failure = describe_unexpected_error(error)
            else:
                if turn is not None:
                    self._free.popleft()
                    return turn
                continue
            self._failed(written)
        return None

    def _moment(self, turn: _FileTurn) -> tuple[Moment | None, str | None]:
        """A file's next moment, None at its end; and why there are no more, if they were to come."""
        try:
            return next(turn.moments, None), None
        except ProcessGoneError:
            raise
        except UserError as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 - likewise
            return None, describe_unexpected_error(error)

    def _open(self, number: int, job: Job, written: FileOutcome, lane: FileWorkers) -> _FileTurn | None:
        made = lane.reader.plan(number, job.episode)
        choices = self._setup.choices
        written.total, written.warnings = made.sizes.frames, made.warnings
        for sentence in made.warnings:
            if sentence not in self._warned:  # many files of a data set have the same
                self._warned.add(sentence)
                self._progress.tell(f"warning: {sentence}")
        if not choices.overwrite and is_finished(job.path, made):
            self._passed_over(written)
            return None
        options = {
            "model": self._setup.model,
            "generator": GENERATOR,
            "weights": choices.store,
            "compress": choices.compress,
            "overwrite": choices.overwrite,
            "run": made.run,
        }
        try:
            opened = lane.sink.open(job.path, made.sizes, options).result()
        except UserError:
            if choices.overwrite or not is_finished(job.path, made):
                raise
            self._passed_over(written)  # another process has just finished it
            return None
        written.kept, written.row_sum = opened.frames_done, opened.earlier_row_sum_error
        if opened.frames_done:
            self._progress.tell(
                f"{opened.partial_path} has {opened.frames_done} of {written.total} frames; it is gone on with"
            )
        self._progress.expect(written.total - opened.frames_done)
        file = OpenFile(lane.sink, made.sizes.cameras, opened, written)
        self._opened(file)
        return _FileTurn(file, lane, lane.reader.moments_from(opened.frames_done))

    def _passed_over(self, written: FileOutcome) -> None:
        written.kept = written.total
        self._passed.append(written)
