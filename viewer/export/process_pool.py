"""Write the files of a plan, over all cores where there are many figures."""

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
from viewer.export.scenes import ExportSource

if TYPE_CHECKING:
    from concurrent.futures import Future

    from viewer.export.plan import ExportPlan, PlannedFile, Report
    from viewer.export.request import ExportRequest

CHUNK: Final = 4
"""Figures that a process is given at once."""
POLL_SECONDS: Final = 0.1
"""How often a signal is looked for while other processes paint."""
FIGURES_PER_PROCESS: Final = 20
"""Figures that take about as long to paint as a process takes to start."""


def count_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_processes(plan: ExportPlan) -> int:
    """Return how many processes paint: as asked for, else one per core where there are enough figures."""
    figures = len(plan.files)
    if plan.request.processes:
        return min(plan.request.processes, max(figures, 1))
    return max(min(count_cores(), figures // FIGURES_PER_PROCESS), 1)


def write_files(plan: ExportPlan, source: ExportSource, report: Report) -> None:
    """Write all files of a plan. `source` is closed first where other processes paint, each of which opens the files.

    Raises:
        UserError: A file cannot be read, painted or written, or a process that paints was killed.
    """
    kind = plan.request.kind
    if kind == "table":
        from viewer.export import tables

        tables.write_table(plan, source.results, report)
    elif kind == "arrays":
        from viewer.export import arrays

        arrays.write_arrays(plan, source.results, report)
    elif kind != "video" and (count := count_processes(plan)) > 1:
        source.close()
        with child_process.safe_multiprocessing():
            _paint_in_processes(plan, count, report)
    else:
        _paint_in_this_process(plan, source, report)


def _paint_in_this_process(plan: ExportPlan, source: ExportSource, report: Report) -> None:
    from viewer.export.renderer import FigureRenderer

    with FigureRenderer(source, plan.request) as renderer:
        done = 0
        for file in plan.files:
            if plan.request.kind == "video":
                from viewer.export import video

                done = video.write_video(renderer, file, report, done, plan.pictures)
            else:
                renderer.write(file)
                done += 1
                report(done, plan.pictures)


def _paint_in_processes(plan: ExportPlan, count: int, report: Report) -> None:
    context = multiprocessing.get_context("fork" if _can_fork() else "spawn")
    stop = context.Event()
    chunks = deque(plan.files[start : start + CHUNK] for start in range(0, len(plan.files), CHUNK))
    total, done = len(plan.files), 0
    pool = ProcessPoolExecutor(count, context, _start_worker, (plan.request, stop))
    pending: set[Future[int]] = set()
    try:
        while chunks or pending:
            while chunks and len(pending) < 2 * count:
                pending.add(pool.submit(_paint_files, chunks.popleft()))
            finished, pending = wait(pending, POLL_SECONDS, return_when=FIRST_COMPLETED)
            cancellation.check()
            for future in finished:
                done += future.result()
                report(done, total)
    except BrokenProcessPool:
        cancellation.check()
        raise UserError(
            "A process that paints was ended from outside, perhaps for want of memory; try --processes 1."
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def load_qt() -> None:
    """Import what paints, for this process and for those that are forked from it.

    Raises:
        UserError: Qt cannot be loaded.
    """
    try:
        import PySide6.QtGui  # noqa: F401 - before the program's own modules, see `bypass_import_hook`

        startup.bypass_import_hook()
        from viewer.export import encoding, renderer  # noqa: F401 - for what it imports
    except ImportError as error:
        raise UserError(f"Figures need Qt, which cannot be loaded ({error}); the README names what it needs.") from None
    encoding.import_opencv()


def _can_fork() -> bool:
    """Return whether forked processes can paint: on Linux, with one thread, before there is a Qt application.

    Forking saves each process the loading of Qt. Each makes its own Qt application.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    load_qt()
    from PySide6.QtCore import QCoreApplication

    return QCoreApplication.instance() is None


class _Worker:
    """What a process that paints keeps between its tasks."""

    renderer: Any = None
    stop: Any = None


def _start_worker(request: ExportRequest, stop: Any) -> None:
    """Prepare a process that paints. Ctrl-C is left to its parent, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    from viewer.export.renderer import FigureRenderer

    source = ExportSource.open(request.file, request.other, request.effects, beside_other=request.other_effects)
    _Worker.renderer = FigureRenderer(source, request)
    _Worker.stop = stop


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with contextlib.suppress(OSError):
            parent.join()
        os._exit(1)


def _paint_files(files: tuple[PlannedFile, ...]) -> int:
    """Write figures until the export is stopped; return how many were written."""
    done = 0
    for file in files:
        if _Worker.stop.is_set():
            break
        _Worker.renderer.write(file)
        done += 1
    return done
