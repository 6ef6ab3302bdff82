"""Base class of all plots: a graphics view that is set up for speed and leaves mouse and keys to its panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGraphicsScene, QGraphicsView

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget


class PlotView(pyqtgraph.GraphicsView):  # type: ignore[misc]
    """Graphics view over a part of a panel, which becomes its parent; its one item covers it.

    It repaints as a whole, opaquely and without a cached background, which is fastest for plots of one item. It takes
    neither the focus nor the mouse: events, tooltips and the context menu are the panel's, as if the view were not
    there.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel, useOpenGL=False, background=None)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setCacheMode(QGraphicsView.CacheModeFlag.CacheNone)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontSavePainterState)
        self.setOptimizationFlag(QGraphicsView.OptimizationFlag.DontAdjustForAntialiasing)
        self.scene().setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        for widget in (self, self.viewport()):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            widget.setAccessibleName("")  # a screen reader reads the panel
