"""Open, compare, follow and close results files and runs, and remember their views."""

from __future__ import annotations

import logging
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from viewer.analysis.initial_view import CarriedView, first_view
from viewer.controllers.effects.effects_controller import EffectsController
from viewer.controllers.files import file_dialogs
from viewer.controllers.files.demos import Demos
from viewer.controllers.files.file_opening import Opening
from viewer.controllers.files.file_watcher import FileWatcher
from viewer.controllers.files.first_picture import FirstPicture
from viewer.controllers.files.live_view import LIVE_MILLISECONDS, LiveView
from viewer.controllers.files.run_opening import RunOpening
from viewer.errors import READ_ERRORS, NotLoadedError, UserError
from viewer.file_argument import is_address, locate
from viewer.io.demo_files import create_demo_view
from viewer.io.open_file import is_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.analysis.probe import Probe
    from viewer.controllers.episodes.run import OpenRun
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings
    from viewer.controllers.worker import Worker
    from viewer.io.results import Results
    from viewer.io.run_index import Run
    from viewer.model.view_state import ViewState

FOLLOW_MILLISECONDS: Final = 1000
"""Interval of the checks for new frames."""


class FileController(QObject):
    """Opens files and runs into the session; its signals tell the window what to show."""

    shown = Signal()
    """Another file has been opened into the session."""
    grown = Signal()
    """The open file has new frames, possibly its first ones."""
    failed = Signal(str, str)
    """A file could not be opened and no other is open: message and details."""
    slow = Signal(str, bool)
    """Opening this path takes long; True once it takes longer than an intact file on a local disk would."""
    closed = Signal()
    """All files have been closed."""
    run_changed = Signal()
    """Another run has been opened, or the run has been closed."""
    nothing_yet = Signal(str)
    """A run is open but none of its episodes can be opened yet: the message to show."""

    def __init__(self, session: Session, worker: Worker, settings: Settings, window: QWidget) -> None:
        super().__init__(window)
        self.session, self.worker, self.settings = session, worker, settings
        self.opening = Opening(self._skip_if_open, session.reader, self)
        self.live = LiveView(session, self)
        self.demos = Demos(self)
        self.effects = EffectsController(session, worker, settings, window)
        self.run: OpenRun | None = None
        self._requested_view: ViewState | None = None
        self._carried: CarriedView | None = None
        self.first = FirstPicture(session)
        self._requested_other: Location | None = None
        self._follow = QTimer(self, interval=FOLLOW_MILLISECONDS)
        self._follow.timeout.connect(self.check_for_new_frames)
        self.opening.opened.connect(self.show_results)
        self.run_opening = RunOpening(worker, self)
        self.run_opening.is_read.connect(self._show_run_as_wanted)
        self.run_opening.is_file.connect(self.opening.start)
        for opening in (self.opening, self.run_opening):
            opening.failed.connect(self.show_failure)
            opening.slow.connect(self.slow)
        session.grew.connect(self._on_grown)
        self.watch = FileWatcher(session, worker, self)

    # Opening

    def open(self, path: Location, view: ViewState | None = None, opening: Callable[[], None] | None = None) -> None:
        """Open a results file or a run; a file is first checked in another process.

        `view` replaces the remembered view. `opening` replaces the usual start, where a check already runs.
        """
        self._requested_view, self._carried, self._requested_other = view, None, None
        if opening is not None:
            opening()
        elif not self.effects.open_by_name(path, self.opening.start):
            (self.run_opening.open if is_run(path) else self.opening.start)(path)

    def stop_opening(self) -> None:
        """Give up the file or run that is being opened."""
        self.opening.stop()
        self.worker.drop("run")

    def open_again(self) -> None:
        """Reopen the file, and the one that it is compared with, from disk; the view is kept."""
        results, other = self.session.results, self.session.other
        if results is not None:
            self.open(results.path, self.session.state)
            self.compare_with(other.path if other is not None else None)

    def compare_with(self, path: Location | None) -> None:
        """Set the second file, which is opened after the one that is now being opened; None for no second file."""
        self._requested_other = path

    def open_text(self, path: str) -> None:
        """Open the file or run at a path given as a string."""
        try:
            self.open(locate(path.strip()) if is_address(path.strip()) else Path(path))
        except UserError as error:
            self.show_failure(str(error), "")

    def _show_run_as_wanted(self, run: Run) -> None:
        self.show_run(run, self._requested_view)

    def show_run(self, run: Run, view: ViewState | None = None, early: Probe | None = None) -> None:
        """Show a run and open the episode that was open last, else the first.

        `early` is a check of that episode's file which is already running.
        """
        from viewer.controllers.episodes.run import OpenRun

        self.opening.stop()
        self._leave_run()
        self.run = opened = OpenRun(run, self.worker, self)
        opened.noticed.connect(self.session.noticed)
        opened.about_to_open.connect(self._take_along)
        opened.check_started.connect(self.opening.take)
        opened.ready.connect(self._show_ready)
        opened.nothing_yet.connect(self._show_none)
        opened.episodes.listed.connect(self._show_next_episode)
        opened.episodes.marked.connect(self._show_next_episode)
        self.settings.remember_file(run.folder)
        self.run_changed.emit()
        self._requested_view, self._carried = view, None
        opened.begin(self.settings.place(run.uuid), early)

    def _take_along(self) -> None:
        """Keep the view when changing from one episode of a run to another."""
        results = self.session.results
        if self.run is not None and self.run.episodes.current is not None and results is not None:
            self._requested_view, self._carried = None, self._carry(results)

    def _carry(self, results: Results) -> CarriedView | None:
        try:
            return CarriedView.of(results, self.session.state)
        except (*READ_ERRORS, NotLoadedError):
            return None

    def _carried_onto(self, results: Results) -> ViewState | None:
        try:
            return self._carried.onto(results) if self._carried is not None else None
        except READ_ERRORS:
            return None

    def _show_ready(self, results: Results) -> None:
        self.opening.stop()
        self.show_results(results, False)

    def _show_none(self, sentence: str) -> None:
        self.remember_view()
        self._follow.stop()
        self.session.open(None)
        self.nothing_yet.emit(sentence)

    def _update_run(self, results: Results) -> None:
        """Update the run after opening a file: mark its episode and prefetch the neighbours, or leave the run."""
        if self.run is not None and not self.run.opened(results.path, self._carry(results)):
            self._leave_run()
        if self.run is None:
            self.settings.remember_file(results.path)
        else:
            self.settings.remember_place(self.run.uuid, self.run.file)

    def _leave_run(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            run.stop()
            run.deleteLater()
            self.run_changed.emit()

    def ask_file(self) -> None:
        """Show the dialog for opening a file."""
        path = file_dialogs.ask_file(self.parent(), self.settings.recent())
        if path:
            self.open(Path(path))

    def ask_folder(self) -> None:
        """Show the dialog for opening the folder of a run."""
        file_dialogs.ask_folder(self.parent(), self.settings.recent(), self.open_text)

    def ask_address(self) -> None:
        """Show the dialog for opening a file or run on another machine."""
        file_dialogs.ask_address(self.parent(), self.open_text)

    def ask_other(self) -> None:
        """Show the dialog for choosing a second file to compare with."""
        path = file_dialogs.ask_other(self.parent(), self.session.path)
        if path:
            self.opening.start(Path(path), second=True)

    def show_results(self, results: Results, second: bool) -> None:
        """Show a file that was checked and opened, as the first or the second of a comparison.

        A slow file is shown once its first picture has been read.
        """
        self.first.show(results, second, self._find_view, partial(self._show, results, second))

    def _find_view(self, results: Results) -> ViewState:
        """Return the view that a file is opened with."""
        return (
            self._requested_view
            or self._carried_onto(results)
            or self.settings.view(results.uuid)
            or create_demo_view(results.path)
            or first_view(results)
        )

    def _show(self, results: Results, second: bool) -> None:
        if second:
            self.session.open_other(results if results.done else None)
            if self.session.state.compare != "difference" or self.session.state.pinned is not None:
                self.session.update(compare="side")  # keep a difference that was requested before this file was open
            self.session.flush()
            self.session.noticed.emit(
                self.session.not_compared
                or f"Compared with {results.path.name}: words are aligned by their text, layers and steps by number."
            )
            return
        self.remember_view()
        wanted, view = self._requested_view, self._find_view(results)
        self._requested_view = self._carried = None
        if self.session.is_slow:
            self.worker.renew()
        self.session.open(results, view)
        self._update_run(results)
        if results.growing:
            self._follow.start(LIVE_MILLISECONDS if self.live.is_live else FOLLOW_MILLISECONDS)
        else:
            self._follow.stop()
        if view is not wanted:
            self.live.start()
        self.shown.emit()
        if self._requested_other is not None:
            other, self._requested_other = self._requested_other, None
            self.opening.start(other, second=True)

    def show_failure(self, sentence: str, details: str) -> None:
        """Report that a file could not be opened, also in the list of episodes; an open file stays open."""
        self._requested_other = None
        if self.run is not None and self.opening.path is not None:
            self.run.episodes.failed(self.opening.path, sentence)
        if self.session.results is not None:
            logging.getLogger("viewer").warning("%s %s", sentence, details)  # a notice has no details
            self.session.noticed.emit(sentence)
        else:
            self.failed.emit(sentence, details)

    def _skip_if_open(self, path: Location, second: bool) -> bool:
        """Return whether a file is already open and must not be opened again; close it first where it must be reread.

        HDF5 shares its cached metadata between two handles of one file: that corrupts the reading of a file that is
        still being written, and gives the old content of a file that was rewritten.
        """
        results, other = self.session.results, self.session.other
        if other is not None and other.is_at(path):
            self.session.open_other(None)  # the file about to be opened replaces it
        if results is None or not results.is_at(path):
            return False
        if second:
            self.session.noticed.emit(f"{results.path.name} is the open file itself; pin a view of it (P) to compare.")
            return True
        if results.file_change or not results.growing:
            self.remember_view()
            self._follow.stop()
            self.session.open(None)
            return False
        view, self._requested_view, self._carried = self._requested_view, None, None
        self.check_for_new_frames()
        self._update_run(results)
        if view is not None:
            self.session.update(**{field.name: getattr(view, field.name) for field in fields(view)})
        self.shown.emit()
        self.session.noticed.emit(f"{results.path.name} is open already; new frames come by themselves.")
        return True

    # Following a file that is being written, and closing

    def check_for_new_frames(self) -> None:
        """Check a file that is being written for new frames, or for its rename to the final name."""
        results = self.session.results
        if results is None or self.opening.busy:
            return
        path = results.path
        self.live.announce()
        try:
            final = results.finished_path
            if final is not None and not results.is_at(final):
                self._requested_view = self.session.state
                self.opening.start(final)
                return
            if results.access.is_slow:
                take = partial(self._take_growth, results)
                self.worker.ask("grow", (results, results.done), lambda _: results.grow(), take)
                return
            self.session.follow()
        except READ_ERRORS as error:
            self._follow.stop()
            logging.getLogger("viewer").warning("New frames of %s cannot be read", path, exc_info=error)
            self.session.noticed.emit("New frames cannot be read any more: the file may be damaged; open it again.")
            return
        if not results.growing:
            self._follow.stop()
        if results.path != path:
            self._update_run(results)
            self.shown.emit()

    def _take_growth(self, results: Results, has_grown: bool | None) -> None:
        """Show the new frames of a slow file that the worker has found."""
        self.worker.drop("grow")
        if results is self.session.results and has_grown:
            self.session.take_growth()
            if not results.growing:
                self._follow.stop()
                self._update_run(results)
                self.shown.emit()

    def _on_grown(self) -> None:
        results = self.session.results
        if results is None:
            return
        self.grown.emit()
        self.live.grow(has_next=self.run is not None)

    def toggle_follow(self) -> None:
        """Switch between showing each new frame as it arrives and staying at the current frame."""
        self.live.following = not self.live.following
        self.session.noticed.emit(
            "Following new frames."
            if self.live.following
            else "Staying at this frame; new ones are added to the slider."
        )
        self._on_grown()

    def go_live(self) -> None:
        """Show the newest frame of a policy that is acting, and each further one."""
        self.live.start()

    def _show_next_episode(self) -> None:
        """Open the episode that has begun since the followed one ended."""
        number = None if self.run is None else self.run.episodes.find_newest_growing()
        if self.run is not None and number is not None and self.live.is_waiting:
            self.run.episodes.go(number)

    def close(self) -> None:
        """Close all files and the run."""
        self.remember_view()
        self._follow.stop()
        self.opening.stop()
        self.first.drop()
        self._leave_run()
        self.worker.drop()
        if self.session.is_slow:
            self.worker.renew()
        self.session.open(None)
        self.closed.emit()

    def remember_view(self) -> None:
        """Store the view of the open file in the settings."""
        if self.session.results is not None:
            self.settings.remember_view(self.session.results.uuid, self.session.state)

    def stop(self) -> None:
        """Release all files, processes and threads when the window closes."""
        self.remember_view()
        self.demos.stop()
        self._follow.stop()
        self.opening.stop()
        self.first.drop()
        self._leave_run()
        self.worker.close(wait=not self.session.is_slow)
        self.session.open(None)
        self.session.reader.close()
