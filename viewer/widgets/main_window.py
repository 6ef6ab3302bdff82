"""The main window: top bar, panels or a message page, status bar; keys, drag and drop, menus and theme."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QKeyCombination, QPoint, QSize, Qt
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QMenu, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from viewer.analysis.initial_view import first_view
from viewer.controllers import commands
from viewer.controllers.actions import Actions
from viewer.controllers.files.file_controller import FileController
from viewer.controllers.playback import Playback
from viewer.controllers.regions.regions_controller import RegionsController
from viewer.controllers.session import Session
from viewer.controllers.settings import Settings
from viewer.controllers.worker import Worker
from viewer.model.plain_text import clean_text
from viewer.rendering import theme
from viewer.widgets import menus
from viewer.widgets.lost_connection import LostConnection
from viewer.widgets.overlays.message_page import MessagePage
from viewer.widgets.overlays.notice import Notice
from viewer.widgets.overlays.overlay_host import OverlayHost
from viewer.widgets.panel_layout import PanelLayout
from viewer.widgets.panels.window_bars import StatusBar, TopBar
from viewer.widgets.plot_loader import PlotLoader
from viewer.widgets.runs.run_parts import RunParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.controllers.commands import Command
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState
    from viewer.widgets.panels.episodes.episode_panel import EpisodePanel


class MainWindow(QWidget):
    """Top-level window that shows one open file."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings: Settings = settings or Settings()
        self.setWindowTitle("pi0-viewer")
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(900, 600)
        self.session: Session = Session(self)
        self.worker = Worker(self)
        self.files = FileController(self.session, self.worker, self.settings, self)
        self.top, self.status = TopBar(self.session), StatusBar(self.session)
        self.regions = RegionsController(self.session, self.settings, self)
        self.panels: PanelLayout = PanelLayout(self.session, self.worker, self.files.effects, self.regions)
        self.plot_loader = PlotLoader(self.panels, self.panels.make_late_panels)
        self.playback: Playback = Playback(self.session, self.panels.frame_series, self)
        self.page = MessagePage()
        self.stack = QStackedWidget()
        self.stack.addWidget(self.page)
        self.stack.addWidget(self.panels)
        self.body = QSplitter(Qt.Orientation.Horizontal)
        self.body.setChildrenCollapsible(False)
        self.body.setHandleWidth(1)
        self.body.addWidget(self.stack)
        self.body.setStretchFactor(0, 1)
        self._is_space_held = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.top, self.body, self.status):
            column.addWidget(widget, 1 if widget is self.body else 0)
        self.lost, self.notice = LostConnection(self.files, self.page, self.stack, self.panels), Notice(self)
        self.acts = Actions(self, self.panels, self.playback, self.files, self.regions)
        self.overlays = OverlayHost(self.acts, self.panels)
        self.runs = RunParts(self.acts, self.top, self.body, self.stack, self.status, self.overlays)
        self._connect()
        self._restore()
        self.page.show_empty(self.settings.recent())
        self.setFocus()

    def _connect(self) -> None:
        self.session.noticed.connect(self.notice.show_message)
        self.session.command_requested.connect(self.perform_id)
        self.plot_loader.failed.connect(self.notice.show_message)
        self.playback.changed.connect(self.panels.axes.show_playing)
        self.playback.paced.connect(self._on_speed_changed)
        self.playback.coming.connect(self.panels.prefetch.set_upcoming)
        self.panels.timeline.speed.chosen.connect(self.playback.set_speed)
        self.panels.axes.played.connect(self.playback.toggle)
        self.panels.save_requested.connect(self.acts.save_picture)
        for signal, slot in (
            (self.files.shown, self._on_file_shown),
            (self.files.grown, self._on_file_grown),
            (self.files.failed, self._failed),
            (self.files.slow, self._on_slow_opening),
            (self.files.closed, self._on_file_closed),
            (self.files.nothing_yet, self._nothing_yet),
            (self.overlays.chosen, self.perform_id),
            (self.acts.theme_requested, self.set_theme),
            (self.runs.left, self._show_episode),
        ):
            signal.connect(slot)
        self.page.open_requested.connect(self.files.ask_file)
        self.page.demo_requested.connect(self.files.demos.open_file)
        self.page.stop_requested.connect(self.stop_opening)
        self.page.file_requested.connect(self.files.open_text)
        self.top.commands.clicked.connect(self.overlays.show_palette)
        self.top.assumed.clicked.connect(self.overlays.show_info)
        self.top.live.clicked.connect(self.files.go_live)
        self.files.live.noticed.connect(self.top.show_live)
        self.top.compare.clicked.connect(self._compare_menu)
        self.top.picture.clicked.connect(self._picture_menu)
        self.top.export.clicked.connect(self._open_export)
        self.top.menu.clicked.connect(self._full_menu)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._scheme_changed)

    def _restore(self) -> None:
        # On a small screen as large as fits, with 32 px for the title bar.
        self.resize(QSize(1440, 900).boundedTo(self.screen().availableSize() - QSize(0, 32)))
        geometry = self.settings.bytes("geometry")
        if not geometry.isEmpty():
            self.restoreGeometry(geometry)
        self.panels.restore(self.settings.bytes("across"), self.settings.text("heights"))
        self.panels.link_zoom(self.settings.text("link_zoom") == "yes")
        self.playback.set_speed(self.settings.text("speed", "1x"))

    # Files

    def open(self, path: Location, view: ViewState | None = None, opening: Callable[[], None] | None = None) -> None:
        """Check a file in another process and open it; `view` replaces the remembered view."""
        self.files.open(path, view, opening)

    def show_results(self, results: Results, second: bool) -> None:
        """Show a file that has been checked and opened; `second` compares the open file with it."""
        self.files.show_results(results, second)

    def _on_file_shown(self) -> None:
        results = self.session.results
        assert results is not None
        episodes = self.files.run.episodes if self.files.run is not None else None
        current = episodes.current if episodes is not None else None
        self.panels.frame_series.set_rate(
            episodes.run.episodes[current].rate if episodes and current is not None else None
        )
        run = f" – {episodes.run.name}" if episodes is not None else ""
        self.setWindowTitle(clean_text(f"{results.path.name}{run} – pi0-viewer"))
        if results.done:
            self._show_part(self.panels)
            if episodes is not None:
                self.playback.resume()
        else:
            self.page.show_waiting(results.path)
            self._show_part(self.page)
        self.setFocus()

    def _on_file_grown(self) -> None:
        results = self.session.results
        if results is not None and results.done and self.stack.currentWidget() is self.page:
            view = first_view(results)
            self.session.update(query=view.query, layer=view.layer)
            self._show_part(self.panels)

    def _failed(self, sentence: str, details: str) -> None:
        self.page.show_failure(sentence, details, self.settings.recent())
        self._show_part(self.page)

    def _on_slow_opening(self, path: str, very_slow: bool) -> None:
        if self.session.results is None:
            self.page.show_opening(Path(path), very_slow=very_slow)
        elif very_slow:
            self.notice.show_message(f"Still reading {Path(path).name}; the open file stays until then.")

    def stop_opening(self) -> None:
        """Stop opening a file that takes too long."""
        self.files.stop_opening()
        self.page.show_empty(self.settings.recent())

    def _on_file_closed(self) -> None:
        self.setWindowTitle("pi0-viewer")
        self.page.show_empty(self.settings.recent())
        self._show_part(self.page)

    def _nothing_yet(self, sentence: str) -> None:
        run = self.files.run
        self.setWindowTitle(f"{run.episodes.run.name if run is not None else 'Run'} – pi0-viewer")
        self.page.show_nothing("Nothing to look at yet", sentence)
        self._show_part(self.page)

    # Episodes of a run

    @property
    def episodes(self) -> EpisodePanel | None:
        """The list of episodes; None without a run."""
        return self.runs.episodes

    def _show_episode(self) -> None:
        """Show the open file, or the message page where there is nothing of it to show."""
        results = self.session.results
        self.stack.setCurrentWidget(self.panels if results is not None and results.done else self.page)

    def _show_part(self, part: QWidget) -> None:
        """Show the panels or the message page, unless the Run page stays."""
        if not self.runs.keeps_page:
            self.stack.setCurrentWidget(part)

    # Commands

    def _open_export(self) -> None:
        self.perform_id("export")

    def perform(self, command: Command) -> None:
        """Run a command, or show why it is not available."""
        reason = command.reason(self.acts)
        if reason:
            self.notice.show_message(f"{command.title.rstrip('…')}: {reason}.")
        else:
            command.run(self.acts)

    def perform_id(self, name: str) -> None:
        """Run a command by its id."""
        self.perform(commands.BY_ID[name])

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Move the focus with Tab; while a sheet is open, only within the sheet."""
        if self.overlays.overlay is not None:
            return self.overlays.overlay.focusNextPrevChild(forward)
        return super().focusNextPrevChild(forward)

    # Menus

    def _show_menu(self, menu: QMenu, button: QWidget) -> None:
        menu.triggered.connect(self._on_menu_triggered)
        menu.popup(button.mapToGlobal(QPoint(0, button.height() + 4)))

    def _on_menu_triggered(self, action: object) -> None:
        data = str(action.data() or "")  # type: ignore[attr-defined]
        if data.startswith(menus.RECENT):
            self.files.open_text(data.removeprefix(menus.RECENT))
        elif data:
            self.perform_id(data)

    def _compare_menu(self) -> None:
        self._show_menu(menus.build_menu(self.acts, (commands.COMPARE,)), self.top.compare)

    def _picture_menu(self) -> None:
        self._show_menu(menus.build_menu(self.acts, (commands.COLORS,)), self.top.picture)

    def _full_menu(self) -> None:
        self._show_menu(menus.build_full_menu(self.acts), self.top.menu)

    # Theme and window

    def _on_speed_changed(self, speed: str) -> None:
        self.panels.timeline.speed.show_value(speed)
        self.settings.set_text("speed", speed)

    def set_theme(self, choice: str) -> None:
        """Set the theme: `dark`, `light` or `system`."""
        self.settings.set_text("theme", choice)
        self.restyle()

    def restyle(self) -> None:
        """Apply the chosen theme to the whole window."""
        theme.apply(self.settings.text("theme", "system"))
        for part in (self.page, self.panels, self.runs):
            part.restyle()
        for widget in self.findChildren(QWidget):
            widget.update()

    def _scheme_changed(self) -> None:
        if self.settings.text("theme", "system") == "system":
            self.restyle()

    def set_icon(self) -> None:
        """Set the icon for the task bar."""
        import importlib.resources

        from PySide6.QtGui import QIcon

        self.setWindowIcon(QIcon(str(importlib.resources.files("resources") / "icons" / "pi0-viewer.png")))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.notice.place()
        self.overlays.place()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        files = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if files:
            self.open(files[0])
            event.acceptProposedAction()

    # Keys that no focused widget handled. Not QShortcut, which would take Space from buttons and arrows from sliders.

    def keyPressEvent(self, event: QKeyEvent) -> None:
        name = key_name(event)
        if name == "Escape" and self.overlays.tour is not None:
            self.overlays.tour.finish()
            return
        if name in commands.HELD_KEYS:
            if not event.isAutoRepeat():
                self.acts.hold_key(name, down=True)
            return
        if name == "Space" and (self._is_space_held or self.panels.camera_grid.hold_space()):
            self._is_space_held = True
            return
        command = commands.BY_KEY.get(name)
        if command is None and name.startswith("Shift+"):  # [ ] ? + need Shift on some keyboards
            command = commands.BY_KEY.get(event.text())
        if command is not None:
            self.perform(command)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        name = key_name(event)
        if name in commands.HELD_KEYS and not event.isAutoRepeat():
            self.acts.hold_key(name, down=False)
        elif event.key() == Qt.Key.Key_Space and self._is_space_held and not event.isAutoRepeat():
            self._is_space_held = False
            if not self.panels.camera_grid.release_space():  # held without a drag: the key means what it always does
                self.perform_id("play")

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.ActivationChange and not self.isActiveWindow():
            self.session.hide_heat(False)
            self.session.blink(False)
            self.panels.camera_grid.release_space()
            self._is_space_held = False
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.overlays.close()
        self.settings.set_bytes("geometry", self.saveGeometry())
        if self.panels.has_chosen_width and not self.panels.is_folded:
            self.settings.set_bytes("across", self.panels.splitters())
        self.settings.set_text("heights", self.panels.handles.to_text())
        self.runs.stop()
        self.playback.stop()
        self.files.stop()
        self.regions.stop()
        self.acts.finish_pictures()
        self.settings.sync()
        super().closeEvent(event)


def key_name(event: QKeyEvent) -> str:
    """Return the name of a key as the command table writes it."""
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    if event.key() in {Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta, 0, Qt.Key.Key_unknown}:
        return ""
    text = QKeySequence(QKeyCombination(modifiers, Qt.Key(event.key()))).toString(
        QKeySequence.SequenceFormat.PortableText
    )
    return {"Esc": "Escape"}.get(text, text)
