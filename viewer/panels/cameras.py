"""The row of camera panes, and under it the pinned view's where the two are shown side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from viewer import theme
from viewer.panels.camera import CameraPane
from viewer.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.session import Session


class Cameras(Panel):
    """One pane a camera of the open file; panes stay while files of the same cameras come and go."""

    cares = frozenset({"compare", "pinned", "picture"})
    OPAQUE = False

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Cameras", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.panes: list[CameraPane] = []
        self.pinned: list[CameraPane] = []
        self._names: tuple[str, ...] = ()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(theme.GAP)

    def reload(self) -> None:
        results = self.session.results
        names = results.cameras if results is not None else ()
        if names != self._names:
            for pane in (*self.panes, *self.pinned):
                self._grid.removeWidget(pane)
                pane.setParent(None)
                pane.deleteLater()
            self.panes = [CameraPane(self.session, number) for number in range(len(names))]
            self.pinned = [CameraPane(self.session, number, pinned=True) for number in range(len(names))]
            for number, (pane, other) in enumerate(zip(self.panes, self.pinned, strict=True)):
                self._grid.addWidget(pane, 0, number)
                self._grid.addWidget(other, 1, number)
                other.hide()
            self._names = names
        self.refresh()

    def refresh(self) -> None:
        side = self._beside()
        for pane in self.pinned:
            pane.setVisible(side)
        self.updateGeometry()

    def _beside(self) -> bool:
        """Whether the pinned view has its own line."""
        return self.session.shown.compare == "side" and self.session.pin is not None

    def height_at(self, width: int) -> int:
        """How tall the pictures are that fill a width, titles included."""
        if not self.panes:
            return 340
        each = (width - theme.GAP * (len(self.panes) - 1)) / len(self.panes)
        sizes = [pane.size_in_pixels() for pane in self.panes]
        lines = 2 if self._beside() else 1
        needed = max(each * height / across for height, across in sizes) + CameraPane.TITLE
        return round(needed * lines + theme.GAP * (lines - 1))

    def sizeHint(self) -> QSize:
        return QSize(1000, self.height_at(1000))
