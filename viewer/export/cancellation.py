"""Ends an export when it is asked to: at the next picture, for an exception in the midst of Qt would be lost in it.

Code that C calls back, as Qt does while it loads and paints, swallows what is raised in it or aborts. So a signal is
only noted, and `check` is called wherever it is safe to end. A second signal ends the process there and then.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the program to end."""


class _Asked:
    yet = False
    at_once = False


@contextlib.contextmanager
def heeded(hurry: Callable[[], object], *, after: bool) -> Iterator[None]:
    """Note signals; a second one calls `hurry`. `after` leaves it so, for a program that ends then."""
    _Asked.yet = _Asked.at_once = False

    def note(*_: object) -> None:
        if _Asked.yet:
            hurry()
        _Asked.yet = True
        if _Asked.at_once:
            raise Stopped

    before: list[Any] = [signal.signal(number, note) for number in SIGNALS]
    try:
        yield
    finally:
        if not after:
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)


def check() -> None:
    """Raise Stopped if a signal has come."""
    if _Asked.yet:
        raise Stopped


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Plain Python that may wait for long: a signal ends it where it is."""
    _Asked.at_once = True
    try:
        check()
        yield
    finally:
        _Asked.at_once = False
