"""Which files are open, asked for, followed while they grow, and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from viewer.errors import UserError
from viewer.opening import Opening, demo_path, demo_view
from viewer.views import first_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.results import Results
    from viewer.session import Session
    from viewer.settings import Settings
    from viewer.state import ViewState
    from viewer.worker import Worker

FOLLOW_MILLISECONDS: Final = 1000
FILTER: Final = "Results (*.h5 *.hdf5 *.partial);;All files (*)"


class Filing(QObject):
    """Opens files into the session. It shows nothing itself, but tells the window what to show."""

    shown = Signal()
    """Another file is open in the session."""
    grown = Signal()
    """The open file has new frames; maybe its first."""
    failed = Signal(str, str)
    """A file could not be opened and none is open: a sentence, and details."""
    slow = Signal(str)
    """Opening this path takes long enough to say so."""
    closed = Signal()
    """No file is open any more."""

    def __init__(self, session: Session, worker: Worker, settings: Settings, window: QWidget) -> None:
        super().__init__(window)
        self.session, self.worker, self.settings = session, worker, settings
        self.opening = Opening(self)
        self.following = False
        self._wanted: ViewState | None = None
        self._follow = QTimer(self)
        self._follow.setInterval(FOLLOW_MILLISECONDS)
        self._follow.timeout.connect(self.look_for_more)
        self.opening.opened.connect(self.show_results)
        self.opening.failed.connect(self.show_failure)
        self.opening.slow.connect(self._show_slow)
        session.grew.connect(self._grew)

    @property
    def _window(self) -> QWidget:
        window = self.parent()
        assert isinstance(window, QWidget)
        return window

    # Opening

    def open(self, path: Path, view: ViewState | None = None, opening: Callable[[], None] | None = None) -> None:
        """Open a file: it is looked at in another process first. `view` takes the place of the remembered one."""
        self._wanted = view
        if opening is not None:
            opening()
        else:
            self.opening.start(path)

    def open_text(self, path: str) -> None:
        """Open a file by its name."""
        self.open(Path(path))

    def open_demo(self) -> None:
        """Open the bundled demo."""
        path = demo_path()
        if path is None:
            self.show_failure(
                "The demo is not part of this installation; install pi0-attention again, or open a file of your own.",
                "",
            )
        else:
            self.open(path)

    def ask_file(self) -> None:
        """Let the user choose a file."""
        from PySide6.QtWidgets import QFileDialog  # a large class, not needed for the first picture

        recent = self.settings.recent()
        folder = str(recent[0].parent) if recent else ""
        path, _ = QFileDialog.getOpenFileName(self._window, "Open results", folder, FILTER)
        if path:
            self.open(Path(path))

    def ask_other(self) -> None:
        """Let the user choose a second file to compare with."""
        from PySide6.QtWidgets import QFileDialog

        folder = str(self.session.path.parent) if self.session.path else ""
        path, _ = QFileDialog.getOpenFileName(self._window, "Compare with", folder, FILTER)
        if path:
            self.opening.start(Path(path), second=True)

    def show_results(self, results: Results, second: bool) -> None:
        """A file was looked at and opened."""
        if second:
            self.session.open_other(results if results.done else None)
            self.session.update(compare="side")
            self.session.noticed.emit(
                f"Compared with {results.path.name}: words are aligned by their text, layers and steps by number."
            )
            return
        self.remember_view()
        view = self._wanted or self.settings.view(results.uuid) or demo_view(results.path) or first_view(results)
        self._wanted = None
        self.session.open(results, view)
        self.settings.remember_file(results.path)
        if results.growing:
            self._follow.start()
        else:
            self._follow.stop()
        self.shown.emit()

    def show_failure(self, sentence: str, details: str) -> None:
        """A file could not be opened; one that is open stays open."""
        if self.session.results is not None:
            self.session.noticed.emit(sentence)
        else:
            self.failed.emit(sentence, details)

    def _show_slow(self, path: str) -> None:
        if self.session.results is None:
            self.slow.emit(path)

    # Following and leaving

    def look_for_more(self) -> None:
        """Look for new frames of a file that is being written, or for its final name."""
        results = self.session.results
        if results is None or self.opening.busy:
            return
        try:
            final = results.finished_path
            if final is not None:
                self._wanted = self.session.state
                self.opening.start(final)
                return
            self.session.follow()
        except (OSError, UserError, RuntimeError, ValueError) as error:
            self._follow.stop()
            self.session.noticed.emit(f"New frames cannot be read any more ({' '.join(str(error).split())[:120]}).")

    def _grew(self) -> None:
        results = self.session.results
        if results is None:
            return
        self.grown.emit()
        if self.following:
            self.session.update(frame=results.done - 1)

    def toggle_follow(self) -> None:
        """Go to each new frame as it comes, or stay."""
        self.following = not self.following
        self.session.noticed.emit(
            "Following new frames." if self.following else "Staying at this frame; new ones are added to the slider."
        )
        self._grew()

    def close(self) -> None:
        """Have no file open."""
        self.remember_view()
        self._follow.stop()
        self.worker.drop()
        self.session.open(None)
        self.closed.emit()

    def remember_view(self) -> None:
        """Keep the view of the open file for the next time."""
        if self.session.results is not None:
            self.settings.remember_view(self.session.results.uuid, self.session.state)

    def stop(self) -> None:
        """The window closes: give everything back."""
        self.remember_view()
        self._follow.stop()
        self.opening.stop()
        self.worker.close()
        self.session.open(None)
