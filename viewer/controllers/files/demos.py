"""Open the bundled demo: its results file at once, its run after `pi0-capture --demo-run` has made it, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from viewer.controllers.child_command import ChildCommand
from viewer.io import demo_files

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.controllers.files.file_controller import FileController

NOT_INSTALLED: Final = (
    "The demo is not part of this installation; install pi0-attention again, or open a file of your own."
)
NO_TORCH: Final = (
    "The demo’s run is captured on this machine, by the demo’s policy, and PyTorch is not installed here; "
    "pip install “pi0-attention[capture]” brings it, and the run needs no GPU."
)
POLL_MILLISECONDS: Final = 300
STOP_MILLISECONDS: Final = 3000
"""Time that the process has to end by itself when the window closes."""


class Demos(QObject):
    """Opens the bundled files; captures the run in a process of its own, which resumes an earlier one."""

    def __init__(self, files: FileController) -> None:
        super().__init__(files)
        self._files = files
        self._command = ChildCommand(self)
        self._command.errors_read.connect(self._say_stage)
        self._command.ended.connect(self._finish)
        self._before: object = None
        """What was open when the run was asked for."""
        self._timer = QTimer(self, interval=POLL_MILLISECONDS)
        self._timer.timeout.connect(self._poll)

    @property
    def is_capturing(self) -> bool:
        """Whether the run is being captured."""
        return self._command.is_running

    def open_file(self) -> None:
        """Open the bundled results file."""
        path = demo_files.find_demo_path()
        if path is None:
            self._files.show_failure(NOT_INSTALLED, "")
        else:
            self._files.open(path)

    def open_run(self, *options: str) -> None:
        """Open the run; capture it first if it is not in the user's cache yet.

        `options`: further ones of `pi0-capture --demo-run`, such as the choice of some episodes.
        """
        folder = demo_files.find_demo_run_folder()
        if folder is None:
            self._files.show_failure(NOT_INSTALLED, "")
        elif demo_files.is_demo_run_captured():
            self._files.open(folder)
        elif not demo_files.can_capture():
            self._files.show_failure(NO_TORCH, "")
        elif not self.is_capturing:
            self._run_capture(folder, options)

    def stop(self) -> None:
        """Stop capturing, before the window ends; finished frames are kept."""
        self._timer.stop()
        self._command.end(STOP_MILLISECONDS)

    def _run_capture(self, folder: Path, options: tuple[str, ...]) -> None:
        self._before = self._files.session.results
        self._command.start("capture", "--demo-run", *options, "-o", str(folder))
        self._timer.start()
        self._show_stage("loading PyTorch")

    def _show_stage(self, stage: str) -> None:
        """Say how far it is: on the page while nothing is open, else as a notice."""
        sentence = f"The demo’s policy captures its run, which happens once and takes a minute or two: {stage} …"
        if self._files.session.results is None:
            self._files.nothing_yet.emit(sentence)
        elif len(self._command.errors) < 2:  # once, at the start
            self._files.session.noticed.emit(sentence)

    def _say_stage(self) -> None:
        self._show_stage(self._command.errors[-1].strip().removeprefix("pi0-capture: "))

    def _poll(self) -> None:
        """Open the run once it has an episode, which the others then join."""
        folder = demo_files.find_demo_run_folder()
        if folder is not None and any(not path.name.endswith(".regions.h5") for path in folder.glob("*.h5")):
            self._timer.stop()
            self._open_captured(folder)

    def _open_captured(self, folder: Path) -> None:
        if self._files.session.results is self._before and not self._files.opening.busy:
            self._files.open(folder)

    def _finish(self, code: int) -> None:
        was_looking = self._timer.isActive()
        self._timer.stop()
        folder = demo_files.find_demo_run_folder()
        if code != 0 or folder is None:
            reason = self._command.find_reason("pi0-capture", code)
            sentence = f"The demo’s run was not captured: {reason.rstrip('.')}."
            if self._files.session.results is None:
                self._files.show_failure(sentence, "")
            else:
                self._files.session.noticed.emit(sentence)
        elif was_looking:
            self._open_captured(folder)
        else:
            self._files.session.noticed.emit(f"The demo’s run is captured, and kept in {folder}.")
