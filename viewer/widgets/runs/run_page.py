"""The Run page: answers over all frames and episodes of the open run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from viewer.controllers.runs.episode_visit import EpisodeVisit
from viewer.controllers.runs.run_controller import RunController
from viewer.rendering import drawing, theme
from viewer.rendering.runs.strips import make_strip_axis, make_strips
from viewer.runs.run_sentence import describe_atlas, describe_cell, describe_query, label_scale
from viewer.widgets.column_parts import SideColumn
from viewer.widgets.controls.button import Button
from viewer.widgets.plot_loader import PlotLoader
from viewer.widgets.plot_menu import render_part
from viewer.widgets.runs.atlas_panel import RunAtlasPanel
from viewer.widgets.runs.cell_card import CellCard
from viewer.widgets.runs.curve_panel import RunCurvePanel
from viewer.widgets.runs.distribution_panel import DistributionPanel
from viewer.widgets.runs.episode_ranking import RankingList
from viewer.widgets.runs.run_controls import RunControls
from viewer.widgets.runs.run_heading import RunHeading
from viewer.widgets.runs.run_message import RunMessage
from viewer.widgets.runs.stage_messages import describe_stage

if TYPE_CHECKING:
    from viewer.controllers.actions import Actions
    from viewer.controllers.episodes.run import OpenRun
    from viewer.runs.run_view import RunView
    from viewer.widgets.overlays.overlay_host import OverlayHost

CARD_MILLISECONDS: Final = 60
"""Time for which the pointer rests on a cell before its distribution is asked for."""


class RunPage(QWidget):
    """What is asked, the table of layers and heads, and what is known of the chosen head."""

    left = Signal()
    """The page is to be left for the episode."""

    def __init__(self, acts: Actions, overlays: OverlayHost, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Answers over the run")
        self.acts, self.overlays = acts, overlays
        self.controller = RunController(self)
        self.visit = EpisodeVisit(self.controller, acts.files, self)
        session = acts.session
        self.heading = RunHeading()
        self.controls = RunControls()
        self.update_note = Button("", kind="quiet")
        self.atlas = RunAtlasPanel(session, self.controller)
        self.distribution = DistributionPanel(session, self.controller)
        self.curves = RunCurvePanel(session, self.controller)
        self.ranking = RankingList(self.controller)
        self.ranking_title = QLabel()
        self.ranking_title.setTextFormat(Qt.TextFormat.PlainText)
        self.message = RunMessage()
        self.card: CellCard | None = None
        self._choices: object = None
        self._hovered: tuple[int, int] | None = None
        self._side = QPointF()
        self._card_timer = QTimer(self)
        self._card_timer.setSingleShot(True)
        self._card_timer.setInterval(CARD_MILLISECONDS)
        self._card_timer.timeout.connect(self._ask_card)
        self._build()
        self._connect()
        self.plot_loader = PlotLoader(self)
        self.plot_loader.failed.connect(session.noticed)
        self._show_stage()

    def _build(self) -> None:
        margin = theme.MARGIN
        self.upper = QWidget()
        upper = QVBoxLayout(self.upper)
        upper.setContentsMargins(margin, 12, margin, 10)
        upper.setSpacing(10)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.heading, 1)
        row.addWidget(self.update_note, 0, Qt.AlignmentFlag.AlignTop)
        upper.addLayout(row)
        upper.addWidget(self.controls)
        left = QWidget()
        around = QVBoxLayout(left)
        around.setContentsMargins(margin, 4, margin, 12)
        around.addWidget(self.atlas)
        self.side = SideColumn()
        stretches = ((self.distribution, 0), (self.curves, 2), (self.ranking_title, 0), (self.ranking, 3))
        for place, (widget, stretch) in enumerate(stretches):
            self.side.panels.insertWidget(place, widget, stretch)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(1)
        self.splitter.addWidget(left)
        self.splitter.addWidget(self.side)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.message)
        self.stack.addWidget(self.splitter)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.upper)
        whole.addWidget(self.stack, 1)
        self.restyle()

    def _connect(self) -> None:
        controller, noticed = self.controller, self.acts.session.noticed
        self.acts.session.regions_changed.connect(self._show_choices)
        controller.changed.connect(self._show_view)
        controller.answered.connect(self._show_answer)
        controller.stage_changed.connect(self._show_stage)
        controller.hovered.connect(self._show_card)
        controller.noticed.connect(noticed)
        self.controls.query_requested.connect(controller.ask)
        self.controls.contrast_requested.connect(controller.compare_outcomes)
        self.controls.noticed.connect(noticed)
        self.visit.noticed.connect(noticed)
        self.visit.opened.connect(self.left)
        self.ranking.open_requested.connect(self.visit.open)
        self.ranking.pointed.connect(self.distribution.mark)
        self.message.button_clicked.connect(self._on_message_button)
        self.update_note.clicked.connect(controller.build.stop)
        self.atlas.on_hover = self._on_hover
        self.atlas.on_enter = self._focus_ranking

    # The run and its view

    def open_run(self, open_run: OpenRun | None) -> None:
        """Show another run; None for no run. Its last view comes back."""
        self._keep_view()
        self.controller.set_run(open_run)
        if open_run is not None:
            open_run.episodes.listed.connect(self._show_choices)
            self._restore_view(open_run.uuid)
        self._show_choices()

    def _keep_view(self) -> None:
        run = self.controller.open_run
        if run is not None:
            self.acts.settings.remember_run_view(run.uuid, self.controller.kept_view.to_json())

    def _restore_view(self, uuid: str) -> None:
        from viewer.errors import UserError
        from viewer.runs.run_view import parse_run_view

        text = self.acts.settings.run_view(uuid)
        try:
            view = parse_run_view(text) if text else None
        except UserError:
            return
        if view is not None:
            self.controller.open_view(view)

    def show_view(self, view: RunView) -> None:
        """Show a view of the run."""
        self.controller.open_view(view)

    def _show_view(self) -> None:
        view = self.controller.view
        self.controls.show_query(view.query, is_contrast=view.is_contrast)
        if self.controller.stage.kind != "ready":
            self._show_sentence()

    def _show_choices(self) -> None:
        run = self.controller.run
        if run is None:
            return
        prompts = list(dict.fromkeys(prompt for episode in run.episodes for prompt in episode.prompts))
        outcomes = {episode.success for episode in run.episodes}
        reason = _explain_no_outcomes(outcomes)
        results = self.acts.session.results
        steps, actions = (results.steps, results.horizon) if results is not None else ((), 0)
        steps = self.controller.steps or steps
        known_patches = self.acts.session.regions
        named = list(known_patches.regions) if known_patches is not None else []
        self.ranking_title.setText(f"Episodes by {label_scale(self.controller.view.query, is_contrast=False)}")
        choices = (prompts, named, steps, actions, reason)
        if choices != self._choices:
            self._choices = choices
            self.controls.set_choices(prompts, named, steps, actions, contrast_reason=reason)

    # What is shown

    def _show_answer(self) -> None:
        self._show_choices()
        self._show_sentence()
        self._show_stage()

    def _show_sentence(self) -> None:
        controller = self.controller
        if controller.atlas is not None and controller.stage.kind in {"ready", "empty"}:
            phrases = describe_atlas(controller.atlas, is_contrast=controller.is_contrast_shown)
        else:
            phrases = describe_query(controller.view.query, is_contrast=controller.view.is_contrast)
        self.heading.show_phrases(phrases)

    def _show_stage(self) -> None:
        controller = self.controller
        kind = controller.stage.kind
        is_asked = kind not in {"no run", "not installed", "not here"}
        self.upper.setVisible(is_asked)
        self._show_sentence()
        progress = controller.build.progress
        is_about_this = controller.build.subject == controller.view.resolved_query.subject
        is_updating = controller.build.is_running and is_about_this and kind == "ready"
        self.update_note.setVisible(is_updating)
        if is_updating:
            self.update_note.relabel(f"{progress.done} of {progress.total} episodes read · Stop")
            self.update_note.setToolTip("The answer is of the episodes read so far; a click stops reading the others")
        if kind == "ready":
            focused = self.window().focusWidget()
            is_free = focused is None or focused is self.window() or self.message.isAncestorOf(focused)
            self.stack.setCurrentWidget(self.splitter)
            if is_free and self.isVisible():
                self.atlas.setFocus()
        else:
            message = describe_stage(controller.stage, controller.build, controller.view.query)
            self.message.show_message(
                message.title, message.text, message.buttons, progress=message.progress, details=message.details
            )
            self.stack.setCurrentWidget(self.message)

    def _on_message_button(self, name: str) -> None:
        if name == "folder":
            self.acts.files.ask_folder()
        elif name == "demo":
            self.acts.files.demos.open_run()
        elif name == "stop":
            self.controller.build.stop()
        elif name == "build":
            self.controller.build_again()
        elif name == "copy":
            QGuiApplication.clipboard().setText("pip install duckdb pyarrow")
            self.acts.notify("Copied: pip install duckdb pyarrow")
        elif name == "episode":
            self.left.emit()

    # The card of the head under the pointer

    def _on_hover(self, cell: tuple[int, int] | None, side: QPointF) -> None:
        """Explain the head of a row and column of the table."""
        atlas = self.controller.atlas
        self._card_timer.stop()
        if cell is None or atlas is None:
            self._hovered = None
            self.controller.point(None)
            if self.card is not None:
                self.card.hide()
            return
        self._hovered, self._side = (atlas.layers[cell[0]], cell[1]), side
        self._show_card()
        self._card_timer.start()

    def _ask_card(self) -> None:
        self.controller.point(self._hovered)

    def _show_card(self) -> None:
        atlas, hovered, answer = self.controller.atlas, self._hovered, self.controller.pointed
        if atlas is None or hovered is None or not self.isVisible():
            return
        if self.card is None:
            self.card = CellCard(self.window())
        lines = tuple(describe_cell(atlas, *hovered, is_contrast=self.controller.is_contrast_shown))
        strips = make_strips(atlas, answer.distribution) if answer is not None and answer.cell == hovered else ()
        axis = make_strip_axis(atlas, strips) if strips else None
        side = self.atlas.mapTo(self.window(), self._side.toPoint())
        rows = max(len(atlas.groups), 1)
        self.card.show_head(side, f"Layer {hovered[0]}, head {hovered[1]}", lines, rows, strips, axis)

    # Keyboard

    def take_focus(self) -> None:
        """Give the focus to the table, or to the page where there is none."""
        if self.stack.currentWidget() is self.splitter:
            self.atlas.setFocus()
        elif self.message.buttons:
            self.message.buttons[0].setFocus()

    def _focus_ranking(self) -> None:
        self.ranking.setFocus()
        self.ranking.select_current_row()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            focused = self.window().focusWidget()
            if focused is not None and (self.ranking is focused or self.controls.isAncestorOf(focused)):
                self.take_focus()
            else:
                self.left.emit()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.controller.set_active(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.controller.set_active(False)
        self._on_hover(None, QPointF())

    # Commands

    def perform(self, command: str) -> None:
        """Do what a command of the window means on this page: `export`, `copy`, `share`, `undo`, `redo`."""
        if command == "copy":
            QGuiApplication.clipboard().setImage(render_part(self, self.rect()))
            self.acts.notify("Picture of the page copied, at twice the size.")
        elif command == "share":
            QGuiApplication.clipboard().setText(self.command_line())
            self.acts.notify("Copied: the command that opens this very view of the run.")
        elif command == "export":
            self._export()
        elif command in {"undo", "redo"} and not self.controller.travel(back=command == "undo"):
            self.acts.notify(f"Nothing to {command}.")

    def command_line(self) -> str:
        """Return the shell command that opens the current view of the run."""
        run = self.controller.run
        where = shlex.quote(str((run.index or run.folder).absolute())) if run is not None else ""
        return f"pi0-viewer {where} --view {shlex.quote(self.controller.view.to_json())}"

    def _export(self) -> None:
        run, stage = self.controller.run, self.controller.stage
        if run is None or stage.kind != "ready":
            self.acts.notify("Export: there is no answer yet.")
            return
        from viewer.widgets.runs.run_export_sheet import RunExportSheet

        window = self.window()
        self.overlays.open(RunExportSheet(window, run, self.controller.view, self.heading.text, self.acts.settings))

    # Theme and end

    def restyle(self) -> None:
        """Apply the theme's colours where they are kept between paints."""
        colors = theme.active()
        self.ranking_title.setFont(theme.font(12, bold=True))
        self.ranking_title.setStyleSheet(f"color: {colors.text}; background: transparent;")
        self.side.restyle()
        for part in (self.message, self.ranking):
            part.restyle()
        for panel in (self.atlas, self.distribution, self.curves):
            panel.reload()
        drawing.ground(self)

    def stop(self) -> None:
        """End what runs in the background, before the window ends."""
        self._keep_view()
        self.visit.stop()
        self.controller.stop()


def _explain_no_outcomes(outcomes: set[bool | None]) -> str:
    """Return why the outcomes of a run's episodes cannot be compared; empty if they can."""
    if not outcomes & {True, False}:
        return "the run does not say which episodes succeeded and which failed"
    missing = [name for value, name in ((True, "succeeded"), (False, "failed")) if value not in outcomes]
    return f"no episode of the run {missing[0]}" if missing else ""
