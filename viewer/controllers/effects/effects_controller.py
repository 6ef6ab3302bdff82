"""Find, check and open the effects files of the open results file, and show effects in place of the attention."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from capture.results.effects_schema import SUFFIX
from viewer.analysis.effects.measured import describe_file, find_map_unavailable_reason
from viewer.analysis.probe import Probe
from viewer.controllers.effects.region_run import (
    REMOVAL_METHODS,
    RegionRequest,
    RegionRun,
    find_unavailable_reason,
    write_command,
)
from viewer.controllers.view_changes import to_measure
from viewer.errors import ConnectionLostError, UserError, split_library_words
from viewer.io.demo_files import is_demo_file
from viewer.io.effects_names import find_effects_files, find_results_file, is_effects_name
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings
    from viewer.controllers.worker import Worker
    from viewer.io.effects import Effects
    from viewer.io.results import Results

POLL_MILLISECONDS: Final = 10
DELAY_MILLISECONDS: Final = 40
"""Delay before effects files are looked for, so that this does not compete with painting a file's first picture."""
FILTER: Final = f"Effects (*{SUFFIX});;HDF5 (*.h5 *.hdf5);;All files (*)"


class _Candidate(NamedTuple):
    """An effects file that is to be opened."""

    results: Results
    path: Path
    is_requested: bool
    """Whether the user named it: the window then shows a message that it is open."""


class EffectsController(QObject):
    """Opens effects files into the session's results files.

    Each is checked in another process first, since HDF5 can hang or crash on a damaged file.
    """

    removal_changed = Signal()
    """Another way to take regions away was chosen, or where the policy's checkpoint lies."""

    def __init__(self, session: Session, worker: Worker, settings: Settings, window: QWidget) -> None:
        super().__init__(window)
        self.session, self.worker, self.settings = session, worker, settings
        self.region_run = RegionRun(self)
        self.region_run.measured.connect(self._on_measured)
        self.region_run.failed.connect(session.noticed)
        self._known: list[Results] = []
        """Open results files whose effects files were looked for."""
        self._waiting: deque[_Candidate] = deque()
        self._probe: Probe | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self._poll)
        session.opened.connect(self._on_opened)

    @property
    def _parent_window(self) -> QWidget:
        window = self.parent()
        assert isinstance(window, QWidget)
        return window

    @property
    def is_busy(self) -> bool:
        """Whether a file is still to be opened."""
        return bool(self._waiting)

    # Finding and opening

    def _on_opened(self) -> None:
        """Look for the effects files of a file that was opened, and forget those of files that were closed."""
        opened = [results for results in (self.session.results, self.session.other) if results is not None]
        new = [results for results in opened if all(results is not known for known in self._known)]
        self._known = opened
        if not opened:
            self.stop()
        if self._waiting and not any(self._waiting[0].results is results for results in opened):
            self._stop_probe()
        self._waiting = deque(
            candidate for candidate in self._waiting if any(candidate.results is results for results in opened)
        )
        for results in new:
            find = partial(self._find, results, f"effects {opened.index(results)}")
            QTimer.singleShot(DELAY_MILLISECONDS, self, find)

    def _find(self, results: Results, purpose: str) -> None:
        """Look for the effects files of an open results file."""
        if all(results is not known for known in self._known):
            return
        path, stored_path = results.path, self._kept_folder(results) / results.path.name
        self.worker.ask(
            purpose,
            id(results),
            lambda _: [*find_effects_files(path), *find_effects_files(stored_path)],
            lambda paths: self._add(results, paths or []),
        )

    def _add(self, results: Results, paths: list[Path], *, is_requested: bool = False) -> None:
        if any(results is known for known in self._known):
            # The one to prefer is opened last: what is opened later comes first.
            self._waiting.extend(_Candidate(results, path, is_requested) for path in reversed(paths))
            self._begin_probe()

    def open(self, path: Path) -> None:
        """Check an effects file and open it for the open results file."""
        results = self.session.results
        if results is None:
            self.session.noticed.emit("Open a results file first, then the effects on it.")
        else:
            self._add(results, [path], is_requested=True)

    def open_by_name(self, path: Location, open_results: Callable[[Path], None]) -> bool:
        """Open a file with the name of an effects file for the open results file; without one, that beside it.

        Return False for another name.
        """
        if not is_effects_name(path):
            return False
        beside = find_results_file(path)
        if self.session.results is None and beside is not None:
            open_results(beside)  # its effects are found by their name
        else:
            self.open(path)
        return True

    def ask_file(self) -> None:
        """Show the dialog for opening an effects file."""
        from PySide6.QtWidgets import QFileDialog  # imported late: slow to load and not needed at the start

        path = self.session.path
        folder = str(path.parent) if isinstance(path, Path) else ""
        name, _ = QFileDialog.getOpenFileName(self._parent_window, "Open effects", folder, FILTER)
        if name:
            self.open(Path(name))

    def _begin_probe(self) -> None:
        if self._probe is None and self._waiting:
            self._probe = Probe(self._waiting[0].path)
            self._timer.start()

    def _poll(self) -> None:
        answer = self._probe.poll() if self._probe is not None else None
        if answer is None:
            return
        candidate = self._waiting.popleft()
        self._stop_probe()
        answer = answer or self._attach(candidate)
        if answer:
            sentence = split_library_words(answer)[0]
            if not candidate.is_requested:
                candidate.results.effects_left_out += (sentence,)
            self.session.noticed.emit(sentence)
        else:
            self.session.effects_changed.emit()
            if not candidate.results.access.may_wait:
                self._check_later(candidate.results, candidate.results.effects[0])
            if candidate.is_requested:
                self.session.noticed.emit(describe_file(candidate.results.effects[0]))
        self._begin_probe()

    @staticmethod
    def _attach(candidate: _Candidate) -> str:
        """Open a file that has been checked; return why it cannot be shown, empty if it can."""
        from viewer.io.effects import Effects, attach  # imported late: it delays the first picture

        try:
            effects = Effects(candidate.path)
        except UserError as error:
            return str(error)
        try:
            attach(candidate.results, effects)
        except UserError as error:
            effects.close()
            return str(error)
        return ""

    def _check_later(self, results: Results, effects: Effects) -> None:
        """Compare the actions of a file on another machine with those of its effects, which are shown meanwhile."""
        from viewer.io.effects_check import check_actions  # imported late: it delays the first picture

        def check(_: Callable[[], bool]) -> tuple[str, bool]:
            try:
                check_actions(effects, results)
            except ConnectionLostError:
                return f"{results.path.name} could not be read to check that {effects.path.name} is about it.", True
            except UserError as error:
                return str(error), False
            return "", True

        self.worker.ask(f"check {effects.path}", id(effects), check, partial(self._note_check, results, effects))

    def _note_check(self, results: Results, effects: Effects, answer: tuple[str, bool] | None) -> None:
        sentence, is_kept = answer or ("", True)
        if not is_kept and effects in results.effects:
            from viewer.io.effects import detach

            detach(results, effects, sentence)
            self.session.effects_changed.emit()
        if sentence:
            self.session.noticed.emit(sentence)

    def _stop_probe(self) -> None:
        self._timer.stop()
        if self._probe is not None:
            self._probe.stop()
            self._probe = None

    def stop(self) -> None:
        """End what is still running, before the window ends."""
        self._waiting.clear()
        self._stop_probe()
        self.region_run.stop()

    # Measuring a region now

    @property
    def removal(self) -> str:
        """The chosen way to remove a region: a key of REMOVAL_METHODS."""
        name = self.settings.text("effects/how", "all")
        return name if name in REMOVAL_METHODS else "all"

    def set_removal(self, name: str) -> None:
        """Choose how a region is removed; the choice is kept."""
        self.settings.set_text("effects/how", name)
        self.removal_changed.emit()

    @property
    def checkpoint(self) -> str:
        """The folder of the open file's policy on this machine; empty if none is known, or for the demo's."""
        results = self.session.results
        stored_path = self.settings.text(self._checkpoint_key(results)) if results is not None else ""
        return stored_path if stored_path and Path(stored_path).exists() else ""

    @staticmethod
    def _checkpoint_key(results: Results) -> str:
        letters = str(results.model.get("config_hash") or results.checkpoint_name)
        return "checkpoints/" + ("".join(letter for letter in letters if letter.isalnum())[:64] or "none")

    @property
    def needs_checkpoint(self) -> bool:
        """Whether the policy of the open file must be named before anything can be measured."""
        results = self.session.results
        return results is not None and results.model.get("kind") != "demo" and not self.checkpoint

    def ask_checkpoint(self) -> None:
        """Show the dialog for choosing the folder of the open file's policy; the choice is kept."""
        from PySide6.QtWidgets import QFileDialog

        results = self.session.results
        path = QFileDialog.getExistingDirectory(self._parent_window, "Checkpoint of the file’s policy")
        if path and results is not None:
            self.settings.set_text(self._checkpoint_key(results), path)
            self.removal_changed.emit()

    def find_unavailable_reason(self) -> str:
        """Return why the effect of a region cannot be measured on this machine; empty if it can."""
        results = self.session.results
        if results is None or not results.done:
            return "no file is open"
        return find_unavailable_reason(results, self.checkpoint)

    def _request(self) -> RegionRequest | None:
        results, state = self.session.results, self.session.state
        if results is None or not results.done or not state.region:
            return None
        return RegionRequest(results, state.frame, state.region, self.removal)

    def measure_region(self) -> None:
        """Measure the effect of the region in a process of its own, or copy the command that does it elsewhere."""
        request, reason = self._request(), self.find_unavailable_reason()
        if request is None:
            self.session.noticed.emit("Drag a box on a picture first.")
        elif self.region_run.is_running:
            self.session.noticed.emit("An effect is being measured; wait for it, or stop it.")
        elif reason:
            self.copy_command()
        else:
            self.region_run.start(request, self.checkpoint, self._result_folder(request.results))

    def copy_command(self) -> None:
        """Copy the command that measures the region on another machine."""
        request = self._request()
        if request is not None:
            QGuiApplication.clipboard().setText(write_command(request, self.checkpoint))
            reason = self.find_unavailable_reason()
            why = f"{reason[:1].upper()}{reason[1:]}. " if reason else ""
            self.session.noticed.emit(f"{why}Copied: the command that measures this on a machine with the checkpoint.")

    def _result_folder(self, results: Results) -> Path:
        """Return the folder for new effects: the results file's, or one of the user's where that is not to change."""
        path = results.path
        if not isinstance(path, Path) or is_demo_file(path):
            return self._kept_folder(results)
        folder = path.absolute().parent
        return folder if os.access(folder, os.W_OK) else self._kept_folder(results)

    def _kept_folder(self, results: Results) -> Path:
        """Return the user's folder for effects of a results file."""
        name = "".join(letter for letter in results.uuid if letter.isalnum())[:40] or "none"
        return self.settings.folder / "effects" / name

    def _on_measured(self, request: RegionRequest, path: Path) -> None:
        """Open the new effects, if their results file is still open."""
        self._add(request.results, [path])

    # Showing

    def blink(self, down: bool) -> None:
        """Show the effect in place of the attention, or the attention in place of the effect, while a key is held."""
        session = self.session
        if not down or session.results is None:
            session.blink(False)
            return
        view = session.current
        is_measured = view.measure in FROM_EFFECTS
        reason = "" if is_measured else find_map_unavailable_reason(session.results, view.frame)
        if reason:
            session.noticed.emit(f"{reason[:1].upper()}{reason[1:]}.")
            return
        other = to_measure(view, "weight" if is_measured else "effect", session.results)
        session.blink(True, replace(view, **other).bare())
