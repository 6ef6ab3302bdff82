"""The thread in which all requests to other machines run, whatever thread asks for them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final, TypeVar

T = TypeVar("T")

NOTE_SECONDS: Final = 0.5
"""Interval at which a waiting thread calls `note_waiting`."""

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""The loop of this process, by its number: a forked process has a copy of the loop, but not of its thread."""
_note_waiting: Callable[[], object] = bool


def set_note_waiting(note: Callable[[], object]) -> None:
    """Set what a thread calls repeatedly while it waits for a server, so that its process does not count as stuck.

    Each request has a time limit of its own.
    """
    global _note_waiting
    _note_waiting = note


def get_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop of this process; the first call starts its thread."""
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="remote files", daemon=True).start()
            _loops.clear()
            _loops[os.getpid()] = loop
        return loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop's thread and wait for its result.

    An exception in this thread, such as KeyboardInterrupt, cancels it.
    """
    future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
    try:
        while True:
            try:
                return future.result(NOTE_SECONDS)
            except FutureTimeoutError:
                if future.done():  # the coroutine itself ran into a time limit
                    raise
                _note_waiting()
    except BaseException:
        future.cancel()
        raise


def start(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine in the event loop's thread without waiting for it."""
    asyncio.run_coroutine_threadsafe(coroutine, get_loop())
