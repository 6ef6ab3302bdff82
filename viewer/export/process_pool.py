"""From a plan to files, over all cores: which process paints what, how far it is, and how it ends early."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final

from viewer import child_process, startup
from viewer.errors import UserError
from viewer.export import cancellation

if TYPE_CHECKING:
    from concurrent.futures import Future

    from viewer.export.plan import Job, Plan, Report
    from viewer.export.request import Options

CHUNK: Final = 4
WAIT_SECONDS: Final = 0.1
"""How long a signal may go unheeded while others paint."""
WORTH_A_PROCESS: Final = 20
"""Figures that take about as long as starting a process."""


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(plan: Plan) -> int:
    """How many processes paint: one a core where there is enough to do, or as asked."""
    figures = len(plan.jobs)
    if plan.options.processes:
        return min(plan.options.processes, max(figures, 1))
    return max(min(cores(), figures // WORTH_A_PROCESS), 1)


def run(plan: Plan, report: Report) -> None:
    """Write all files; what was asked for is checked before. UserError for the first that cannot be written."""
    from viewer.export.renderer import Studio

    options = plan.options
    if options.kind in {"table", "arrays"}:
        from viewer.export import tables

        tables.write(plan, report)
        return
    count = processes(plan)
    if options.kind != "video" and count > 1:
        with child_process.safe_multiprocessing():
            _run_beside(plan, count, report)
        return
    with Studio(options) as studio:
        done = 0
        for job in plan.jobs:
            if options.kind == "video":
                from viewer.export import video

                done = video.write(studio, job, report, done, plan.pictures)
            else:
                studio.write(job)
                done += 1
                report(done, plan.pictures)


def _run_beside(plan: Plan, count: int, report: Report) -> None:
    context = multiprocessing.get_context("fork" if _alone() else "spawn")
    stop = context.Event()
    chunks = deque(plan.jobs[start : start + CHUNK] for start in range(0, len(plan.jobs), CHUNK))
    total, done = len(plan.jobs), 0
    pool = ProcessPoolExecutor(count, context, _begin, (plan.options, stop))
    waiting: set[Future[int]] = set()
    try:
        while chunks or waiting:
            while chunks and len(waiting) < 2 * count:
                waiting.add(pool.submit(_paint, chunks.popleft()))
            finished, waiting = wait(waiting, WAIT_SECONDS, return_when=FIRST_COMPLETED)
            cancellation.check()
            for one in finished:
                done += one.result()
                report(done, total)
    except BrokenProcessPool:
        cancellation.check()
        raise UserError(
            "A process that paints was ended from outside, perhaps for want of memory; try --processes 1."
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def load() -> None:
    """Load what paints, once for this process and for copies of it."""
    try:
        import PySide6.QtGui  # noqa: F401 - first, and by itself

        startup.plain_imports()
        from viewer.export import encoding, renderer  # noqa: F401 - for its own imports
    except ImportError as error:
        raise UserError(f"Figures need Qt, which cannot be loaded ({error}); the README names what it needs.") from None
    encoding.opencv()


def _alone() -> bool:
    """Whether copies of this process can paint, which saves each the loading of Qt: on Linux, before Qt has begun.

    Each copy makes an application of Qt for itself.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    load()
    from PySide6.QtCore import QCoreApplication

    return QCoreApplication.instance() is None


class _Worker:
    studio: Any = None
    stop: Any = None


def _begin(options: Options, stop: Any) -> None:
    """Ready a process: Ctrl-C is for the one that it works for, without which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from viewer.export.renderer import Studio

    _Worker.studio, _Worker.stop = Studio(options), stop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with contextlib.suppress(OSError):
            parent.join()
        os._exit(1)


def _paint(jobs: tuple[Job, ...]) -> int:
    done = 0
    for job in jobs:
        if _Worker.stop.is_set():
            break
        _Worker.studio.write(job)
        done += 1
    return done
