"""Results files written beside the policy: by a thread of this process, or by processes of their own.

HDF5 holds Python's lock while it works, up to ten milliseconds a write. A GPU that is fed by short Python calls would
stand still meanwhile, so there other processes write; large arrays reach them through shared memory (staging.py). On a
CPU, where a call takes seconds in which no lock is held, a thread is enough.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np

from capture.pipeline.frame_slicing import Arrays, BatchRow, slice_frame
from capture.pipeline.shared_arrays import ArrayLocation, BufferMappings
from capture.pipeline.worker_process import WorkerProcess, serve_pipe
from capture.results import schema
from capture.results.writer import ResultsWriter

if TYPE_CHECKING:
    from capture.pipeline.shared_memory import SharedBuffer

SHARED_ARRAY_BYTES: Final = 1 << 12
"""Smaller arrays go to a writing process as they are."""


@dataclass(frozen=True)
class FileStatus:
    """What is known of a results file once it is open for writing."""

    number: int
    partial_path: Path
    frames_done: int
    """Frames that an earlier run left in it."""
    earlier_row_sum_error: float


class WriterSet:
    """Results files that are open for writing, by number. For one thread."""

    def __init__(self) -> None:
        self._open: dict[int, ResultsWriter] = {}

    def open(self, number: int, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> FileStatus:
        """Create the file or go on with it, see `ResultsWriter`."""
        writer = ResultsWriter(path, sizes, background=False, **options)
        self._open[number] = writer
        return FileStatus(number, writer.partial_path, writer.frames_done, writer.earlier_row_sum_error)

    def write(self, arrays: Arrays, rows: Sequence[BatchRow]) -> None:
        """Store frames of a call, each as the next one of its file."""
        for row in rows:
            self._open[row.number].write(slice_frame(arrays, row))

    def finish(self, number: int, checks: Mapping[str, object]) -> Callable[[], Path]:
        """Make the file complete; what is returned waits for the disk and gives it its final name, in any thread."""
        writer = self._open[number]
        writer.seal(checks)
        del self._open[number]

        def publish() -> Path:
            with writer:
                return writer.publish()

        return publish

    def leave(self, number: int) -> int:
        """Keep what is finished under the partial name; returns how many frames are."""
        writer = self._open.pop(number, None)
        if writer is None:
            return 0
        with writer:
            return writer.frames_done

    def leave_all(self) -> None:
        """Leave every file that is open."""
        for number in list(self._open):
            with contextlib.suppress(Exception):  # nobody is left to be told
                self.leave(number)


class FrameWriter(Protocol):
    """Where frames go. Requests are carried out in the order in which they are made; what they raise, the future holds.

    A context manager: on its end every file that is still open is left.
    """

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """Create a file or go on with it; `options` of `ResultsWriter`."""

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], slots: Sequence[SharedBuffer]) -> Future[None]:
        """Store frames of a call, each as the next one of its file.

        Arrays, the call's and the rows' own, must stay as they are until it is done. Those that lie in one of `slots`
        are copied nowhere.
        """

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """Make the file complete."""

    def leave(self, number: int) -> Future[int]:
        """Keep what is finished; the future holds the number of frames."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what is open."""


class WriterThread:
    """A sink in this process."""

    def __init__(self) -> None:
        self._writers = WriterSet()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results-writer")
        self._numbers = itertools.count()

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """See `FrameWriter`."""
        return self._thread.submit(self._writers.open, next(self._numbers), path, sizes, options)

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], slots: Sequence[SharedBuffer]) -> Future[None]:  # noqa: ARG002
        """See `FrameWriter`."""
        return self._thread.submit(self._writers.write, arrays, rows)

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """See `FrameWriter`."""
        return self._thread.submit(lambda: self._writers.finish(number, checks)())

    def leave(self, number: int) -> Future[int]:
        """See `FrameWriter`."""
        return self._thread.submit(self._writers.leave, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._writers.leave_all)
        self._thread.shutdown(wait=True)


class WriterProcess:
    """A sink in a process of its own. If this process dies, however, the other one closes its files and ends."""

    def __init__(self) -> None:
        self._process = WorkerProcess(__name__, "writes the results")
        self._numbers = itertools.count()

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """See `FrameWriter`."""
        return self._process.ask("open", next(self._numbers), path, sizes, dict(options))

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], slots: Sequence[SharedBuffer]) -> Future[None]:
        """See `FrameWriter`."""
        told = [replace(row, known=_told(row.known, slots)) for row in rows]
        return self._process.ask("write", _told(arrays, slots), told)

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """See `FrameWriter`."""
        return self._process.ask("finish", number, dict(checks))

    def leave(self, number: int) -> Future[int]:
        """See `FrameWriter`."""
        return self._process.ask("leave", number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.end()


def _told(values: Mapping[str, Any], slots: Sequence[SharedBuffer]) -> dict[str, Any]:
    """The values with the place of every large array that has one instead of the array."""
    told = dict(values)
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.nbytes > SHARED_ARRAY_BYTES:
            for slot in slots:
                if (place := slot.place(value)) is not None:
                    told[name] = place
                    break
    return told


def serve(descriptor: str) -> None:
    """Carry out what the other end of the pipe asks for, until it says so or is gone; for the second process."""
    writers, maps = WriterSet(), BufferMappings()

    def seen(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: maps.array(value) if isinstance(value, ArrayLocation) else value for name, value in values.items()
        }

    def carry_out(verb: str, *told: Any) -> Any:
        if verb == "write":
            arrays, rows = told
            return writers.write(seen(arrays), [replace(row, known=seen(row.known)) for row in rows])
        return getattr(writers, verb)(*told)

    serve_pipe(descriptor, carry_out)
    writers.leave_all()
