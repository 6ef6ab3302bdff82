"""The window: a line above, the room or a page, a line below; keys, files, settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QKeyCombination, QPoint, Qt, QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QMenu, QStackedWidget, QVBoxLayout, QWidget

from viewer import commands, theme
from viewer.errors import UserError
from viewer.opening import Opening, demo_path, demo_view, first_view
from viewer.panels.axes import moved, position
from viewer.panels.bars import StatusBar, TopBar
from viewer.panels.notice import Notice
from viewer.panels.page import Page
from viewer.panels.room import Room
from viewer.playback import Playback
from viewer.session import Session
from viewer.settings import Settings
from viewer.state import Query, ViewState
from viewer.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.commands import Command
    from viewer.panels.overlay import Overlay
    from viewer.results import Results

FOLLOW_MILLISECONDS = 1000
FILTER = "Results (*.h5 *.hdf5 *.partial);;All files (*)"


class Window(QWidget):
    """One window with one open file."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings: Settings = settings or Settings()
        self.setWindowTitle("pi0-viewer")
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(900, 600)
        self.session: Session = Session(self)
        self.worker = Worker(self)
        self.playback: Playback = Playback(self.session, self)
        self.opening = Opening(self)
        self.top, self.status = TopBar(self.session), StatusBar(self.session)
        self.room: Room = Room(self.session, self.worker)
        self.page = Page()
        self.stack = QStackedWidget()
        self.stack.addWidget(self.page)
        self.stack.addWidget(self.room)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.top, self.stack, self.status):
            column.addWidget(widget, 1 if widget is self.stack else 0)
        self.notice = Notice(self)
        self.overlay: Overlay | None = None
        self.tour: QWidget | None = None
        self.following = False
        self._wanted: ViewState | None = None
        self._follow = QTimer(self)
        self._follow.setInterval(FOLLOW_MILLISECONDS)
        self._follow.timeout.connect(self._look_for_more)
        self._connect()
        self._restore()
        self.page.empty(self.settings.recent())
        self.setFocus()

    def _connect(self) -> None:
        self.session.noticed.connect(self.notice.say)
        self.session.grew.connect(self._grew)
        self.playback.changed.connect(self.room.axes.show_playing)
        self.room.axes.played.connect(self.playback.toggle)
        self.opening.opened.connect(self.show_results)
        self.opening.failed.connect(self.show_failure)
        self.opening.slow.connect(self._show_opening)
        self.page.open_asked.connect(self.ask_file)
        self.page.demo_asked.connect(self.open_demo)
        self.page.stop_asked.connect(self.stop_opening)
        self.page.file_asked.connect(self._open_text)
        self.top.commands.clicked.connect(self.show_palette)
        self.top.compare.clicked.connect(self._compare_menu)
        self.top.picture.clicked.connect(self._picture_menu)
        self.top.menu.clicked.connect(self._whole_menu)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._scheme_changed)

    def _restore(self) -> None:
        self.resize(1440, 900)
        geometry = self.settings.bytes("geometry")
        if not geometry.isEmpty():
            self.restoreGeometry(geometry)
        self.room.restore(self.settings.bytes("across"))

    # Files

    def open(self, path: Path, view: ViewState | None = None, opening: Callable[[], None] | None = None) -> None:
        """Open a file: it is looked at in another process first. `view` takes the place of the remembered one."""
        self._wanted = view
        if opening is not None:
            opening()
        else:
            self.opening.start(path)

    def _open_text(self, path: str) -> None:
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
        path, _ = QFileDialog.getOpenFileName(self, "Open results", str(recent[0].parent) if recent else "", FILTER)
        if path:
            self.open(Path(path))

    def ask_other(self) -> None:
        """Let the user choose a second file to compare with."""
        from PySide6.QtWidgets import QFileDialog

        path, _ = QFileDialog.getOpenFileName(
            self, "Compare with", str(self.session.path.parent) if self.session.path else "", FILTER
        )
        if path:
            self.opening.start(Path(path), second=True)

    def show_results(self, results: Results, second: bool) -> None:
        """A file was looked at and opened."""
        if second:
            self.session.open_other(results if results.done else None)
            self.session.update(compare="side")
            self.notice.say(
                f"Compared with {results.path.name}: words are aligned by their text, layers and steps by number."
            )
            return
        self._remember_view()
        view = self._wanted or self.settings.view(results.uuid) or demo_view(results.path) or first_view(results)
        self._wanted = None
        self.session.open(results, view)
        self.settings.remember_file(results.path)
        self.setWindowTitle(f"{results.path.name} – pi0-viewer")
        if results.done:
            self.stack.setCurrentWidget(self.room)
            if self.isVisible() and not self.settings.text("toured"):
                QTimer.singleShot(600, self.show_tour)
        else:
            self.page.waiting(results.path)
            self.stack.setCurrentWidget(self.page)
        if results.growing:
            self._follow.start()
        else:
            self._follow.stop()
        self.setFocus()

    def show_failure(self, sentence: str, details: str) -> None:
        """A file could not be opened: a page that says why, the open file stays open behind it."""
        if self.session.results is not None:
            self.session.noticed.emit(sentence)
            return
        self.page.failed(sentence, details, self.settings.recent())
        self.stack.setCurrentWidget(self.page)

    def _show_opening(self, path: str, very_slow: bool) -> None:
        if self.session.results is None:
            self.page.opening(Path(path), very_slow=very_slow)
        elif very_slow:
            self.notice.say(f"Still looking at {Path(path).name}; the open file stays until it has been read.")

    def stop_opening(self) -> None:
        """Give up looking at a file that takes too long."""
        self.opening.stop()
        self.page.empty(self.settings.recent())

    def close_file(self) -> None:
        """Back to the empty page."""
        self._remember_view()
        self._follow.stop()
        self.worker.drop()
        self.session.open(None)
        self.setWindowTitle("pi0-viewer")
        self.page.empty(self.settings.recent())
        self.stack.setCurrentWidget(self.page)

    def _remember_view(self) -> None:
        if self.session.results is not None:
            self.settings.remember_view(self.session.results.uuid, self.session.state)

    def _look_for_more(self) -> None:
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
        if self.stack.currentWidget() is self.page and results.done:
            self.session.update(**{name: getattr(first_view(results), name) for name in ("query", "layer")})
            self.stack.setCurrentWidget(self.room)
        if self.following:
            self.session.update(frame=results.done - 1)

    def toggle_follow(self) -> None:
        """Go to each new frame as it comes, or stay."""
        self.following = not self.following
        self.notice.say(
            "Following new frames." if self.following else "Staying at this frame; new ones are added to the slider."
        )
        self._grew()

    # What commands do

    def perform(self, command: Command) -> None:
        """Do a command, or say why it cannot be done."""
        reason = command.reason(self)
        if reason:
            self.notice.say(f"{command.title.rstrip('…')}: {reason}.")
        else:
            command.run(self)

    def perform_id(self, name: str) -> None:
        """Do a command by its id."""
        self.perform(commands.BY_ID[name])

    def step_along(self, axis: str, by: int) -> None:
        """Step along an axis."""
        session = self.session
        heads = session.dims.heads
        session.update(**moved(axis, position(session.state, axis, heads) + by, heads))

    def go_head(self, number: int) -> None:
        """Look at one head."""
        if number < self.session.dims.heads:
            self.session.update(heads=(number,), reduce="mean")
        else:
            self.notice.say(f"There is no head {number}; there are heads 0 to {self.session.dims.heads - 1}.")

    def walk(self, by: int) -> None:
        """The next word or action."""
        query, dims = self.session.state.query, self.session.dims
        count = dims.actions if query.kind == "action" else dims.chips
        if count:
            self.session.update(query=Query(query.kind, ((query.items[-1] + by) % count,)))

    def swap_kind(self) -> None:
        """From words to actions and back."""
        results, state = self.session.results, self.session.state
        if results is None:
            return
        if state.query.kind == "text" and self.session.dims.actions:
            self.session.update(query=Query("action", (0,)))
        elif self.session.dims.chips:
            self.session.update(query=first_view(results, state.frame).query)

    def lock_range(self) -> None:
        """Hold the colour range while scrubbing, or let it follow again."""
        if self.session.state.range == "locked":
            self.session.update(range="shared")
        else:
            self.room.heat.range.chosen.emit("locked")

    def escape(self) -> None:
        """Clear what is most in the way: region, several words, the focus."""
        state = self.session.state
        if self.playback.axis:
            self.playback.stop()
        elif state.region:
            self.session.update(region=())
        elif len(state.query.items) > 1:
            self.session.update(query=Query(state.query.kind, state.query.items[:1]))
        self.setFocus()

    def pin(self) -> None:
        """Keep this view to compare others with."""
        self.session.update(pinned=replace(self.session.state, pinned=None, compare="off"))
        self.notice.say(
            "Pinned. Go elsewhere, then hold B to blink, press D for the difference or Ctrl B for side by side."
        )

    def go_pin(self) -> None:
        """Look at the pinned view."""
        pin = self.session.state.pinned
        if pin is not None:
            names = ("frame", "query", "layer", "step", "heads", "reduce")
            self.session.update(**{name: getattr(pin, name) for name in names})

    def unpin(self) -> None:
        """End the comparison."""
        if self.session.other is not None:
            self.session.open_other(None)
        self.session.update(pinned=None, compare="off")

    def copy_picture(self) -> None:
        """Put a picture of the view on the clipboard."""
        from viewer.picture import rendered

        QGuiApplication.clipboard().setImage(rendered(self.room))
        self.notice.say("Picture copied, with its caption, at twice the size.")

    def save_picture(self) -> None:
        """Ask where to, and save a picture of the view."""
        from PySide6.QtWidgets import QFileDialog

        path, _ = QFileDialog.getSaveFileName(self, "Save picture", f"{self._picture_name()}.png", "PNG (*.png)")
        if path:
            self.write_picture(Path(path))

    def write_picture(self, path: Path) -> None:
        """Save a picture of the view."""
        from viewer.picture import rendered

        saved = rendered(self.room).save(str(path))
        self.notice.say(f"Saved {path.name}." if saved else f"{path} cannot be written; choose another folder.")

    def _picture_name(self) -> str:
        path, state = self.session.path, self.session.state
        return f"{path.stem if path else 'view'}-frame{state.frame + 1}-layer{state.layer}"

    def command_line(self) -> str:
        """The command that opens this very view."""
        import shlex

        path = self.session.path
        where = shlex.quote(str(path.absolute() if path else ""))
        return f"pi0-viewer {where} --view {shlex.quote(self.session.state.to_json())}"

    def copy_command(self) -> None:
        """Put that command on the clipboard."""
        QGuiApplication.clipboard().setText(self.command_line())
        self.notice.say("Copied: the command that opens this very view.")

    # Sheets and menus

    def show_palette(self) -> None:
        """Every command by name."""
        from viewer.panels.palette import Palette

        palette = Palette(self, {command.id: command.reason(self) for command in commands.TABLE})
        palette.chosen.connect(self.perform_id)
        self._show_overlay(palette)
        palette.field.setFocus()

    def show_export(self) -> None:
        """Figures, video and tables of this file."""
        from viewer.panels.export import ExportSheet

        self._show_overlay(ExportSheet(self))

    def show_help(self) -> None:
        """Keys, and what attention shows."""
        from viewer.panels.help import Help

        self._show_overlay(Help(self))

    def _show_overlay(self, overlay: Overlay) -> None:
        if self.overlay is not None:
            self.overlay.close()
        self.overlay = overlay
        overlay.closed.connect(self._overlay_gone)
        overlay.show()
        overlay.raise_()

    def _overlay_gone(self) -> None:
        self.overlay = None
        self.setFocus()

    def show_tour(self) -> None:
        """Three hints."""
        from viewer.panels.tour import Tour

        if self.tour is None and self.stack.currentWidget() is self.room:
            tour = Tour(self, {"strips": self.room.strips, "cameras": self.room.cameras, "axes": self.room.axes})
            tour.done.connect(self._toured)
            self.tour = tour

    def _toured(self) -> None:
        self.tour = None
        self.settings.set_text("toured", "yes")

    def menu_of(self, sections: tuple[str, ...], parent: QMenu | None = None) -> QMenu:
        """A menu of commands; it deletes itself when closed."""
        menu = parent or QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, parent is None)
        menu.setStyleSheet(theme.sheet())
        for command in commands.TABLE:
            if command.section in sections and command.in_menu:
                reason = command.reason(self)
                key = (
                    QKeySequence(command.keys[0]).toString(QKeySequence.SequenceFormat.NativeText)
                    if command.keys
                    else ""
                )
                action = menu.addAction(f"{command.title}\t{key}" if key else command.title)
                action.setEnabled(not reason)
                action.setToolTip(reason)
                action.setData(command.id)
        if parent is None:
            menu.triggered.connect(self._triggered)
        return menu

    def _triggered(self, action: object) -> None:
        data = str(action.data() or "")  # type: ignore[attr-defined]
        if data.startswith("recent:"):
            self.open(Path(data.removeprefix("recent:")))
        elif data:
            self.perform_id(data)

    def _popup(self, menu: QMenu, button: QWidget) -> None:
        menu.popup(button.mapToGlobal(QPoint(0, button.height() + 4)))

    def _compare_menu(self) -> None:
        self._popup(self.menu_of((commands.COMPARE,)), self.top.compare)

    def _picture_menu(self) -> None:
        self._popup(self.menu_of((commands.COLOURS,)), self.top.picture)

    def whole_menu(self) -> QMenu:
        """All commands by section, and the recent files."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        for section in dict.fromkeys(command.section for command in commands.TABLE):
            inner = self.menu_of((section,), menu.addMenu(section))
            if section == commands.FILE:
                recent = inner.addMenu("Open recent")
                recent.setStyleSheet(theme.sheet())
                recent.setEnabled(bool(self.settings.recent()))
                for path in self.settings.recent():
                    recent.addAction(path.name).setData(f"recent:{path}")
        menu.triggered.connect(self._triggered)
        return menu

    def _whole_menu(self) -> None:
        self._popup(self.whole_menu(), self.top.menu)

    # Theme and window

    def set_theme(self, choice: str) -> None:
        """Dark, light, or what the system has."""
        self.settings.set_text("theme", choice)
        self.restyle()

    def restyle(self) -> None:
        """Take the chosen theme."""
        theme.apply(self.settings.text("theme", "system"))
        self.page.restyle()
        self.room.restyle()
        for widget in self.findChildren(QWidget):
            widget.update()

    def _scheme_changed(self) -> None:
        if self.settings.text("theme", "system") == "system":
            self.restyle()

    def set_icon(self) -> None:
        """The program's mark, for the task bar."""
        import importlib.resources

        from PySide6.QtGui import QIcon

        self.setWindowIcon(QIcon(str(importlib.resources.files("resources") / "icons" / "pi0-viewer.png")))

    def toggle_full(self) -> None:
        """Full screen and back."""
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.notice.place()
        for floating in (self.overlay, self.tour):
            if floating is not None:
                floating.place()  # type: ignore[attr-defined]

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        files = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if files:
            self.open(files[0])
            event.acceptProposedAction()

    # Keys: what no focused widget took. Not shortcuts, which would steal Space from buttons and arrows from sliders.

    def keyPressEvent(self, event: QKeyEvent) -> None:
        name = key_name(event)
        if name in {"H", "B"}:
            if not event.isAutoRepeat():
                self._hold(name, down=True)
            return
        command = commands.BY_KEY.get(name)
        if command is None and name.startswith("Shift+"):  # keys that need Shift on some keyboards: [ ] ? +
            command = commands.BY_KEY.get(event.text())
        if command is not None:
            self.perform(command)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        name = key_name(event)
        if name in {"H", "B"} and not event.isAutoRepeat():
            self._hold(name, down=False)

    def _hold(self, name: str, *, down: bool) -> None:
        if name == "H":
            self.session.hide_heat(down)
        elif down and self.session.pin is None:
            self.notice.say("Blink: pin a view first (P).")
        else:
            self.session.blink(down)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.ActivationChange and not self.isActiveWindow():
            self.session.hide_heat(False)
            self.session.blink(False)
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.overlay is not None:
            self.overlay.close()  # an export that runs ends with the window
        self._remember_view()
        self.settings.set_bytes("geometry", self.saveGeometry())
        if not self.room.is_folded:
            self.settings.set_bytes("across", self.room.splitters())
        self.settings.sync()
        self.playback.stop()
        self._follow.stop()
        self.opening.stop()
        self.worker.close()
        self.session.open(None)
        super().closeEvent(event)


def key_name(event: QKeyEvent) -> str:
    """A key as the table of commands writes it."""
    held = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    if event.key() in {Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta, 0, Qt.Key.Key_unknown}:
        return ""
    text = QKeySequence(QKeyCombination(held, Qt.Key(event.key()))).toString(QKeySequence.SequenceFormat.PortableText)
    return {"Esc": "Escape"}.get(text, text)
