"""Settings of the whole process that several threads need at a time, a policy each perhaps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Jointly(Generic[T]):
    """A context manager for many threads: the first to enter makes the change, the last to leave puts back what was.

    `hold` makes the context manager that does both. All are given what it gave the first.
    """

    def __init__(self, hold: Callable[[], AbstractContextManager[T]]) -> None:
        self._hold = hold
        self._lock = threading.Lock()
        self._holders = 0
        self._held: AbstractContextManager[T]
        self._given: T

    def __enter__(self) -> T:
        with self._lock:
            if not self._holders:
                self._held = self._hold()
                self._given = self._held.__enter__()
            self._holders += 1
            return self._given

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._held.__exit__(None, None, None)
