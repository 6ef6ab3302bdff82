"""Calls a function for each episode of a run, in processes. No Qt."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final, TypeVar

from viewer import child_process
from viewer.errors import UserError
from viewer.export import cancellation
from viewer.export.process_pool import POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

MOST_PENDING: Final = 4
"""Tasks for each process that are begun or done before the first of them is noted."""

T = TypeVar("T")
R = TypeVar("R")


def call_in_processes(
    function: Callable[[T, Callable[[], None]], R],
    tasks: Sequence[T],
    count: int,
    note: Callable[[T, R], object],
    check: Callable[[], object] = cancellation.check,
) -> None:
    """Call `function(task, check_worker)` for each task in `count` processes, and `note` here with what it returned.

    Args:
        function: A function of a module, or a partial of one. It calls `check_worker` often, which raises
            `cancellation.Cancelled` where the work is to stop or this process has ended.
        tasks: What is handed to it; begun in this order.
        count: Processes; with one, this process does the work and `check` is what it calls.
        note: Called in this process, in the order of the tasks, so that what is made of them does not depend on which
            process is the fastest.
        check: Called in this process between results; may raise to stop, and what was noted stays.

    Raises:
        UserError: A process was ended from outside.
    """
    if count <= 1:
        for task in tasks:
            note(task, function(task, check))  # type: ignore[arg-type]
            check()
        return
    with child_process.safe_multiprocessing():
        _call_in_pool(function, tasks, count, note, check)


def _call_in_pool(
    function: Callable[[T, Callable[[], None]], R],
    tasks: Sequence[T],
    count: int,
    note: Callable[[T, R], object],
    check: Callable[[], object],
) -> None:
    can_fork = sys.platform == "linux" and threading.active_count() == 1
    context = multiprocessing.get_context("fork" if can_fork else "spawn")
    stop = context.Event()
    queue = list(reversed(tasks))
    pool = ProcessPoolExecutor(count, context, _start_worker, (stop, os.getpid()))
    pending: deque[tuple[Future[list[R]], T]] = deque()
    try:
        while queue or pending:
            while queue and len(pending) < MOST_PENDING * count:
                task = queue.pop()
                pending.append((pool.submit(_call_in_worker, function, task), task))
            wait([pending[0][0]], POLL_SECONDS)
            check()
            while pending and pending[0][0].done():
                future, task = pending.popleft()
                for result in future.result():
                    note(task, result)
    except BrokenProcessPool:
        check()
        raise UserError(
            "A process that reads episodes was ended from outside, perhaps for want of memory; try --processes 1. What "
            "is finished stays."
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


PARENT_SECONDS: Final = 1.0
"""Time between two looks of an idle process at whether its parent is still there."""


class _Worker:
    """What a process that reads episodes keeps between its tasks."""

    stop: multiprocessing.synchronize.Event
    parent: int
    is_busy = False
    """Whether it reads an episode, and so asks `_check_worker`."""


def _start_worker(stop: multiprocessing.synchronize.Event, parent: int) -> None:
    """Prepare a process that reads episodes. Ctrl-C is left to its parent.

    A parent that is killed leaves it waiting for the next task for ever, as the other processes hold the same pipe
    open. A timer ends it then: with a thread in its place, episodes could not be read in a fork of this process first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Worker.stop, _Worker.parent = stop, parent
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, _exit_without_parent)
        signal.setitimer(signal.ITIMER_REAL, PARENT_SECONDS, PARENT_SECONDS)


def _exit_without_parent(*_: object) -> None:
    if not _Worker.is_busy and os.getppid() != _Worker.parent:
        os._exit(1)


def _check_worker() -> None:
    if _Worker.stop.is_set() or (os.name == "posix" and os.getppid() != _Worker.parent):
        raise cancellation.Cancelled


def _call_in_worker(function: Callable[[T, Callable[[], None]], R], task: T) -> list[R]:
    """Return the result in a list, which is empty where the work was stopped."""
    _Worker.is_busy = True
    try:
        with contextlib.suppress(cancellation.Cancelled):
            _check_worker()
            return [function(task, _check_worker)]
        return []
    finally:
        _Worker.is_busy = False
