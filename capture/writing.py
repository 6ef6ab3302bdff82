"""Results files written beside the policy: by a thread of this process, or by processes of their own.

HDF5 holds Python's lock while it works, up to ten milliseconds a write. A GPU that is fed by short Python calls would
stand still meanwhile, so there other processes write; large arrays reach them through shared memory (staging.py). On a
CPU, where a call takes seconds in which no lock is held, a thread is enough.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np

from capture import schema
from capture.errors import UserError
from capture.writer import ResultsWriter

if TYPE_CHECKING:
    from capture.staging import Slot

_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import capture.writing as w; w.serve(sys.argv[2])"
)

OPEN_SLOTS: Final = 8
"""Slots that a writing process keeps in view; more than there are at any time."""


@dataclass(frozen=True)
class Place:
    """Where another process finds an array that lies in a slot."""

    ident: int
    """Of its slot; no two ever have the same."""
    file: str
    size: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Opened:
    """What is known of a results file once it is open for writing."""

    number: int
    partial_path: Path
    frames_done: int
    """Frames that an earlier run left in it."""
    earlier_row_sum: float


class Writers:
    """Results files that are open for writing, by number. For one thread."""

    def __init__(self) -> None:
        self._open: dict[int, ResultsWriter] = {}

    def open(self, number: int, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Opened:
        """Create the file or go on with it, see `ResultsWriter`."""
        writer = ResultsWriter(path, sizes, background=False, **options)
        self._open[number] = writer
        return Opened(number, writer.partial_path, writer.frames_done, writer.earlier_row_sum)

    def write(self, number: int, frame: schema.Frame) -> int:
        """Store the next frame; returns how many are in the file."""
        writer = self._open[number]
        writer.write(frame)
        return writer.frames_done

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


class Sink(Protocol):
    """Where frames go. Requests are carried out in the order in which they are made; what they raise, the future holds.

    A context manager: on its end every file that is still open is left.
    """

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[Opened]:
        """Create a file or go on with it; `options` of `ResultsWriter`."""

    def write(self, number: int, frame: schema.Frame, slot: Slot | None) -> Future[int]:
        """Store the next frame of file `number`; its large arrays may lie in `slot`, and must stay until it is done."""

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
        self._writers = Writers()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results-writer")
        self._numbers = itertools.count()

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[Opened]:
        """See `Sink`."""
        return self._thread.submit(self._writers.open, next(self._numbers), path, sizes, options)

    def write(self, number: int, frame: schema.Frame, slot: Slot | None) -> Future[int]:  # noqa: ARG002
        """See `Sink`."""
        return self._thread.submit(self._writers.write, number, frame)

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """See `Sink`."""
        return self._thread.submit(lambda: self._writers.finish(number, checks)())

    def leave(self, number: int) -> Future[int]:
        """See `Sink`."""
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
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), str(theirs.fileno())]
            self._process = subprocess.Popen(  # noqa: S603
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._connection = ours
        self._waiting: dict[int, Future[Any]] = {}
        self._tickets, self._numbers = itertools.count(), itertools.count()
        self._lock = threading.Lock()
        self._gone = False
        self._listener = threading.Thread(target=self._listen, name="results-writer", daemon=True)
        self._listener.start()

    def open(self, path: Path, sizes: schema.Sizes, options: Mapping[str, Any]) -> Future[Opened]:
        """See `Sink`."""
        return self._ask("open", next(self._numbers), path, sizes, dict(options))

    def write(self, number: int, frame: schema.Frame, slot: Slot | None) -> Future[int]:
        """See `Sink`."""
        told = {
            name: (slot.place(value) or value) if slot is not None and isinstance(value, np.ndarray) else value
            for name, value in frame.items()
        }
        return self._ask("write", number, told)

    def finish(self, number: int, checks: Mapping[str, object]) -> Future[Path]:
        """See `Sink`."""
        return self._ask("finish", number, dict(checks))

    def leave(self, number: int) -> Future[int]:
        """See `Sink`."""
        return self._ask("leave", number)

    def _ask(self, verb: str, *told: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        with self._lock:
            ticket = next(self._tickets)
            self._waiting[ticket] = answer
            try:
                if self._gone:
                    raise BrokenPipeError
                self._connection.send((ticket, verb, told))
            except OSError:
                self._waiting.pop(ticket, None)
                answer.set_exception(_ended())
        return answer

    def _listen(self) -> None:
        while True:
            try:
                ticket, result, error = self._connection.recv()
            except (EOFError, OSError):
                break
            answer = self._waiting.pop(ticket)
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)
        with self._lock:
            self._gone = True
            left, self._waiting = self._waiting, {}
        for answer in left.values():
            answer.set_exception(_ended())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask("end")
        self._process.wait()
        self._listener.join()
        self._connection.close()


def _ended() -> UserError:
    return UserError(
        "the process that writes the results has ended, for want of memory perhaps; the same command goes on where it "
        "stopped"
    )


def serve(descriptor: str) -> None:
    """Carry out what the other end of the pipe asks for, until it says so or is gone; for the second process."""
    for kind in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both; what to do about it, the first one says
        signal.signal(kind, signal.SIG_IGN)
    writers = Writers()
    maps: dict[int, mmap.mmap] = {}
    lock = threading.Lock()

    def answer(ticket: int, work: Callable[[], Any]) -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other process must know
            failure = error if isinstance(error, UserError) else RuntimeError(repr(error))
        if callable(result):  # the disk may take its time; frames of the next file go on meanwhile
            publisher.submit(answer, ticket, result)
            return
        with lock, contextlib.suppress(OSError):
            connection.send((ticket, result, failure))

    with Connection(int(descriptor)) as connection, ThreadPoolExecutor(1) as publisher:
        with contextlib.suppress(EOFError, OSError):
            while True:
                ticket, verb, told = connection.recv()
                if verb == "end":
                    break
                if verb == "write":
                    number, frame = told
                    told = (number, {name: _array(value, maps) for name, value in frame.items()})
                answer(ticket, partial(getattr(writers, verb), *told))
        writers.leave_all()


def _array(value: Any, maps: dict[int, mmap.mmap]) -> Any:
    """The value itself, or the array at the place that it names."""
    if not isinstance(value, Place):
        return value
    if value.ident not in maps:
        while len(maps) >= OPEN_SLOTS:
            del maps[next(iter(maps))]
        with Path(value.file).open("r+b") as file:
            maps[value.ident] = mmap.mmap(file.fileno(), value.size)
    return np.ndarray(value.shape, np.dtype(value.dtype), maps[value.ident], value.offset, value.strides)


def own_process_fits() -> bool:
    """Whether this system has what a process of its own needs: nameless shared memory that another process can open."""
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
