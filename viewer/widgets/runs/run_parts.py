"""The parts of the window that belong to an open run: the list of its episodes, and the Run page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from PySide6.QtWidgets import QSplitter, QStackedWidget

    from viewer.controllers.actions import Actions
    from viewer.runs.run_view import RunView
    from viewer.widgets.overlays.overlay_host import OverlayHost
    from viewer.widgets.panels.episodes.episode_panel import EpisodePanel
    from viewer.widgets.panels.window_bars import StatusBar, TopBar
    from viewer.widgets.runs.run_page import RunPage


class RunParts(QObject):
    """Adds the list of episodes and the Run page to the window; both are built when they are first shown.

    The Run page stays while episodes are opened that nobody chose: the first one of a run, one that is being recorded.
    """

    left = Signal()
    """The Run page was left: the window is to show the episode, or its message page."""

    def __init__(
        self,
        acts: Actions,
        top: TopBar,
        body: QSplitter,
        stack: QStackedWidget,
        status: StatusBar,
        overlays: OverlayHost,
    ) -> None:
        super().__init__(stack)
        self._overlays = overlays
        self._acts, self._top, self._body, self._stack, self._status = acts, top, body, stack, status
        self.episodes: EpisodePanel | None = None
        """The list of episodes; None without a run."""
        self.page: RunPage | None = None
        """The Run page; None until it is first shown."""
        self._requested_view: RunView | None = None
        acts.files.run_changed.connect(self._on_run_changed)
        acts.episodes_requested.connect(self.show_episodes)
        acts.run_page_requested.connect(self._on_page_requested)
        acts.episode_chosen.connect(self.leave_page)
        top.episodes.clicked.connect(self.show_episodes)
        top.run.clicked.connect(self.toggle_page)
        stack.currentChanged.connect(self._on_page_changed)

    # The list of episodes

    def _on_run_changed(self) -> None:
        """Add or remove the list of episodes after a run was opened or closed."""
        if self.episodes is not None:
            self.save_width()
            self.episodes.setParent(None)
            self.episodes.deleteLater()
            self.episodes = None
        run = self._acts.files.run
        if run is not None:
            from viewer.widgets.panels.episodes.episode_panel import WIDTH, EpisodePanel  # only runs need it

            self.episodes = panel = EpisodePanel(run.episodes)
            panel.chosen.connect(self.leave_page)
            stored = self._acts.settings.text("episodes_width")
            width = int(stored) if stored.isdecimal() else WIDTH
            self._body.insertWidget(0, panel)
            self._body.setStretchFactor(0, 0)
            self._body.setStretchFactor(1, 1)
            self._body.setSizes([width, max(self._body.width() - width, 1)])
            panel.setVisible(self._acts.settings.text("episodes") != "hidden")
        is_shown = self.episodes is not None and not self.episodes.isHidden()
        self._top.show_episodes(open_run=run is not None, shown=is_shown)
        self._show_wanted()

    def save_width(self) -> None:
        """Keep the width that the user gave the list of episodes."""
        if self.episodes is not None and self.episodes.isVisible():
            self._acts.settings.set_text("episodes_width", str(self.episodes.width()))

    def show_episodes(self, what: str = "") -> None:
        """Show or hide the list of episodes; with `what` = `filter`, show it and focus its filter."""
        panel = self.episodes
        if panel is None:
            return
        self.save_width()
        shown = what == "filter" or panel.isHidden()
        panel.setVisible(shown)
        self._acts.settings.set_text("episodes", "shown" if shown else "hidden")
        self._top.show_episodes(open_run=True, shown=shown)
        if what == "filter":
            panel.field.setFocus()
            panel.field.selectAll()
        elif not shown:
            self._acts.window.setFocus()

    # The Run page

    @property
    def is_page_shown(self) -> bool:
        """Whether the Run page is shown in place of the episode."""
        return self.page is not None and self._stack.currentWidget() is self.page

    @property
    def keeps_page(self) -> bool:
        """Whether the Run page stays although an episode was opened."""
        return self.is_page_shown and self._acts.files.run is not None

    def show_view(self, view: RunView) -> None:
        """Show the Run page with a view of the run that is open, or that is being read on another machine."""
        self._requested_view = view
        if self._acts.files.run is not None:
            self._show_wanted()

    def _show_wanted(self) -> None:
        """Show the requested view after a change of the run, or leave the page of another run."""
        view, self._requested_view = self._requested_view, None
        run, is_asked_for = self._acts.files.run, False
        if self.page is not None:
            is_asked_for = self.page.controller.run is None and run is not None  # by the page that says so
            self.page.open_run(run)
        if view is not None and run is not None:
            self.show_page()
            assert self.page is not None
            self.page.show_view(view)
        elif is_asked_for and self.is_page_shown:
            self._on_page_changed()
        else:
            self.leave_page()

    def show_page(self) -> None:
        """Show the Run page, which says what to do where there is nothing to show."""
        if self.page is None:
            from viewer.widgets.runs.run_page import RunPage

            self.page = RunPage(self._acts, self._overlays)
            self.page.left.connect(self.leave_page)
            self._stack.addWidget(self.page)
            self.page.open_run(self._acts.files.run)
        self._stack.setCurrentWidget(self.page)
        self.page.take_focus()

    def leave_page(self) -> None:
        """Show the episode again; nothing happens where the Run page is not shown."""
        if self.is_page_shown:
            self.left.emit()
            self._acts.window.setFocus()

    def toggle_page(self) -> None:
        """Show the Run page, or the episode again."""
        if self.is_page_shown:
            self.leave_page()
        else:
            self.show_page()

    def _on_page_requested(self, command: str) -> None:
        if command == "toggle":
            self.toggle_page()
        elif self.page is not None:
            self.page.perform(command)

    def _on_page_changed(self) -> None:
        self._acts.is_run_shown = self.is_page_shown
        self._status.setVisible(not self.is_page_shown)
        run = self._acts.files.run
        self._top.show_run_page(shown=self.is_page_shown, name=run.episodes.run.name if run is not None else "No run")

    def restyle(self) -> None:
        """Apply the theme's colours."""
        for part in (self.episodes, self.page):
            if part is not None:
                part.restyle()

    def stop(self) -> None:
        """End what runs in the background, before the window ends."""
        self.save_width()
        if self.page is not None:
            self.page.stop()
