"""The picture of a camera pane as one item of a pyqtgraph ViewBox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakMethod

import pyqtgraph
from PySide6.QtCore import QRectF
from PySide6.QtGui import QTransform
from PySide6.QtWidgets import QGraphicsView

from viewer.plots.view import PlotView

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtGui import QPainter, QPaintEvent
    from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

    from viewer.model.zoom import Zoom

    Paint = Callable[[QPainter, QRectF, QTransform], None]


class CameraItem(pyqtgraph.GraphicsObject):  # type: ignore[misc]
    """Picture, heat map and marks of one camera; its coordinates are the picture's pixels.

    One item instead of an ImageItem for the picture and one for the heat map: it fills one rectangle a patch, aligned
    to screen pixels, which takes half the time and blurs nothing across patches.

    Args:
        paint: Method of the pane that paints the picture over an area, given the transform from the picture's pixels
            to the view. Only a weak reference is kept.
    """

    def __init__(self, paint: Paint) -> None:
        super().__init__()
        self._paint = WeakMethod(paint)
        self._bounds = QRectF(0, 0, 1, 1)

    def set_size(self, width: int, height: int) -> None:
        """Set the size of the picture in its own pixels."""
        bounds = QRectF(0, 0, width, height)
        if bounds != self._bounds:
            self.prepareGeometryChange()
            self._bounds = bounds

    def boundingRect(self) -> QRectF:
        """Return the picture's rectangle in its own pixels."""
        return self._bounds

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        """Paint in the pixels of the view, so that edges of patches can be aligned to those of the screen."""
        paint = self._paint()
        if paint is None or widget is None:
            return
        place = painter.worldTransform()
        painter.save()
        painter.setWorldTransform(QTransform())
        paint(painter, QRectF(widget.rect()), place)
        painter.restore()


class CameraPlot(PlotView):
    """View of one camera's picture; it covers the picture's area of the pane, and the pane handles the mouse.

    Args:
        pane: The camera pane, which becomes the parent.
        paint: See `CameraItem`.
    """

    def __init__(self, pane: QWidget, paint: Paint) -> None:
        super().__init__(pane)
        self.box = pyqtgraph.ViewBox(enableMouse=False, enableMenu=False, invertY=True, defaultPadding=0)
        self.box.disableAutoRange()
        self.box.setFlag(self.box.GraphicsItemFlag.ItemClipsChildrenToShape, False)  # the view clips already
        self.box.setFlag(self.box.GraphicsItemFlag.ItemHasNoContents)  # it has neither a background nor a border
        self.setCentralItem(self.box)
        self.item = CameraItem(paint)
        self.box.addItem(self.item, ignoreBounds=True)
        self._range = QRectF()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the item, without the preparation of pyqtgraph for items whose range follows their data."""
        self.box.updateMatrix()  # of a range that was just set; otherwise it does nothing
        QGraphicsView.paintEvent(self, event)

    def show_part(self, area: QRectF, size: tuple[int, int], zoom: Zoom) -> None:
        """Show a part of the picture in an area of the pane, from the next paint on.

        Args:
            area: Where the whole picture stands in the pane, in whole device-independent pixels.
            size: Height and width of the picture in its own pixels.
            zoom: Which part of it fills the area.
        """
        height, width = size
        left, top, across, down = zoom.part()
        visible = QRectF(left * width, top * height, across * width, down * height)
        self.setGeometry(area.toRect())
        self.item.set_size(width, height)
        if visible != self._range:
            self._range = visible
            self.box.setRange(visible, padding=0, disableAutoRange=False)
