"""Ends an export on SIGINT, SIGTERM or SIGHUP at the next point where that is safe.

Qt, which calls Python from C while it loads and paints, loses or aborts on exceptions raised there. So the handler only
notes the signal, and `check` raises it where no such call is under way. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Cancelled(BaseException):
    """A signal asked the program to end."""


class _State:
    requested = False
    interruptible = False


@contextlib.contextmanager
def handle_signals(exit_now: Callable[[], object], *, restore: bool) -> Iterator[None]:
    """Note signals within the block; a second one calls `exit_now`.

    `restore`: put back the previous handlers at the end. A program that ends then does not, but ignores signals from
    then on: Python takes its handlers away while it ends, and a signal would end it with another exit code.
    """
    _State.requested = _State.interruptible = False

    def note(*_: object) -> None:
        if _State.requested:
            exit_now()
        _State.requested = True
        if _State.interruptible:
            raise Cancelled

    handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT]
    previous: list[Any] = [signal.signal(number, note) for number in handled]  # not SIGHUP under nohup
    try:
        yield
    finally:
        for number, handler in zip(handled, previous, strict=True):
            signal.signal(number, handler if restore else signal.SIG_IGN)


def check() -> None:
    """Raise Cancelled if a signal has come."""
    if _State.requested:
        raise Cancelled


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal raise Cancelled anywhere in the block, which may wait for long and calls nothing of Qt."""
    _State.interruptible = True
    try:
        check()
        yield
    finally:
        _State.interruptible = False
