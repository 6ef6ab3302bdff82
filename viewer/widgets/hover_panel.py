"""Panel in which the pointer reads one item of the content at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QHideEvent, QMouseEvent
from PySide6.QtWidgets import QWidget

from viewer.widgets.overlays.read_out import ReadOut
from viewer.widgets.zoom_panel import ZoomPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.session import Session


class ReadOutContent(NamedTuple):
    """What the read-out shows, and above which point of the panel."""

    foot: QPointF
    title: str
    rows: Sequence[tuple[str, str, str]]
    """Colour, name and value."""


class HoverPanel(ZoomPanel):
    """Shows the values of the item under the pointer; a click or drag with the left button selects items.

    An item is whatever the subclass distinguishes: a point of the axis, the row and column of a cell.
    """

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(session, name, parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.hovered: Any = None
        """The item under the pointer; None for none."""
        self._read_out: ReadOut | None = None

    # What subclasses describe

    def item_at(self, point: QPointF) -> Any:
        """Return the item under a point; None if there is none."""
        raise NotImplementedError

    def select_at(self, point: QPointF) -> None:
        """Select what is at a point, where a click or drag is."""
        raise NotImplementedError

    def read_item(self, item: Any) -> ReadOutContent | None:
        """Return what the read-out shows of an item; None if it has no values or is no longer there."""
        raise NotImplementedError

    # The read-out

    def hover(self, item: Any) -> None:
        """Mark an item and show its values; None for none."""
        if item != self.hovered:
            self.hovered = item
            self.update()
            self.update_read_out()

    def update_read_out(self) -> None:
        """Show the values of the hovered item, or hide them."""
        content = None if self.hovered is None else self.read_item(self.hovered)
        if content is None:
            if self._read_out is not None:
                self._read_out.hide()
            return
        if self._read_out is None:
            self._read_out = ReadOut(self.window())
        self._read_out.show_values(self.mapTo(self.window(), content.foot.toPoint()), content.title, content.rows)

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and self.item_at(event.position()) is not None:
            self.session.begin()  # a drag is one change for undo
            self.select_at(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self.hover(self.item_at(event.position()))
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.select_at(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton:
            self.session.end()

    def leaveEvent(self, event: QEvent) -> None:
        self.hover(None)

    def hideEvent(self, event: QHideEvent) -> None:
        self.hover(None)
