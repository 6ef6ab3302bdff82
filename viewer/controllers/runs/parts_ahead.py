"""Reads the parts of all episodes while nothing is asked, so that another range of time is answered at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.runs.run_controller import RunController
    from viewer.runs.summary import RunSummary

IDLE_MILLISECONDS: Final = 300
"""Time after an answer in which another question may come, which would have to wait."""


class PartsAhead(QObject):
    """Reads them a moment after the last answer of a run's page, unless something else is asked first."""

    def __init__(self, controller: RunController, find_summary: Callable[[], RunSummary | None]) -> None:
        super().__init__(controller)
        self._controller, self._find_summary = controller, find_summary
        self._count = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(IDLE_MILLISECONDS)
        self._timer.timeout.connect(self._begin)
        controller.cell_answered.connect(self._timer.start)
        controller.changed.connect(self._timer.stop)

    def _begin(self) -> None:
        summary, atlas, worker = self._find_summary(), self._controller.atlas, self._controller.worker
        if summary is None or atlas is None:
            return
        self._count += 1

        def read(_: object) -> None:
            with contextlib.suppress(UserError):  # reported when it is asked for
                summary.read_parts_ahead(atlas.query)

        worker.ask("parts", self._count, read, lambda _: worker.drop("parts"))
