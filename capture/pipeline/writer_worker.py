"""Write results files while the policy runs: in a thread of this process, or in a child process.

HDF5 holds the GIL while it works, up to 10 ms a write. A GPU, whose kernels are launched from Python, would be idle
meanwhile, so with a GPU child processes write, and large arrays reach them through shared memory. On a CPU, where a
call takes seconds without the GIL, a thread is enough.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np

from capture.pipeline.frame_slicing import Arrays, BatchRow, slice_frame
from capture.pipeline.shared_memory import ArrayLocation, BufferMappings, SharedBuffer
from capture.pipeline.worker_process import WorkerProcess, serve_pipe
from capture.results import schema
from capture.results.writer import ResultsWriter

SHARED_ARRAY_BYTES: Final = 1 << 12
"""Arrays of at most this size are sent to a writer process through the pipe."""


@dataclass(frozen=True)
class FileStatus:
    """State of a results file that was opened for writing."""

    number: int
    partial_path: Path
    frames_done: int
    """Frames in it that an earlier run wrote."""
    earlier_row_sum_error: float


class WriterSet:
    """Results files that are open for writing, by number. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[int, ResultsWriter] = {}

    def open(self, number: int, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> FileStatus:
        """Create a file or continue a partial one, see `ResultsWriter`."""
        writer = ResultsWriter(path, sizes, background=False, **options)
        self._open[number] = writer
        return FileStatus(number, writer.partial_path, writer.frames_done, writer.earlier_row_sum_error)

    def write(self, arrays: Arrays, rows: Sequence[BatchRow]) -> None:
        """Store frames of a call, each as the next frame of its file."""
        for row in rows:
            self._open[row.number].write(slice_frame(arrays, row))

    def finish(self, number: int, checks: Mapping[str, object]) -> Callable[[], Path]:
        """Complete the file. The returned function waits for the disk and renames the file; any thread may call it."""
        writer = self._open[number]
        writer.seal(checks)
        del self._open[number]

        def publish() -> Path:
            with writer:
                return writer.publish()

        return publish

    def leave(self, number: int) -> int:
        """Close the file under its partial name and return its number of finished frames."""
        writer = self._open.pop(number, None)
        if writer is None:
            return 0
        with writer:
            return writer.frames_done

    def leave_all(self) -> None:
        """Close every open file under its partial name."""
        for number in list(self._open):
            with contextlib.suppress(Exception):  # there is nobody to report to
                self.leave(number)


class FrameWriter(Protocol):
    """Writes results files. Requests are executed in order, and their futures hold what they return or raise.

    As a context manager it closes every open file under its partial name at the end.
    """

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """Create a file or continue a partial one; `options` of `ResultsWriter`."""

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], buffers: Sequence[SharedBuffer]) -> Future[None]:
        """Store frames of a call, each as the next frame of its file.

        The arrays, of the call and of the rows' metadata, must not change until the future is done. Those that lie in
        one of `buffers` are not copied.
        """

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """Make the file complete."""

    def leave(self, number: int) -> Future[int]:
        """Close the file under its partial name; the future holds its number of finished frames."""

    def __enter__(self) -> Self:
        """Start accepting requests."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""


class WriterThread:
    """A `FrameWriter` that writes in a thread of this process."""

    def __init__(self) -> None:
        self._writers = WriterSet()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results-writer")
        self._numbers = itertools.count()

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """See `FrameWriter`."""
        return self._thread.submit(self._writers.open, next(self._numbers), path, sizes, options)

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], buffers: Sequence[SharedBuffer]) -> Future[None]:  # noqa: ARG002
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
    """A `FrameWriter` that writes in a child process, which closes its files and ends if this process dies."""

    def __init__(self) -> None:
        self._process = WorkerProcess(__name__, "writes the results")
        self._numbers = itertools.count()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[FileStatus]:
        """See `FrameWriter`."""
        return self._process.ask("open", next(self._numbers), path, sizes, dict(options))

    def write(self, arrays: Arrays, rows: Sequence[BatchRow], buffers: Sequence[SharedBuffer]) -> Future[None]:
        """See `FrameWriter`."""
        sent = [replace(row, metadata=_with_locations(row.metadata, buffers)) for row in rows]
        return self._process.ask("write", _with_locations(arrays, buffers), sent)

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


def _with_locations(values: Mapping[str, Any], buffers: Sequence[SharedBuffer]) -> dict[str, Any]:
    """Return the values with every large array that lies in a buffer replaced by its location."""
    located = dict(values)
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.nbytes > SHARED_ARRAY_BYTES:
            for buffer in buffers:
                if (location := buffer.locate(value)) is not None:
                    located[name] = location
                    break
    return located


def serve(descriptor: str) -> None:
    """Execute requests from the pipe until it ends or is closed; runs in the child process."""
    writers, mappings = WriterSet(), BufferMappings()

    def look_up(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: mappings.array(value) if isinstance(value, ArrayLocation) else value for name, value in values.items()
        }

    def execute(verb: str, *arguments: Any) -> Any:
        if verb == "write":
            arrays, rows = arguments
            return writers.write(look_up(arrays), [replace(row, metadata=look_up(row.metadata)) for row in rows])
        return getattr(writers, verb)(*arguments)

    serve_pipe(descriptor, execute)
    writers.leave_all()
