"""What the Run page shows: asks the summary of the open run in the background, has it made, and keeps it up to date."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, Signal

from viewer.controllers.runs.parts_ahead import PartsAhead
from viewer.controllers.runs.run_watch import RunWatch
from viewer.controllers.runs.slow_mark import SlowMark
from viewer.controllers.runs.stages import (
    CellAnswer,
    Stage,
    explain_empty,
    explain_left_out,
    find_missing,
    open_summary,
)
from viewer.controllers.runs.summary_run import SummaryRun
from viewer.controllers.runs.view_history import ViewHistory
from viewer.controllers.worker import Worker
from viewer.errors import UserError
from viewer.runs.first_cell import find_first_cell
from viewer.runs.run_view import RunView

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.episodes.run import OpenRun
    from viewer.io.run_index import Run
    from viewer.runs.answers import RunAtlas
    from viewer.runs.query import RunQuery, Subject
    from viewer.runs.summary import RunSummary
    from viewer.runs.summary_files import SummaryState

FAILED: Final = "The answer could not be computed; the log says why. Ask something else, or try again."


class RunController(QObject):
    """The view of a run and the answers to it. Queries run in a thread of their own, never in the window's."""

    changed = Signal()
    """The view has changed."""
    stage_changed = Signal()
    """`stage` or the progress of a summary has changed."""
    answered = Signal()
    """`atlas` has changed."""
    cell_answered = Signal()
    """`cell` has changed."""
    hovered = Signal()
    """`pointed` has changed."""
    noticed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.view = RunView()
        self.stage = Stage("no run")
        self.atlas: RunAtlas | None = None
        self.cell: CellAnswer | None = None
        """Of the chosen head."""
        self.pointed: CellAnswer | None = None
        """Of the head under the pointer."""
        self.is_contrast_shown = False
        """Whether `atlas` was asked as success against failure."""
        self.is_active = False
        """Whether the page is visible: summaries are made and kept up to date for a visible page alone."""
        self.worker = Worker(self)
        self.build = SummaryRun(self)
        self._open_run: OpenRun | None = None
        self._summary: RunSummary | None = None
        self._requests = 0
        """Counts the questions, so that none is taken for the one before."""
        self._subject: Subject | None = None
        """What `_summary` is about."""
        self._history = ViewHistory()
        self._is_cell_chosen = False
        """Whether the user chose the shown head; else each answer shows its most significant one."""
        self._last_build: tuple[Subject | None, str] = None, ""
        """The subject whose summary was last made, and the signature of the run then."""
        self.slow_mark = SlowMark(self)
        self._parts_ahead = PartsAhead(self, lambda: self._summary)
        self._watch = RunWatch(self)
        self._watch.changed.connect(self._update_summary)
        self.build.progressed.connect(self.stage_changed)
        self.build.written.connect(self._on_written)
        self.build.ended.connect(self._on_build_ended)

    # The run

    @property
    def run(self) -> Run | None:
        """The open run as its folder is now; None for none."""
        return None if self._open_run is None else self._open_run.episodes.run

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of the recorded denoise steps, where what is asked about has some."""
        return () if self._summary is None else self._summary.steps

    @property
    def open_run(self) -> OpenRun | None:
        """The open run with its list of episodes."""
        return self._open_run

    def set_run(self, open_run: OpenRun | None) -> None:
        """Show another run; None for no run."""
        if open_run is self._open_run:
            return
        self.build.end()
        self._watch.set_run(open_run)
        self._forget()
        self._open_run = open_run
        self.view, self._is_cell_chosen, self._history = RunView(), False, ViewHistory()
        self.changed.emit()
        self._begin()

    @property
    def kept_view(self) -> RunView:
        """The view to be kept: without the shown head, unless the user chose it."""
        return self.view if self._is_cell_chosen else replace(self.view, layer=None, head=None)

    def set_active(self, active: bool) -> None:
        """Say whether the page is visible."""
        self.is_active = active
        if active:
            self._begin()
        self._watch.set_active(active)

    def _begin(self) -> None:
        """Open the summary of what is asked, or have it made."""
        run = self.run
        if run is None:
            self._set_stage(Stage("no run"))
        elif not self.is_active:
            return
        elif (reason := find_missing()) != "":
            self._set_stage(Stage("not installed", reason))
        elif (problem := self.view.resolved_query.find_problem()) != "":
            self._set_stage(Stage("problem", problem))
        elif self._summary is None or self._subject != self.view.resolved_query.subject:
            self._open_summary()
        elif self.atlas is None or self.atlas.query != self.view.resolved_query:
            self._ask_atlas()
        else:  # asked before what was asked meanwhile and is no longer wanted
            self.worker.drop("atlas")
            self._take_atlas(self.atlas, self.is_contrast_shown)

    def _forget(self) -> None:
        """Drop the summary and all answers."""
        self.worker.drop()
        self.slow_mark.stop()
        self._forget_answers()

    def _forget_answers(self) -> None:
        self._forget_summary()
        self.atlas = self.cell = self.pointed = None
        self.answered.emit()
        self.cell_answered.emit()
        self.hovered.emit()

    def _open_summary(self) -> None:
        run, subject = self.run, self.view.resolved_query.subject
        assert run is not None
        self.slow_mark.start()
        self._compute("summary", lambda: open_summary(run, subject), lambda opened: self._take_summary(subject, opened))

    def _take_summary(self, subject: Subject, opened: tuple[RunSummary | None, SummaryState]) -> None:
        summary, state = opened
        if subject != self.view.resolved_query.subject:
            if summary is not None:
                summary.close()
            return
        self._watch.signature = state.signature
        is_building = self.build.is_running and self.build.subject == subject
        if summary is None or not summary.episodes:
            if summary is not None:
                summary.close()
            if summary is not None and state.is_complete and not is_building:
                self._forget_answers()
                self._set_stage(Stage("empty", explain_left_out(summary, state.total)))
            else:
                self._make_summary(subject)
            return
        self._forget_summary()
        self._summary, self._subject = summary, subject
        if state.is_complete:
            self._last_build = subject, state.signature
        elif not is_building and self._last_build != (subject, state.signature):
            self._make_summary(subject)
        self._ask_atlas()

    def _forget_summary(self) -> None:
        for purpose in ("atlas", "cell", "hover"):  # what it was asked: closed, it answers with an error
            self.worker.drop(purpose)
        if self._summary is not None:
            self._summary.close()
        self._summary, self._subject = None, None

    # Making and updating the summary

    def _make_summary(self, subject: Subject) -> None:
        run = self.run
        if run is None or not self.is_active:
            return
        is_update = self.stage.kind == "empty" and self._last_build[0] == subject
        self._last_build = subject, self._watch.signature
        if self._subject != subject:  # the answers to another question would be taken for this one's
            self._forget_answers()
        self.build.start(run.index or run.folder, subject)
        if self._summary is None and not is_update:
            self._set_stage(Stage("building"))

    def build_again(self) -> None:
        """Resume a summary that was stopped or failed; rebuild one that cannot be read."""
        if self.run is None:
            return
        if self.stage.kind == "failed" and self._summary is not None:
            self._summary.forget()
            self._forget_answers()
        self._make_summary(self.view.resolved_query.subject)

    def _on_written(self) -> None:
        if self.build.subject == self.view.resolved_query.subject:
            self._open_summary()

    def _on_build_ended(self, error: str) -> None:
        if self.build.subject != self.view.resolved_query.subject:
            return
        if error and self._summary is None:
            self._set_stage(Stage("failed", error, self.build.details))
        elif error:
            self.noticed.emit(error)
        elif self._summary is None and self.build.is_stopped:
            self._set_stage(Stage("stopped"))
        elif self._summary is None:
            self._open_summary()
        self.stage_changed.emit()

    def _update_summary(self) -> None:
        """Read what has changed, together with what changes while a summary is made."""
        if not self.is_active or self.run is None or self.stage.kind in {"stopped", "not installed", "problem"}:
            return
        if self.build.is_running:
            self._watch.check_later()
        else:
            self._open_summary()

    # Questions and answers

    def ask(self, query: RunQuery) -> None:
        """Ask another question."""
        self.show_view(replace(self.view, query=query))

    def compare_outcomes(self, compared: bool) -> None:
        """Show success minus failure, or the mean of all episodes."""
        self.show_view(replace(self.view, is_contrast=compared))

    def open_view(self, view: RunView) -> None:
        """Show a view that was kept; the head that it names stays chosen."""
        self._is_cell_chosen = view.cell is not None
        self.show_view(view)

    def show_view(self, view: RunView) -> None:
        """Show a view of the run."""
        if view.cell is None and self.atlas is not None and self.atlas.query == view.resolved_query:
            layer, head = find_first_cell(self.atlas) or (None, None)
            view = replace(view, layer=layer, head=head)
        if view == self.view:
            return
        self._history.push(self.view)
        self._change_view(view)

    def travel(self, *, back: bool) -> bool:
        """Return to the view before, or to the one that was left by that; return whether there is one."""
        view = self._history.travel(self.view, back=back)
        if view is None:
            return False
        self._is_cell_chosen = view.cell is not None
        self._change_view(view)
        return True

    def _change_view(self, view: RunView) -> None:
        before, self.view = self.view, view
        self.changed.emit()
        if before.resolved_query != view.resolved_query or self.stage.kind in {"problem", "failed", "empty"}:
            self._begin()
        elif before.cell != view.cell:
            self._ask_cell()

    def choose_cell(self, layer: int, head: int) -> None:
        """Look at one head, by number."""
        self._is_cell_chosen = True
        self.show_view(replace(self.view, layer=layer, head=head))

    def _ask_atlas(self) -> None:
        summary, query, is_contrast = self._summary, self.view.resolved_query, self.view.is_contrast
        assert summary is not None
        self.slow_mark.start()
        self._compute("atlas", lambda: summary.atlas(query), lambda atlas: self._take_atlas(atlas, is_contrast))

    def _take_atlas(self, atlas: RunAtlas, is_contrast: bool) -> None:
        self.slow_mark.stop()
        self.atlas, self.is_contrast_shown, self.pointed = atlas, is_contrast and atlas.contrast is not None, None
        if not atlas.has_values:
            self._set_stage(Stage("empty", explain_empty(atlas)))
        else:
            self._set_stage(Stage("ready"))
        is_there = self.view.layer in atlas.layers and (self.view.head or 0) < atlas.heads
        if not self._is_cell_chosen or not is_there:
            self._is_cell_chosen = False
            layer, head = find_first_cell(atlas) or (None, None)
            self.view = replace(self.view, layer=layer, head=head)
            self.changed.emit()
        self.answered.emit()
        self._ask_cell()

    def _ask_cell(self) -> None:
        summary, atlas, cell = self._summary, self.atlas, self.view.cell
        if summary is None or atlas is None or cell is None:
            return
        query = atlas.query

        def compute() -> CellAnswer:
            return CellAnswer(summary.distribution(query, *cell), summary.curve(query, *cell))

        self._compute("cell", compute, self._take_cell)

    def _take_cell(self, answer: CellAnswer) -> None:
        self.cell = answer
        self.cell_answered.emit()

    def point(self, cell: tuple[int, int] | None) -> None:
        """Ask what there is to know of the head under the pointer, by number; None for none."""
        summary, atlas = self._summary, self.atlas
        self.worker.drop("hover")
        if cell is None or summary is None or atlas is None:
            self.pointed = None
            self.hovered.emit()
        else:
            query = atlas.query
            self._compute("hover", lambda: CellAnswer(summary.distribution(query, *cell)), self._take_pointed)

    def _take_pointed(self, answer: CellAnswer) -> None:
        self.pointed = answer
        self.hovered.emit()

    def _compute(self, purpose: str, compute: Callable[[], Any], take: Callable[[Any], None]) -> None:
        """Compute in the background; an error becomes the stage, or a notice where the answers stay."""
        self._requests += 1

        def run(_: Callable[[], bool]) -> Any:
            try:
                return compute()
            except UserError as error:
                return error

        def receive(answer: Any) -> None:
            self.worker.drop(purpose)
            if answer is None or isinstance(answer, UserError):
                self._fail(purpose, str(answer or FAILED))
            else:
                take(answer)

        self.worker.ask(purpose, self._requests, run, receive)

    def _fail(self, purpose: str, sentence: str) -> None:
        self.slow_mark.stop()
        if purpose in {"summary", "atlas"}:
            self._set_stage(Stage("failed", sentence))
        elif purpose == "cell":
            self.noticed.emit(sentence)

    def _set_stage(self, stage: Stage) -> None:
        if stage.kind != "ready":
            self.slow_mark.stop()
        if stage != self.stage:
            self.stage = stage
            self.stage_changed.emit()

    def stop(self) -> None:
        """End what runs in the background, before the window ends."""
        self._watch.stop()
        self.build.end()
        self.worker.close(wait=True)
        self._forget_summary()
