"""Panel whose content can be zoomed and panned once pyqtgraph is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFocusEvent, QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from viewer.model.zoom import PER_NOTCH
from viewer.widgets.plot_menu import PlotPanel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.plots.panel_plot import PanelPlot

PAN_PER_NOTCH: Final = 60.0
"""Pixels for one notch of a horizontal wheel, or of the wheel with Shift."""


class ZoomPanel(PlotPanel):
    """Panel that paints itself, and from `build_plot` on through a pyqtgraph view that covers it.

    The wheel zooms about the pointer; the middle button, a horizontal wheel or the wheel with Shift pan; a double click
    shows everything again. Controls of the panel lie above the view.
    """

    HAS_LOADING_MARK = True

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(session, name, parent)
        self.plot: PanelPlot | None = None
        self._pan_point: QPointF | None = None

    # What subclasses describe

    def content_box(self) -> QRectF:
        """Return the rectangle in which the content is shown, in pixels."""
        raise NotImplementedError

    def content_extent(self) -> QRectF:
        """Return the rectangle of the whole content in its own units; empty if there is none."""
        raise NotImplementedError

    def least_visible(self) -> tuple[float, float]:
        """Return the smallest width and height that the user can zoom to, in the content's units."""
        raise NotImplementedError

    # The view

    def build_plot(self) -> None:
        from viewer.plots.panel_plot import PanelPlot

        self.plot = PanelPlot(self, self.paint_guarded, self.least_visible)
        self.plot.range_changed.connect(self.update)
        self.plot.cover_panel()
        self.plot.lower()  # below the controls
        self.plot.show()
        self.update_extent()

    def update_extent(self) -> None:
        """Tell the view what content there is and where; called after a change of the content or of the size."""
        if self.plot is not None:
            self.plot.set_extent(self.content_box(), self.content_extent())

    def update(self, *area: Any) -> None:
        """Repaint the panel or a part of it, as QWidget.update does, through the view once that covers the panel.

        Qt does not repaint opaque children with their parent.
        """
        if self.plot is None:
            super().update(*area)
        else:
            self.plot.viewport().update(*area)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()  # the ring of the focus lies under the view, which Qt does not repaint

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def show_requested(self) -> None:
        self.update()

    def visible_part(self) -> QRectF:
        """Return the visible part of the content in its own units: everything, unless the user has zoomed."""
        return self.content_extent() if self.plot is None or not self.plot.is_zoomed() else self.plot.visible

    def is_zoomed(self) -> bool:
        return self.plot is not None and self.plot.is_zoomed()

    def reset_plot(self) -> None:
        if self.plot is not None:
            self.plot.reset()

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self.plot is not None:
            self.plot.cover_panel()
        self.update_extent()

    def to_content_box(self, point: QPointF) -> QPointF | None:
        """Return a point of the panel as a point of the content's box; None outside."""
        return point if self.content_box().contains(point) else None

    # Mouse

    def wheelEvent(self, event: QWheelEvent) -> None:
        place = self.to_content_box(event.position())
        if self.plot is None or place is None:
            super().wheelEvent(event)
            return
        across, along = event.angleDelta().x() / 120, event.angleDelta().y() / 120
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            across, along = across or along, 0.0
        if abs(across) > abs(along):
            self.plot.pan(QPointF(across * PAN_PER_NOTCH, 0))
        else:
            self.plot.zoom(place, PER_NOTCH**-along)
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.MiddleButton and self.plot is not None:
            self._pan_point = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pan_point is not None and self.plot is not None:
            self.plot.pan(event.position() - self._pan_point)
            self._pan_point = event.position()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.MiddleButton:
            self._pan_point = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.is_zoomed():
            self.reset_plot()
        else:
            self.mousePressEvent(event)
