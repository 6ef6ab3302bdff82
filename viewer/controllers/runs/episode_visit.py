"""Open an episode from the Run page: with the head and the words that were asked about, at a telling frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from PySide6.QtCore import QObject, Signal

from viewer.errors import READ_ERRORS, UserError

if TYPE_CHECKING:
    from viewer.controllers.files.file_controller import FileController
    from viewer.controllers.runs.run_controller import RunController
    from viewer.io.run_index import Run
    from viewer.model.view_state import Cell, Query
    from viewer.runs.query import RunQuery

Which = Literal["typical", "extreme"]
PURPOSE: Final = "visit"


@dataclass(frozen=True)
class Visit:
    """An episode that is to be opened."""

    file: str
    query: RunQuery
    layer: int
    """By number, as head."""
    head: int
    which: Which


@dataclass(frozen=True)
class FoundFrame:
    """The frame to be shown, and what was asked about in it."""

    frame: int
    value: float
    query: Query
    region: tuple[Cell, ...] | None


class EpisodeVisit(QObject):
    """Opens an episode, selects the head, and goes to the frame once it is found, which reads all frames."""

    opened = Signal()
    """The episode is shown, or about to be."""
    noticed = Signal(str)

    def __init__(self, controller: RunController, files: FileController, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.controller, self.files = controller, files
        self._wanted: Visit | None = None
        self._asked = 0
        files.shown.connect(self._on_shown)

    def open(self, file: str, which: Which) -> None:
        """Open an episode by its file in the run, at its most typical or most extreme frame for the chosen head."""
        open_run, atlas, cell = self.controller.open_run, self.controller.atlas, self.controller.view.cell
        if open_run is None or atlas is None or cell is None:
            return
        number = open_run.episodes.place(file)
        if number is None:
            self.noticed.emit("This episode cannot be opened: its file is gone, or cannot be read any more.")
            return
        self._wanted = Visit(file, atlas.query, *cell, which)
        self.opened.emit()
        is_open = number == open_run.episodes.current and self.files.session.results is not None
        open_run.episodes.go(number)
        if is_open:
            self._on_shown()

    def _on_shown(self) -> None:
        """Select head and words in the file that was opened, and look for the frame."""
        visit, open_run, results = self._wanted, self.files.run, self.files.session.results
        if visit is None or open_run is None or results is None or not results.done:
            return
        self._wanted = None
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
        run = open_run.episodes.run
        self._asked += 1
        self.controller.worker.ask(
            PURPOSE, self._asked, lambda _: find_frame(run, visit), lambda found: self._take(visit, found)
        )

    def _take(self, visit: Visit, found: FoundFrame | UserError | None) -> None:
        self.controller.worker.drop(PURPOSE)
        if self.files.run is None or self.files.run.file != visit.file or self.files.session.results is None:
            return
        if not isinstance(found, FoundFrame):
            reason = str(found) if found is not None else "The log says why."
            self.noticed.emit(f"The {name_frame(visit.which)} of this episode was not found. {reason}")
            return
        changes: dict[str, Any] = {"frame": found.frame, "query": found.query}
        if found.region is not None:
            changes["region"] = found.region
        self.files.session.update(**changes)
        self.noticed.emit(f"Frame {found.frame}, the {name_frame(visit.which)}. Shift+R goes back to the run.")


def name_frame(which: Which) -> str:
    """Return what a frame is called: `frame nearest to the episode’s mean`."""
    return "frame nearest to the episode’s mean" if which == "typical" else "frame farthest from the episode’s mean"


def find_frame(run: Run, visit: Visit) -> FoundFrame | UserError:
    """Return the frame of a visit and what was asked about in it; reads all frames of the episode."""
    from viewer.runs.frame_ranking import rank_frames

    try:
        ranking = rank_frames(run, visit.query, visit.file, visit.layer, visit.head)
        chosen = ranking.most_typical if visit.which == "typical" else ranking.most_extreme
        if chosen is None:
            return UserError("None of its frames has a value.")
        query, region = find_subject(run, visit, chosen.frame)
    except UserError as error:
        return error
    except READ_ERRORS as error:
        return UserError(f"It cannot be read ({error}).")
    return FoundFrame(chosen.frame, chosen.value, query, region)


def find_subject(run: Run, visit: Visit, frame: int) -> tuple[Query, tuple[Cell, ...] | None]:
    """Return the words or actions, and the region, that were asked about, as they are in a frame.

    Raises:
        UserError: The frame does not have them.
    """
    from viewer.io import run_index
    from viewer.io.results import Results
    from viewer.runs.episode_scores import EpisodeScores, find_objects_file

    episode = next(one for one in run.episodes if one.file == visit.file)
    path = run_index.path_of(run, episode)
    results = Results(path)
    try:
        reader = EpisodeScores.prepare(results, path, visit.query.subject, find_objects_file(run))
        return reader.find_query(frame), reader.find_region(frame)
    finally:
        results.close()
