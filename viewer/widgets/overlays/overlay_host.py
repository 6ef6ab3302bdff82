"""Opens and closes the sheets over the window, one at a time, and the tour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtWidgets import QApplication

from viewer.controllers import commands

TOUR_DELAY_MILLISECONDS: Final = 600
"""Time after which the tour comes, so that the first picture is seen before it."""

if TYPE_CHECKING:
    from viewer.controllers.actions import Actions
    from viewer.widgets.overlays.overlay import Overlay
    from viewer.widgets.overlays.tour import Tour
    from viewer.widgets.panel_layout import PanelLayout


class OverlayHost(QObject):
    """Opens sheets; the module of each is imported when it is first opened."""

    chosen = Signal(str)
    """The id of a command that was chosen in the palette."""

    def __init__(self, acts: Actions, panels: PanelLayout) -> None:
        super().__init__(acts)
        self._acts, self._panels = acts, panels
        self.overlay: Overlay | None = None
        """The open sheet; None if there is none."""
        self.tour: Tour | None = None
        acts.sheet_requested.connect(self.show)
        panels.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and watched is self._panels and not self._acts.settings.text("toured"):
            QTimer.singleShot(TOUR_DELAY_MILLISECONDS, self._offer_tour)
        return False

    def _offer_tour(self) -> None:
        """Start the tour for a user who has not seen it, unless a file's panels or the window have gone meanwhile."""
        results = self._acts.session.results
        if results is not None and self._panels.isVisible() and not self._acts.settings.text("toured"):
            self.show_tour()

    def show(self, name: str) -> None:
        """Show a sheet by name: `palette`, `help`, `info`, `export` or `tour`."""
        {
            "palette": self.show_palette,
            "help": self._show_help,
            "info": self.show_info,
            "export": self._show_export,
            "tour": self.show_tour,
        }[name]()

    def show_palette(self) -> None:
        """Open the command palette."""
        from viewer.widgets.overlays.command_palette import CommandPalette

        acts = self._acts
        palette = CommandPalette(acts.window, {command.id: command.reason(acts) for command in commands.TABLE})
        palette.chosen.connect(self.chosen)
        self.open(palette)
        palette.field.setFocus()

    def _show_export(self) -> None:
        """Open the export sheet."""
        from viewer.widgets.overlays.export_sheet import ExportSheet

        acts = self._acts
        self.open(ExportSheet(acts.window, acts.session, acts.settings))

    def _show_help(self) -> None:
        """Open the help sheet."""
        from viewer.widgets.overlays.help_sheet import HelpSheet

        self.open(HelpSheet(self._acts.window))

    def show_info(self) -> None:
        """Open the info sheet of the open file; nothing happens without one."""
        from viewer.widgets.overlays.info_sheet import InfoSheet

        results = self._acts.session.results
        if results is not None:
            self.open(InfoSheet(self._acts.window, results))

    def open(self, overlay: Overlay) -> None:
        """Show a sheet in place of the open one."""
        self.close()
        self.overlay = overlay
        overlay.closed.connect(self._on_closed)
        overlay.show()
        overlay.raise_()
        focused = QApplication.focusWidget()
        if focused is None or not overlay.isAncestorOf(focused):
            overlay.setFocus()

    def _on_closed(self) -> None:
        self.overlay = None
        self._acts.window.setFocus()

    def close(self) -> None:
        """Close the open sheet, which ends an export that runs in it."""
        if self.overlay is not None:
            self.overlay.close()

    def show_tour(self) -> None:
        """Start the tour of three hints."""
        from viewer.widgets.overlays.tour import Tour

        acts, panels = self._acts, self._panels
        if self.tour is None and not panels.isHidden():
            self.tour = Tour(acts.window, {"strips": panels.strips, "cameras": panels.camera_grid, "axes": panels.axes})
            self.tour.done.connect(self._on_tour_done)

    def _on_tour_done(self) -> None:
        self.tour = None
        self._acts.settings.set_text("toured", "yes")

    def place(self) -> None:
        """Follow a change of the window's size."""
        for floating in (self.overlay, self.tour):
            if floating is not None:
                floating.place()
