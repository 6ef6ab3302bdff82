"""Base class of all plots: a graphics view that is set up for speed and leaves keys and tooltips to its panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph
from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QGraphicsScene, QGraphicsView

from viewer.rendering import drawing

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget


class PlotView(pyqtgraph.GraphicsView):  # type: ignore[misc]
    """Graphics view over a part of a panel.

    It repaints as a whole, opaquely and without a cached background, which is fastest for plots of one item. It never
    takes the focus. Tooltips are asked of the panel, and so is the context menu, because pyqtgraph's own has entries
    that fail or bypass the session.

    Args:
        panel: The panel, which becomes the parent; its background colour is the view's.
        receives_mouse: Whether the plot handles the mouse itself (zoom, pan, draggable lines). Otherwise mouse events
            reach the panel as if the view were not there.
    """

    def __init__(self, panel: QWidget, *, receives_mouse: bool) -> None:
        super().__init__(panel, useOpenGL=False, background=drawing.ground(panel))
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setCacheMode(QGraphicsView.CacheModeFlag.CacheNone)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontSavePainterState)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontAdjustForAntialiasing)
        self.scene().setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        for widget in (self, self.viewport()):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            widget.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)  # the event goes on to the panel
            widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, not receives_mouse)
            widget.setAccessibleName("")  # a screen reader reads the panel
        if receives_mouse:  # a filter, for overriding viewportEvent would slow down every event, paints included
            self.viewport().installEventFilter(self)

    def restyle(self) -> None:
        """Take the panel's background colour again after a change of the theme."""
        self.setBackground(drawing.ground(self.parentWidget()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Send requests for tooltips on to the panel, in its coordinates."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            panel = self.parentWidget()
            place = self.viewport().mapTo(panel, event.pos())
            return QCoreApplication.sendEvent(panel, QHelpEvent(QEvent.Type.ToolTip, place, event.globalPos()))
        return False
