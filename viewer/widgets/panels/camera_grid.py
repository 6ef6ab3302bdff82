"""Grid of the camera panes, with those of the pinned view when both are shown side by side."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.camera_layout import Box, arranged, bottom, plain
from viewer.rendering import theme
from viewer.widgets.panels.camera_pane import CameraPane
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session


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

    def refresh(self) -> None:
        for pane in (*self.panes, *self.pinned):
            if pane.isVisible():
                pane.load()  # `_place` needs the size of the picture that is shown now
        for pane in self.panes:
            pane.show()
        for pane in self.pinned:
            pane.setVisible(self.beside)
        self._place()
        self.updateGeometry()

    @property
    def beside(self) -> bool:
        """Whether the pinned view is shown beside the current one."""
        return self.session.shown.compare == "side" and self.session.pin is not None

    def _shapes(self) -> list[float]:
        sizes = [pane.size_in_pixels() for pane in self.panes] * (2 if self.beside else 1)
        return [across / tall for tall, across in sizes]

    def height_at(self, width: int) -> int:
        """Return the height in pixels of pictures that fill a width in one row for each view, titles included."""
        boxes = plain(width, inf, self._shapes(), theme.GAP, CameraPane.TITLE, pairs=self.beside)
        return bottom(boxes) or 340

    def height_within(self, width: int, most: int) -> int:
        """Return how much of a height in pixels the pictures use in the arrangement in which they are largest."""
        return bottom(self._boxes(width, most)) or min(340, most)

    def _boxes(self, width: int, height: int) -> list[Box]:
        return arranged(width, height, self._shapes(), theme.GAP, CameraPane.TITLE, pairs=self.beside)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place()

    def _place(self) -> None:
        panes = [*self.panes, *(self.pinned if self.beside else ())]
        for pane, box in zip(panes, self._boxes(self.width(), self.height()), strict=True):
            pane.setGeometry(*box)

    def sizeHint(self) -> QSize:
        return QSize(1000, self.height_at(1000))
