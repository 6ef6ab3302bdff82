"""Notices that the files of a run have changed since its summary was opened, while the Run page is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from viewer.controllers.runs.stages import find_signature

if TYPE_CHECKING:
    from viewer.controllers.episodes.run import OpenRun
    from viewer.controllers.runs.run_controller import RunController

UPDATE_MILLISECONDS: Final = 3000
"""Time after a change in which more of them are waited for."""
POLL_MILLISECONDS: Final = 3000
"""Interval at which the folder of a complete run is checked, which its list of episodes no longer does."""


class RunWatch(QObject):
    """Notices episodes that were finished, replaced or removed, and other regions, objects, outcomes or prompts."""

    changed = Signal()
    """The signature of the run is another one than `signature`."""

    def __init__(self, controller: RunController) -> None:
        super().__init__(controller)
        self._controller = controller
        self._open_run: OpenRun | None = None
        self.signature = ""
        """Signature of the run when its summary was opened last; empty if none was."""
        self._checks = 0
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.setInterval(UPDATE_MILLISECONDS)
        self.timer.timeout.connect(self.check)
        self._poll_timer = QTimer(self)
        self._poll_timer.setInterval(POLL_MILLISECONDS)
        self._poll_timer.timeout.connect(self._poll_folder)

    def set_run(self, open_run: OpenRun | None) -> None:
        """Watch another run; None for no run."""
        self.timer.stop()
        self._open_run, self.signature = open_run, ""
        if open_run is not None:
            for signal in (open_run.episodes.listed, open_run.episodes.marked, open_run.episodes.folder_changed):
                signal.connect(self.check_later)

    def set_active(self, active: bool) -> None:
        """Check the run now and at intervals while the page is visible, and not otherwise."""
        if active:
            self._poll_timer.start()
            self.check()
        else:
            self._poll_timer.stop()

    def check_later(self, _: object = None) -> None:
        """Compare the run with `signature` in a moment, together with what changes meanwhile."""
        if self.signature and not self.timer.isActive():
            self.timer.start()

    def check(self) -> None:
        """Compare the run with `signature` in the background."""
        run, subject = self._controller.run, self._controller.view.resolved_query.subject
        if run is None or not self.signature or not self._controller.is_active:
            return
        self._checks += 1

        def take(signature: str | None) -> None:
            self._controller.worker.drop("watch")
            if signature is not None and self.signature not in {"", signature}:
                self.changed.emit()

        self._controller.worker.ask("watch", self._checks, lambda _: find_signature(run, subject), take)

    def _poll_folder(self) -> None:
        if self._open_run is not None and self._open_run.episodes.complete:
            self._open_run.episodes.check_folder()

    def stop(self) -> None:
        """Stop watching."""
        self.timer.stop()
        self._poll_timer.stop()
