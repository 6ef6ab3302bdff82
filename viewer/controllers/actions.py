"""Command implementations: they act on a window's session, playback, panels and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from viewer.analysis.comparison import SIDE_FIELDS
from viewer.analysis.effects.measured import find_region_effect
from viewer.analysis.initial_view import first_view
from viewer.controllers.view_changes import to_measure
from viewer.model.view_state import FROM_EFFECTS, MAX_PINS, Pin, Query, moved, position

if TYPE_CHECKING:
    from PySide6.QtGui import QImage

    from viewer.controllers.files.file_controller import FileController
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.picture_writer import PictureWriter
    from viewer.controllers.playback import Playback
    from viewer.controllers.regions.regions_controller import RegionsController
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings


class Panels(Protocol):
    """The interface that commands need of a window's panels."""

    frame_series: FrameSeries
    tabs_folded: bool

    @property
    def has_value_norms(self) -> bool:
        """Whether the open file can show contributions."""

    def fold_tabs(self, folded: bool) -> None:
        """Fold or unfold the tabs below the token strips."""

    @property
    def pictures_only(self) -> bool:
        """Whether all but the pictures and their sentence is hidden."""

    def show_pictures_only(self, only: bool) -> None:
        """Hide all but the pictures and their sentence, or show everything again."""

    def reset_sizes(self) -> None:
        """Forget the heights and widths that the user chose."""

    def show_tab(self, name: str) -> None:
        """Show one of the tabs below the token strips, unfolding them if necessary."""

    def name_region(self) -> None:
        """Show the named regions, and give the keyboard to the field for the name of the marked or chosen one."""

    def step_ranked(self, by: int) -> None:
        """Select the next head (1) or the previous head (-1) in the ranking of the atlas."""

    def next_score(self) -> None:
        """Switch the atlas to the next score."""

    def toggle_uniform(self) -> None:
        """Switch between weights and multiples of the uniform weight."""

    def lock_range(self) -> None:
        """Lock the colour range that is shown."""

    @property
    def is_zoom_linked(self) -> bool:
        """Whether all camera pictures are zoomed together."""

    def link_zoom(self, linked: bool) -> None:
        """Zoom all camera pictures together, or each for itself."""

    def reset_zoom(self) -> None:
        """Show every camera picture as a whole."""

    def render_picture(self) -> QImage:
        """Return the camera pictures, caption and token strips as an image at twice their size."""

    def describe_view(self) -> str:
        """Return the view as JSON, as it is put into a saved picture."""


class Actions(QObject):
    """Command implementations, which depend on the parts of a window but not on the class of the window."""

    sheet_requested = Signal(str)
    """Request to show an overlay: `palette`, `help`, `info`, `export` or `tour`."""
    episodes_requested = Signal(str)
    """Request to show or hide the list of episodes; with `filter`, to show it and focus its filter field."""
    run_page_requested = Signal(str)
    """Request to show or leave the Run page, `toggle`; or to do on it what a command does: `export`, `copy` …"""
    episode_chosen = Signal()
    """The user has chosen an episode, which is shown in place of the Run page."""
    theme_requested = Signal(str)
    """Request to change the theme: `dark`, `light` or `system`."""

    def __init__(
        self, window: QWidget, panels: Panels, playback: Playback, files: FileController, regions: RegionsController
    ) -> None:
        super().__init__(window)
        self.panels, self.playback, self.files, self.regions = panels, playback, files, regions
        self.is_run_shown = False
        """Whether the Run page is shown in place of the episode."""
        self._pictures: PictureWriter | None = None

    @property
    def window(self) -> QWidget:
        """The window, taken from Qt: a Python reference would keep a closed window alive until garbage collection."""
        window = self.parent()
        assert isinstance(window, QWidget)
        return window

    @property
    def session(self) -> Session:
        """The open file and the view of it."""
        return self.files.session

    @property
    def settings(self) -> Settings:
        """The stored settings."""
        return self.files.settings

    # Episodes

    def step_episode(self, by: int) -> None:
        """Open the next (1) or the previous (-1) episode of the run."""
        if self.files.run is not None:
            self.episode_chosen.emit()
            self.files.run.episodes.step(by)

    # Axes and query

    def step_along(self, axis: str, by: int) -> None:
        """Move by `by` places along an axis: `frame`, `layer`, `step` or `head`."""
        session = self.session
        heads = session.dims.heads
        session.update(**moved(axis, position(session.state, axis, heads) + by, heads))

    def step_frame(self, by: int) -> None:
        """Move by `by` moments of the episode, keeping the prompt."""
        timeline, frame = self.panels.frame_series.timeline, self.session.state.frame
        if frame < len(timeline.moment_of):
            self.session.update(frame=timeline.beside(frame, by))

    def cycle_prompt(self, by: int) -> None:
        """Show the same moment with its next or previous prompt."""
        timeline, frame = self.panels.frame_series.timeline, self.session.state.frame
        if frame >= len(timeline.moment_of) or len(timeline.moments[timeline.moment_of[frame]]) < 2:
            self.notify("This moment was recorded with one prompt.")
        else:
            self.session.update(frame=timeline.cycle_prompt(frame, by))

    def go_head(self, number: int) -> None:
        """Show one head."""
        if number < self.session.dims.heads:
            self.session.update(heads=(number,), reduce="mean")
        else:
            self.notify(f"There is no head {number}; there are heads 0 to {self.session.dims.heads - 1}.")

    def step_query(self, by: int) -> None:
        """Select the next or previous word or action token, cyclically."""
        query, dims = self.session.state.query, self.session.dims
        count = dims.actions if query.kind == "action" else dims.chips
        if count:
            self.session.update(query=Query(query.kind, ((query.items[-1] + by) % count,)))

    def swap_kind(self) -> None:
        """Switch the query between text and action tokens."""
        results, state = self.session.results, self.session.state
        if results is None:
            return
        if state.query.kind == "text" and self.session.dims.actions:
            self.session.update(query=Query("action", (0,)))
        elif self.session.dims.chips:
            self.session.update(query=first_view(results, state.frame).query)

    def lock_range(self) -> None:
        """Lock the colour range, or unlock it."""
        if self.session.state.range == "locked":
            self.session.update(range="uniform")
        else:
            self.panels.lock_range()

    def escape(self) -> None:
        """Leave the Run page, else stop playback, clear the region or reduce the selection to one token."""
        state = self.session.state
        if self.is_run_shown:
            self.run_page_requested.emit("toggle")
            return
        if self.playback.axis:
            self.playback.stop()
        elif state.wall != "off":
            self.session.update(wall="off")
        elif self.panels.pictures_only:
            self.panels.show_pictures_only(False)
        elif state.region or state.region_name:
            self.session.update(region=())
        elif len(state.query.items) > 1:
            self.session.update(query=Query(state.query.kind, state.query.items[:1]))
        self.window.setFocus()

    # Comparison

    def pin(self) -> None:
        """Keep the current view, and compare with it."""
        state = self.session.state
        view = state.bare()
        existing = next((pin for pin in state.pins if pin.view == view), None)
        if existing is None and len(state.pins) >= MAX_PINS:
            self.notify(f"{MAX_PINS} views are pinned already; remove one in the strip above the pictures.")
            return
        pins = state.pins if existing is not None else (*state.pins, Pin("", view))
        self.session.update(pinned=view, pins=pins)
        self.notify(
            "Pinned. Go elsewhere, then hold B to blink, press D for the difference or Ctrl B for side by side."
        )

    def go_pin(self) -> None:
        """Return to the pinned view."""
        pin = self.session.state.pinned
        if pin is not None:
            self.session.update(**{name: getattr(pin, name) for name in SIDE_FIELDS})

    def unpin(self) -> None:
        """End the comparison: close the second file, and compare with no pinned view; the pins are kept."""
        if self.session.other is not None:
            self.session.open_other(None)
        self.session.update(pinned=None, compare="off")

    def show_region_effect(self) -> None:
        """Show the effect of the region; measure it, or copy the command, where the file does not have it."""
        results, state = self.session.results, self.session.state
        self.panels.show_tab("effect")
        if results is not None and find_region_effect(results, state.frame, state.region) is None:
            self.files.effects.measure_region()

    def show_effect_beside(self) -> None:
        """Show the attention and the effect of the view side by side."""
        state, results = self.session.state, self.session.results
        is_measured = state.measure in FROM_EFFECTS
        effect = (state if is_measured else replace(state, **to_measure(state, "effect", results))).bare()
        shown = replace(state, **to_measure(state, "weight", results))
        self.session.update(measure="weight", range=shown.range, pinned=effect, compare="side")

    def hold_key(self, name: str, *, down: bool) -> None:
        """Do what a held key does: `H` bares the picture, `B` blinks to the pinned view, `E` to the effect."""
        if name == "H":
            self.session.hide_heat(down)
        elif name == "E":
            self.files.effects.blink(down)
        elif down and self.session.pin is None:
            self.notify(self.session.not_compared or "Blink: pin a view first (P).")
        else:
            self.session.blink(down)

    # Zoom of the camera pictures

    def link_zoom(self) -> None:
        """Zoom all camera pictures together, or each for itself again; the choice is kept."""
        linked = not self.panels.is_zoom_linked
        self.panels.link_zoom(linked)
        self.settings.set_text("link_zoom", "yes" if linked else "no")
        self.notify("All pictures are zoomed together." if linked else "Each picture is zoomed for itself.")

    # Pictures and the command line of the view

    def copy_picture(self) -> None:
        """Copy a picture of the view to the clipboard."""
        QGuiApplication.clipboard().setImage(self.panels.render_picture())
        self.notify("Picture copied, with its caption, at twice the size.")

    def save_picture(self) -> None:
        """Ask for a file name and save a picture of the view."""
        from PySide6.QtWidgets import QFileDialog

        kinds = "PNG (*.png);;JPEG (*.jpg)"
        path, _ = QFileDialog.getSaveFileName(self.window, "Save picture", f"{self._picture_name()}.png", kinds)
        if path:
            self.write_picture(Path(path))

    def write_picture(self, path: Path) -> None:
        """Save a picture of the view to `path`, in another process; success or failure is announced."""
        if self._pictures is None:
            from viewer.controllers.picture_writer import PictureWriter  # not needed for the first picture

            self._pictures = PictureWriter(self)
            self._pictures.noticed.connect(self.notify)
        self._pictures.write(path, self.panels.render_picture(), self.panels.describe_view())

    @property
    def is_saving(self) -> bool:
        """Whether a picture is still being written."""
        return self._pictures is not None and self._pictures.is_busy

    def finish_pictures(self) -> None:
        """Wait until all pictures are written, before the window ends."""
        if self._pictures is not None:
            self._pictures.stop()

    def _picture_name(self) -> str:
        path, state = self.session.path, self.session.state
        return f"{path.stem if path else 'view'}-frame{state.frame}-layer{state.layer}"

    def command_line(self) -> str:
        """Return the shell command that opens the current view, including the second file of a comparison."""
        import shlex

        files = (results.path.absolute() for results in (self.session.results, self.session.other) if results)
        where = shlex.join(str(path) for path in files)
        return f"pi0-viewer {where} --view {shlex.quote(self.session.state.to_json())}"

    def copy_command(self) -> None:
        """Copy the command of `command_line` to the clipboard."""
        QGuiApplication.clipboard().setText(self.command_line())
        self.notify("Copied: the command that opens this very view.")

    # The window

    def toggle_full(self) -> None:
        """Enter or leave full-screen mode."""
        self.window.setWindowState(self.window.windowState() ^ Qt.WindowState.WindowFullScreen)

    def notify(self, sentence: str) -> None:
        """Show a message to the user."""
        self.session.noticed.emit(sentence)
