"""A process beside this one that does what it is asked over a pipe, and ends when this one does.

It is a fresh interpreter, not a fork: nothing of a GPU or of other threads gets into it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final

from capture.child_process import start_python
from capture.errors import UserError

_CHILD: Final = (
    "import signal; [signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGINT, signal.SIGTERM)]; "
    "import importlib; importlib.import_module(sys.argv[1]).serve(sys.argv[2])"
)
"""Ctrl-C reaches every process of a terminal; only the first process acts on it."""


class ProcessGoneError(UserError):
    """A process beside this one is gone, and with it what it had under way."""


class WorkerProcess:
    """A process that runs `serve` of a module. Requests are carried out in the order in which they are made.

    `ask` may be called in any thread. What a request raises, its future holds: a UserError as it is, anything else as a
    RuntimeError. If the process is gone, that is ProcessGoneError with `work` in its sentence: "writes the results".
    """

    def __init__(self, module: str, work: str) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._process = start_python(_CHILD, module, str(theirs.fileno()), pass_fds=[theirs.fileno()])
        self._connection, self._work = ours, work
        self._waiting: dict[int, Future[Any]] = {}
        self._tickets = itertools.count()
        self._lock = threading.Lock()
        self._gone = False
        self._listener = threading.Thread(target=self._listen, name=module, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def ask(self, verb: str, *told: Any) -> Future[Any]:
        """Ask for something; the future holds the answer."""
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
                answer.set_exception(self._ended())
        return answer

    def end(self) -> None:
        """Let it finish what it was asked for, and wait for its end."""
        self.ask("end")
        self._process.wait()
        self._listener.join()
        self._connection.close()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._connection.close()

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
            answer.set_exception(self._ended())

    def _ended(self) -> ProcessGoneError:
        return ProcessGoneError(
            f"the process that {self._work} has ended, for want of memory perhaps; the same command goes on where it "
            "stopped"
        )


def serve_pipe(descriptor: str, carry_out: Callable[..., Any]) -> None:
    """Call `carry_out` with what the other end of the pipe asks for, verb first, until it says so or is gone.

    Where that returns a function, the answer is what it returns in its turn, in a thread, while other requests go on.
    """
    lock = threading.Lock()

    def answer(ticket: int, work: Callable[..., Any], *told: Any) -> None:
        result, failure = None, None
        try:
            result = work(*told)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other process must know
            failure = error if isinstance(error, UserError) else RuntimeError(repr(error))
        if callable(result):
            later.submit(answer, ticket, result)
            return
        with lock, contextlib.suppress(OSError):
            connection.send((ticket, result, failure))

    with (
        Connection(int(descriptor)) as connection,
        ThreadPoolExecutor(1) as later,
        contextlib.suppress(EOFError, OSError),
    ):
        while True:
            ticket, verb, told = connection.recv()
            if verb == "end":
                break
            answer(ticket, carry_out, verb, *told)


def can_start_workers() -> bool:
    """Whether this system has what a process of its own needs: nameless shared memory that another process can open."""
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
