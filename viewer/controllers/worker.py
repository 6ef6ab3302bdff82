"""One thread beside the window for what takes long: curves over frames, films over frames, who looks at a region."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("viewer")


class Worker(QObject):
    """Asks are values: a new one for the same purpose makes the last one stale, whose answer is dropped."""

    _answered = Signal(str, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool: ThreadPoolExecutor | None = None
        self._asked: dict[str, tuple[Hashable, Callable[[Any], None]]] = {}
        self._answered.connect(self._deliver)
        self._closed = False

    def ask(
        self, purpose: str, key: Hashable, compute: Callable[[Callable[[], bool]], Any], then: Callable[[Any], None]
    ) -> None:
        """Compute beside the window and call `then` in it, unless something else was asked meanwhile.

        `compute` gets a function that says whether its answer is still wanted. Asking the same again changes nothing.
        """
        if self._closed or (purpose in self._asked and self._asked[purpose][0] == key):
            return
        self._asked[purpose] = key, then
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # not before the first picture: it loads much

            self._pool = ThreadPoolExecutor(1, "viewer")
        self._pool.submit(self._run, purpose, key, compute)

    def drop(self, purpose: str = "") -> None:
        """Want no answer any more for one purpose, or for any."""
        for name in [purpose] if purpose else list(self._asked):
            self._asked.pop(name, None)

    def _stale(self, purpose: str, key: Hashable) -> bool:
        asked = self._asked.get(purpose)
        return asked is None or asked[0] != key

    def _run(self, purpose: str, key: Hashable, compute: Callable[[Callable[[], bool]], Any]) -> None:
        if self._stale(purpose, key):
            return

        def stale() -> bool:
            return self._stale(purpose, key)

        try:
            answer = compute(stale)
        except Exception as error:
            if not self._stale(purpose, key):
                log.warning("%s could not be computed", purpose, exc_info=error)
            answer = None
        if not self._closed:
            self._answered.emit(purpose, key, answer)

    def _deliver(self, purpose: str, key: object, answer: object) -> None:
        asked = self._asked.get(purpose)
        if asked is not None and asked[0] == key:
            asked[1](answer)

    def close(self) -> None:
        """Stop; waits for the read that is under way."""
        self._closed = True
        self._asked.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
