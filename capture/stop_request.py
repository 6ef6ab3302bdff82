"""Ctrl-C and the signals with which clusters and terminals end a command, for pi0-capture.

They raise KeyboardInterrupt, which can be lost in code that C calls back, as numpy and torch do while they load. What
runs for long therefore asks `check_stop` where nothing is half done.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

Handlers = dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None]
"""What the process does on each signal, as `signal.signal` takes and returns it."""


class StopState:
    """What the signal handlers share with the command."""

    is_requested = False
    """Whether a signal has asked to stop."""
    has_ended = False
    """Whether the command has ended, so that a signal is to be ignored.

    Assign it, do not call a function that does: Python runs signal handlers where a function is entered or returned
    from, so that a signal could still come between the end of the work and such an assignment.
    """


def handle_stop_signals() -> Handlers:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt from now on; return the handlers before."""
    StopState.is_requested = StopState.has_ended = False
    return {number: signal.signal(number, _stop) for number in stop_signals()}


def restore_handlers(handlers: Handlers) -> None:
    """Put the handlers back that were there before a command that another program called, and forget its stop."""
    for number, handler in handlers.items():
        if handler is not None:  # None: of C code, which Python cannot put back
            signal.signal(number, handler)
    StopState.is_requested = False


def stop_signals() -> list[signal.Signals]:
    """Return the signals that stop a command as Ctrl-C does; SIGHUP is left out where it is ignored, as under nohup.

    Clusters send SIGTERM before SIGKILL, a terminal that is closed sends SIGHUP.
    """
    hangup = getattr(signal, "SIGHUP", None)
    hangups = [] if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN else [hangup]
    return [signal.SIGINT, signal.SIGTERM, *hangups]


def check_stop() -> None:
    """Raise KeyboardInterrupt if a signal has asked to stop, also one whose own exception was lost."""
    if StopState.is_requested:
        raise KeyboardInterrupt


def ignore_stop_signals_at_exit() -> None:
    """Ignore the signals from now on, as the process only exits, and let it exit with the code that `main` returns.

    Where C runs Python code, CPython notes a KeyboardInterrupt that leaves it as unhandled, and ends `python -m` by
    SIGINT in place of its exit code. Running other code from C clears the note.
    """
    StopState.has_ended = True
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    if StopState.is_requested:
        import ctypes

        ctypes.pythonapi.PyRun_SimpleString(b"")


def exit_at_once(code: int) -> NoReturn:
    """End a process that was stopped, after Python's own exit handlers.

    What C++ destroys at a usual exit may still be in use by threads that the stop interrupted: the process then aborts
    ("terminate called without an active exception") in place of ending with its code.
    """
    ignore_stop_signals_at_exit()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # gone, closed, or never there
            stream.flush()
    os._exit(code)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    if not StopState.has_ended:
        StopState.is_requested = True
        raise KeyboardInterrupt
