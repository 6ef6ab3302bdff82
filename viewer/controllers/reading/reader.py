"""Run actions that need parts of slow files: at once if they are in memory, else after another thread has read them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.errors import READ_ERRORS, ConnectionLostError, GivenUpError, NotLoadedError
from viewer.io.file_access import set_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.reading.thread import BackgroundThread

log = logging.getLogger("viewer")
Lane = Literal["view", "details"]
MOST_ROUNDS: Final = 200
"""Reads after which a task is given up: what it reads does not stay in memory."""
RETRY_SECONDS: Final = (2, 5, 10, 20, 30)
"""Times after which a lost connection is tried again; the last one from then on."""


@dataclass(eq=False)
class Task:
    """Something that cannot be done before parts of a file are in memory."""

    purpose: str
    act: Callable[[], None]
    plan: Callable[[], object] | None
    lane: Lane
    key: object = None
    order: int = 0
    rounds: int = 0
    read: Callable[[], Any] | None = None
    """What is being read for it."""


class Reader(QObject):
    """One task a purpose; a new one replaces the last, whose read is given up.

    Tasks of the lane `view` do not wait for those of the lane `details`, which make way for them.
    """

    changed = Signal()
    """Something began to be read, or was read."""
    lost = Signal(str, int)
    """A file cannot be reached: why, and in how many seconds it is tried again."""
    found = Signal()
    """A file that could not be reached can be reached again."""
    _answered = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks: dict[str, Task] = {}
        self._threads: dict[Lane, BackgroundThread] = {}
        self._is_closed = False
        self._losses = 0
        self._lost_tasks: list[Task] = []
        self._first: list[Task] = []
        self._order_timer = QTimer(self)
        self._order_timer.setSingleShot(True)
        self._order_timer.setInterval(0)
        self._order_timer.timeout.connect(self._submit_first)
        self._retry_timer = QTimer(self)
        self._retry_timer.setSingleShot(True)
        self._retry_timer.timeout.connect(self.retry)
        self._answered.connect(self._take)

    def attempt(
        self, purpose: str, act: Callable[[], None], plan: Callable[[], object] | None = None, lane: Lane = "details"
    ) -> bool:
        """Call `act` now, and again after what it lacked was read, until it lacks nothing. Return whether it is done.

        Args:
            purpose: Names the task; one that has the same name is dropped.
            act: Does it in this thread. Raises NotLoadedError where something is not in memory.
            plan: Reads what `act` will need, in another thread; called once, if `act` lacks something.
            lane: The thread that reads.
        """
        self.drop(purpose)
        return self._begin(Task(purpose, act, plan, lane))

    def attempt_part(
        self,
        owner: QObject,
        act: Callable[[], None],
        plan: Callable[[], object] | None = None,
        *,
        part: str = "",
        key: object = None,
        order: int = 0,
    ) -> bool:
        """Attempt a part of the window's content, as `attempt` does.

        Args:
            owner: What shows it.
            act: See `attempt`.
            plan: See `attempt`.
            part: Which of the owner's parts it is.
            key: What is read: a task that is being read for the same key goes on. None is no key.
            order: Of the parts that lack something at the same time, those with the lowest number are read first.
        """
        purpose = f"{type(owner).__name__} {id(owner)} {part}"
        present = self._tasks.get(purpose)
        if present is not None and key is not None and present.key == key:
            return False
        self.drop(purpose)
        return self._begin(Task(purpose, act, plan, "details", key, order))

    def _begin(self, task: Task) -> bool:
        self._tasks[task.purpose] = task
        return self._run_task(task)

    def is_reading(self, purpose: str) -> bool:
        """Return whether a task waits for a read."""
        return purpose in self._tasks

    def drop(self, purpose: str = "") -> None:
        """Drop a task, or all of them."""
        for name in [purpose] if purpose else list(self._tasks):
            if self._tasks.pop(name, None) is not None:
                self._lost_tasks = [task for task in self._lost_tasks if task.purpose != name]
                self.changed.emit()
        if not purpose:
            self._retry_timer.stop()
            self._losses = 0
            for thread in self._threads.values():  # they may wait for a file that is no longer open
                thread.close(wait=False)
            self._threads = {}

    def _run_task(self, task: Task) -> bool:
        try:
            task.act()
        except NotLoadedError as error:
            if self._tasks.get(task.purpose) is task:
                task.rounds += 1
                if task.rounds > MOST_ROUNDS:
                    log.warning("%s is read again and again, and given up", task.purpose)
                    self.drop(task.purpose)
                elif task.rounds == 1 and task.lane == "details":
                    task.read = error.read
                    self._first.append(task)
                    self._order_timer.start()
                else:
                    self._submit(task, error.read)
            return False
        if self._tasks.get(task.purpose) is task:
            del self._tasks[task.purpose]
            self.changed.emit()
        return True

    def _submit_first(self) -> None:
        """Submit the first reads of the tasks that came together, in their order."""
        first, self._first = self._first, []
        for task in sorted(first, key=lambda task: task.order):
            if self._tasks.get(task.purpose) is task and task.read is not None:
                self._submit(task, task.read)

    def _submit(self, task: Task, read: Callable[[], Any]) -> None:
        if self._is_closed:
            return
        task.read = read
        thread = self._threads.get(task.lane)
        if thread is None:
            from viewer.controllers.reading.thread import BackgroundThread  # imported late: only slow files need it

            thread = self._threads[task.lane] = BackgroundThread(f"viewer {task.lane}")
        thread.submit(self._read, task)
        if task.rounds == 1:
            self.changed.emit()

    def _read(self, task: Task) -> None:
        """Run in the reading thread."""

        def is_stale() -> bool:
            return self._is_closed or self._tasks.get(task.purpose) is not task

        error: Exception | None = None
        set_reading(is_stale, is_urgent=task.lane == "view")
        try:
            plan, task.plan = task.plan, None
            for read in (plan, task.read):
                if is_stale():
                    return
                if read is not None:
                    read()
        except GivenUpError:
            return
        except Exception as reason:  # noqa: BLE001 - answered to the window's thread
            error = reason
        if not is_stale():
            try:
                self._answered.emit(task, error)
            except RuntimeError:  # the window is gone
                log.debug("a read ended after the window", exc_info=True)

    def _take(self, task: Task, error: Exception | None) -> None:
        if self._tasks.get(task.purpose) is not task:
            return
        if isinstance(error, ConnectionLostError):
            self._wait_for_connection(task, error)
            return
        if error is not None and not isinstance(error, READ_ERRORS):
            log.warning("%s cannot be read", task.purpose, exc_info=error)
            self.drop(task.purpose)
            return
        if self._losses:
            self._losses = 0
            self.found.emit()
            self.retry()
        self._run_task(task)

    # A lost connection

    def _wait_for_connection(self, task: Task, error: ConnectionLostError) -> None:
        self._lost_tasks.append(task)
        if not self._retry_timer.isActive():
            seconds = RETRY_SECONDS[min(self._losses, len(RETRY_SECONDS) - 1)]
            self._losses += 1
            self._retry_timer.start(seconds * 1000)
            self.lost.emit(str(error), seconds)

    def retry(self) -> None:
        """Read again what could not be read because the connection was lost."""
        self._retry_timer.stop()
        stuck, self._lost_tasks = self._lost_tasks, []
        for task in stuck:
            if self._tasks.get(task.purpose) is task and task.read is not None:
                self._submit(task, task.read)

    def close(self) -> None:
        """Read nothing more; does not wait for reads in progress."""
        self._is_closed = True
        self._tasks.clear()
        self._retry_timer.stop()
        for thread in self._threads.values():
            thread.close(wait=False)
