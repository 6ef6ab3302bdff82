"""A child process that answers requests over a pipe and ends when this process does.

It is a new interpreter and no fork, so that it inherits no CUDA context and no locks of other threads.
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
    "from capture.child_process import ignore_stop_signals; ignore_stop_signals(); "
    "import importlib; importlib.import_module(sys.argv[1]).serve(sys.argv[2])"
)
"""Ctrl-C reaches every process of a terminal; only the first process acts on it."""


class ProcessGoneError(UserError):
    """A child process has ended, and its unfinished requests are lost."""


class WorkerProcess:
    """A child process that runs `serve` of a module. Requests are executed in the order in which they are made.

    `ask` may be called in any thread. The future of a request holds what it raised: a UserError unchanged, any other
    exception as a RuntimeError, ProcessGoneError if the process has ended. `work` is the predicate of that sentence,
    such as "writes the results".
    """

    def __init__(self, module: str, work: str) -> None:
        own_end, child_end = Pipe()
        with child_end:
            self._process = start_python(_CHILD, module, str(child_end.fileno()), pass_fds=[child_end.fileno()])
        self._connection, self._work = own_end, work
        self._waiting: dict[int, Future[Any]] = {}
        self._tickets = itertools.count()
        self._lock = threading.Lock()
        self._gone = False
        self._listener = threading.Thread(target=self._listen, name=module, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, verb: str, *arguments: Any) -> Future[Any]:
        """Send a request and return the future of its answer."""
        answer: Future[Any] = Future()
        with self._lock:
            ticket = next(self._tickets)
            self._waiting[ticket] = answer
            try:
                if self._gone:
                    raise BrokenPipeError
                self._connection.send((ticket, verb, arguments))
            except OSError:
                self._waiting.pop(ticket, None)
                answer.set_exception(self._ended())
        return answer

    def end(self) -> None:
        """Let the process finish its requests, and wait for it to end."""
        self.ask("end")
        self._process.wait()
        self._listener.join()
        self._connection.close()

    def kill(self) -> None:
        """Kill the process."""
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
            unanswered, self._waiting = self._waiting, {}
        for answer in unanswered.values():
            answer.set_exception(self._ended())

    def _ended(self) -> ProcessGoneError:
        return ProcessGoneError(
            f"the process that {self._work} has ended, for want of memory perhaps; the same command goes on where it "
            "stopped"
        )


def serve_pipe(descriptor: str, execute: Callable[..., Any]) -> None:
    """Call `execute(verb, *arguments)` for each request from the pipe, until its other end says "end" or is closed.

    If `execute` returns a function, the answer is that function's result: it runs in a thread, while further requests
    are executed.
    """
    lock = threading.Lock()

    def answer(ticket: int, work: Callable[..., Any], *arguments: Any) -> None:
        result, failure = None, None
        try:
            result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - any failure is reported to the other process
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
            ticket, verb, arguments = connection.recv()
            if verb == "end":
                break
            answer(ticket, execute, verb, *arguments)


def can_start_workers() -> bool:
    """Return whether the system can run workers: it needs anonymous memory that other processes can open."""
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
