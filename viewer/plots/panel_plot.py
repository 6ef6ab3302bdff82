"""A panel as one item of a pyqtgraph view, whose ViewBox holds which part of the panel's content is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakMethod

import pyqtgraph
from PySide6.QtCore import QPointF, QRect, QRectF, Signal
from PySide6.QtWidgets import QGraphicsView

from viewer.plots.view import PlotView

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtGui import QPainter, QPaintEvent
    from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

    Paint = Callable[[QPainter, QRect], None]
    Least = Callable[[], tuple[float, float]]


class PanelItem(pyqtgraph.GraphicsObject):  # type: ignore[misc]
    """The one item of the view. It paints through a method of the panel, in pixels of the panel, and holds nothing."""

    def __init__(self, paint: Paint) -> None:
        super().__init__()
        self._paint = WeakMethod(paint)
        self._bounds = QRectF()

    def resize(self, bounds: QRectF) -> None:
        """Cover a rectangle of the view."""
        if bounds != self._bounds:
            self.prepareGeometryChange()
            self._bounds = bounds

    def boundingRect(self) -> QRectF:
        """Return the rectangle of the whole view."""
        return self._bounds

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        """Paint what of the panel needs it."""
        paint = self._paint()
        if paint is not None:
            area = widget.rect() if widget is not None else self._bounds.toAlignedRect()
            paint(painter, area)


class PanelPlot(PlotView):
    """View over a whole panel that can be zoomed and panned.

    One unit of the scene is one device-independent pixel of the panel, so an item paints with the panel's own
    coordinates, and the plot has the pixels that the panel had before. The ViewBox lies where the panel shows its
    content. Its range is the visible part of the content, in the content's own units: frames, or pixels of the whole.

    Args:
        panel: The panel, which becomes the parent and handles the mouse.
        paint: Its method that paints everything, called with a painter and the part that needs painting.
        least: Its method that returns the smallest width and height, in the content's units, that can be zoomed to.
    """

    range_changed = Signal()
    """Another part of the content is visible."""

    def __init__(self, panel: QWidget, paint: Paint, least: Least) -> None:
        super().__init__(panel)
        self._find_least = WeakMethod(least)
        self.setCentralItem(None)
        self.item = PanelItem(paint)
        self.box = pyqtgraph.ViewBox(enableMenu=False, defaultPadding=0, invertY=True)
        self.box.disableAutoRange()
        self.box.setVisible(False)  # it holds the range; there is nothing of its own to paint
        self.scene().addItem(self.box)
        self.scene().addItem(self.item)
        self._extent, self._visible, self._is_zoomed = QRectF(), QRectF(), False
        self._box_rect = QRectF()
        self._is_box_current = True
        """Whether the ViewBox has the extent: setting it takes 0.3 ms and waits until the user zooms."""
        self.box.sigRangeChanged.connect(self._emit_range_changed)

    def _emit_range_changed(self) -> None:
        self._read_range()
        self.range_changed.emit()

    def _read_range(self) -> None:
        """Keep the range of the ViewBox, which is asked for many times in each paint."""
        (left, right), (top, bottom) = self.box.viewRange()
        self._visible, whole = QRectF(left, top, right - left, bottom - top), self._extent
        narrower = self._visible.width() < whole.width() * (1 - 1e-9)
        self._is_zoomed = narrower or self._visible.height() < whole.height() * (1 - 1e-9)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the item, without the preparation of pyqtgraph for items whose range follows their data."""
        QGraphicsView.paintEvent(self, event)

    def set_extent(self, box: QRectF, extent: QRectF) -> None:
        """Set the rectangle of the panel and the extent of the content; the visible part is kept, or all is shown.

        Args:
            box: Rectangle of the panel in which the content is shown, in pixels.
            extent: Rectangle of the whole content in its own units.
        """
        if box != self._box_rect and box.isValid():
            self._box_rect = QRectF(box)
            self.box.setGeometry(box)
        if extent == self._extent or not extent.isValid():
            return
        self._extent, self._is_box_current = QRectF(extent), False
        if self._is_zoomed:
            self._update_box()
        else:
            self._visible = QRectF(extent)

    def _update_box(self) -> None:
        """Tell the ViewBox the extent and, unless a part of it is visible, to show everything."""
        if self._is_box_current:
            return
        find_least = self._find_least()
        least = find_least() if find_least is not None else (0.0, 0.0)
        extent, self._is_box_current = self._extent, True
        self.box.blockSignals(True)
        self.box.setLimits(
            xMin=extent.left(), xMax=extent.right(), yMin=extent.top(), yMax=extent.bottom(),
            minXRange=min(least[0], extent.width()), minYRange=min(least[1], extent.height()),
        )  # fmt: skip
        if not self._is_zoomed:
            self.box.setRange(extent, padding=0)
        self.box.blockSignals(False)
        self._read_range()

    @property
    def visible(self) -> QRectF:
        """The visible part of the content, in its own units."""
        return self._visible

    def is_zoomed(self) -> bool:
        """Whether only a part of the content is visible."""
        return self._is_zoomed

    def zoom(self, point: QPointF, factor: float) -> None:
        """Scale what is visible by a factor, below 1 to see less, about a point of the panel, which stays in place."""
        if factor > 1 and all(
            visible * factor >= whole
            for visible, whole in zip(self.visible.size().toTuple(), self._extent.size().toTuple(), strict=True)
        ):
            self.reset()  # exactly the whole, without rounding errors
        else:
            self._update_box()
            self.box.scaleBy((factor, factor), center=self.content_at(point))

    def pan(self, by: QPointF) -> None:
        """Move the content by a vector in pixels."""
        self._update_box()
        visible, box = self.visible, self.box.geometry()
        self.box.translateBy(
            x=-by.x() * visible.width() / max(box.width(), 1), y=-by.y() * visible.height() / max(box.height(), 1)
        )

    def show_range(self, left: float, right: float) -> None:
        """Show a part of the content along x."""
        self._update_box()
        self.box.setXRange(left, right, padding=0)

    def reset(self) -> None:
        """Show everything."""
        if self.is_zoomed():
            self.box.setRange(self._extent, padding=0)

    def content_at(self, point: QPointF) -> QPointF:
        """Return the place in the content, in its own units, of a point of the panel."""
        visible, box = self.visible, self.box.geometry()
        return QPointF(
            visible.left() + (point.x() - box.left()) * visible.width() / max(box.width(), 1),
            visible.top() + (point.y() - box.top()) * visible.height() / max(box.height(), 1),
        )

    def cover_panel(self) -> None:
        """Take the size of the panel."""
        panel = self.parentWidget()
        self.setGeometry(panel.rect())
        self.item.resize(QRectF(panel.rect()))
