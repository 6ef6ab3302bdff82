"""Says when an open file is no longer on the disk what it was when it was opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from viewer.results import Results
    from viewer.session import Session

MILLISECONDS: Final = 2000
SENTENCES: Final = {
    "cut short": "{} was cut short after it was opened: what is missing is shown as zeros. F5 opens it again.",
    "replaced": "Another file took the place of {}; the one that was opened is still shown. F5 opens the new one.",
    "rewritten": "{} was written to after it was opened, so what is shown may be wrong. F5 opens it again.",
}


class DiskWatch(QObject):
    """Looks at the open files now and then, and tells once what happened to one."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._told: list[Results] = []
        self._timer = QTimer(self)
        self._timer.setInterval(MILLISECONDS)
        self._timer.timeout.connect(self.look)
        session.opened.connect(self._opened)

    def _opened(self) -> None:
        opened = self._open_files()
        self._told = [results for results in self._told if results in opened]
        if not opened:
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()

    def _open_files(self) -> list[Results]:
        return [results for results in (self._session.results, self._session.other) if results is not None]

    def look(self) -> None:
        """Look now."""
        for results in self._open_files():
            fate = "" if results in self._told else results.fate
            if fate:
                self._told.append(results)
                self._session.noticed.emit(SENTENCES[fate].format(results.path.name))
