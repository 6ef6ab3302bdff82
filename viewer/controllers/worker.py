"""Background thread for long computations: curves and films over frames, rankings by region, prefetching."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from viewer.errors import ConnectionLostError, GivenUpError
from viewer.io.file_access import set_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from viewer.controllers.reading.thread import BackgroundThread

log = logging.getLogger("viewer")


class Worker(QObject):
    """A single background thread with one current request per purpose.

    A new request replaces the previous one of the same purpose, whose result is then discarded. Results are delivered
    in the thread of the window.
    """

    _answered = Signal(str, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool: BackgroundThread | None = None
        self._requests: dict[str, tuple[Hashable, Callable[[Any], None]]] = {}
        self._answered.connect(self._deliver)
        self._closed = False

    def ask(
        self, purpose: str, key: Hashable, compute: Callable[[Callable[[], bool]], Any], then: Callable[[Any], None]
    ) -> None:
        """Run `compute` in the background and pass its result to `then` in the window's thread.

        `compute` receives a function `stale() -> bool` that returns True once the result is no longer wanted. A request
        with the same purpose and key as the current one is ignored. An exception in `compute` is logged and gives None.
        """
        if self._closed or (purpose in self._requests and self._requests[purpose][0] == key):
            return
        self._requests[purpose] = key, then
        if self._pool is None:
            from viewer.controllers.reading.thread import BackgroundThread  # imported late: it delays the first picture

            self._pool = BackgroundThread("viewer background")
        self._pool.submit(self._run, purpose, key, compute)

    def drop(self, purpose: str = "") -> None:
        """Cancel the request of one purpose, or all requests."""
        for name in [purpose] if purpose else list(self._requests):
            self._requests.pop(name, None)

    def renew(self) -> None:
        """Cancel all requests, and continue in another thread: this one may wait for a slow file."""
        self.drop()
        if self._pool is not None:
            self._pool.close(wait=False)
            self._pool = None

    def _is_stale(self, purpose: str, key: Hashable) -> bool:
        request = self._requests.get(purpose)
        return request is None or request[0] != key

    def _run(self, purpose: str, key: Hashable, compute: Callable[[Callable[[], bool]], Any]) -> None:
        if self._is_stale(purpose, key):
            return

        def stale() -> bool:
            return self._is_stale(purpose, key)

        set_reading(stale)
        try:
            answer = compute(stale)
        except GivenUpError:
            return
        except ConnectionLostError as error:  # what reads for the window reports it
            log.info("%s could not be read: %s", purpose, error)
            answer = None
        except Exception as error:
            if not self._is_stale(purpose, key):
                log.warning("%s could not be computed", purpose, exc_info=error)
            answer = None
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._answered.emit(purpose, key, answer)

    def _deliver(self, purpose: str, key: object, answer: object) -> None:
        request = self._requests.get(purpose)
        if request is not None and request[0] == key:
            request[1](answer)

    def close(self, *, wait: bool = True) -> None:
        """Stop the thread; `wait` for the computation in progress."""
        self._closed = True
        self._requests.clear()
        if self._pool is not None:
            self._pool.close(wait=wait)
