"""The page in place of the panels while an open file cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from PySide6.QtWidgets import QStackedWidget, QWidget

    from viewer.controllers.files.file_controller import FileController
    from viewer.widgets.overlays.message_page import MessagePage


class LostConnection(QObject):
    """Shows why a file cannot be reached and when it is tried again; brings the panels back when it can be reached.

    The panels keep what they show meanwhile.
    """

    def __init__(self, files: FileController, page: MessagePage, stack: QStackedWidget, panels: QWidget) -> None:
        super().__init__(stack)
        self.files, self.page, self.stack, self.panels = files, page, stack, panels
        self._sentence = ""
        self._seconds = 0
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self._count_down)
        reader = files.session.reader
        reader.lost.connect(self._on_lost)
        reader.found.connect(self._on_found)
        files.session.opened.connect(self._stop)
        page.retry_requested.connect(self._retry)
        page.close_requested.connect(self._close)

    def _on_lost(self, sentence: str, seconds: int) -> None:
        self._sentence, self._seconds = sentence, seconds
        self._timer.start()
        self.page.show_lost(sentence, seconds)
        self.stack.setCurrentWidget(self.page)

    def _count_down(self) -> None:
        self._seconds -= 1
        self.page.show_lost(self._sentence, max(self._seconds, 0))
        if self._seconds <= 0:
            self._timer.stop()

    def _retry(self) -> None:
        self._timer.stop()
        self.page.show_lost(self._sentence, 0)
        self.files.session.reader.retry()

    def _on_found(self) -> None:
        is_shown = self._sentence and self.stack.currentWidget() is self.page
        self._stop()
        if is_shown and self.files.session.results is not None:
            self.stack.setCurrentWidget(self.panels)
        elif is_shown and self.files.opening.path is not None:
            self.page.show_opening(self.files.opening.path)

    def _stop(self) -> None:
        self._timer.stop()
        self._sentence = ""

    def _close(self) -> None:
        self._stop()
        self.files.close()
