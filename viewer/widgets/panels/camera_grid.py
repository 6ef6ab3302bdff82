"""Grid of the camera panes, with those of the pinned view when both are shown side by side."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.camera_layout import Box, arrange_pictures, bottom, plain
from viewer.rendering import theme
from viewer.widgets.panels.camera_pane import CameraPane
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.model.zoom import Zoom


class CameraGrid(Panel):
    """One pane for each camera; the panes are kept when another file has the same cameras."""

    watched_fields = frozenset({"compare", "pinned", "picture"})
    OPAQUE = False

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Cameras", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.panes: list[CameraPane] = []
        self.pinned: list[CameraPane] = []
        self._names: tuple[str, ...] = ()
        self._has_plots = False
        self._held_pane: CameraPane | None = None
        self.is_zoom_linked = False
        """Whether all pictures show the same part of themselves."""

    def on_file_changed(self) -> None:
        results = self.session.results
        names = results.cameras if results is not None else ()
        if names != self._names:
            for pane in (*self.panes, *self.pinned):
                pane.setParent(None)
                pane.deleteLater()
            self.panes = [CameraPane(self.session, number, parent=self) for number in range(len(names))]
            self.pinned = [CameraPane(self.session, number, pinned=True, parent=self) for number in range(len(names))]
            self._names = names
            for pane in (*self.panes, *self.pinned):
                pane.zoom_changed.connect(self._on_zoom_changed)
                pane.is_zoom_linked = self.is_zoom_linked
                if self._has_plots:
                    pane.build_plot()

    def build_plot(self) -> None:
        self._has_plots = True  # the present panes are told by the window

    # Zoom

    def _on_zoom_changed(self, zoom: Zoom) -> None:
        if self.is_zoom_linked:
            for pane in (*self.panes, *self.pinned):
                pane.show_zoom(zoom)

    def link_zoom(self, linked: bool) -> None:
        """Zoom all pictures together, beginning with what the first zoomed one shows, or each for itself."""
        self.is_zoom_linked = linked
        panes = (*self.panes, *self.pinned)
        zoom = next((pane.zoom for pane in panes if pane.is_zoomed()), None)
        for pane in panes:
            pane.is_zoom_linked = linked
            if linked and zoom is not None:
                pane.show_zoom(zoom)

    def reset_zoom(self) -> None:
        """Show every picture as a whole."""
        for pane in (*self.panes, *self.pinned):
            pane.reset_plot()

    def hold_space(self) -> bool:
        """Let the left button drag the picture under the pointer; return False if none is there that is zoomed."""
        self._held_pane = next((pane for pane in (*self.panes, *self.pinned) if pane.underMouse()), None)
        return self._held_pane is not None and self._held_pane.hold_space()

    def release_space(self) -> bool:
        """End what `hold_space` began; return whether the picture was dragged meanwhile."""
        frozen, self._held_pane = self._held_pane, None
        return frozen is not None and frozen.release_space()

    # Layout

    def refresh(self) -> None:
        for pane in (*self.panes, *self.pinned):
            if pane.isVisible():
                pane.load()  # `_place` needs the size of the picture that is shown now
        for pane in self.panes:
            pane.show()
        for pane in self.pinned:
            pane.setVisible(self.beside)
        self._place_panes()
        self.updateGeometry()

    @property
    def beside(self) -> bool:
        """Whether the pinned view is shown beside the current one."""
        return self.session.shown.compare == "side" and self.session.pin is not None

    def _find_shapes(self) -> list[float]:
        sizes = [pane.size_in_pixels() for pane in self.panes] * (2 if self.beside else 1)
        return [across / tall for tall, across in sizes]

    def height_at(self, width: int) -> int:
        """Return the height in pixels of pictures that fill a width in one row for each view, titles included."""
        boxes = plain(width, inf, self._find_shapes(), theme.GAP, CameraPane.TITLE, pairs=self.beside)
        return bottom(boxes) or 340

    def height_within(self, width: int, most: int) -> int:
        """Return how much of a height in pixels the pictures use in the arrangement in which they are largest."""
        return bottom(self._find_boxes(width, most)) or min(340, most)

    def width_within(self, width: int, height: int) -> int:
        """Return how much of a width in pixels the pictures use in an area; all of it without a file."""
        return max((box.left + box.width for box in self._find_boxes(width, height)), default=width)

    def _find_boxes(self, width: int, height: int) -> list[Box]:
        return arrange_pictures(width, height, self._find_shapes(), theme.GAP, CameraPane.TITLE, pairs=self.beside)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_panes()

    def _place_panes(self) -> None:
        panes = [*self.panes, *(self.pinned if self.beside else ())]
        for pane, box in zip(panes, self._find_boxes(self.width(), self.height()), strict=True):
            pane.setGeometry(*box)

    def sizeHint(self) -> QSize:
        return QSize(1000, self.height_at(1000))
