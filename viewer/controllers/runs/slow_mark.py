"""Mark for an answer that is still being computed; not shown for one that comes at once."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QObject, QTimer, Signal

MILLISECONDS: Final = 100
"""Time after which the mark is shown."""


class SlowMark(QObject):
    """Shown a moment after `start`, unless `stop` comes first."""

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.is_shown = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(MILLISECONDS)
        self._timer.timeout.connect(self._show)

    def start(self) -> None:
        """Start waiting for an answer that is being computed."""
        self._timer.start()

    def stop(self) -> None:
        """Stop waiting, and hide the mark: the answer has come."""
        self._timer.stop()
        if self.is_shown:
            self.is_shown = False
            self.changed.emit()

    def _show(self) -> None:
        self.is_shown = True
        self.changed.emit()
