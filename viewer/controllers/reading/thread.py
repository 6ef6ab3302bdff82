"""One thread that ends with the program, whatever it waits for: a read over a lost network may take minutes."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class BackgroundThread:
    """Runs calls one after another. Begins with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(self, call: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Run a call after those that were submitted before; return its future result."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: call(*arguments)))
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._run_job(*job)
            del job  # while the thread waits it must keep no widget alive, and not be the one to delete it

    def _run_job(self, future: Future[Any], call: Callable[[], Any]) -> None:
        if self._is_closed or not future.set_running_or_notify_cancel():
            future.cancel()
            return
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - kept for whoever asks for the result
            future.set_exception(error)

    def close(self, *, wait: bool) -> None:
        """Run nothing more; `wait` for the call in progress."""
        self._is_closed = True
        self._jobs.put(None)
        if wait and self._thread is not None:
            self._thread.join()
