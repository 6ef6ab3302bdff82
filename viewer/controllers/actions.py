"""What commands do: every verb of the program on the open window's session, playback, panels and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from viewer.analysis.initial_view import first_view
from viewer.model.view_state import Query, moved, position

if TYPE_CHECKING:
    from PySide6.QtGui import QImage

    from viewer.controllers.file_controller import Filing
    from viewer.controllers.frame_series import OverFrames
    from viewer.controllers.playback import Playback
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings


class Panels(Protocol):
    """What commands need of the panels of a window."""

    over_frames: OverFrames
    tabs_folded: bool

    @property
    def has_value_norms(self) -> bool:
        """Whether the open file can show contributions."""

    def fold_tabs(self, folded: bool) -> None:
        """Hide the panels under the strips, or show them again."""

    def show_tab(self, name: str) -> None:
        """Bring one of the panels under the strips to the front, and unfold them."""

    def step_ranked(self, by: int) -> None:
        """Go to the next better or worse head of the atlas."""

    def next_score(self) -> None:
        """Rank the atlas by the next score."""

    def toggle_uniform(self) -> None:
        """Show weights as multiples of the uniform weight, or as they are."""

    def toggle_contribution(self) -> None:
        """Show weights times the length of the values, or weights alone."""

    def lock_range(self) -> None:
        """Hold the color range that is shown."""

    def render_picture(self) -> QImage:
        """Return the pictures, sentence and strips as an image at twice the size."""

    def encode_picture(self, suffix: str) -> bytes:
        """Return that image as the bytes of a PNG, or of a JPEG where `suffix` asks for one, with its view inside."""


class Actions(QObject):
    """The hands of the table of commands; knows the parts of a window, but not the window's own class."""

    sheet_asked = Signal(str)
    """A sheet over the window: `palette`, `help`, `export` or `tour`."""
    episodes_asked = Signal(str)
    """The list of episodes shown or hidden; `filter`: shown to be searched."""
    theme_asked = Signal(str)
    """`dark`, `light` or `system`."""

    def __init__(self, window: QWidget, panels: Panels, playback: Playback, files: Filing) -> None:
        super().__init__(window)
        self.panels, self.playback, self.files = panels, playback, files

    @property
    def window(self) -> QWidget:
        """The window; asked of Qt, because a reference would keep a closed window alive until the next collection."""
        window = self.parent()
        assert isinstance(window, QWidget)
        return window

    @property
    def session(self) -> Session:
        """The open file and the view of it."""
        return self.files.session

    @property
    def settings(self) -> Settings:
        """What is remembered."""
        return self.files.settings

    # Episodes

    def step_episode(self, by: int) -> None:
        """The next or the previous episode of the run."""
        if self.files.run is not None:
            self.files.run.episodes.step(by)

    # Axes and query

    def step_along(self, axis: str, by: int) -> None:
        """Step along an axis."""
        session = self.session
        heads = session.dims.heads
        session.update(**moved(axis, position(session.state, axis, heads) + by, heads))

    def step_frame(self, by: int) -> None:
        """Moments on or back, with the same prompt."""
        course, frame = self.panels.over_frames.course, self.session.state.frame
        if frame < len(course.moment_of):
            self.session.update(frame=course.beside(frame, by))

    def other_prompt(self, by: int) -> None:
        """The same moment with another prompt."""
        course, frame = self.panels.over_frames.course, self.session.state.frame
        if frame >= len(course.moment_of) or len(course.moments[course.moment_of[frame]]) < 2:
            self.say("This moment was recorded with one prompt.")
        else:
            self.session.update(frame=course.other_prompt(frame, by))

    def go_head(self, number: int) -> None:
        """Look at one head."""
        if number < self.session.dims.heads:
            self.session.update(heads=(number,), reduce="mean")
        else:
            self.say(f"There is no head {number}; there are heads 0 to {self.session.dims.heads - 1}.")

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
            self.panels.lock_range()

    def escape(self) -> None:
        """Clear what is most in the way: region, several words, the focus."""
        state = self.session.state
        if self.playback.axis:
            self.playback.stop()
        elif state.region:
            self.session.update(region=())
        elif len(state.query.items) > 1:
            self.session.update(query=Query(state.query.kind, state.query.items[:1]))
        self.window.setFocus()

    # Comparison

    def pin(self) -> None:
        """Keep this view to compare others with."""
        self.session.update(pinned=replace(self.session.state, pinned=None, compare="off"))
        self.say("Pinned. Go elsewhere, then hold B to blink, press D for the difference or Ctrl B for side by side.")

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

    # Pictures and words out

    def copy_picture(self) -> None:
        """Put a picture of the view on the clipboard."""
        QGuiApplication.clipboard().setImage(self.panels.render_picture())
        self.say("Picture copied, with its caption, at twice the size.")

    def save_picture(self) -> None:
        """Ask where to, and save a picture of the view."""
        from PySide6.QtWidgets import QFileDialog

        path, _ = QFileDialog.getSaveFileName(self.window, "Save picture", f"{self._picture_name()}.png", "PNG (*.png)")
        if path:
            self.write_picture(Path(path))

    def write_picture(self, path: Path) -> None:
        """Save a picture of the view."""
        try:
            path.write_bytes(self.panels.encode_picture(path.suffix))
        except OSError as error:
            self.say(f"{path} cannot be written ({error.strerror or error}); choose another folder.")
        else:
            self.say(f"Saved {path.name}.")

    def _picture_name(self) -> str:
        path, state = self.session.path, self.session.state
        return f"{path.stem if path else 'view'}-frame{state.frame + 1}-layer{state.layer}"

    def command_line(self) -> str:
        """The command that opens this very view, and the file that it is compared with."""
        import shlex

        files = (results.path.absolute() for results in (self.session.results, self.session.other) if results)
        where = shlex.join(str(path) for path in files)
        return f"pi0-viewer {where} --view {shlex.quote(self.session.state.to_json())}"

    def copy_command(self) -> None:
        """Put that command on the clipboard."""
        QGuiApplication.clipboard().setText(self.command_line())
        self.say("Copied: the command that opens this very view.")

    # The window

    def toggle_full(self) -> None:
        """Full screen and back."""
        self.window.setWindowState(self.window.windowState() ^ Qt.WindowState.WindowFullScreen)

    def say(self, sentence: str) -> None:
        """A sentence for the user."""
        self.session.noticed.emit(sentence)
