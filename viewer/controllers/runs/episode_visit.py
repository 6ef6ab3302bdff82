"""Open an episode from the Run page: with the head and the words of the query, at its typical or most extreme frame."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from viewer.controllers.python_process import create_python_process
from viewer.errors import UserError
from viewer.model.plain_text import clean_text
from viewer.model.view_state import ViewState, from_json

if TYPE_CHECKING:
    from viewer.controllers.files.file_controller import FileController
    from viewer.controllers.runs.run_controller import RunController
    from viewer.runs.query import RunQuery

VisitKind = Literal["typical", "extreme"]
MODULE: Final = "viewer.export.runs.find_frame"
MOST_REASON: Final = 300
LIMIT_MILLISECONDS: Final = 120_000
"""Time after which a search is given up: all actions of a full-size episode take a minute."""


@dataclass(frozen=True)
class VisitRequest:
    """An episode that is to be opened."""

    file: str
    query: RunQuery
    layer: int
    """By number, as head."""
    head: int
    which: VisitKind


class EpisodeVisit(QObject):
    """Opens an episode, selects the head, and goes to the frame once another process has found it."""

    opened = Signal()
    """The episode is shown, or about to be."""
    noticed = Signal(str)

    def __init__(self, controller: RunController, files: FileController, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.controller, self.files = controller, files
        self._requested_visit: VisitRequest | None = None
        """Until the episode is shown."""
        self._shown: VisitRequest | None = None
        """Whose frame is being looked for."""
        self._process: QProcess | None = None
        self._limit = QTimer(self)
        self._limit.setSingleShot(True)
        self._limit.setInterval(LIMIT_MILLISECONDS)
        self._limit.timeout.connect(self._give_up)
        files.shown.connect(self._on_shown)

    def open(self, file: str, which: VisitKind) -> None:
        """Open an episode by its file in the run, at its most typical or most extreme frame for the chosen head."""
        open_run, atlas, cell = self.controller.open_run, self.controller.atlas, self.controller.view.cell
        if open_run is None or atlas is None or cell is None:
            return
        number = open_run.episodes.place(file)
        if number is None:
            self.noticed.emit("This episode cannot be opened: its file is gone, or cannot be read any more.")
            return
        self.stop()
        self._requested_visit = VisitRequest(file, atlas.query, *cell, which)
        self.opened.emit()
        is_open = number == open_run.episodes.current and self.files.session.results is not None
        open_run.episodes.go(number)
        if is_open:
            self._on_shown()

    def _on_shown(self) -> None:
        """Select head and step in the file that was opened, and look for the frame."""
        visit, open_run, results = self._requested_visit, self.files.run, self.files.session.results
        if visit is None or open_run is None or results is None or not results.done:
            return
        self._requested_visit = None
        if open_run.file != visit.file:
            return  # the user went elsewhere meanwhile
        session = self.files.session
        changes: dict[str, Any] = {"score": visit.query.score, "heads": (visit.head,), "reduce": "mean"}
        if visit.layer in results.layers:
            changes["layer"] = results.layers.index(visit.layer)
        if visit.query.step is not None and visit.query.step in results.steps:
            changes["step"] = results.steps.index(visit.query.step)
        session.update(**changes)
        session.flush()
        self._search(visit)

    def _search(self, visit: VisitRequest) -> None:
        run = self.controller.run
        if run is None:
            return
        location = str(run.index or run.folder)
        process = create_python_process(self, MODULE, json.dumps({"run": location, **asdict(visit)}))
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._shown, self._process = visit, process
        process.start()
        self._limit.start()
        self.noticed.emit(f"Looking for the {name_frame(visit.which)} …")

    def _give_up(self) -> None:
        if self._process is not None:
            self._process.kill()  # which ends in `finished`, without an answer

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others end in `finished`
            self._on_finished()

    def _on_finished(self) -> None:
        process, visit, self._process, self._shown = self._process, self._shown, None, None
        self._limit.stop()
        if process is None or visit is None:
            return
        line = bytes(process.readAllStandardOutput().data()).decode(errors="replace")
        process.deleteLater()
        open_run = self.files.run
        if open_run is None or open_run.file != visit.file or self.files.session.results is None:
            return
        try:
            changes = read_found_frame(line)
        except UserError as error:
            self.noticed.emit(f"The {name_frame(visit.which)} of this episode was not found. {error}")
            return
        self.files.session.update(**changes)
        self.noticed.emit(f"Frame {changes['frame']}, the {name_frame(visit.which)}. Shift+R goes back to the run.")

    def stop(self) -> None:
        """Give up looking for a frame."""
        self._limit.stop()
        process, self._process = self._process, None
        self._requested_visit = self._shown = None
        if process is not None:
            process.finished.disconnect(self._on_finished)
            process.kill()
            process.waitForFinished(1000)
            process.deleteLater()


def read_found_frame(line: str) -> dict[str, Any]:
    """Return the fields of a view that MODULE's output sets.

    Raises:
        UserError: It found none; the message is why.
    """
    try:
        value = json.loads(line)
        if "error" not in value:
            view: ViewState = from_json(line)
            changes: dict[str, Any] = {"frame": view.frame, "query": view.query}
            has_region = value.get("region") is not None
            return changes | ({"region": view.region, "region_name": view.region_name} if has_region else {})
    except (ValueError, TypeError):
        raise UserError("The process that looked for it ended early.") from None
    raise UserError(clean_text(str(value["error"]), MOST_REASON))


def name_frame(which: VisitKind) -> str:
    """Return what a frame is called: `frame nearest to the episode’s mean`."""
    return "frame nearest to the episode’s mean" if which == "typical" else "frame farthest from the episode’s mean"
